"""Stand-ins for what is used of vLLM; `tests/engines/test_stand_ins.py` holds them to the real ones."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from types import ModuleType, SimpleNamespace
from typing import Any
from weakref import WeakSet

END = 1


class RequestOutputKind(Enum):
    CUMULATIVE = 0
    DELTA = 1
    FINAL_ONLY = 2


@dataclass
class VLLMParams:
    """The fields of vLLM's `SamplingParams` that exist under these names since 0.11."""

    n: int = 1
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None
    stop: Any = None
    stop_token_ids: list[int] | None = None
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    detokenize: bool = True
    skip_special_tokens: bool = True
    output_kind: RequestOutputKind = RequestOutputKind.CUMULATIVE


class TokensPrompt(dict):
    def __init__(self, *, prompt_token_ids: list[int]):
        super().__init__(prompt_token_ids=prompt_token_ids)


class Engine:
    """A request takes as many steps as its first prompt token says, then gives its seed and prompt back as tokens."""

    def __init__(self, max_num_seqs: int):
        self.max_num_seqs = max_num_seqs
        self.requests: dict[str, list] = {}
        self.seen: list[tuple[list[int], VLLMParams]] = []
        self.aborted: list[str] = []
        self.most = 0
        self.finish = "stop"

    def add_request(self, request_id: str, prompt: TokensPrompt, params: VLLMParams, arrival_time=None, priority=0):
        assert isinstance(request_id, str)
        assert request_id not in self.requests
        ids = prompt["prompt_token_ids"]
        if len(ids) > 20:
            raise ValueError("The decoder prompt (length 21) is longer\nthan the maximum model length of 20.")
        self.requests[request_id] = [ids, params, ids[0]]
        self.seen.append((ids, params))
        self.most = max(self.most, len(self.requests))

    def step(self) -> list:
        assert self.requests, "vLLM's step blocks without requests"
        outputs = []
        for name in list(self.requests)[: self.max_num_seqs]:
            entry = self.requests[name]
            entry[2] -= 1
            if entry[2] <= 0:
                ids, params, _ = self.requests.pop(name)
                tokens = (params.seed % 1000 + 2, *ids, END)
                completion = SimpleNamespace(index=0, text="", token_ids=tokens, finish_reason=self.finish)
                outputs.append(SimpleNamespace(request_id=name, outputs=[completion], finished=True))
        return outputs

    def abort_request(self, request_ids: list[str]) -> None:
        assert isinstance(request_ids, list)
        self.aborted += request_ids
        for name in request_ids:
            self.requests.pop(name, None)


RUNNING: WeakSet[LLM] = WeakSet()
"""Engines that nobody has let go of."""


@dataclass(eq=False)
class LLM:
    """The arguments of vLLM's `LLM` that the sampler may set; no others are known."""

    model: str
    tokenizer: str | None = None
    trust_remote_code: bool = False
    tensor_parallel_size: int = 1
    dtype: str = "auto"
    revision: str | None = None
    tokenizer_revision: str | None = None
    seed: int = 0
    gpu_memory_utilization: float = 0.9
    max_model_len: int | None = None
    max_num_seqs: int = 256
    llm_engine: Engine = field(init=False)

    def __post_init__(self) -> None:
        if self.model == "broken":
            raise ValueError("Model architectures ['Broken']\nare not supported for now.")
        self.llm_engine = Engine(self.max_num_seqs)
        RUNNING.add(self)


class Distributed(ModuleType):
    """`vllm.distributed`; counts how often memory was cleaned up, for which no engine may run any more."""

    cleaned = 0

    def cleanup_dist_env_and_memory(self, shutdown_ray: bool = False) -> None:
        assert not RUNNING
        self.cleaned += 1


def fake_vllm(version: str = "0.31.0") -> dict[str, ModuleType]:
    """Return the modules, by their names; what earlier tests let run counts no more."""
    RUNNING.clear()
    module, params = ModuleType("vllm"), ModuleType("vllm.sampling_params")
    module.__version__ = version
    module.LLM, module.SamplingParams, module.TokensPrompt = LLM, VLLMParams, TokensPrompt
    params.RequestOutputKind = RequestOutputKind
    module.sampling_params, module.distributed = params, Distributed("vllm.distributed")
    return {"vllm": module, "vllm.sampling_params": params, "vllm.distributed": module.distributed}
