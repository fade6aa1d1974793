"""Rows of methods at several strengths, and a plan to compare them by."""

from __future__ import annotations

from dataclasses import replace

from reproduced import trained_row

from attnpo.evaluation.comparison import Bootstrap
from attnpo.frontier_plan import FrontierPlan

PLAN = FrontierPlan(
    against=("tlmre", "truncation"),
    at_tokens=(120, 110),
    primary=110,
    at_accuracy=(0.6,),
    margin=0.05,
    target={"tokens": 125, "accuracy": 0.5},
)
FAMILY = ["tlmre", "attnpo", "truncation", "lcr1"]
FEW = Bootstrap(n_resamples=300)


def strengths(path, name, dials, seeds=(1, 2, 3), group="main", control_of=""):
    """One row a strength: (strength, better, shorter)."""
    return [
        replace(
            trained_row(path, f"{name}-{strength}", seeds, better, shorter, group),
            curve=name,
            strength=strength,
            control_of=control_of,
        )
        for strength, better, shorter in dials
    ]
