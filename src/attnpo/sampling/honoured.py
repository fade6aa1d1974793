"""Which engine honours which sampling setting: the one table, and the refusals that follow from it.

A setting comes from the run (flags, `generation_kwargs`) or from the checkpoint (`generation_config.json`). What
changes which tokens are drawn is honoured or refused by name, never dropped. Those of `OWN` are the run's alone,
whatever the checkpoint says of them: training and measuring then mean the same by the same flags. Every end token that
a checkpoint names ends a response, in every engine.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from transformers import GenerationConfig

from attnpo.errors import ConfigError, nearest

OURS, GENERATE, PAGED = "transformers", "model.generate", "transformers-cb"
VLLM, VLLM_SERVER = "vllm", "vllm server"
SERVER, SERVE, PLAIN = "server", "transformers serve", "plain server"
EVERYWHERE = frozenset({OURS, GENERATE, PAGED, VLLM, VLLM_SERVER, SERVER, SERVE, PLAIN})
"""`transformers`: our own loop (`evaluate`, `discover`, training with `group_sampler`). `model.generate`: TRL's
default. `transformers-cb`: transformers' continuous batching, ours and TRL's. `vllm`: in this process. `vllm server`:
TRL's `vllm_mode: server`. The others stand behind engine `server`: vLLM, SGLang, llama.cpp; `transformers serve`; one
that knows OpenAI's own fields alone."""

_TRANSFORMERS = frozenset({OURS, GENERATE, PAGED, SERVE})
_READS_TEXT = frozenset({OURS, GENERATE, SERVE})  # continuous batching shows processors the last token alone
_TRL_VLLM = frozenset({VLLM, VLLM_SERVER})


@dataclass(frozen=True)
class Setting:
    """A sampling setting.

    Attributes:
        engines: those that honour it.
        off: values under which it changes nothing, besides None.
    """

    engines: frozenset[str]
    off: tuple[Any, ...] = ()

    def acts(self, value: Any) -> bool:
        """Whether a value of it changes what is drawn."""
        return value is not None and value not in self.off


OWN: dict[str, Setting] = {
    "temperature": Setting(EVERYWHERE),
    "top_p": Setting(EVERYWHERE, (1.0,)),
    "top_k": Setting(EVERYWHERE - {PLAIN}, (0,)),
    "min_p": Setting(EVERYWHERE - {PLAIN}, (0.0,)),
    "repetition_penalty": Setting(EVERYWHERE - {PAGED, PLAIN}, (1.0,)),
}
"""Settings that the run gives by name."""

SHAPING: dict[str, Setting] = {
    "sequence_bias": Setting(_READS_TEXT),
    "no_repeat_ngram_size": Setting(_READS_TEXT, (0,)),
    "bad_words_ids": Setting(_READS_TEXT),
    "suppress_tokens": Setting(_TRANSFORMERS, ([],)),
    "remove_invalid_values": Setting(_TRANSFORMERS, (False,)),
    "top_h": Setting(_TRANSFORMERS),
    "typical_p": Setting(_TRANSFORMERS, (1.0,)),
    "epsilon_cutoff": Setting(_TRANSFORMERS, (0.0,)),
    "eta_cutoff": Setting(_TRANSFORMERS, (0.0,)),
    "renormalize_logits": Setting(_TRANSFORMERS, (True, False)),
    # Counted from the beginning of a response, which a continuation of a prefix is not.
    "min_length": Setting(frozenset({GENERATE, SERVE}), (0,)),
    "min_new_tokens": Setting(frozenset({GENERATE, SERVE}), (0,)),
    "begin_suppress_tokens": Setting(frozenset({GENERATE, SERVE}), ([],)),
    "exponential_decay_length_penalty": Setting(frozenset({GENERATE, SERVE})),
    "forced_bos_token_id": Setting(frozenset({GENERATE, SERVE})),
    "forced_eos_token_id": Setting(frozenset({GENERATE, SERVE})),
    "guidance_scale": Setting(frozenset({GENERATE, SERVE}), (1, 1.0)),
    "watermarking_config": Setting(frozenset({GENERATE, SERVE})),
    # A response that they end would count as cut off.
    "stop_strings": Setting(frozenset(), ([],)),
    "max_time": Setting(frozenset()),
}
"""transformers' further settings, in `generation_kwargs` or a checkpoint's `generation_config.json`."""

KWARGS: dict[str, Setting] = {
    **SHAPING,
    "use_cache": Setting(frozenset({GENERATE})),
    "cache_implementation": Setting(frozenset({GENERATE})),
    "prefill_chunk_size": Setting(frozenset({GENERATE})),
    "presence_penalty": Setting(_TRL_VLLM, (0.0,)),
    "frequency_penalty": Setting(_TRL_VLLM, (0.0,)),
    "min_tokens": Setting(_TRL_VLLM, (0,)),
    "bad_words": Setting(_TRL_VLLM, ([],)),
    "logit_bias": Setting(_TRL_VLLM),
    "allowed_token_ids": Setting(_TRL_VLLM),
    "structured_outputs": Setting(_TRL_VLLM),
}
"""What `generation_kwargs` may hold: transformers' names, or vLLM's."""

_SAID_ELSEWHERE = {
    "max_new_tokens": "max_completion_length",
    "max_tokens": "max_completion_length",
    "max_length": "max_completion_length",
    "do_sample": "temperature",
    "num_return_sequences": "num_generations",
    "n": "num_generations",
    "seed": "seed",
    **{name: name for name in OWN},
}


def training_engine(args: Any) -> str:
    """Return the table's name of what samples in training, by its configuration."""
    if args.use_vllm:
        return VLLM_SERVER if args.vllm_mode == "server" else VLLM
    if args.group_sampler:
        return OURS
    return PAGED if args.use_transformers_continuous_batching else GENERATE


def check_own(engine: str, values: Mapping[str, Any]) -> None:
    """Refuse what an engine cannot honour among the settings of `OWN`.

    Raises:
        ConfigError: names the setting.
    """
    for name, setting in OWN.items():
        if engine not in setting.engines and setting.acts(values.get(name)):
            raise ConfigError(_refusal(name, values[name], engine, setting.engines))


def check_kwargs(engine: str, values: Mapping[str, Any]) -> None:
    """Refuse what an engine cannot honour among `generation_kwargs`.

    Raises:
        ConfigError: names the setting.
    """
    for name, value in values.items():
        if name in _SAID_ELSEWHERE:
            raise ConfigError(f"generation_kwargs: {name} has a setting of its own, {_SAID_ELSEWHERE[name]}; give that")
        setting = KWARGS.get(name)
        if setting is None:
            instead = nearest(name, KWARGS) or "; leave it out"
            raise ConfigError(f"generation_kwargs: {name!r} is not honoured by any engine{instead}")
        if engine not in setting.engines and setting.acts(value):
            raise ConfigError("generation_kwargs: " + _refusal(name, value, engine, setting.engines))


def checkpoint_settings(generation_config: Any) -> dict[str, Any]:
    """Return the settings of a checkpoint's generation config that shape draws, those of `OWN` left out."""
    found = {name: getattr(generation_config, name, None) for name in SHAPING}
    return {name: value for name, value in found.items() if SHAPING[name].acts(value)}


def saved_generation_config(model: str, revision: str | None = None) -> Any:
    """Return the generation config that lies beside a checkpoint, None where there is none.

    Args:
        model: path or Hub id.
        revision: of a Hub model.
    """
    try:
        return GenerationConfig.from_pretrained(model, revision=revision)
    except OSError:
        return None


def check_checkpoint(engine: str, generation_config: Any) -> None:
    """Refuse a checkpoint whose generation config asks for what an engine cannot honour.

    Args:
        engine: its name in the table.
        generation_config: transformers' `GenerationConfig`; None where there is none.

    Raises:
        ConfigError: names the setting.
    """
    for name, value in checkpoint_settings(generation_config).items():
        if engine not in SHAPING[name].engines:
            said = _refusal(name, value, engine, SHAPING[name].engines, "take it out of that file")
            raise ConfigError(f"generation_config.json of the model: {said}")


def _refusal(name: str, value: Any, engine: str, others: Collection[str], without: str = "leave it out") -> str:
    shown = repr(value)
    shown = shown if len(shown) <= 40 else f"{shown[:40]}…"
    instead = f"use one that does ({', '.join(sorted(others))}), or {without}" if others else without
    return f"{name}: {shown}, but the engine {engine!r} does not honour it; {instead}"
