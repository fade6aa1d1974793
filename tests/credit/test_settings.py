from __future__ import annotations

from dataclasses import asdict

import pytest

from attnpo.credit import CreditSettings
from attnpo.errors import ConfigError


def test_defaults_are_the_published_settings():
    assert asdict(CreditSettings()) == {
        "alpha_len": 0.2,
        "alpha_base": 2.0,
        "lam": 2.0,
        "schedule_steps": 1000,
        "positive_attenuation": True,
        "negative_attenuation": True,
        "difficulty_baseline": True,
        "magnitude_modulation": True,
        "schedule": True,
        "gamma_floor": 0.0,
        "advantage": "rloo",
        "scale_advantages": False,
        "whiten": False,
        "resample_groups": 0,
        "baseline_denominator": "response",
        "seed": 0,
        "num_heads": None,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("alpha_len", -0.1),
        ("alpha_len", 1.1),
        ("alpha_len", "0.2"),
        ("alpha_len", True),
        ("alpha_len", float("nan")),
        ("alpha_base", -1),
        ("alpha_base", float("inf")),
        ("lam", -0.5),
        ("lam", None),
        ("schedule_steps", -1),
        ("schedule_steps", 10.5),
        ("schedule_steps", True),
        ("positive_attenuation", 1),
        ("negative_attenuation", "yes"),
        ("difficulty_baseline", None),
        ("magnitude_modulation", 0),
        ("schedule", "off"),
        ("gamma_floor", 2),
        ("advantage", "ppo"),
        ("scale_advantages", 0.0),
        ("baseline_denominator", "prompt"),
        ("seed", 1.5),
        ("num_heads", 0),
    ],
)
def test_a_value_out_of_range_is_named_in_one_line(field, value):
    with pytest.raises(ConfigError) as caught:
        CreditSettings(**{field: value})
    message = str(caught.value)
    assert message.startswith(f"{field}: {value!r} is not allowed; use ")
    assert "\n" not in message


@pytest.mark.parametrize(
    "settings",
    [
        {"alpha_len": 0, "gamma_floor": 1, "alpha_base": 0, "lam": 0, "schedule_steps": 0},
        {"alpha_len": 1.0, "advantage": "grpo", "baseline_denominator": "prompt+response", "seed": 2**32 - 1},
    ],
)
def test_the_ends_of_the_ranges_are_allowed(settings):
    made = asdict(CreditSettings(**settings))
    assert {name: made[name] for name in settings} == settings
