"""Sampling with vLLM in this process."""

from __future__ import annotations

import functools
import gc
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from attnpo.errors import ConfigError, EngineError, install_command, one_line
from attnpo.sampling.base import SampledResponse, SampleRequest, SamplingParams
from attnpo.sampling.draws import request_seed
from attnpo.sampling.honoured import VLLM, check_checkpoint, saved_generation_config

QUEUED = 4
"""Requests handed to the engine at once, in multiples of those that run side by side."""


NAMED_ELSEWHERE = frozenset(
    {
        "model",
        "tokenizer",
        "revision",
        "tokenizer_revision",
        "dtype",
        "trust_remote_code",
        "tensor_parallel_size",
        "gpu_memory_utilization",
        "max_model_len",
        "max_num_seqs",
    }
)
"""Arguments of vLLM's engine that follow from settings of other names."""
LONGEST_LINE = 300
"""Characters of what vLLM says that a message repeats."""
MEMORY = "OutOfMemory"
"""In the name of torch's and vLLM's errors for want of memory."""


class VLLMSampler:
    """Samples with `vllm.LLM`, each response handed on as the engine finishes it.

    Prompts go in as token ids and the sampled ids come back, so nothing is tokenized twice. Every request has a seed
    of its own, made from (seed, key, sample): the same request draws the same numbers whatever runs beside it; logits
    may still differ in their last bits between batches, and a token with them.

    The engine starts when it is first asked for a response, and holds its memory until `close`.

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
        engine_args: Mapping[str, Any] | None = None,
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
            engine_args: further arguments of vLLM's engine; none of `NAMED_ELSEWHERE`.

        Raises:
            ConfigError: vLLM is missing, or does not honour what the checkpoint asks for.
        """
        try:
            import vllm
            from vllm.sampling_params import RequestOutputKind
        except ImportError as error:
            raise ConfigError(f"engine: 'vllm' needs the vllm package: {install_command('vllm')}") from error
        self._vllm = vllm
        self._final_only = RequestOutputKind.FINAL_ONLY
        self._tokenizer = tokenizer
        self._queued = QUEUED * rows
        self._names = itertools.count()
        self._died = False
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
            **(engine_args or {}),
        }
        self._engine_args = dict(engine_args or {})

    @functools.cached_property
    def _llm(self) -> Any:
        try:
            return self._vllm.LLM(model=self._model, **self._options)
        except Exception as error:
            if not (_of_vllm(error) or isinstance(error, (ValueError, RuntimeError, TypeError, OSError))):
                raise
            raise ConfigError(f"engine: vllm cannot load {self._model}: {_said(error)}") from error

    @property
    def description(self) -> dict[str, Any]:
        """What the responses depend on besides model, prompts and sampling settings; JSON values."""
        return {
            "engine": "vllm",
            "vllm": self._vllm.__version__,
            **({"engine_args": self._engine_args} if self._engine_args else {}),
            "seed": "a response's draws depend on the seed, its prompt and its number; logits a little on the batch",
        }

    def close(self) -> None:
        """End the engine, where one runs, and free the memory that it holds on its devices, as vLLM documents it.

        The next call of `sample` starts another.
        """
        if self.__dict__.pop("_llm", None) is None:
            return
        gc.collect()  # its processes end with the last reference to it
        from vllm import distributed

        cleanup = getattr(distributed, "cleanup_dist_env_and_memory", None)
        if cleanup is not None:
            cleanup()

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
                for output in self._step(engine):
                    if output.finished:
                        index = under_way.pop(output.request_id)
                        yield index, self._response(output.outputs[0])
        finally:
            if under_way and not self._died:
                engine.abort_request(list(under_way))

    def _step(self, engine: Any) -> list[Any]:
        try:
            return list(engine.step())
        except Exception as error:
            if not (_of_vllm(error) or MEMORY in type(error).__name__):
                raise
            self._died = True
            raise EngineError(
                f"vllm: the engine is gone ({_said(error)}); what was finished is on disk, and the same command goes on"
            ) from error

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
        except Exception as error:
            if not (_of_vllm(error) or isinstance(error, ValueError)):
                raise
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


def _of_vllm(error: BaseException) -> bool:
    """Whether an error is one of vLLM's own, whatever it derives from."""
    return any(kind.__module__.partition(".")[0] == "vllm" for kind in type(error).__mro__)


def _said(error: BaseException) -> str:
    """Return what an error says in one line, and what to do about the usual causes."""
    line = one_line(error) or type(error).__name__
    line = line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}…"
    if MEMORY in type(error).__name__ or "memory" in line.lower():
        return f"{line}; lower --gpu_memory_utilization, --rows or --max_model_len"
    if isinstance(error, RuntimeError):  # vLLM's processes leave their reasons in the log
        return f"{line}; its log above says why; where that names memory, lower --gpu_memory_utilization"
    return line
