"""The list."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attnpo.training.checks.data import check_counts, check_prompts, check_stream
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.machine import (
    check_devices,
    check_output,
    check_packages,
    check_reporters,
    check_resume,
    check_upload,
)
from attnpo.training.checks.model import check_model, check_signal, check_tokenizer, check_weights
from attnpo.training.checks.parts import RunParts
from attnpo.training.checks.settings import (
    check_callbacks,
    check_checkpoint_sampling,
    check_choices,
    check_evaluation,
    check_layout,
    check_rewards,
    check_sampling,
    check_schedule,
)
from attnpo.training.checks.vllm import check_vllm

CHECKS: Final[tuple[Callable[[RunParts, Findings], None], ...]] = (
    check_choices,
    check_sampling,
    check_checkpoint_sampling,
    check_evaluation,
    check_callbacks,
    check_rewards,
    check_schedule,
    check_layout,
    check_devices,
    check_packages,
    check_vllm,
    check_reporters,
    check_upload,
    check_output,
    check_resume,
    check_stream,
    check_prompts,
    check_tokenizer,
    check_weights,
    check_model,
    check_signal,
    check_counts,
)
"""Every check of a run; a new one is a function in this room and a line here."""


def examine(parts: RunParts, findings: Findings | None = None) -> Findings:
    """Make every check and return what was found.

    Args:
        parts: what the run is made of.
        findings: what was found before; it is added to.
    """
    findings = Findings() if findings is None else findings
    for check in CHECKS:
        check(parts, findings)
    return findings
