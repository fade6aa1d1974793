"""Which number types a machine computes in."""

from __future__ import annotations

import logging
from typing import Any

from attnpo.processor import cpu_computes_in_bfloat16

logger = logging.getLogger(__name__)


def settle_precision(args: Any) -> None:
    """Compute in float32 on a CPU that was asked for and has no bfloat16 arithmetic, where `bf16` is not given.

    TRL's default is mixed precision in bfloat16 everywhere; such a processor emulates it, several times slower.

    Args:
        args: training settings, before transformers has read them.
    """
    if args.bf16 is None and args.use_cpu and not cpu_computes_in_bfloat16():
        logger.info("bf16: false, since this processor has no arithmetic for bfloat16")
        args.bf16 = False


def precision_problem(bf16: bool, fp16: bool, on_cpu: bool, use_cpu: bool) -> str | None:
    """Return why mixed precision cannot be had, None where it can.

    Args:
        bf16: the setting.
        fp16: the setting.
        on_cpu: whether the run takes place on the CPU, asked for or for want of anything else.
        use_cpu: whether it was asked for.
    """
    if fp16 and on_cpu:
        return "fp16: needs a GPU, and this run is on the CPU; set fp16: false and bf16: false"
    if bf16 and on_cpu and not use_cpu:
        return (
            "bf16: there is no GPU here; set use_cpu: true to train on the CPU (bf16: false is float32), or plan for "
            "another machine with --dry_run and --layout or --device_memory"
        )
    return None
