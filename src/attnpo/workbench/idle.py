"""Settings of a training run that would do nothing, because the one that they belong to is off."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Owner:
    """A setting that others belong to.

    Attributes:
        name: the setting.
        switch: what to write to switch it on.
        members: names of the others; a trailing `*` stands for any ending.
        is_on: values of it under which the others work, None for any that is not empty.
    """

    name: str
    switch: str
    members: tuple[str, ...]
    is_on: tuple[Any, ...] | None = None

    def holds(self, name: str) -> bool:
        """Whether a setting belongs here."""
        return any(name.startswith(m[:-1]) if m.endswith("*") else name == m for m in self.members)

    def works(self, values: Mapping[str, Any]) -> bool:
        """Whether it is on."""
        value = values.get(self.name)
        return bool(value) if self.is_on is None else value in self.is_on


OWNERS = (
    Owner("use_peft", "use_peft: true", ("lora_*", "use_rslora", "use_dora")),
    Owner("load_in_4bit", "load_in_4bit: true", ("bnb_4bit_*", "use_bnb_nested_quant")),
    Owner("probe", "probe: FILE", ("probe_*",)),
    Owner("dry_run", "--dry_run", ("json", "layout", "device_memory")),
    Owner("use_vllm", "use_vllm: true", ("vllm_*",)),
    Owner("group_sampler", "group_sampler: true", ("sampler_attn_implementation",)),
    Owner("num_problems", "num_problems", ("problems_seed",)),
    Owner("eval_data", "eval_data: DATA", ("eval_split", "eval_problems")),
    Owner("gradient_checkpointing", "gradient_checkpointing: true", ("gradient_checkpointing_kwargs",)),
    Owner(
        "vllm_mode",
        "vllm_mode: server",
        ("vllm_server_*", "vllm_group_port"),
        ("server",),
    ),
    Owner(
        "vllm_mode",
        "vllm_mode: colocate",
        ("vllm_gpu_memory_utilization", "vllm_tensor_parallel_size", "vllm_max_model_length", "vllm_enable_sleep_mode"),
        ("colocate",),
    ),
)


def idle_settings(given: Collection[str], by_flag: Collection[str], values: Mapping[str, Any]) -> list[str]:
    """Return one line for each setting that was given and would do nothing.

    A recipe may be overridden: where a flag switches something off, what the YAML file says of it is no mistake.

    Args:
        given: names of all settings given, in the file or by flags.
        by_flag: those given by flags.
        values: every setting's value.
    """
    lines = []
    for owner in OWNERS:
        if owner.works(values):
            continue
        for name in sorted(name for name in given if owner.holds(name)):
            if name in by_flag or owner.name not in by_flag:
                lines.append(f"{name}: does nothing without {owner.switch}; add that, or leave {name} out")
    strategy = values.get("eval_strategy")
    if values.get("eval_data") and not values.get("eval_on_start") and getattr(strategy, "value", strategy) == "no":
        lines.append("eval_data: does nothing without eval_strategy: steps or epoch; add that, or leave eval_data out")
    if {"prompt_column", "prompt_template"} <= set(given):
        lines.append("prompt_column: plays no part beside prompt_template; leave one of them out")
    return lines
