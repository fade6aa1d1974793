"""Says as soon as it shows that a model does not think, or never ends its thinking."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from attnpo.collecting.groups import failure_of
from attnpo.markers import FAMILIES, family_of
from attnpo.rollouts import Rollout
from attnpo.think import THINK_CLOSE, THINK_OPEN, final_answer

ENOUGH = 8
"""Finished responses after which a run that has been all of one kind is told so."""

logger = logging.getLogger(__name__)


class ThinkWatch:
    """Counts the think parts of a run's responses, and warns once of what leaves the run without effect.

    Attributes:
        responses: responses seen.
        thinking: those with a think part.
    """

    def __init__(self) -> None:
        self.responses = self.thinking = 0
        self._finished = self._finished_thinking = self._closed = 0
        self._said = False
        self._family: str | None = None

    def add(self, rollouts: Iterable[Rollout]) -> None:
        """Count segmented responses but for those that came to nothing; warn where enough of them are of one kind."""
        for rollout in (rollout for rollout in rollouts if failure_of(rollout) is None):
            self.responses += 1
            self.thinking += rollout.has_think_part
            self._family = self._family or family_of(rollout.response)
            if rollout.finished:
                self._finished += 1
                self._finished_thinking += rollout.has_think_part
                self._closed += rollout.has_think_part and final_answer(rollout.full_text) is not None
        if self._finished >= ENOUGH:
            self._warn()

    def end(self) -> None:
        """Say how many responses thought; warn of what too few were seen to warn of before."""
        self._warn()
        if not self._said and self.responses and self.thinking == self.responses:
            logger.info("all %d responses have a think part", self.responses)
        elif not self._said and self.thinking < self.responses:
            logger.warning(
                "%d of %d responses have a think part; the others count as answers from their first character on, "
                "without steps",
                self.thinking,
                self.responses,
            )

    def _warn(self) -> None:
        if self._said or not self._finished:
            return
        if not self.thinking and self._family is not None:
            self._said = True
            logger.warning(
                "none of the first %d responses has a think part: the model opens its thinking with %s, so each counts "
                "as an answer from its first character on; --markers %s reads it. A server that parts thinking from "
                "answer (reasoning_content) is understood too: --engine server --api chat",
                self.responses,
                FAMILIES[self._family].opens,
                self._family,
            )
        elif not self.thinking:
            self._said = True
            logger.warning(
                "none of the first %d responses has a think part: neither the prompt nor the model opens one with %s, "
                "so each counts as an answer from its first character on, and there are no steps to score or credit. "
                "If it is a reasoning model, let the prompt open the think part: --opening '%s\\n', or the chat "
                "template that it was trained with, its thinking switched on (Qwen3: enable_thinking true, no "
                "opening); if it is none, `attnpo coldstart` makes one of it",
                self.responses,
                THINK_OPEN,
                THINK_OPEN,
            )
        elif self._finished_thinking == self._finished and not self._closed:
            self._said = True
            logger.warning(
                "none of the first %d finished responses closes its think part with %s, so none has an answer and all "
                "count as wrong. If the model does not think, let the prompt close what it opens: "
                "--opening '%s\\n\\n', or a chat template without %s; if it does, give the template that it was "
                "trained with",
                self._finished,
                THINK_CLOSE,
                THINK_CLOSE,
                THINK_OPEN,
            )
