"""LASER-DE: LASER-D that also rewards wrong responses for going on looking."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch
from attnpo.credit.methods.laser_d import LaserD
from attnpo.credit.repetition import is_repetitive
from attnpo.rollouts import Rollout

REPETITIVE: Final = "repetitive"
"""Fact: 1 where the response goes round in circles."""


class LaserDE(LaserD):
    """LASER-D, plus 0.5 for a wrong answer longer than its target that does not repeat itself (arXiv 2505.15612).

    Official code. A response without a final answer gets no such bonus. What counts as repeating is the official
    rule (`attnpo.credit.repetition`).
    """

    name = "laser_de"
    paper = "LASER-DE"
    formula = "LASER-D; + 0.5 too if wrong, answered, L > L_T and not repetitive"

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return whether the response repeats itself."""
        return {REPETITIVE: float(is_repetitive(rollout.response_ids))}

    @torch.no_grad()
    def earns_bonus(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) bool: correct and short, or wrong, long and exploring."""
        repetitive_PG = self.known(groups.facts.get(REPETITIVE), "what response repeats itself")
        answered_PG = groups.finished_PG if groups.answered_PG is None else groups.answered_PG
        long_PG = groups.lengths_PG > self.target_lengths(groups)
        exploring_PG = ~groups.correct_PG.bool() & answered_PG.bool() & long_PG & ~repetitive_PG.bool()
        return super().earns_bonus(groups) | exploring_PG
