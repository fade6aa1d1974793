"""Pressure on what is redundant: Eq. 3 with z over the redundant tokens of a response in place of its length."""

from __future__ import annotations

from dataclasses import dataclass

from attnpo.credit.checks import SWITCH, one_of, setting

from .split import Pressure, SplitCredit, SplitOracle, SplitSettings


@dataclass(frozen=True)
class PressureSettings(SplitSettings):
    """Split credit's settings; by default its length term alone, on redundant tokens, for the whole response."""

    mask_verdict: bool = setting(False, SWITCH, "Give the verdict's advantage to each step by min(1, S / S_base).")
    to_go: bool = setting(False, SWITCH, "Give each token the length term of what is still to come.")
    pressure: Pressure = setting("redundant", one_of("redundant"), "What the length term counts.")


class RedundantPressure(SplitCredit):
    """TLMRE with redundant tokens in place of the length, as heads tell them (this project).

    A response that leaves out an essential step earns nothing by it.
    """

    name = "redundant_pressure"
    paper = "pressure on what is redundant"
    formula = "1[correct] (1 - alpha_len sigmoid(z)), z over the tokens of steps below S_base, each by its share"
    settings_type = PressureSettings
    settings: PressureSettings


class RedundantPressureOracle(SplitOracle):
    """The same by labels."""

    name = "redundant_pressure_oracle"
    paper = "bound of pressure on what is redundant"
    formula = "1[correct] (1 - alpha_len sigmoid(z)), z over the tokens of redundant steps"
    settings_type = PressureSettings
    settings: PressureSettings
