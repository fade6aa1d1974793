"""What the newer neighbours' papers and codes set, and the methods' defaults beside it."""

from __future__ import annotations

import pytest

from attnpo.credit import METHODS

GRPO = {"advantage": "grpo", "scale_advantages": True}
PUBLISHED = {
    "ddca": {**GRPO, "beta": 0.2, "dynamic": True},
    "gr3": {**GRPO, "candidates": (0.033, 0.1, 0.2, 0.33, 0.5, 1.0, 1.5), "satisfied": 0.999},
    "arlcp": {"advantage": "rloo", "weight": 0.2, "reflection_shares": (0.25, 0.5, 0.75), "word_bounds": (40, 80)},
    "smartthinker": GRPO,
    "leash": {**GRPO, "target_length": 4096, "first_price": 0.1, "price_rate": 0.005, "greatest_price": 1.0},
    "shorterbetter": {**GRPO, "correct_reward": 2.0, "price": 0.001},
    "gfpo": {**GRPO, "keep": 8, "adaptive_keep": (8, 8, 6, 4)},
    "drpo": {"lam": 0.1, "tau": 10.0},
    "step_grpo": {**GRPO, "word": "Wait", "sure": 0.95, "format_weight": 0.1, "penalty": 0.5},
}
"""ARLCP's weights of 0.05, 0.1 and 0.15 are shares of 0.2; others are as printed."""


@pytest.mark.parametrize("name", PUBLISHED)
def test_defaults_are_those_published(name):
    settings = METHODS[name].settings_type()
    assert {setting: getattr(settings, setting) for setting in PUBLISHED[name]} == PUBLISHED[name]
