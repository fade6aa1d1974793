"""Real engines are run when asked for, not wherever they happen to be installed."""

from __future__ import annotations

import os

import pytest

ASKED = "ATTNPO_TEST_ENGINE"
"""Variable that names the engine whose tests are run; the targets of the Makefile set it."""


def only_when_asked_for(engine: str) -> None:
    """Skip the module that calls this, at its top, unless its engine (`vllm`, `llama`) is to be run."""
    if os.environ.get(ASKED) != engine:
        pytest.skip(f"runs {engine} itself: make test-{engine} (which sets {ASKED}={engine})", allow_module_level=True)
