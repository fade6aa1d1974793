"""Which of the credits that are asked for these responses can give, and what is read of the model for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from attnpo.attention import Head
from attnpo.gradients.batch import HEADS
from attnpo.gradients.credits import (
    ATTNPO,
    COMMON,
    Credit,
    method_credits,
    signal_credits,
    split_credits,
    wanted_credits,
)
from attnpo.gradients.wanted import DIAL, Wanted, reason_to_leave_out
from attnpo.signals import Signal, build_signal, rivals


@dataclass(frozen=True)
class Chosen:
    """What a run takes.

    Attributes:
        credits: the credits.
        signals: the step signals that they read, beside the heads.
        left_out: method or signal → why it is not taken.
    """

    credits: Sequence[Credit]
    signals: Sequence[Signal]
    left_out: Mapping[str, str]


def choose(
    wanted: Sequence[Wanted], signals: str, heads: Sequence[Head], labelled: bool, relabels: bool = True
) -> Chosen:
    """Return all that can be taken of what is asked for.

    Args:
        wanted: the methods.
        signals: signals in place of the heads, as `attnpo.signals.rivals` takes them.
        heads: the heads; empty for none.
        labelled: whether steps carry labels.
        relabels: whether steps of responses that are cut can be labelled again.

    Raises:
        ConfigError: there is no such signal, or one cannot be read.
    """
    left_out: dict[str, str] = {}
    for entry in wanted:
        reason = reason_to_leave_out(entry, labelled=labelled, scored=bool(heads), relabels=relabels)
        if reason is not None:
            left_out[entry.name] = reason
    given = [entry for entry in wanted if entry.name not in left_out]
    named = {signal.name: signal for signal in rivals(signals, heads or None)}
    rival = [name for name, signal in named.items() if labelled or "labels" not in signal.needs]
    left_out |= {f"signal {name}": "reads labels, and there are none" for name in named if name not in rival}
    attnpo = Wanted(ATTNPO, {DIAL: COMMON}, f"{ATTNPO} {COMMON:g}", ATTNPO, None)  # no curve of one point is drawn
    by_rival = [attnpo.by(name) for name in rival]
    given += [by for by in by_rival if by.name not in {entry.name for entry in given}]
    own = {name for entry in given if (name := entry.reads) is not None} - {HEADS}
    return Chosen(
        credits=[
            *wanted_credits(labelled),
            *method_credits(given),
            *signal_credits(rival),
            *split_credits(labelled, bool(heads)),
        ],
        signals=[named.get(name) or build_signal(name, heads) for name in dict.fromkeys([*rival, *sorted(own)])],
        left_out=left_out,
    )
