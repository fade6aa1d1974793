"""The engines by name: what a user sets, and the sampler that comes of it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Protocol, cast

from attnpo.errors import ConfigError
from attnpo.files import json_object
from attnpo.ranges import AtLeast1, Patience, PositiveShare, Seconds, Words, check_settings
from attnpo.sampling import continuous_sampler, transformers_sampler
from attnpo.sampling.base import SampledResponse, Sampler, SampleRequest, SamplingParams
from attnpo.sampling.continuous_sampler import ContinuousBatchingSampler
from attnpo.sampling.server_requests import Api
from attnpo.sampling.server_sampler import ServerSampler
from attnpo.sampling.transformers_sampler import TransformersSampler
from attnpo.sampling.vllm_sampler import NAMED_ELSEWHERE, VLLMSampler
from attnpo.serving import Endpoint, Server

ENGINES = ("transformers", "transformers-cb", "vllm", "server")
APIS = ("completions", "chat")
OF_ONE_ENGINE = {
    "served_model": "server",
    "api": "server",
    "api_key_env": "server",
    "concurrency": "server",
    "server_timeout": "server",
    "server_patience": "server",
    "tensor_parallel_size": "vllm",
    "gpu_memory_utilization": "vllm",
    "max_model_len": "vllm",
    "engine_args": "vllm",
}
"""Settings that do nothing with other engines."""


def _of_other_engines(engine: str) -> list[str]:
    return [name for name, owner in {**OF_ONE_ENGINE, "base_url": "server"}.items() if owner != engine]


@dataclass
class EngineSettings:
    """What samples the responses."""

    VOID_UNDER: ClassVar[Mapping[str, Callable[[str], Sequence[str]]]] = {"engine": _of_other_engines}
    """Setting → which others of a settings file are void under the value that a flag gives it."""

    engine: Annotated[str, Words(ENGINES)] = field(
        default="transformers",
        metadata={
            "help": "transformers (any device), transformers-cb (its continuous batching, for accelerators), vllm (in "
            "this process), or server (any OpenAI-compatible one: vLLM, SGLang, llama.cpp, transformers serve)."
        },
    )
    rows: AtLeast1 = field(default=128, metadata={"help": "Responses sampled side by side (transformers, vllm)."})
    base_url: str | None = field(
        default=None, metadata={"help": "Address of the server, with its version: http://127.0.0.1:8000/v1."}
    )
    served_model: str | None = field(
        default=None, metadata={"help": "Name of the model on the server; the model's own if absent."}
    )
    api: Annotated[str, Words(APIS)] = field(
        default="completions",
        metadata={"help": "completions (prompts are rendered here, as for every engine) or chat (the server does)."},
    )
    api_key_env: str = field(
        default="OPENAI_API_KEY", metadata={"help": "Environment variable that holds the server's key, if it has one."}
    )
    concurrency: AtLeast1 = field(default=16, metadata={"help": "Requests the server gets at once."})
    server_timeout: Seconds = field(default=3600.0, metadata={"help": "Seconds one response of the server may take."})
    server_patience: Patience = field(
        default=300.0, metadata={"help": "Seconds the server may be gone before the run ends with what is known."}
    )
    tensor_parallel_size: AtLeast1 = field(default=1, metadata={"help": "GPUs that share the model (vllm)."})
    gpu_memory_utilization: PositiveShare = field(
        default=0.9, metadata={"help": "Share of the GPU's memory for model and cache (vllm)."}
    )
    max_model_len: AtLeast1 | None = field(
        default=None, metadata={"help": "Longest prompt and response together (vllm); the model's own if absent."}
    )
    engine_args: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "Further arguments of vLLM's engine, as JSON: '{\"max_num_batched_tokens\": 8192}'; recorded with "
            "the results."
        },
    )

    def __post_init__(self) -> None:
        check_settings(self)
        for name, owner in OF_ONE_ENGINE.items():
            if self.engine != owner and getattr(self, name) != getattr(EngineSettings, name):
                raise ConfigError(f"{name}: of the engine {owner!r}, but the engine is {self.engine!r}; leave it out")
        if self.engine_args is not None:
            self.engine_args = json_object(self.engine_args, "engine_args")
            if named := sorted(NAMED_ELSEWHERE & self.engine_args.keys()):
                raise ConfigError(f"engine_args: {named[0]} follows from other settings; take it out")
        if self.engine == "server" and not self.base_url:
            raise ConfigError("engine: 'server' needs base_url, for example http://127.0.0.1:8000/v1")
        if self.engine != "server" and self.base_url:
            raise ConfigError(f"base_url: set, but the engine is {self.engine!r}; set engine to 'server'")

    def check_opening(self, opening: str) -> None:
        """Check that something can be put behind the prompts.

        Raises:
            ConfigError: it cannot.
        """
        if opening and self._renders_prompts:
            raise ConfigError(
                "--opening: a chat server renders prompts itself, and nothing can be put behind them; use --api "
                "completions"
            )

    def check_continues(self, flag: str) -> None:
        """Check that answers can be drawn that go on from a cut trace.

        Raises:
            ConfigError: they cannot; the message begins with `flag`, which asks for them.
        """
        if self._renders_prompts:
            raise ConfigError(
                f"{flag}: a chat server asks the question anew, and a cut trace has to be gone on from; use --api "
                "completions, or leave it out"
            )

    @property
    def _renders_prompts(self) -> bool:
        return self.engine == "server" and self.api == "chat"


DESCRIPTIONS = {"transformers": transformers_sampler.describe, "transformers-cb": continuous_sampler.describe}
"""What each engine that needs a loaded model says of itself before it has one."""


class DescribedSampler(Sampler, Protocol):
    """A sampler that says what its responses depend on."""

    @property
    def description(self) -> dict[str, Any]:
        """What results have to record of the engine: its name, versions, and what its seed promises; JSON values."""
        ...


class LateSampler:
    """An engine that is built when it is first asked for a response."""

    def __init__(self, description: dict[str, Any], build: Callable[[], Sampler]) -> None:
        """Keep what is needed.

        Args:
            description: what the engine says of itself, see `DESCRIPTIONS`.
            build: makes the engine.
        """
        self.description = description
        self._build = build

    @functools.cached_property
    def _sampler(self) -> Sampler:
        return self._build()

    def close(self) -> None:
        """Close the engine where it was built."""
        if "_sampler" in self.__dict__:
            self._sampler.close()

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)`; see `Sampler.sample`."""
        return self._sampler.sample(requests, params)


def build_sampler(
    settings: EngineSettings,
    *,
    tokenizer: Any,
    load_model: Callable[[], Any],
    model_name: str,
    revision: str | None = None,
    dtype: str = "auto",
    trust_remote_code: bool = False,
) -> DescribedSampler:
    """Return the engine that the settings name.

    Args:
        settings: which engine, and its settings.
        tokenizer: the model's tokenizer.
        load_model: returns the loaded transformers model; called for the transformers engines only.
        model_name: path or Hub id of the model; vLLM loads it, and a server is asked for it unless `served_model` says
            otherwise.
        revision: revision of a Hub model (vllm).
        dtype: `auto`, or a torch dtype's name (vllm).
        trust_remote_code: allow a Hub model to run its own code (vllm).

    Raises:
        ConfigError: the engine's package is missing, or it cannot run the model.
    """
    if settings.engine == "server":
        assert settings.base_url is not None
        endpoint = Endpoint(
            base_url=settings.base_url,
            model=settings.served_model or model_name,
            api_key_env=settings.api_key_env,
            concurrency=settings.concurrency,
            timeout=settings.server_timeout,
            patience=settings.server_patience,
        )
        return ServerSampler(Server(endpoint), tokenizer, cast(Api, settings.api))
    if settings.engine == "vllm":
        return VLLMSampler(
            model_name,
            tokenizer,
            rows=settings.rows,
            revision=revision,
            dtype=dtype,
            trust_remote_code=trust_remote_code,
            tensor_parallel_size=settings.tensor_parallel_size,
            gpu_memory_utilization=settings.gpu_memory_utilization,
            max_model_len=settings.max_model_len,
            engine_args=cast(dict[str, Any] | None, settings.engine_args),
        )
    if settings.engine == "transformers-cb":
        return ContinuousBatchingSampler(load_model(), tokenizer, rows=settings.rows)
    return TransformersSampler(load_model(), tokenizer, rows=settings.rows)
