"""Head sets, and step scores read from a few heads inside a forward pass."""

from attnpo.attention.headset import (
    Head,
    HeadSet,
    config_fingerprint,
    how_to_name_heads,
    published_head_sets,
    resolve_heads,
)
from attnpo.attention.origin import other_model
from attnpo.attention.reading import StepReading, check_readable, ensemble_scores, read_step_scores, readable_heads
from attnpo.attention.splitting import check_parallelism

__all__ = [
    "Head",
    "HeadSet",
    "StepReading",
    "check_parallelism",
    "check_readable",
    "config_fingerprint",
    "ensemble_scores",
    "how_to_name_heads",
    "other_model",
    "published_head_sets",
    "read_step_scores",
    "readable_heads",
    "resolve_heads",
]
