"""What each signal is, needs and costs, read off its class: a new signal documents itself."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

from attnpo.signals.base import Signal
from attnpo.signals.registry import SIGNALS


@dataclass(frozen=True)
class SignalCard:
    """What `attnpo signals` shows of a signal.

    Attributes:
        name: as `--signal` takes it.
        paper: where it was published.
        arxiv: number of the paper.
        source: where the formula was read off.
        formula: the score of a step in a line; high is kept.
        needs: what is read beside the steps themselves.
        extra_cost: what it costs beside the pass that is made anyway.
        scale: what PA and NA hold against S_base: its own scores, or their order.
        description: what its docstring says.
    """

    name: str
    paper: str
    arxiv: str | None
    source: str
    formula: str
    needs: tuple[str, ...]
    extra_cost: str
    scale: str
    description: str


def signal_card(signal: type[Signal]) -> SignalCard:
    """Return the card of one signal."""
    return SignalCard(
        name=signal.name,
        paper=signal.paper,
        arxiv=signal.arxiv,
        source=signal.source,
        formula=signal.formula,
        needs=signal.needs,
        extra_cost=signal.extra_cost,
        scale="its own" if signal.own_scale else "order",
        description=inspect.cleandoc(signal.__doc__ or ""),
    )


def signal_cards() -> list[SignalCard]:
    """Return the cards of all signals, in the registry's order."""
    return [signal_card(signal) for signal in SIGNALS.values()]
