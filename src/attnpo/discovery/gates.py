"""The probing set: which of the model's own responses heads are judged on (AttnPO, Key-Focus Heads)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from attnpo.rollouts import Rollout


class GateCounts(BaseModel):
    """How many responses were sampled, how many each gate dropped, how many are left.

    Gates stand in the order of the fields and a response counts at the first one that drops it, so
    `sampled` = all the others together.
    """

    model_config = ConfigDict(frozen=True)

    sampled: int = 0
    incorrect: int = 0
    unfinished: int = 0
    low_pass_rate: int = 0
    too_few_steps: int = 0
    no_answer: int = 0
    unlabelled: int = 0
    no_pair: int = 0
    kept: int = 0

    def sentence(self) -> str:
        """Return the counts in words."""
        return (
            f"{self.sampled} responses sampled: {self.incorrect} incorrect, {self.unfinished} unfinished, "
            f"{self.low_pass_rate} to problems with a low pass rate, {self.too_few_steps} with too few steps, "
            f"{self.no_answer} without a final answer to read attention from, {self.unlabelled} that got no labels, "
            f"{self.no_pair} without an essential and a redundant step, {self.kept} kept"
        )


def failed_gate(rollout: Rollout, min_pass_rate: float, min_steps: int) -> str | None:
    """Return the first gate before labelling that drops the response, None if it passes them all."""
    if not rollout.correct:
        return "incorrect"
    if not rollout.finished:
        return "unfinished"
    if rollout.pass_rate is None or rollout.pass_rate < min_pass_rate:
        return "low_pass_rate"
    if len(rollout.steps) < min_steps:
        return "too_few_steps"
    if rollout.answer_tokens[1] <= rollout.answer_tokens[0]:
        return "no_answer"
    return None


def has_pair(rollout: Rollout) -> bool:
    """Return whether the response has both an essential and a redundant step that own tokens."""
    labels = {step.label for step in rollout.steps if step.tokens[1] > step.tokens[0]}
    return {"essential", "redundant"} <= labels


@dataclass
class Gates:
    """Counts responses at the gates as they pass; the gates before labelling first, then those after it."""

    min_pass_rate: float
    min_steps: int
    _counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(GateCounts.model_fields, 0))

    def before_labels(self, rollouts: Iterable[Rollout]) -> list[Rollout]:
        """Return the responses that are worth a label."""
        kept = []
        for rollout in rollouts:
            self._counts["sampled"] += 1
            gate = failed_gate(rollout, self.min_pass_rate, self.min_steps)
            if gate is None:
                kept.append(rollout)
            else:
                self._counts[gate] += 1
        return kept

    def after_labels(self, rollouts: Iterable[Rollout]) -> list[Rollout]:
        """Return the responses that have a pair to rank."""
        kept = []
        for rollout in rollouts:
            if any(step.label is None for step in rollout.steps):
                self._counts["unlabelled"] += 1
            elif not has_pair(rollout):
                self._counts["no_pair"] += 1
            else:
                kept.append(rollout)
        self._counts["kept"] += len(kept)
        return kept

    @property
    def counts(self) -> GateCounts:
        """The counts so far."""
        return GateCounts(**self._counts)


def probing_set(rollouts: Iterable[Rollout], min_pass_rate: float, min_steps: int) -> tuple[list[Rollout], GateCounts]:
    """Return the labelled responses that pass every gate, and the counts at each."""
    gates = Gates(min_pass_rate, min_steps)
    kept = gates.after_labels(gates.before_labels(rollouts))
    return kept, gates.counts
