"""LASER-D: a target length per tier of pass rate, adapted to what the model does now."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import TOKENS, setting
from attnpo.credit.methods.laser import LaserRewardSettings, StepReward
from attnpo.errors import ConfigError

TIERS: Final = ("low", "medium", "high")
"""Tiers of the pass rate: below 1/3, from 1/3 on, from 2/3 on."""


@dataclass(frozen=True)
class LaserDSettings(LaserRewardSettings):
    """Settings of LASER-D and LASER-DE."""

    grid_start: int = setting(4096, TOKENS, "Least target length in tokens (published runs: 1,024, 2,048 and 4,096).")
    grid_step: int = setting(1024, TOKENS, "Distance of the target lengths that are tried, in tokens.")
    monitor_steps: int = setting(20, TOKENS, "Optimizer steps from one choice of target lengths to the next.")


@dataclass(frozen=True)
class TargetLengths:
    """What LASER-D knows from one step to the next.

    Attributes:
        targets: chosen target length of each tier in tokens; None is the response limit.
        next_choice: optimizer step at which they are chosen anew.
        lengths: the grid of target lengths in tokens; empty before the first groups.
        responses: per tier, responses seen since the last choice.
        covered: per tier and length of the grid, how many of them are no longer than that.
    """

    targets: tuple[int | None, ...] = (None,) * len(TIERS)
    next_choice: int = 0
    lengths: tuple[int, ...] = ()
    responses: tuple[int, ...] = (0,) * len(TIERS)
    covered: tuple[tuple[int, ...], ...] = ((),) * len(TIERS)


class LaserD(StepReward):
    """LASER's reward with a target length for each tier of pass rate: >= 2/3, from 1/3, < 1/3 (arXiv 2505.15612).

    Official code, one thing apart. Every `monitor_steps` optimizer steps (first at step 0) each tier gets the
    smallest length of a grid that still covers one correct response a prompt: with c the share of the tier's
    responses, right or wrong, that are no longer, c * n >= 1, where n is the least number of correct ones among G
    (floor(2G/3), floor(G/3), 1). A tier that no length satisfies, or without responses, gets the response limit.
    The official code samples 500 monitor prompts each time; here the training groups since the last choice, the
    current ones included, stand in for them, which costs no token.
    """

    name = "laser_d"
    paper = "LASER-D"
    arxiv = "2505.15612"
    source = "official code"
    formula = "LASER with L_T per pass-rate tier: smallest grid length that covers one correct response"
    extra_tokens = "none: training groups of the last 20 steps stand in for 500 monitor prompts"
    settings_type = LaserDSettings
    settings: LaserDSettings
    state: TargetLengths = TargetLengths()

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a grid that lies above every response."""
        if self.settings.grid_start > max_length:
            raise ConfigError(
                f"grid_start: {self.settings.grid_start} is above the response limit of {max_length} tokens, so every "
                "correct response would earn the bonus; set it and grid_step lower"
            )

    def observe(self, groups: GroupBatch) -> None:
        """Count the groups' lengths by tier; choose target lengths anew where it is time.

        Raises:
            ConfigError: the state it goes on from has another grid.
            DataError: the response limit is not given.
        """
        lengths = grid(self.settings, self.known(groups.max_length, "the response limit"))
        if self.state.lengths not in ((), lengths):
            raise ConfigError(
                f"method {self.name}: the checkpoint counted on other target lengths; keep grid_start, grid_step and "
                "max_completion_length"
            )
        self.state = observed(self.state, groups, lengths)
        if groups.progress_step >= self.state.next_choice:
            targets = chosen(self.state, groups.correct_PG.shape[1])
            self.state = TargetLengths(targets, groups.progress_step + self.settings.monitor_steps)

    def state_dict(self) -> dict[str, Any]:
        """Return target lengths and counts as JSON values."""
        return asdict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.state = TargetLengths(
            targets=tuple(state["targets"]),
            next_choice=state["next_choice"],
            lengths=tuple(state["lengths"]),
            responses=tuple(state["responses"]),
            covered=tuple(tuple(row) for row in state["covered"]),
        )

    def metrics(self) -> dict[str, float]:
        """Return the target lengths of the tiers that have one below the response limit."""
        named = zip(TIERS, self.state.targets, strict=True)
        return {f"target_length/{tier}": float(target) for tier, target in named if target is not None}

    @torch.no_grad()
    def target_lengths(self, groups: GroupBatch) -> Tensor:
        """Return (P, 1) the target length of each group's tier."""
        limit = self.known(groups.max_length, "the response limit")
        targets = groups.lengths_PG.new_tensor([limit if target is None else target for target in self.state.targets])
        return targets[tiers(groups.correct_PG)][:, None]


@torch.no_grad()
def tiers(correct_PG: Tensor) -> Tensor:
    """Return (P,) int64 indices into `TIERS`."""
    size, count_P = correct_PG.shape[1], correct_PG.long().sum(dim=1)
    return (3 * count_P >= size).long() + (3 * count_P >= 2 * size).long()


def grid(settings: LaserDSettings, limit: int) -> tuple[int, ...]:
    """Return the lengths that are tried, in rising order, none above the response limit."""
    lengths = range(settings.grid_start, limit + settings.grid_step, settings.grid_step)
    return tuple(sorted({min(length, limit) for length in lengths}))


@torch.no_grad()
def observed(state: TargetLengths, groups: GroupBatch, lengths: tuple[int, ...]) -> TargetLengths:
    """Return the state with the groups' responses counted."""
    tiers_P = tiers(groups.correct_PG)
    responses, covered = [], []
    for tier in range(len(TIERS)):
        lengths_M = groups.lengths_PG[tiers_P == tier].flatten()
        within = (lengths_M[:, None] <= lengths_M.new_tensor(lengths)).sum(dim=0).tolist()
        before = state.covered[tier] or (0,) * len(lengths)
        responses.append(state.responses[tier] + lengths_M.numel())
        covered.append(tuple(old + new for old, new in zip(before, within, strict=True)))
    return TargetLengths(state.targets, state.next_choice, lengths, tuple(responses), tuple(covered))


def chosen(state: TargetLengths, group_size: int) -> tuple[int | None, ...]:
    """Return each tier's smallest length that covers one correct response a prompt; None is the response limit."""
    least_correct = (1, group_size // 3, 2 * group_size // 3)
    targets: list[int | None] = []
    for count, responses, covered in zip(least_correct, state.responses, state.covered, strict=True):
        fits = [
            n for n, within in zip(state.lengths, covered, strict=True) if responses and within * count >= responses
        ]
        targets.append(fits[0] if fits else None)
    return tuple(targets)
