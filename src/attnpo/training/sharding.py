"""Layouts of a training run: what splits attention is refused, and sharded parameters are put together to sample."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.distributed.fsdp import FSDPModule
from trl.models import unwrap_model_for_generation

from attnpo.attention.splitting import check_parallelism
from attnpo.errors import ConfigError

logger = logging.getLogger(__name__)


def check_layout(accelerator: Any, model: nn.Module, group_sampler: bool, gathers_zero3: bool = True) -> None:
    """Check that step credit stays exact on the layout that accelerate has set up.

    Args:
        accelerator: the trainer's.
        model: the model, as it was given.
        group_sampler: whether attnpo's own loop samples, each process at its own pace.
        gathers_zero3: whether ZeRO-3 puts the parameters together to sample (`ds3_gather_for_generation`).

    Raises:
        ConfigError: heads or keys are split over processes, or the sampler cannot run on the layout.
        UnsupportedModelError: the model was loaded with its heads or layers split.
    """
    state = accelerator.state
    check_parallelism(model, getattr(accelerator, "parallelism_config", None))
    deepspeed = getattr(state, "deepspeed_plugin", None)
    settings = deepspeed.deepspeed_config if deepspeed is not None else {}
    for section, name, what in (
        ("tensor_parallel", "autotp_size", "tensor parallelism splits heads"),
        (None, "sequence_parallel_size", "sequence parallelism splits keys"),
    ):
        size = (settings.get(section, {}) if section else settings).get(name) or 1
        if isinstance(size, int) and size > 1:
            place = f"{section}.{name}" if section else name
            raise ConfigError(f"deepspeed: {place}={size}: {what} over processes, which step credit reads whole; set 1")
    gathers = settings.get("zero_optimization", {}).get("stage3_gather_16bit_weights_on_model_save")
    if deepspeed is not None and deepspeed.zero_stage == 3 and not gathers:
        logger.warning(
            "deepspeed: ZeRO-3's shards will not be put together when the model is saved; set zero3_save_16bit_model "
            "(stage3_gather_16bit_weights_on_model_save), or make a model of them with zero_to_fp32.py"
        )
    if not group_sampler:
        return
    if deepspeed is not None and deepspeed.zero_stage == 3 and not gathers_zero3:
        raise ConfigError(
            "group_sampler: under ZeRO-3 it needs the parameters in one place to sample;"
            " set ds3_gather_for_generation=true, or group_sampler=false"
        )
    if getattr(getattr(state, "fsdp_plugin", None), "fsdp_version", None) == 1:
        raise ConfigError("group_sampler: does not run on FSDP1; set fsdp_version: 2, or group_sampler=false")


@contextmanager
def model_to_sample(model: Any, accelerator: Any, args: Any) -> Iterator[Any]:
    """Give the model unwrapped, its parameters whole, in evaluation mode.

    Args:
        model: as accelerate has wrapped it.
        accelerator: the trainer's.
        args: the run's settings; two are read.
    """
    unwrapped = unwrap_model_for_generation(
        model,
        accelerator,
        gather_deepspeed3_params=args.ds3_gather_for_generation,
        gradient_checkpointing_kwargs=args.gradient_checkpointing_kwargs,
    )
    with unwrapped as plain, whole_parameters(plain):
        was_training = plain.training
        plain.eval()
        try:
            yield plain
        finally:
            plain.train(was_training)


@contextmanager
def whole_parameters(model: nn.Module) -> Iterator[None]:
    """Hold the parameters of an FSDP2 model whole, so that processes may make different numbers of forward passes.

    Memory: one copy of the parameters a process, in the dtype they are computed in. Nothing happens to other models.
    Enter and leave on every process, without gradient.
    """
    sharded = [module for module in model.modules() if isinstance(module, FSDPModule)]
    kept = [_after_forward(module) for module in sharded]
    for module in sharded:
        module.set_reshard_after_forward(False, recurse=False)
        module.unshard()
    try:
        yield
    finally:
        for module, settings in zip(sharded, kept, strict=True):
            module.reshard()
            _set_after_forward(module, settings)


def _after_forward(module: FSDPModule) -> tuple[bool | None, list[Any]]:
    """What FSDP2 does with the parameters after a forward pass; torch lets it be set, not read."""
    state = module._get_fsdp_state()
    return state._auto_reshard_after_forward, [group.post_forward_mesh_info for group in state._fsdp_param_groups]


def _set_after_forward(module: FSDPModule, settings: tuple[bool | None, list[Any]]) -> None:
    state = module._get_fsdp_state()
    state._auto_reshard_after_forward = settings[0]
    for group, mesh in zip(state._fsdp_param_groups, settings[1], strict=True):
        group.post_forward_mesh_info = mesh
