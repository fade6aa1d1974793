"""Head sets, and step scores read from a few heads inside a forward pass."""

from attnpo.attention.headset import Head, HeadSet, config_fingerprint, resolve_heads
from attnpo.attention.reading import StepReading, check_readable, ensemble_scores, read_step_scores
from attnpo.attention.scoring import score_steps

__all__ = [
    "Head",
    "HeadSet",
    "StepReading",
    "check_readable",
    "config_fingerprint",
    "ensemble_scores",
    "read_step_scores",
    "resolve_heads",
    "score_steps",
]
