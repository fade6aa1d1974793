"""How a run is spread over devices, as accelerate's configuration files say it."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from accelerate.commands.config.config_args import ClusterConfig, load_config_from_file

from attnpo.errors import ConfigError, nearest, one_line
from attnpo.files import UserFile

Kind = Literal["single", "ddp", "fsdp2", "zero1", "zero2", "zero3"]
TITLES: dict[Kind, str] = {
    "single": "one process",
    "ddp": "DDP",
    "fsdp2": "FSDP2",
    "zero1": "ZeRO-1",
    "zero2": "ZeRO-2",
    "zero3": "ZeRO-3",
}


_ACCUMULATION = "ACCELERATE_GRADIENT_ACCUMULATION_STEPS"


@dataclass(frozen=True)
class Layout:
    """Processes, one a device, and what they share out.

    Attributes:
        kind: what is split: nothing (single, ddp), optimizer states (zero1), gradients too (zero2), weights too
            (zero3, fsdp2).
        processes: number of processes, of all machines together.
        machines: number of machines.
        mixed_precision: `bf16`, `fp16`, or None where it is left to the training settings (accelerate's `no`).
        offload_optimizer: optimizer states lie in main memory.
        offload_weights: sharded weights lie in main memory.
        accumulation: micro-batches an update, where it is fixed (accelerate's 1 leaves it to the training settings).
        activation_checkpointing: FSDP's own recomputation of activations is on.
    """

    kind: Kind = "single"
    processes: int = 1
    machines: int = 1
    mixed_precision: str | None = None
    offload_optimizer: bool = False
    offload_weights: bool = False
    accumulation: int | None = None
    activation_checkpointing: bool = False

    def as_kind(self, kind: Kind) -> Layout:
        """Return the same processes spread in another way, with what of offload and recomputation that way has."""
        sharded, split = kind in ("fsdp2", "zero3"), kind not in ("single", "ddp")
        return replace(
            self,
            kind=kind,
            offload_optimizer=self.offload_optimizer and split,
            offload_weights=self.offload_weights and sharded,
            activation_checkpointing=self.activation_checkpointing and kind == "fsdp2",
        )

    @property
    def shards_weights(self) -> bool:
        """Whether a device holds a part of the weights only."""
        return self.kind in ("fsdp2", "zero3")

    @property
    def shards_gradients(self) -> bool:
        """Whether a device holds a part of the gradients only."""
        return self.kind in ("fsdp2", "zero2", "zero3")

    @property
    def is_deepspeed(self) -> bool:
        """Whether DeepSpeed runs it."""
        return self.kind.startswith("zero")

    @property
    def title(self) -> str:
        """Its name in tables."""
        return TITLES[self.kind] if self.processes == 1 else f"{TITLES[self.kind]} × {self.processes}"


def read_layout(path: str | Path) -> Layout:
    """Read an accelerate configuration file, as `accelerate launch --config_file` takes it.

    Raises:
        ConfigError: it is missing, malformed, names an unknown setting, or a layout that is not supported.
    """
    path = Path(path)
    stored = UserFile(path, "accelerate configuration file", ConfigError).yaml()
    if not isinstance(stored, dict):
        raise ConfigError(f"{path}: must hold accelerate's settings as 'name: value' lines")
    known = set(ClusterConfig.__dataclass_fields__)
    for name in sorted(set(stored) - known):
        raise ConfigError(f"{path}: {name}: accelerate has no such setting{nearest(name, known)}")
    try:
        config = load_config_from_file(str(path))
    except ValueError as error:
        raise ConfigError(f"{path}: {one_line(error)}") from error
    return _layout(path, config)


def _layout(path: Path, config: Any) -> Layout:
    kind = str(getattr(config.distributed_type, "value", config.distributed_type))
    if config.num_processes < 1:
        raise ConfigError(f"{path}: num_processes: say how many processes, one for each GPU of all machines")
    if config.num_processes % config.num_machines:
        raise ConfigError(
            f"{path}: num_processes: {config.num_processes} over num_machines={config.num_machines} leaves machines "
            "with different numbers of processes; it counts the processes of all machines"
        )
    deepspeed, fsdp = config.deepspeed_config or {}, config.fsdp_config or {}
    if file := deepspeed.get("deepspeed_config_file"):
        deepspeed = _deepspeed_file(path, str(file))
    common: dict[str, Any] = {
        "processes": config.num_processes,
        "machines": config.num_machines,
        "mixed_precision": _mixed(config.mixed_precision),
        "accumulation": _accumulation(deepspeed.get("gradient_accumulation_steps")),
    }
    if kind == "NO":
        if config.num_processes > 1:
            raise ConfigError(f"{path}: distributed_type: NO has one process, num_processes is {config.num_processes}")
        return Layout("single", **common)
    if kind in ("MULTI_GPU", "MULTI_CPU"):
        return Layout("ddp", **common)
    if kind == "DEEPSPEED":
        stage = int(deepspeed.get("zero_stage", 2))
        kinds: dict[int, Kind] = {1: "zero1", 2: "zero2", 3: "zero3"}
        if stage not in kinds:
            raise ConfigError(f"{path}: deepspeed_config.zero_stage: {stage}; choose 1, 2 or 3")
        offloaded = {
            name: str(deepspeed.get(f"offload_{name}_device", "none")) != "none" for name in ("optimizer", "param")
        }
        return Layout(
            kinds[stage], **common, offload_optimizer=offloaded["optimizer"], offload_weights=offloaded["param"]
        )
    if kind == "FSDP":
        if int(fsdp.get("fsdp_version", 1)) != 2:
            raise ConfigError(f"{path}: fsdp_config.fsdp_version: FSDP1 is not supported; write fsdp_version: 2")
        offload = bool(fsdp.get("fsdp_offload_params", False))
        recomputes = bool(fsdp.get("fsdp_activation_checkpointing", False))
        return Layout(
            "fsdp2",
            **common,
            offload_optimizer=offload,
            offload_weights=offload,
            activation_checkpointing=recomputes,
        )
    raise ConfigError(
        f"{path}: distributed_type: {kind} is not supported; choose NO, MULTI_GPU, FSDP (version 2) or DEEPSPEED"
    )


def launched_layout(processes: int, zero_stage: int | None = None) -> Layout:
    """Return the layout that this process was launched in, as `accelerate launch` says it in the environment.

    Args:
        processes: number of processes, of all machines together.
        zero_stage: DeepSpeed's stage, None where another engine trains.
    """
    flags = {name: os.environ.get(name, "") for name in ("ACCELERATE_USE_FSDP", "FSDP_ACTIVATION_CHECKPOINTING")}
    sharded = flags["ACCELERATE_USE_FSDP"].lower() == "true"
    kind: Kind = "fsdp2" if sharded else "ddp" if processes > 1 else "single"
    stages: dict[int | None, Kind] = {1: "zero1", 2: "zero2", 3: "zero3"}
    return Layout(
        stages.get(zero_stage, kind),
        processes=processes,
        mixed_precision=_mixed(os.environ.get("ACCELERATE_MIXED_PRECISION")),
        accumulation=None if zero_stage is None else _accumulation(os.environ.get(_ACCUMULATION)),
        activation_checkpointing=sharded and flags["FSDP_ACTIVATION_CHECKPOINTING"].lower() == "true",
    )


def _mixed(said: str | None) -> str | None:
    """What a layout fixes: accelerate writes `no` where nothing was said, and the training settings then win."""
    return None if said in (None, "no") else said


def _deepspeed_file(path: Path, file: str) -> dict[str, Any]:
    """Return what DeepSpeed's own file says, in the words of accelerate's configuration."""
    where = f"{path}: deepspeed_config_file {file}"
    found = UserFile(Path(file), "DeepSpeed configuration", ConfigError, where).json()
    zero = found.get("zero_optimization", {}) if isinstance(found, dict) else None
    if not isinstance(zero, dict):
        raise ConfigError(f"{where}: must hold settings by name, zero_optimization with its stage among them")
    offloaded = {name: zero.get(f"offload_{name}") or {} for name in ("optimizer", "param")}
    return {
        "zero_stage": zero.get("stage", 0),
        "gradient_accumulation_steps": found.get("gradient_accumulation_steps", "auto"),
        **{f"offload_{name}_device": said.get("device", "none") for name, said in offloaded.items()},
    }


def _accumulation(said: Any) -> int | None:
    """What a layout fixes: accelerate writes 1 where nothing was said, and the training settings then win."""
    return int(said) if str(said).isdigit() and int(said) != 1 else None
