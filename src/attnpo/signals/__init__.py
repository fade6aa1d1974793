"""Step signals: what may score the steps of a response, Key-Focus Heads among them."""

from attnpo.signals.base import Places, Seen, Signal
from attnpo.signals.passes import SignalReading, look, read_signal, wants_logits
from attnpo.signals.ranks import ranked_scores
from attnpo.signals.registry import (
    SIGNALS,
    build_signal,
    needs_heads,
    rivals,
    rules,
    signal_class,
    signal_of,
    wants_probe,
)
from attnpo.signals.scoring import StepScores, known_scores, score_signals, score_steps

__all__ = [
    "SIGNALS",
    "Places",
    "Seen",
    "Signal",
    "SignalReading",
    "StepScores",
    "build_signal",
    "known_scores",
    "look",
    "needs_heads",
    "ranked_scores",
    "read_signal",
    "rivals",
    "rules",
    "score_signals",
    "score_steps",
    "signal_class",
    "signal_of",
    "wants_logits",
    "wants_probe",
]
