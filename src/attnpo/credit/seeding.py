"""Draws that do not depend on how work is split over processes, nor on what was drawn before."""

from __future__ import annotations

import random


def stream(*key: str | int) -> random.Random:
    """Return a generator that depends on the key alone; text is hashed in full, so near keys are unrelated.

    Args:
        key: a method's name, its seed, the optimizer step, the number of the group or response.
    """
    return random.Random(" ".join(map(str, key)))
