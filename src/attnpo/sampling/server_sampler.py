"""Sampling from a model behind an OpenAI-compatible server: vLLM, SGLang, llama.cpp, `transformers serve`, others."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from attnpo.errors import ConfigError
from attnpo.sampling.base import SampledResponse, SampleRequest, SamplingParams
from attnpo.sampling.server_answers import complaint, is_of_llama_cpp, read_response, reports_ids
from attnpo.sampling.server_requests import DIALECTS, PATHS, Api, Dialect, request_body
from attnpo.serving import RefusedError, Server
from attnpo.think import ThinkOpening

MISUNDERSTOOD = frozenset({400, 415, 422})
"""Statuses by which a server says that it does not know a field or its form."""

REFUSED_ALONE = frozenset({400, 413, 422})
"""Statuses by which a server refuses one prompt (too long, moderated) while it answers others."""

TRIED = 3
"""Prompts that are tried before a server's refusal counts for all."""

logger = logging.getLogger(__name__)


class ServerSampler:
    """Samples responses from a server, one request a response.

    `completions` sends what the transformers engine would read: the prompt's token ids where the server takes them,
    else the text that is read as those ids. `chat` sends the messages and leaves the template to the server, for
    servers that know nothing else. A request of one token, made first, finds out which settings the server knows
    and, where it counts prompt tokens, that it reads as many as the transformers engine would.

    Every request carries a seed made from (seed, key, sample). What that is worth is the server's matter: vLLM keeps
    it a request (up to the rounding of its arithmetic), SGLang and llama.cpp where they are told to, hosted services
    often do not; `transformers serve` sets it for the whole process, so that it only holds with `concurrency` 1.

    Attributes:
        server: the server.
        tokenizer: the model's own tokenizer.
        api: `completions` or `chat`.
    """

    def __init__(self, server: Server, tokenizer: Any, api: Api = "completions"):
        """Keep what is needed; nothing is sent yet.

        Args:
            server: the server.
            tokenizer: the model's own tokenizer; it makes token ids where the server reports only text.
            api: which of the server's interfaces to use.

        Raises:
            ConfigError: there is no such interface.
        """
        if api not in DIALECTS:
            raise ConfigError(f"api: {api!r} is not one of {', '.join(DIALECTS)}")
        self.server = server
        self.tokenizer = tokenizer
        self.api: Api = api
        self._opens_think = ThinkOpening(tokenizer)
        self._dialect: Dialect | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What the responses depend on besides model, prompts and sampling settings; JSON values."""
        return {
            "engine": "server",
            "api": self.api,
            "served_model": self.server.endpoint.model,
            "seed": "one a request, from the seed, its prompt and its number; the server may not keep it",
        }

    def close(self) -> None:
        """Close the connections."""
        self.server.close()

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)` as the server finishes them; see `Sampler.sample`.

        Raises:
            EngineError: the server is gone and stays so, or gives no answer of use; what it finished before is yielded.
            ConfigError: the server refuses a request, reads prompts otherwise, or a prompt cannot be said to it.
        """
        if not requests:
            return
        dialect = self._dialect or self._find_dialect(requests, params)
        self._dialect = dialect
        bodies = (request_body(dialect, self.api, self.tokenizer, request, params) for request in requests)
        check = partial(complaint, api=self.api)
        for index, answer in self.server.post_all(PATHS[self.api], bodies, check, alone=REFUSED_ALONE):
            if isinstance(answer, RefusedError):
                yield index, self._refused(answer)
                continue
            opened = self._opens_think(requests[index].prompt_ids)
            yield index, read_response(answer, self.api, self.tokenizer, opened)

    def _refused(self, error: RefusedError) -> SampledResponse:
        """Return what stands for the response to a request that the server will never answer; no text made its ids."""
        end = self.tokenizer.eos_token_id
        return SampledResponse([] if end is None else [int(end)], False, failure=f"refused: {error}")

    def _find_dialect(self, requests: Sequence[SampleRequest], params: SamplingParams) -> Dialect:
        """Return the first dialect in which the server answers a request of one token.

        The shortest prompt asks; others follow, since a server may refuse a prompt for what it says.
        """
        probe = replace(params, max_new_tokens=1)
        prompts = {request.prompt_ids: request for request in sorted(requests, key=lambda r: -len(r.prompt_ids))}
        shortest = list(reversed(prompts.values()))[:TRIED]
        refusal: ConfigError | None = None
        for request, dialect in itertools.product(shortest, DIALECTS[self.api]):
            try:
                body = request_body(dialect, self.api, self.tokenizer, request, probe)
                # No check: a single token need not be text yet.
                answer = self.server.post(PATHS[self.api], body)
            except RefusedError as error:
                if error.status not in MISUNDERSTOOD:
                    raise
                refusal = error
                continue
            self._compare_prompt(answer, len(request.prompt_ids))
            if dialect.extended and is_of_llama_cpp(answer) and not reports_ids(answer):
                return self._with_ids(dialect, request, probe)
            return dialect
        assert refusal is not None
        raise refusal

    def _with_ids(self, dialect: Dialect, request: SampleRequest, probe: SamplingParams) -> Dialect:
        """Return the dialect in which llama.cpp tells the ids of sampled tokens, the one given if it tells none."""
        telling = replace(dialect, logprobs=True)
        body = request_body(telling, self.api, self.tokenizer, request, probe)
        try:
            return telling if reports_ids(self.server.post(PATHS[self.api], body)) else dialect
        except RefusedError as error:
            if error.status not in MISUNDERSTOOD:
                raise
            return dialect

    def _compare_prompt(self, answer: Mapping[str, Any], expected: int) -> None:
        usage = answer.get("usage")
        read = usage.get("prompt_tokens") if isinstance(usage, Mapping) else None
        if not isinstance(read, int) or read == expected:
            return
        counts = (
            f"{self.server.endpoint.base_url}: the server read {read} prompt tokens where the tokenizer has {expected}"
        )
        if self.api == "completions":
            raise ConfigError(f"{counts}; serve the same model and tokenizer, without a start token of its own")
        logger.warning("%s: its chat template or tokenizer is another one", counts)
