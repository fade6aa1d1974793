"""The methods by name. A new one is a file: here with a line in `METHODS`, or anywhere as `module:Class`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from attnpo.credit.methods.adaptthink import AdaptThink
from attnpo.credit.methods.alp import ALP
from attnpo.credit.methods.arlcp import ARLCP
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.attnpo_extended import AttnPOExtended
from attnpo.credit.methods.attnpo_mean_gamma import AttnPOMeanGamma
from attnpo.credit.methods.attnpo_random_steps import AttnPORandomSteps
from attnpo.credit.methods.attnpo_shuffled import AttnPOShuffled
from attnpo.credit.methods.attnpo_uniform import AttnPOUniform
from attnpo.credit.methods.autothink import AutoThink
from attnpo.credit.methods.base import Method
from attnpo.credit.methods.dapo_overlong import DAPOOverlong
from attnpo.credit.methods.ddca import DDCA
from attnpo.credit.methods.decs import DECS
from attnpo.credit.methods.depo import DEPO
from attnpo.credit.methods.diet import DIET
from attnpo.credit.methods.dler import DADLER, DLER
from attnpo.credit.methods.dot import DOT
from attnpo.credit.methods.drpo import DRPO
from attnpo.credit.methods.gfpo import GFPO
from attnpo.credit.methods.gr3 import GR3
from attnpo.credit.methods.grpo import GRPO
from attnpo.credit.methods.grpo_lead import GRPOLead
from attnpo.credit.methods.kimi import Kimi
from attnpo.credit.methods.l1 import L1Exact, L1Max
from attnpo.credit.methods.laser import LASER
from attnpo.credit.methods.laser_d import LaserD
from attnpo.credit.methods.laser_de import LaserDE
from attnpo.credit.methods.lcr1 import LCR1
from attnpo.credit.methods.leash import Leash
from attnpo.credit.methods.oracle import Oracle, OracleReversed
from attnpo.credit.methods.presets import NUMBER_OF_HEADS, PRESETS, Preset, find_preset
from attnpo.credit.methods.rloo import RLOO
from attnpo.credit.methods.sas import SAS
from attnpo.credit.methods.sgrpo import SGRPO
from attnpo.credit.methods.shape import Shape
from attnpo.credit.methods.shorterbetter import ShorterBetter
from attnpo.credit.methods.siri import SIRI
from attnpo.credit.methods.smartthinker import SmartThinker
from attnpo.credit.methods.step_grpo import StepGRPO
from attnpo.credit.methods.thinkprune import ThinkPrune
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.methods.vsrm import VSRM
from attnpo.credit.settings import MethodSettings
from attnpo.errors import ConfigError, nearest
from attnpo.loading import load_function

METHODS: dict[str, type[Method]] = {
    method.name: method
    for method in (
        RLOO,
        GRPO,
        TLMRE,
        AttnPO,
        AttnPOShuffled,
        AttnPOUniform,
        AttnPOMeanGamma,
        AttnPORandomSteps,
        Oracle,
        OracleReversed,
        AttnPOExtended,
        ThinkPrune,
        Kimi,
        LASER,
        LaserD,
        LaserDE,
        DIET,
        ALP,
        L1Exact,
        L1Max,
        GRPOLead,
        DAPOOverlong,
        AdaptThink,
        AutoThink,
        SGRPO,
        VSRM,
        Shape,
        LCR1,
        DECS,
        DEPO,
        DLER,
        DADLER,
        SIRI,
        DDCA,
        GR3,
        ShorterBetter,
        SmartThinker,
        ARLCP,
        Leash,
        GFPO,
        DOT,
        DRPO,
        SAS,
        StepGRPO,
    )
}


def method_class(name: str) -> type[Method]:
    """Return the class behind a name: of a method, of a preset, or `module:Class` of a user's own.

    Raises:
        ConfigError: there is none.
    """
    if ":" in name:
        own = load_function(name, "method", kind="class")
        if not (isinstance(own, type) and issubclass(own, Method)):
            raise ConfigError(f"method: {name} is no method; let it inherit from attnpo.credit.Method")
        if own is not METHODS.get(own.name, own):
            raise ConfigError(f"method: {name} has the name of another, {own.name!r}; give the class a name of its own")
        return own
    preset = find_preset(name)
    if preset is None and name not in METHODS:
        known = ", ".join([*METHODS, *PRESETS, NUMBER_OF_HEADS])
        resembling = nearest(name, [*METHODS, *PRESETS])
        raise ConfigError(f"method: {name!r} is unknown; use one of {known}{resembling}")
    return METHODS[name if preset is None else preset.method]


def build_method(name: str, settings: MethodSettings | Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name.

    Args:
        name: a key of `METHODS` or `PRESETS`, `attnpo-N-heads`, or `module:Class`.
        settings: by name, those that differ from the published ones, going before a preset's; or all of them as
            the method's dataclass, a preset's going before.

    Raises:
        ConfigError: there is no such method or setting, or a value is not allowed.
    """
    method, preset = method_class(name), find_preset(name)
    changes = {} if preset is None else dict(preset.settings)
    if isinstance(settings, MethodSettings):
        return method(replace(settings, **changes))
    changes.update(settings or {})
    known = method.own_settings()
    for setting in changes:
        if setting not in known:
            raise ConfigError(f"{setting}: method '{name}' has no such setting; it has {', '.join(known)}")
    return method(method.settings_type(**changes))


__all__ = ["METHODS", "NUMBER_OF_HEADS", "PRESETS", "Method", "Preset", "build_method", "find_preset", "method_class"]
