"""Which adapters are trained on what kind of weights: TRL's `ModelConfig`, as far as nothing else says it here."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any, ClassVar

from trl import ModelConfig, get_peft_config, get_quantization_config

from attnpo.errors import ConfigError, install_command, one_line
from attnpo.models import check_dtype
from attnpo.ranges import AT_LEAST_1, SHARE, Range, check_settings


@dataclass
class AdapterSettings(ModelConfig):
    """TRL's settings of LoRA and of quantised weights, under their names.

    `model`, `model_init_kwargs` and `trust_remote_code` say which model; it is always a language model.
    """

    INHERITED_RANGES: ClassVar[Mapping[str, Range]] = {
        "lora_r": AT_LEAST_1,
        "lora_alpha": AT_LEAST_1,
        "lora_dropout": SHARE,
    }

    SHORT_FOR: ClassVar[Mapping[str, tuple[str, str]]] = {
        name: ("model_init_kwargs", name) for name in ("dtype", "attn_implementation")
    }

    model_name_or_path: str | None = field(init=False, default=None)
    model_revision: str = field(init=False, default="main")
    lora_task_type: str = field(init=False, default="CAUSAL_LM")
    dtype: str | None = field(
        default=None,
        metadata={
            "help": "Type that the weights are loaded in: float32 if absent, bfloat16, float16, or auto (as saved; "
            "float32 on a CPU without bfloat16 arithmetic). Short for model_init_kwargs."
        },
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={
            "help": "sdpa, eager, flash_attention_2, …; transformers' choice if absent. Short for model_init_kwargs."
        },
    )
    use_peft: bool = field(default=False, metadata={"help": "Train LoRA adapters (needs the extra peft)."})
    lora_dropout: float = field(
        default=0.0,
        metadata={"help": "LoRA dropout; 0, so that what is trained is what was sampled from (TRL's scripts: 0.05)."},
    )
    lora_target_modules: list[str] | None = field(
        default_factory=lambda: ["all-linear"],
        metadata={"help": "Names of the layers that get adapters, or all-linear."},
    )

    def __post_init__(self) -> None:
        """Check the settings against each other.

        Raises:
            ConfigError: they contradict each other.
        """
        try:
            super().__post_init__()
        except ValueError as error:
            raise ConfigError(f"load_in_4bit: {one_line(error)}; leave one of them out") from error
        check_settings(self)
        if self.dtype is not None:
            check_dtype(self.dtype)
        for name in ("load_in_8bit", "load_in_4bit"):
            if getattr(self, name) and not self.use_peft:
                raise ConfigError(f"{name}: quantised weights cannot be trained themselves; add use_peft: true")

    @property
    def quantised(self) -> str | None:
        """The setting under which the model's matrices are held quantised, None where they are not."""
        return next((name for name in ("load_in_4bit", "load_in_8bit") if getattr(self, name)), None)

    def changed(self) -> dict[str, Any]:
        """Return the settings that differ from the defaults, as a settings file takes them."""
        usual, own = AdapterSettings(), [entry.name for entry in fields(self) if entry.init]
        found = {name: getattr(self, name) for name in own if getattr(self, name) != getattr(usual, name)}
        targets = found.get("lora_target_modules")
        return {**found, "lora_target_modules": [targets]} if isinstance(targets, str) else found

    def lora(self) -> Any:
        """Return PEFT's configuration of the adapters, None without.

        Raises:
            ConfigError: PEFT is not installed.
        """
        if self.use_peft and importlib.util.find_spec("peft") is None:
            raise ConfigError(f"--use_peft: peft is not installed; {install_command('peft')}")
        return get_peft_config(self)

    def quantization(self, compute: str) -> Any:
        """Return transformers' configuration of quantised weights, None without.

        Args:
            compute: type that they are multiplied in.

        Raises:
            ConfigError: bitsandbytes is not installed.
        """
        if self.quantised is None:
            return None
        if importlib.util.find_spec("bitsandbytes") is None:
            raise ConfigError(f"{self.quantised}: bitsandbytes is not installed; pip install it, or leave it out")
        return get_quantization_config(replace(self, dtype=self.dtype if self.dtype not in (None, "auto") else compute))

    def model_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return `model_init_kwargs` with what is said here.

        Raises:
            ConfigError: both say something, and not the same.
        """
        found = dict(options)
        for name in self.SHORT_FOR:
            value = getattr(self, name)
            if value is not None and found.setdefault(name, value) != value:
                raise ConfigError(f"{name}: {value}, but model_init_kwargs says {found[name]}; leave one of them out")
        return found
