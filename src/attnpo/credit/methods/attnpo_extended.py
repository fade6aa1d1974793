"""AttnPO with options of this project's own; without them, AttnPO."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.options import (
    FIRST_ERROR,
    OptionSettings,
    redistribute,
    relative_scores,
    strengthen,
    treat_incorrect,
)
from attnpo.credit.rescaling import step_gamma
from attnpo.errors import ConfigError
from attnpo.loading import load_function
from attnpo.rollouts import Rollout, Span, prompt_text


class ErrorFinder(Protocol):
    """Says which step of a wrong response is the first wrong one.

    The number of steps where the error stands behind them, None where it is not known.
    """

    def __call__(self, question: str, response: str, steps: Sequence[Span]) -> int | None:
        """Return its number; `steps` are character spans of `response`."""
        ...


class AttnPOExtended(AttnPO):
    """Eq. 5-8 with another bar, a stronger PA, credit for incorrect responses, or credit that keeps its sum."""

    name = "attnpo_extended"
    paper = "AttnPO, extended"
    source = "this project"
    formula = "AttnPO, then by choice: bar = mean score; 1 - strength (1 - gamma); incorrect ones too; sum kept"
    settings_type = OptionSettings
    settings: OptionSettings

    @cached_property
    def error_finder(self) -> ErrorFinder:
        """What finds the first wrong step.

        Raises:
            ConfigError: none is named, or there is none of that name.
        """
        if not self.settings.error_finder:
            raise ConfigError(
                "error_finder: before_error asks what finds a first wrong step; name "
                "attnpo.tinyworld.oracle:first_error or attnpo.gsmworld.oracle:first_error (equations that do not "
                "hold), or a module:function of your own"
            )
        return load_function(self.settings.error_finder, "error_finder", ("question", "response", "steps"))

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Load what finds errors, where it is asked."""
        super().check(max_length, group_size, verifier)
        if self.settings.incorrect_credit == "before_error":
            _ = self.error_finder

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Note the first wrong step, where that matters."""
        noted = super().facts(rollout, ask)
        if self.settings.incorrect_credit != "before_error":
            return noted
        spans = [step.chars for step in rollout.steps]
        found = self.error_finder(prompt_text(rollout.prompt), rollout.response, spans)
        return noted | {FIRST_ERROR: -1.0 if found is None else float(found)}

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors by Eq. 5-8 and the options; from `attenuation_floor` to `gamma_ceiling`."""
        own = self.settings
        scores_BK = relative_scores(self.step_scores(steps), steps, own)
        gamma_BK = strengthen(step_gamma(scores_BK, steps, own), steps, own)
        return redistribute(treat_incorrect(gamma_BK, scores_BK, steps, own), scores_BK, steps, own)
