"""All heads: Eq. 2 without a choice."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any, ClassVar

from attnpo.attention import readable_heads
from attnpo.signals.base import Places
from attnpo.signals.heads import Heads


class AllHeads(Heads):
    """The answer's attention to the step, averaged over every head of every layer that can be read."""

    name = "all_heads"
    paper = "control of AttnPO"
    arxiv: ClassVar[str | None] = None
    source = "this project"
    formula = "1 / (N |s|) sum of attention from F to s, all heads"
    needs = ("attention",)
    extra_cost = "attention rows of the answer, every head"
    rule: ClassVar[str | None] = "all heads"

    def check(self, model: Any) -> None:
        """Check that some layer has attention that can be read."""
        readable_heads(model)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read every head."""
        return Heads(readable_heads(model)[0]).attach(model, places)
