"""The checkpoint of this world that ships: an adapter above SmolLM2-135M-Instruct."""

from __future__ import annotations

from pathlib import Path


def checkpoint_path() -> Path:
    """The folder of the adapter that ships with the package (its base is the named model `smollm2`)."""
    return Path(__file__).parent / "checkpoint"
