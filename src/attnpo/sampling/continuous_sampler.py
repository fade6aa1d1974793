"""Sampling with transformers' own continuous batching: a paged cache, requests join and leave at every step."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import torch
import transformers

from attnpo.errors import ConfigError, EngineError, one_line
from attnpo.sampling.base import SampledResponse, SampleRequest, SamplingParams
from attnpo.sampling.honoured import PAGED, check_checkpoint, check_own, checkpoint_settings
from attnpo.sampling.memory import CACHE_SHARE, cache_bytes_a_token, free_bytes
from attnpo.sampling.prompts import end_token_ids

MAIN_MEMORY_PAGE = 32
"""Positions a page on a CPU, where attention goes over whole pages; transformers' own size elsewhere."""
PAGEABLE = ("sdpa", "eager", "paged|eager")
"""Attention implementations that read a paged cache, besides flash attention."""
POLL_SECONDS = 1.0


def describe() -> dict[str, Any]:
    """Return what responses depend on besides model, prompts and sampling settings; JSON values."""
    return {
        "engine": "transformers-cb",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "seed": "one for all: a response depends on what is drawn beside it",
    }


class ContinuousBatchingSampler:
    """Samples through `ContinuousBatchingManager` of transformers.

    It pays on accelerators with flash attention. On a CPU it runs as well, at about half the speed of
    `TransformersSampler` (`benchmarks/sampling_engines.py` measures both).

    **Seeds.** transformers draws for all rows of a step from one stream of random numbers, so a response depends on
    everything drawn beside it: the seed makes an uninterrupted run with equal settings and equal timing likely to
    repeat, and promises nothing for a single response. Engine `transformers` keeps a seed a response.

    The model works in a thread of its own while responses are handed on: it must not be used for anything else before
    the iterator has ended.
    """

    def __init__(self, model: Any, tokenizer: Any, rows: int = 128):
        """Check that the model can be run this way.

        Args:
            model: causal language model.
            tokenizer: for the end and padding tokens.
            rows: responses decoded side by side at most.

        Raises:
            ConfigError: this version of transformers, or this model, has no continuous batching.
        """
        if not hasattr(transformers, "ContinuousBatchingConfig") or not hasattr(model, "init_continuous_batching"):
            raise ConfigError(
                f"engine: transformers {transformers.__version__} has no continuous batching for "
                f"{type(model).__name__}; use engine 'transformers'"
            )
        attention = model.config._attn_implementation
        if attention not in PAGEABLE and "flash" not in attention:
            raise ConfigError(
                f"attn_implementation: transformers-cb cannot page {attention!r}; load the model with sdpa, or use "
                "engine 'transformers'"
            )
        self.model = model
        self.tokenizer = tokenizer
        self.rows = rows

    @property
    def description(self) -> dict[str, Any]:
        """What the responses depend on besides model, prompts and sampling settings; JSON values."""
        return describe()

    def close(self) -> None:
        """Do nothing: the model is another's, and its cache goes with each call."""

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)` as they finish; see `Sampler.sample`.

        Raises:
            ConfigError: the model cannot be run this way.
            EngineError: the thread that runs the model ended, or failed at a request.
        """
        if not requests:
            return
        check_own(PAGED, params.own())
        check_checkpoint(PAGED, self.model.generation_config)
        end_ids = end_token_ids(self.model, self.tokenizer)
        manager = self._start(requests, params, end_ids)
        unfinished = {str(index) for index in range(len(requests))}
        failure: str | None = None
        try:
            for name in sorted(unfinished, key=int):
                manager.add_request(
                    list(requests[int(name)].prompt_ids),
                    request_id=name,
                    max_new_tokens=params.max_new_tokens,
                    eos_token_id=end_ids,
                )
            while unfinished:
                result = manager.get_result(timeout=POLL_SECONDS)
                if result is None:
                    if not manager.is_running():
                        raise EngineError("engine transformers-cb: its thread ended early; see the log above")
                    continue
                if not result.is_finished():
                    continue
                unfinished.discard(result.request_id)
                if result.error is not None:
                    failure = failure or " ".join(str(result.error).split())
                    continue
                ids = [int(token) for token in result.generated_tokens]
                yield int(result.request_id), SampledResponse(ids, finished=bool(ids) and ids[-1] in end_ids)
        finally:
            manager.stop(block=True, hard_stop=bool(unfinished))
            manager.destroy()
        if failure is not None:
            raise EngineError(f"engine transformers-cb: failed ({failure}); run again, or use engine 'transformers'")

    def _start(self, requests: Sequence[SampleRequest], params: SamplingParams, end_ids: list[int]) -> Any:
        longest = max(len(request.prompt_ids) for request in requests) + params.max_new_tokens
        names = {field.name for field in dataclasses.fields(transformers.ContinuousBatchingConfig)}
        config = transformers.ContinuousBatchingConfig(
            seed=_seed(params.seed, requests),
            # transformers 5.10 has no such bound, and fills its cache.
            **({"max_requests_per_batch": self.rows} if "max_requests_per_batch" in names else {}),
            **(self._main_memory(longest, names) if self.model.device.type == "cpu" else {}),
        )
        drawing = transformers.GenerationConfig(
            do_sample=params.temperature > 0,
            max_new_tokens=params.max_new_tokens,
            eos_token_id=end_ids,
            pad_token_id=self.tokenizer.pad_token_id,
            **(
                {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
                if params.temperature > 0
                else {}
            ),
            **({"min_p": params.min_p} if params.temperature > 0 and params.min_p else {}),
            **checkpoint_settings(self.model.generation_config),
        )
        try:
            manager = self.model.init_continuous_batching(generation_config=drawing, continuous_batching_config=config)
            # Builds the paged cache here and now: a model that has no place in it is refused, not lost in a thread.
            manager.warmup()
        except (ValueError, NotImplementedError, AttributeError) as error:
            reason = one_line(error)
            raise ConfigError(
                f"engine: transformers-cb cannot run this model ({reason}); use engine 'transformers'"
            ) from error
        manager.start()
        return manager

    def _main_memory(self, longest: int, names: Collection[str]) -> dict[str, Any]:
        """Return bounds on the paged cache: without them it takes most of the machine's memory."""
        affordable = CACHE_SHARE * free_bytes(self.model.device) / cache_bytes_a_token(self.model, self.tokenizer)
        pages = -(-longest // MAIN_MEMORY_PAGE)
        most = max(pages, int(affordable) // MAIN_MEMORY_PAGE)
        return {
            "page_size" if "page_size" in names else "block_size": MAIN_MEMORY_PAGE,
            "num_blocks": min(self.rows * pages, most) + 1,
            "max_batch_tokens": max(2 * self.rows, 256),
        }


def _seed(seed: int, requests: Sequence[SampleRequest]) -> int:
    """Return a seed for one call: a continued run, which asks for other requests, does not repeat the first one's."""
    digest = hashlib.sha256(f"{seed}".encode())
    for request in requests:
        digest.update(f"/{request.key}/{request.sample}".encode())
    return int.from_bytes(digest.digest()[:4], "big") >> 1
