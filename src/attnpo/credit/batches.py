"""What credit is computed from: groups of verified responses, and the scored steps of responses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from torch import Tensor

from attnpo.rollouts import StepLabel

UNDECIDED: Final = 0
ESSENTIAL: Final = 1
REDUNDANT: Final = 2
LABEL_CODES: Final[dict[StepLabel, int]] = {
    "undecided": UNDECIDED,
    "essential": ESSENTIAL,
    "redundant": REDUNDANT,
}
"""Codes of the step labels in `StepBatch.labels_BK`."""


@dataclass(frozen=True)
class GroupBatch:
    """Whole groups of verified responses.

    The verdict alone decides what a response earns: an unfinished one that was judged correct is a correct
    response of the length at which it was cut (in practice it never closed its think part and is judged
    incorrect).

    Attributes:
        correct_PG: (P, G) bool, the verdicts.
        lengths_PG: (P, G) integer, response lengths |o| in tokens, end token included.
        finished_PG: (P, G) bool, False where the token limit cut the response.
        progress_step: optimizer step t, counted from 0.
        max_length: limit on a response in tokens, where known.
        answered_PG: (P, G) bool, True where a final answer follows the think part; where unknown, `finished_PG`
            stands in.
        group_ids_P: (P,) integer, number of each group within the run; seeds what a method draws for it.
        facts: by name (P, G) float32, what the method noted of each response (`Method.facts`, `sample`, `probe`).
        steps: the P * G responses with their steps, group after group, for methods that judge by them
            (`Method.judges_steps`); their advantages are not known yet and 0.
    """

    correct_PG: Tensor
    lengths_PG: Tensor
    finished_PG: Tensor
    progress_step: int = 0
    max_length: int | None = None
    answered_PG: Tensor | None = None
    group_ids_P: Tensor | None = None
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    steps: StepBatch | None = None

    @property
    def pass_rate_P(self) -> Tensor:
        """(P,) float32, share p of each group that is correct."""
        return self.correct_PG.float().mean(dim=1)


@dataclass(frozen=True)
class StepBatch:
    """The steps of B responses, padded to K steps; no row's credit depends on another row.

    Attributes:
        scores_BK: (B, K) step scores S(s_k) (Eq. 2); read only by methods with `needs_scores`.
        step_mask_BK: (B, K) bool, True where there is a step.
        step_lengths_BK: (B, K) integer, tokens of each step. A step that owns no token is no step here.
        answer_lengths_B: (B,) integer, tokens |F| of the final answer; 0 where there is none.
        response_lengths_B: (B,) integer, tokens |o| of the response, end token included.
        prompt_lengths_B: (B,) integer, tokens of the prompt.
        advantages_B: (B,) outcome advantages A_i (Eq. 4).
        correct_B: (B,) bool, the verdicts.
        pass_rate_B: (B,) pass rate p of the response's group, in [0, 1].
        progress_step: optimizer step t, counted from 0.
        row_ids_B: (B,) int64, unique per response of the run; seeds what a method draws for it.
        labels_BK: (B, K) integer, `UNDECIDED`, `ESSENTIAL` or `REDUNDANT`, where labels are known.
        facts: by name (B, ...) float32, what the method noted of each response or of its group.
        step_values: by name (B, K) float32, what it noted of each step; 0 where there is none.
        token_values: by name (B, T) float32, what it noted of each response token; 0 on padding.
        step_starts_BK: (B, K) integer, place of each step's first token in the response, where known.
    """

    scores_BK: Tensor
    step_mask_BK: Tensor
    step_lengths_BK: Tensor
    answer_lengths_B: Tensor
    response_lengths_B: Tensor
    prompt_lengths_B: Tensor
    advantages_B: Tensor
    correct_B: Tensor
    pass_rate_B: Tensor
    progress_step: int
    row_ids_B: Tensor
    labels_BK: Tensor | None = None
    facts: Mapping[str, Tensor] = field(default_factory=dict)
    step_values: Mapping[str, Tensor] = field(default_factory=dict)
    token_values: Mapping[str, Tensor] = field(default_factory=dict)
    step_starts_BK: Tensor | None = None

    @property
    def owned_BK(self) -> Tensor:
        """(B, K) bool, True for the steps that own at least one token."""
        return self.step_mask_BK.bool() & (self.step_lengths_BK > 0)

    @property
    def comparable_BK(self) -> Tensor:
        """(B, K) bool, True for the steps that may be told apart: those of responses with two or more and an answer.

        Without a final answer there is no attention from it to go by.
        """
        owned_BK = self.owned_BK
        return owned_BK & ((owned_BK.sum(dim=1) >= 2) & (self.answer_lengths_B > 0))[:, None]

    @property
    def rescalable_BK(self) -> Tensor:
        """(B, K) bool, True for the steps that Eq. 5-8 may rescale: comparable ones of correct responses."""
        return self.comparable_BK & self.correct_B.bool()[:, None]
