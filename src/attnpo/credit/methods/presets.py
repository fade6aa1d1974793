"""Named recipes, a method with some settings changed: AttnPO's ablations and controls, published variants."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any


@dataclass(frozen=True)
class Preset:
    """A method and the settings that differ from its defaults; what the user sets explicitly goes first.

    Attributes:
        method: a key of `METHODS`.
        purpose: what it is for, and what the caller has to give.
        settings: setting -> value.
    """

    method: str
    purpose: str
    settings: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


PRESETS: dict[str, Preset] = {
    "grpo-std": Preset("grpo", "GRPO as published, over the standard deviation", {"scale_advantages": True}),
    "tlmre-published": Preset("tlmre", "TLMRE with its own weight of the length term", {"alpha_len": 0.1}),
    "attnpo-pa-only": Preset("attnpo", "ablation: without NA", {"negative_attenuation": False}),
    "attnpo-na-only": Preset("attnpo", "ablation: without PA", {"positive_attenuation": False}),
    "attnpo-no-difficulty": Preset(
        "attnpo", "ablation: baseline |F| / |o| for every prompt", {"difficulty_baseline": False}
    ),
    "attnpo-no-magnitude": Preset("attnpo", "ablation: PA straight to the floor", {"magnitude_modulation": False}),
    "attnpo-no-schedule": Preset("attnpo", "ablation: PA from the first step on", {"schedule": False}),
    "attnpo-no-length": Preset("attnpo", "ablation: outcome reward without the length term", {"alpha_len": 0.0}),
    "attnpo-mean-bar": Preset(
        "attnpo_extended", "option: the response's own mean score in place of |F| / |o|", {"bar": "mean_score"}
    ),
    "attnpo-signed": Preset(
        "attnpo_extended",
        "option: PA twice as strong, down to punishment of redundant steps in rewarded responses",
        {"attenuation_strength": 2.0, "attenuation_floor": -1.0},
    ),
    "attnpo-spare": Preset(
        "attnpo_extended", "option: incorrect responses punish well-attended steps half", {"incorrect_credit": "spare"}
    ),
    "attnpo-blame": Preset(
        "attnpo_extended", "option: incorrect responses punish ill-attended steps half", {"incorrect_credit": "blame"}
    ),
    "attnpo-redistribute": Preset(
        "attnpo_extended", "option: what PA and NA take goes to the response's other steps", {"redistribute": True}
    ),
    "attnpo-wrong-heads": Preset(
        "attnpo",
        "control: give with --heads a head set of comparable attention mass that does not rank steps "
        "(attnpo.discovery.choose_wrong_head)",
    ),
    "attnpo-shuffled": Preset("attnpo_shuffled", "control: right scores, wrong steps"),
    "attnpo-uniform": Preset("attnpo_uniform", "control: one score for all steps of a response"),
    "attnpo-mean-gamma": Preset("attnpo_mean_gamma", "control: AttnPO's mean gamma on every token of a response"),
    "attnpo-random-steps": Preset("attnpo_random_steps", "control: random steps of equal token mass"),
    "attnpo-oracle": Preset("oracle", "bound: true labels in place of scores"),
    "attnpo-oracle-reversed": Preset("oracle_reversed", "bound: true labels the wrong way round"),
}
"""The recipes by name; `attnpo-1-head`, `attnpo-2-heads`, ... are known too."""

NUMBER_OF_HEADS = "attnpo-N-heads"
"""How the recipes with the first N heads of the head set are listed."""

_N_HEADS = re.compile(r"attnpo-([1-9]\d*)-heads?")


def find_preset(name: str) -> Preset | None:
    """Return the recipe of that name, None where there is none."""
    match = _N_HEADS.fullmatch(name)
    if match is None:
        return PRESETS.get(name)
    return Preset("attnpo", f"ablation: the first {match[1]} of the head set", {"num_heads": int(match[1])})
