"""Key-Focus Heads: the answer's attention to the step (AttnPO, Eq. 1 and 2)."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from torch import Tensor

from attnpo.attention import check_readable, ensemble_scores, read_step_scores
from attnpo.signals.base import Need, Places, Seen, Signal


class EachHead(Signal):
    """What the step's tokens receive from the whole answer, head by head (Eq. 1): not a score, but read as one."""

    name = "each_head"
    needs: ClassVar[tuple[Need, ...]] = ("heads",)

    def check(self, model: Any) -> None:
        """Check that the layers of the heads have attention that can be read."""
        check_readable(model, self.heads)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read the heads."""
        return read_step_scores(
            model,
            self.heads,
            places.step_index_BL,
            places.answer_mask_BL,
            attention_mask_BL=places.attention_mask_BL,
            num_steps=places.num_steps,
            answer_chunk=places.answer_chunk,
        )

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K, N) step scores of the N heads."""
        scores_BKN: Tensor = seen.reading.scores_BKN
        return scores_BKN


class Heads(EachHead):
    """What the step's tokens receive from the whole answer, averaged over them and over a few chosen heads."""

    name = "heads"
    paper = "AttnPO"
    arxiv: ClassVar[str | None] = "2602.09953"
    source = "the paper"
    formula = "1 / (N |s|) sum of attention from F to s, N chosen heads"
    extra_cost = "attention rows of the answer, a few heads"
    own_scale = True

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) step scores."""
        return ensemble_scores(super().score(seen))


class HeadsRanked(Heads):
    """The same heads by their order alone, on the scale that every other signal is put on."""

    name = "heads_ranked"
    paper = "not published"
    arxiv = None
    source = "this project"
    formula = "the order of heads"
    own_scale = False
