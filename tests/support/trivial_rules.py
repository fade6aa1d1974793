"""How well a rule that knows nothing of a step's content tells essential from redundant."""

from __future__ import annotations

from collections.abc import Callable, Sequence

# One step: (place in the trace, length, opening word, label).
Row = tuple[int, int, str, str]


def ranking_accuracy(score: Callable[[Row], float], traces: Sequence[Sequence[Row]]) -> float:
    """Share of (essential, redundant) pairs inside a trace that a score ranks right; ties count half."""
    wins = pairs = 0.0
    for rows in traces:
        for e in (row for row in rows if row[3] == "essential"):
            for r in (row for row in rows if row[3] == "redundant"):
                wins += (score(e) > score(r)) + 0.5 * (score(e) == score(r))
                pairs += 1
    return wins / pairs
