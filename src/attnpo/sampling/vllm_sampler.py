"""Sampling with vLLM in this process."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from typing import Any

from attnpo.errors import ConfigError, EngineError, one_line
from attnpo.sampling.base import SampledResponse, SampleRequest, SamplingParams
from attnpo.sampling.draws import request_seed
from attnpo.sampling.honoured import VLLM, check_checkpoint, saved_generation_config

QUEUED = 4
"""Requests handed to the engine at once, in multiples of those that run side by side."""


class VLLMSampler:
    """Samples with `vllm.LLM`, each response handed on as the engine finishes it.

    Prompts go in as token ids and the sampled ids come back, so nothing is tokenized twice. Every request has a seed
    of its own, made from (seed, key, sample): the same request draws the same numbers whatever runs beside it; logits
    may still differ in their last bits between batches, and a token with them.

    The engine starts when it is first asked for a response.

    Written against the interface of vLLM 0.22 to 0.31 (`LLM`, `SamplingParams`, `TokensPrompt`, and the `add_request`
    and `step` of its `LLM.llm_engine`).
    """

    def __init__(
        self,
        model: str,
        tokenizer: Any,
        *,
        rows: int = 128,
        revision: str | None = None,
        dtype: str = "auto",
        trust_remote_code: bool = False,
        tensor_parallel_size: int = 1,
        gpu_memory_utilization: float = 0.9,
        max_model_len: int | None = None,
    ):
        """Check what can be checked before the engine starts.

        Args:
            model: path or Hub id.
            tokenizer: the model's tokenizer; its end token closes a response that vLLM reports without one.
            rows: responses sampled side by side.
            revision: revision of a Hub model.
            dtype: `auto` or a torch dtype's name.
            trust_remote_code: allow a Hub model to run its own code.
            tensor_parallel_size: GPUs that share the model.
            gpu_memory_utilization: share of their memory for model and cache.
            max_model_len: longest prompt and response together; the model's own if absent.

        Raises:
            ConfigError: vLLM is missing, or does not honour what the checkpoint asks for.
        """
        try:
            import vllm
            from vllm.sampling_params import RequestOutputKind
        except ImportError as error:
            raise ConfigError("engine: 'vllm' needs the vllm package: pip install 'attnpo[vllm]'") from error
        self._vllm = vllm
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._tokenizer = tokenizer
        self._queued = QUEUED * rows
        self._names = itertools.count()
        check_checkpoint(VLLM, saved_generation_config(model, revision))
        self._model = model
        self._options: dict[str, Any] = {
            "revision": revision,
            "tokenizer_revision": revision,
            "dtype": dtype,
            "trust_remote_code": trust_remote_code,
            "tensor_parallel_size": tensor_parallel_size,
            "gpu_memory_utilization": gpu_memory_utilization,
            "max_model_len": max_model_len,
            "max_num_seqs": rows,
        }

    @functools.cached_property
    def _llm(self) -> Any:
        try:
            return self._vllm.LLM(model=self._model, **self._options)
        except ValueError as error:  # vLLM's word for settings that do not fit model or machine
            raise ConfigError(f"engine: vllm cannot load {self._model}: {one_line(error)}") from error

    @property
    def description(self) -> dict[str, Any]:
        """What the responses depend on besides model, prompts and sampling settings; JSON values."""
        return {
            "engine": "vllm",
            "vllm": self._vllm.__version__,
            "seed": "a response's draws depend on the seed, its prompt and its number; logits a little on the batch",
        }

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)` as the engine finishes them; see `Sampler.sample`.

        Raises:
            ConfigError: vLLM cannot load the model with these settings, or does not take a request (a prompt longer
                than `max_model_len`, say).
            EngineError: the engine dropped a request.
        """
        engine = self._llm.llm_engine
        waiting = iter(range(len(requests)))
        under_way: dict[str, int] = {}
        try:
            while True:
                for index in itertools.islice(waiting, self._queued - len(under_way)):
                    name = f"attnpo-{next(self._names)}"
                    self._add(engine, name, requests[index], params)
                    under_way[name] = index
                if not under_way:
                    return
                for output in engine.step():
                    if output.finished:
                        index = under_way.pop(output.request_id)
                        yield index, self._response(output.outputs[0])
        finally:
            if under_way:
                engine.abort_request(list(under_way))

    def _add(self, engine: Any, name: str, request: SampleRequest, params: SamplingParams) -> None:
        sampling = self._vllm.SamplingParams(
            n=1,
            seed=request_seed(params.seed, request.key, request.sample),
            max_tokens=params.max_new_tokens,
            temperature=params.temperature,
            top_p=params.top_p,
            top_k=params.top_k,
            min_p=params.min_p,
            repetition_penalty=params.repetition_penalty,
            detokenize=False,
            output_kind=self._final_only,
        )
        prompt = self._vllm.TokensPrompt(prompt_token_ids=list(request.prompt_ids))
        try:
            engine.add_request(name, prompt, sampling)
        except ValueError as error:
            raise ConfigError(f"engine: vllm refuses a request: {one_line(error)}") from error

    def _response(self, output: Any) -> SampledResponse:
        ids = [int(token) for token in output.token_ids]
        if output.finish_reason not in ("stop", "length"):
            raise EngineError(f"vllm: ended a response with {output.finish_reason!r}; look at its log and run again")
        finished = output.finish_reason == "stop"
        end, special = self._tokenizer.eos_token_id, self._tokenizer.all_special_ids
        if finished and end is not None and not (ids and ids[-1] in (end, *special)):
            ids.append(int(end))
        return SampledResponse(ids=ids, finished=finished)
