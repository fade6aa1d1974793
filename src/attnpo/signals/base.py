"""What a step signal is: it scores the steps of responses, by what is known of them or what a pass says anyway."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Final, Literal

import torch
from torch import Tensor

from attnpo.attention import Head
from attnpo.credit.batches import StepBatch
from attnpo.signals.ranks import ranked_scores

Need = Literal["labels", "log-probabilities", "entropies", "heads", "attention", "hidden states", "probe file"]
IN_A_PASS: Final[tuple[Need, ...]] = ("log-probabilities", "entropies", "heads", "attention", "hidden states")
"""Needs that a forward pass answers; what else a signal reads is known beforehand."""


@dataclass(frozen=True)
class Places:
    """Where in the rows of a forward pass, prompt and response, steps and answers lie.

    Attributes:
        step_index_BL: step of each token, -1 where it belongs to none.
        answer_mask_BL: True on the tokens of the final answer F.
        attention_mask_BL: 0 on padding.
        num_steps: K.
        answer_chunk: most queries whose attention rows are held at once.
    """

    step_index_BL: Tensor
    answer_mask_BL: Tensor
    attention_mask_BL: Tensor
    num_steps: int
    answer_chunk: int = 64


@dataclass(frozen=True)
class Seen:
    """What a signal may score B responses by.

    Attributes:
        step_index_BT: step of each response token, -1 outside the steps.
        step_mask_BK: True where there is a step.
        step_lengths_BK: tokens of each step.
        step_characters_BK: characters of each step.
        answer_lengths_B: tokens |F| of the final answer.
        response_lengths_B: tokens |o| of the response.
        row_ids_B: unique per response of the run; with the signal's seed it decides what is drawn.
        labels_BK: step labels as `attnpo.credit.batches` codes them, where known.
        log_probs_BT: log-probability of each response token, where the signal needs it; 0 on padding or anything.
        entropies_BT: entropy in nats of the distribution that it was drawn from, where the signal needs it.
        reading: what the signal's own `attach` read.
    """

    step_index_BT: Tensor
    step_mask_BK: Tensor
    step_lengths_BK: Tensor
    step_characters_BK: Tensor
    answer_lengths_B: Tensor
    response_lengths_B: Tensor
    row_ids_B: Tensor
    labels_BK: Tensor | None = None
    log_probs_BT: Tensor | None = None
    entropies_BT: Tensor | None = None
    reading: Any = None

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor], **seen: Any) -> Seen:
        """Take what `attnpo.credit.layout` laid out, and what a pass said of it."""
        return cls(
            step_index_BT=tensors["step_index"],
            step_mask_BK=tensors["step_mask"],
            step_lengths_BK=tensors["step_lengths"],
            step_characters_BK=tensors["step_characters"],
            answer_lengths_B=tensors["answer_lengths"],
            response_lengths_B=tensors["response_lengths"],
            row_ids_B=tensors["row_ids"],
            labels_BK=tensors.get("labels"),
            **seen,
        )

    @property
    def owned_BK(self) -> Tensor:
        """(B, K) bool, True for the steps that own at least one token."""
        return self.step_mask_BK.bool() & (self.step_lengths_BK > 0)

    def step_means(self, values_BT: Tensor) -> Tensor:
        """Return (B, K) float32 means of token values over each step; 0 where it owns no token."""
        place_BT = self.step_index_BT.long() + 1  # place 0 takes what lies outside the steps
        sums_BK1 = values_BT.new_zeros((len(values_BT), self.step_mask_BK.shape[1] + 1), dtype=torch.float32)
        sums_BK1.scatter_add_(1, place_BT, torch.where(place_BT > 0, values_BT.float(), 0.0))
        return sums_BK1[:, 1:] / self.step_lengths_BK.clamp(min=1)


class Signal:
    """A way to score steps: the higher, the more a step deserves to be kept. No row's score depends on another row.

    `rule` is how discovery calls a ranking that a head set has to beat before it counts as proven.
    """

    name: str = "own"  # as it was asked for, where `build_signal` made it
    seed: int = 0  # of what it draws
    paper: ClassVar[str] = "not published"
    arxiv: ClassVar[str | None] = None
    source: ClassVar[str] = "this project"  # where the formula was read off
    formula: ClassVar[str] = "see its docstring"  # in a line
    needs: ClassVar[tuple[Need, ...]] = ()  # beside the steps themselves
    extra_cost: ClassVar[str] = "none"  # beside the pass that is made anyway
    rule: ClassVar[str | None] = None
    own_scale: ClassVar[bool] = False  # its scores are on the scale of Eq. 6; else credit takes their order alone

    def __init__(self, heads: Sequence[Head] = ()) -> None:
        self.heads = heads  # a chosen head set; few signals look at it

    @property
    def is_read_in_a_pass(self) -> bool:
        """Whether a forward pass has to be looked at: for what it needs, or because it attaches something."""
        return any(need in IN_A_PASS for need in self.needs) or type(self).attach is not Signal.attach

    def check(self, model: Any) -> None:
        """Raise `UnsupportedModelError` where the model lacks what is read of a pass."""

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read, inside one forward pass of `model`, what `score` finds as `Seen.reading`."""
        return nullcontext()

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) scores; NaN leaves a step alone, and what stands where no step is does not count."""
        raise NotImplementedError

    @torch.no_grad()
    def credit_scores(self, seen: Seen) -> Tensor:
        """Return (B, K) float32 scores on the scale of Eq. 6, which PA and NA hold against S_base."""
        return self.for_credit(self.score(seen), seen)

    def for_credit(self, scores_BK: Tensor, steps: Seen | StepBatch) -> Tensor:
        """Return a signal's scores as credit takes them: as they are, or their ranks (`ranked_scores`)."""
        if self.own_scale:
            return torch.where(steps.owned_BK, scores_BK.float(), 0.0)
        lengths = (steps.answer_lengths_B, steps.response_lengths_B)
        return ranked_scores(scores_BK, steps.step_lengths_BK, steps.owned_BK, *lengths)
