"""The settings of reward, advantage and step credit, checked when they are made."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, get_args

from attnpo.errors import ConfigError

AdvantageName = Literal["rloo", "grpo"]
BaselineDenominator = Literal["response", "prompt+response"]


@dataclass(frozen=True)
class CreditSettings:
    """Settings of Eq. 3-8; the defaults are AttnPO's published ones.

    Attributes:
        alpha_len: weight of the length term in the reward (Eq. 3), in [0, 1]; 0 switches the term off.
        alpha_base: exponent of the pass rate in the baseline S_base (Eq. 6), at least 0.
        lam: exponent lambda of the pass rate in delta (Eq. 7), at least 0. With 0, delta is 0 for every
            prompt: attenuation is then graded by the step score alone.
        schedule_steps: T of the schedule (Eq. 8), in optimizer steps, at least 0. A prompt's positive
            attenuation starts after T * (1 - p) steps; set it to about the length of the run.
        positive_attenuation: PA, reward redundant steps of a response with positive advantage less (Eq. 7).
        negative_attenuation: NA, do not punish essential steps of a response with negative advantage.
        difficulty_baseline: scale S_base by p ** alpha_base (Eq. 6); off means |F| / |o| for every prompt.
        magnitude_modulation: grade PA by score and pass rate (Eq. 7); off makes PA as hard as NA:
            gamma = gamma_floor.
        schedule: apply Eq. 8; off means PA acts from the first step on.
        gamma_floor: least value of gamma, in [0, 1], for PA and NA alike; 1 switches both off.
        advantage: "rloo" (Eq. 4) or "grpo" (reward minus the group's mean), for methods that leave it open.
        scale_advantages: divide either advantage by the standard deviation of the group's rewards.
        baseline_denominator: length that |F| is divided by in Eq. 6: "response" (the paper) or
            "prompt+response" (the published code).
        seed: seeds whatever a method draws (`attnpo_shuffled`).

    Raises:
        ConfigError: a value lies outside its range.
    """

    alpha_len: float = 0.2
    alpha_base: float = 2.0
    lam: float = 2.0
    schedule_steps: int = 1000
    positive_attenuation: bool = True
    negative_attenuation: bool = True
    difficulty_baseline: bool = True
    magnitude_modulation: bool = True
    schedule: bool = True
    gamma_floor: float = 0.0
    advantage: AdvantageName = "rloo"
    scale_advantages: bool = False
    baseline_denominator: BaselineDenominator = "response"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, (allowed, holds) in _ALLOWED.items():
            value = getattr(self, name)
            if not holds(value):
                raise ConfigError(f"{name}: {value!r} is not allowed; use {allowed}")


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


_Check = tuple[str, Callable[[Any], bool]]
_SHARE: _Check = ("a number from 0 to 1", lambda value: _is_number(value) and 0 <= value <= 1)
_EXPONENT: _Check = ("a number of at least 0", lambda value: _is_number(value) and value >= 0)
_SWITCH: _Check = ("true or false", lambda value: isinstance(value, bool))
_ALLOWED: dict[str, _Check] = {
    "alpha_len": _SHARE,
    "alpha_base": _EXPONENT,
    "lam": _EXPONENT,
    "schedule_steps": ("an integer of at least 0", lambda value: _is_integer(value) and value >= 0),
    "positive_attenuation": _SWITCH,
    "negative_attenuation": _SWITCH,
    "difficulty_baseline": _SWITCH,
    "magnitude_modulation": _SWITCH,
    "schedule": _SWITCH,
    "gamma_floor": _SHARE,
    "advantage": ("'rloo' or 'grpo'", lambda value: value in get_args(AdvantageName)),
    "scale_advantages": _SWITCH,
    "baseline_denominator": (
        "'response' or 'prompt+response'",
        lambda value: value in get_args(BaselineDenominator),
    ),
    "seed": ("an integer", _is_integer),
}
