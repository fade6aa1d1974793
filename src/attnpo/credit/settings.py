"""The settings of reward, advantage and step credit, checked when they are made."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_args

from attnpo.credit.checks import (
    AT_LEAST_0,
    COUNT,
    SEED,
    SHARE,
    SWITCH,
    TOKENS,
    check_settings,
    one_of,
    optional,
    setting,
)

AdvantageName = Literal["rloo", "grpo"]
BaselineDenominator = Literal["response", "prompt+response"]

ADVANTAGE = one_of(*get_args(AdvantageName))
RESAMPLE = (
    "How often a group of equal rewards is sampled again, from another problem (published: until the batch is full)."
)


@dataclass(frozen=True)
class MethodSettings:
    """What every method lets you set; a method with more inherits from this class. Defaults: RLOO, Eq. 4.

    Lists become tuples, so that values may come from YAML and JSON.

    Raises:
        ConfigError: a value lies outside its range; the line names the field.
    """

    advantage: AdvantageName = setting(
        "rloo", ADVANTAGE, "rloo (Eq. 4) or grpo (reward minus the group's mean), for methods that leave it open."
    )
    scale_advantages: bool = setting(
        False, SWITCH, "Divide either advantage by the standard deviation of the group's rewards."
    )
    whiten: bool = setting(
        False,
        SWITCH,
        "Make advantages mean 0 and variance 1 over all response tokens of the batch; groups without advantage keep 0.",
    )
    resample_groups: int = setting(
        0, COUNT, "How often a group without advantage is sampled again, from another problem; needs group_sampler."
    )
    seed: int = setting(0, SEED, "Seeds whatever a method draws.")

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, list):
                object.__setattr__(self, entry.name, tuple(value))
        check_settings(self)


@dataclass(frozen=True)
class GRPOSettings(MethodSettings):
    """The same for methods published with GRPO's advantage, the standard deviation included."""

    advantage: AdvantageName = setting("grpo", ADVANTAGE, "grpo (published: reward minus the group's mean) or rloo.")
    scale_advantages: bool = setting(
        True, SWITCH, "Divide the advantage by the standard deviation of the group's rewards (published: yes)."
    )


@dataclass(frozen=True)
class LengthTermSettings(MethodSettings):
    """Settings of TLMRE's reward (Eq. 3)."""

    alpha_len: float = setting(
        0.2, SHARE, "Weight of the length term in the reward (Eq. 3); 0 switches it off. AttnPO 0.2, TLMRE itself 0.1."
    )


@dataclass(frozen=True)
class BarSettings(LengthTermSettings):
    """Settings of Eq. 3 and 6: what a step's score is held against."""

    alpha_base: float = setting(2.0, AT_LEAST_0, "Exponent of the pass rate in the baseline S_base (Eq. 6).")
    difficulty_baseline: bool = setting(
        True, SWITCH, "Scale S_base by p ** alpha_base (Eq. 6); off: |F| / |o| for every prompt."
    )
    baseline_denominator: BaselineDenominator = setting(
        "response",
        one_of(*get_args(BaselineDenominator)),
        "Length that |F| is divided by in Eq. 6: response (the paper) or prompt+response (the published code).",
    )
    gamma_floor: float = setting(0.0, SHARE, "Least value of a step's factor gamma.")
    num_heads: int | None = setting(
        None, optional(TOKENS, "all of them"), "Read the first N heads of the head set only; none: all of them."
    )


@dataclass(frozen=True)
class CreditSettings(BarSettings):
    """Settings of Eq. 3-8; the defaults are AttnPO's published ones.

    With `lam` 0, delta is 0 for every prompt: attenuation is then graded by the step score alone. Without
    `magnitude_modulation` PA is as hard as NA: gamma = gamma_floor. A `gamma_floor` of 1 switches both off.

    Raises:
        ConfigError: a value lies outside its range; the line names the field.
    """

    lam: float = setting(2.0, AT_LEAST_0, "Exponent lambda of the pass rate in delta (Eq. 7).")
    schedule_steps: int = setting(
        1000,
        COUNT,
        "T of the schedule (Eq. 8) in optimizer steps, about the length of the run: PA starts after T (1 - p).",
    )
    positive_attenuation: bool = setting(
        True, SWITCH, "PA: reward redundant steps of a response with positive advantage less (Eq. 7)."
    )
    negative_attenuation: bool = setting(
        True, SWITCH, "NA: do not punish essential steps of a response with negative advantage."
    )
    magnitude_modulation: bool = setting(
        True, SWITCH, "Grade PA by score and pass rate (Eq. 7); off: straight to the floor."
    )
    schedule: bool = setting(True, SWITCH, "Apply Eq. 8; off: PA acts from the first step on.")
