"""A run that changes nothing says so: at once, and as an error at its end."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ExportableState

from attnpo.errors import TrainingError
from attnpo.training.dropped import ALL_RIGHT, ALL_WRONG, EQUAL

log = logging.getLogger(__name__)

SAID = {ALL_WRONG: "all responses wrong", ALL_RIGHT: "all responses right", EQUAL: "equal rewards"}
LOOK = "look at dropped.jsonl and, with save_rollouts, at the responses: verifier, solutions, max_completion_length"


class RunFinished(Exception):
    """There is nothing left to train: the checkpoint that a run goes on from is its last."""


class UpdatesCallback(TrainerCallback, ExportableState):
    """Counts the optimizer steps that had a gradient, and why groups had none.

    Args:
        is_spent: whether the run ends before its last step, for its budget is spent.
        learnt: steps with a gradient that was finite and not zero, of the whole run.
        groups: groups of the run so far.
        dropped: those without an outcome advantage, by reason.
    """

    def __init__(
        self,
        is_spent: Callable[[], bool] = lambda: False,
        learnt: int = 0,
        groups: int = 0,
        dropped: Mapping[str, int] | None = None,
    ) -> None:
        self.is_spent = is_spent
        self.learnt, self.groups, self.dropped = learnt, groups, Counter(dropped or {})

    def state(self) -> dict[str, Any]:
        """Return what transformers writes into the checkpoint."""
        counts = {"learnt": self.learnt, "groups": self.groups, "dropped": dict(self.dropped)}
        return {"args": {}, "attributes": counts}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Go on from the checkpoint's counts; one that has none is taken to have learnt.

        Raises:
            RunFinished: the run has made all its steps; transformers would make one more.
        """
        if state.global_step == 0:
            return
        saved = (state.stateful_callbacks or {}).get(type(self).__name__)
        unknown: dict[str, Any] = {"learnt": 1, "groups": 0, "dropped": {}}
        counts: dict[str, Any] = saved["attributes"] if isinstance(saved, dict) else unknown
        self.learnt, self.groups, self.dropped = counts["learnt"], counts["groups"], Counter(counts["dropped"])
        if state.global_step >= state.max_steps or self.is_spent():
            if state.is_world_process_zero:
                log.warning("the run was finished before, at step %d: nothing is trained", state.global_step)
            raise RunFinished

    def note_groups(self, reasons: Iterable[str | None]) -> None:
        """Count groups, each with why it carries no outcome advantage, None where it carries one."""
        for reason in reasons:
            self.groups += 1
            if reason is not None:
                self.dropped[reason] += 1

    def note_update(self, has_gradient: bool) -> None:
        """Count an optimizer step."""
        self.learnt += has_gradient

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Say at once that the first step had nothing to learn from."""
        if state.global_step == 1 and not self.learnt and state.is_world_process_zero:
            log.warning("step 1: nothing was learnt: no gradient (%s); %s", self._said(), LOOK)

    def check_steps(self, state: TrainerState) -> None:
        """Check that a run that has ended made a step; say it where none had a gradient.

        Raises:
            TrainingError: it made no optimizer step.
        """
        if state.global_step == 0:
            raise TrainingError(
                "no update was made: the data gives no batch; lower gradient_accumulation_steps or "
                "per_device_train_batch_size, or give more problems"
            )
        if not self.learnt and state.is_world_process_zero:
            log.warning("%s", self._no_update(state))

    def check_learnt(self, state: TrainerState) -> None:
        """Check that a run that has ended changed the model.

        Raises:
            TrainingError: no optimizer step had a gradient, so there is nothing to save.
        """
        if not self.learnt:
            raise TrainingError(self._no_update(state))

    def _no_update(self, state: TrainerState) -> str:
        steps = f"{state.global_step} step{'s' if state.global_step > 1 else ''}"
        return (
            f"{steps}, and no update: no step had a gradient that was finite and not zero ({self._said()}); the model "
            f"is what it was; {LOOK}"
        )

    def _said(self) -> str:
        dropped = self.dropped.total()
        reasons = ", ".join(f"{count} {SAID[reason]}" for reason, count in sorted(self.dropped.items()))
        return f"{dropped} of {self.groups} groups without advantage" + (f": {reasons}" if reasons else "")
