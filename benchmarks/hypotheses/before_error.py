"""Credit for wrong responses: what stands before the first wrong step is not punished (a bound, by the truth)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final, Protocol

import torch
from torch import Tensor

from attnpo.credit import Ask, CreditSettings, StepBatch
from attnpo.credit.checks import SHARE, TEXT, setting
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.errors import ConfigError, DataError
from attnpo.loading import load_function
from attnpo.rollouts import Rollout, Span, prompt_text

FIRST_ERROR: Final = "first_error"
"""Fact: the first step of a response that states something wrong; the number of its steps where the error stands
behind them, -1 where it is not known."""


class ErrorFinder(Protocol):
    """Says which step of a wrong response is the first wrong one.

    The number of steps where the error stands behind them, None where it is not known.
    """

    def __call__(self, question: str, response: str, steps: Sequence[Span]) -> int | None:
        """Return its number; `steps` are character spans of `response`."""
        ...


@dataclass(frozen=True)
class BeforeErrorSettings(CreditSettings):
    """AttnPO's settings, what finds errors, and what is left of the blame before them."""

    error_finder: str = setting(
        "",
        TEXT,
        "What finds the first wrong step: module:function from question, response and steps (character spans) to its "
        "number, the number of steps where the error stands behind them, or none where it is not known.",
    )
    spared_gamma: float = setting(0.0, SHARE, "The factor of the steps before the first wrong one.")


class BeforeError(AttnPO):
    """AttnPO, and in wrong responses no blame for what stands before the first wrong step.

    Where the error stands behind the steps, nothing in them is to blame and all are spared, but for a response without
    an answer: what is wrong with it is that it went on, in which every step had its share. Where the error is not known
    nothing is spared. Responses without punishment stay as they are.
    """

    name = "before_error"
    paper = "no blame before the first error"
    source = "this project"
    formula = "AttnPO; wrong responses with A < 0: gamma = spared_gamma for steps before the first wrong one"
    settings_type = BeforeErrorSettings
    settings: BeforeErrorSettings

    @cached_property
    def error_finder(self) -> ErrorFinder:
        """What finds the first wrong step.

        Raises:
            ConfigError: none is named, or there is none of that name.
        """
        if not self.settings.error_finder:
            raise ConfigError(
                "error_finder: method 'before_error' asks what finds a first wrong step; name "
                "attnpo.tinyworld.oracle:first_error or attnpo.gsmworld.oracle:first_error (equations that do not "
                "hold), or a module:function of your own"
            )
        return load_function(self.settings.error_finder, "error_finder", ("question", "response", "steps"))

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Load what finds errors."""
        super().check(max_length, group_size, verifier)
        _ = self.error_finder

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Note the first wrong step."""
        spans = [step.chars for step in rollout.steps]
        found = self.error_finder(prompt_text(rollout.prompt), rollout.response, spans)
        return super().facts(rollout, ask) | {FIRST_ERROR: -1.0 if found is None else float(found)}

    @torch.no_grad()
    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors.

        Raises:
            DataError: the first wrong steps are not given.
        """
        if FIRST_ERROR not in steps.facts:
            raise DataError(f"method {self.name}: needs the fact first_error, which the responses lack")
        first_B = steps.facts[FIRST_ERROR]
        blamed_B = ~steps.correct_B.bool() & (steps.advantages_B < 0)
        in_steps_B = first_B < steps.step_mask_BK.sum(dim=1)
        before_BK = torch.arange(steps.step_mask_BK.shape[1], device=first_B.device) < first_B[:, None]
        spared_BK = before_BK & steps.owned_BK & (in_steps_B | (steps.answer_lengths_B > 0))[:, None]
        return super().gamma(steps).masked_fill(spared_BK & blamed_B[:, None], self.settings.spared_gamma)
