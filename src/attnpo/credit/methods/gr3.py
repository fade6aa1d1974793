"""GR3: the reward times a factor of the response's length relative to its group's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, POSITIVE, SHARE, SWITCH, TOKENS, Allowed, optional, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import GRPOSettings, MethodSettings
from attnpo.errors import ConfigError

_ROUNDING: Final = 1e-12
_STRENGTHS = Allowed(
    "a list of numbers above 0",
    lambda value: isinstance(value, tuple) and bool(value) and all(map(POSITIVE.holds, value)),
)


@dataclass(frozen=True)
class GR3Settings(GRPOSettings):
    """Settings of GR3."""

    alpha: float | None = setting(
        None,
        optional(AT_LEAST_0, "the calibrated one"),
        "Strength of the factor 1 / (1 + alpha L / mean L). Calibration gave the paper 0.33 for maths and code; public "
        "code sets that.",
    )
    candidates: tuple[float, ...] = setting(
        (0.033, 0.1, 0.2, 0.33, 0.5, 1.0, 1.5), _STRENGTHS, "Values of alpha that calibration chooses from."
    )
    satisfied: float = setting(
        0.999, SHARE, "Share of groups in which a right response of mean length has to keep a non-negative advantage."
    )
    calibration_steps: int = setting(
        8,
        TOKENS,
        "Optimizer steps of plain GRPO that calibration watches (published: a short phase; 8 steps of 128 prompts are "
        "the fewest in which one group is less than 0.1 %).",
    )
    drop_solved: bool = setting(True, SWITCH, "Give groups without a wrong response no credit (published: yes).")


class GR3(Method):
    """r = 1[correct] / (1 + alpha L / mean L), mean over all responses of the group; GRPO (arXiv 2603.10535).

    Nothing is added, so no length earns what a right answer does not. Calibration (section 3.3, Eq. 16): alpha is the
    largest candidate with which a right response of mean length would have stood at or above its group's mean reward,
    1 / (1 + alpha) >= mean r, in 99.9 % of the groups of the run's first steps, which earn the plain outcome; the least
    candidate where none does. Groups of one verdict do not count: where all are right it cannot hold (Jensen), so these
    get no credit (appendix C.2), where all are wrong it says nothing. Candidates are those of figure 4. Once chosen,
    alpha stays.

    Published with 16 responses of at most 16,384 tokens to 128 prompts, temperature 1, no KL, learning rate 2e-6.
    Public code (prime-rl) is `alpha` 0.33 and `scale_advantages` off. `attnpo gradients` gives each batch credit by
    itself, without earlier groups to calibrate on, and leaves GR3 out unless an alpha is named.
    """

    name = "gr3"
    paper = "GR3"
    arxiv = "2603.10535"
    source = "the paper"
    formula = "r = 1[correct] / (1 + alpha L / mean L), largest alpha with 1 / (1 + alpha) >= mean r in 99.9 %; GRPO"
    settings_type = GR3Settings
    settings: GR3Settings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        """Begin without groups."""
        super().__init__(settings)
        self.chosen: float | None = None
        self.groups = 0
        self.held = [0] * len(self.settings.candidates)

    @property
    def alpha(self) -> float:
        """What holds now: 0 while calibration watches."""
        fixed = self.settings.alpha
        return fixed if fixed is not None else self.chosen or 0.0

    @property
    def learns_from_groups(self) -> bool:
        """Whether alpha is calibrated."""
        return self.settings.alpha is None or type(self).observe is not GR3.observe

    def observe(self, groups: GroupBatch) -> None:
        """Count the groups in which the condition would hold; choose alpha once the first steps are over.

        The steps go on until a group counts.
        """
        if self.settings.alpha is not None or self.chosen is not None:
            return
        is_over = groups.progress_step >= self.settings.calibration_steps
        if not (is_over and self.groups):
            held_PM = keeps_typical(groups, self.settings.candidates)[~one_verdict(groups)]
            self.groups += len(held_PM)
            self.held = [old + new for old, new in zip(self.held, held_PM.sum(dim=0).tolist(), strict=True)]
        if is_over and self.groups:
            counted = zip(self.settings.candidates, self.held, strict=True)
            fit = [alpha for alpha, held in counted if held >= self.settings.satisfied * self.groups]
            self.chosen = max(fit, default=min(self.settings.candidates))

    def state_dict(self) -> dict[str, Any]:
        """Return alpha, or what was counted so far."""
        return {
            "alpha": self.chosen,
            "candidates": list(self.settings.candidates),
            "groups": self.groups,
            "held": self.held,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`.

        Raises:
            ConfigError: it counted for other candidates.
        """
        if tuple(state["candidates"]) != self.settings.candidates:
            raise ConfigError(f"method {self.name}: the checkpoint counted for other values of alpha; keep candidates")
        self.chosen, self.groups, self.held = state["alpha"], state["groups"], list(state["held"])

    def metrics(self) -> dict[str, float]:
        """Return alpha."""
        return {"length_alpha": self.alpha}

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1]."""
        return outcome_rewards(groups.correct_PG) / (1 + self.alpha * relative_lengths(groups).float())

    @torch.no_grad()
    def select(self, rewards_PG: Tensor, groups: GroupBatch) -> Tensor | None:
        """Return (P, G) bool, without the groups that are all right."""
        if not self.settings.drop_solved:
            return None
        return (~groups.correct_PG.bool().all(dim=1, keepdim=True)).expand_as(groups.correct_PG)


def relative_lengths(groups: GroupBatch) -> Tensor:
    """Return (P, G) float64 lengths over their group's mean."""
    lengths_PG = groups.lengths_PG.double()
    return lengths_PG / lengths_PG.mean(dim=1, keepdim=True)


def one_verdict(groups: GroupBatch) -> Tensor:
    """Return (P,) bool, True for the groups that are all right or all wrong."""
    correct_PG = groups.correct_PG.bool()
    return correct_PG.all(dim=1) | ~correct_PG.any(dim=1)


@torch.no_grad()
def keeps_typical(groups: GroupBatch, strengths: Sequence[float]) -> Tensor:
    """Return (P, M) bool, in which groups a right response of mean length stands at or above the mean reward (Eq. 16).

    What holds with one strength holds with every smaller one. Equal but for rounding counts as equal.

    Args:
        groups: the groups, with at least one right response each.
        strengths: the M values of alpha.
    """
    alpha_M = torch.tensor(strengths, dtype=torch.float64, device=groups.lengths_PG.device)
    factors_PGM = 1 / (1 + alpha_M * relative_lengths(groups)[..., None])
    mean_PM = (factors_PGM * groups.correct_PG[..., None]).mean(dim=1)
    return 1 / (1 + alpha_M) >= mean_PM - _ROUNDING
