"""What methods share that read step scores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.settings import BarSettings
from attnpo.errors import ConfigError

T = TypeVar("T")


class Scored(TLMRE):
    """TLMRE's reward (Eq. 3), and a score of each step."""

    arxiv = "2602.09953"
    extra_passes = "none: heads are read inside training's own pass"
    settings_type = BarSettings
    needs_scores = True
    settings: BarSettings

    def select_heads(self, heads: Sequence[T]) -> Sequence[T]:
        """Return the first `settings.num_heads` heads of a head set.

        Raises:
            ConfigError: it holds fewer.
        """
        wanted = self.settings.num_heads
        if wanted is not None and len(heads) < wanted:
            raise ConfigError(
                f"num_heads: {wanted} are asked for and the head set holds {len(heads)}; ask for fewer, or discover "
                "with a higher --num_heads"
            )
        return heads[:wanted]

    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) scores that tell redundant from essential steps: here the heads' own (Eq. 2)."""
        return steps.scores_BK
