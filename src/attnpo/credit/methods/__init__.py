"""The methods by name. A new one is one file here and one line in `METHODS`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from attnpo.credit.methods.adaptthink import AdaptThink
from attnpo.credit.methods.alp import ALP
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.attnpo_extended import AttnPOExtended
from attnpo.credit.methods.attnpo_shuffled import AttnPOShuffled
from attnpo.credit.methods.attnpo_uniform import AttnPOUniform
from attnpo.credit.methods.autothink import AutoThink
from attnpo.credit.methods.base import Method
from attnpo.credit.methods.dapo_overlong import DAPOOverlong
from attnpo.credit.methods.decs import DECS
from attnpo.credit.methods.depo import DEPO
from attnpo.credit.methods.diet import DIET
from attnpo.credit.methods.grpo import GRPO
from attnpo.credit.methods.grpo_lead import GRPOLead
from attnpo.credit.methods.kimi import Kimi
from attnpo.credit.methods.l1 import L1Exact, L1Max
from attnpo.credit.methods.laser import LASER
from attnpo.credit.methods.laser_d import LaserD
from attnpo.credit.methods.laser_de import LaserDE
from attnpo.credit.methods.lcr1 import LCR1
from attnpo.credit.methods.oracle import Oracle, OracleReversed
from attnpo.credit.methods.presets import NUMBER_OF_HEADS, PRESETS, Preset, find_preset
from attnpo.credit.methods.rloo import RLOO
from attnpo.credit.methods.sgrpo import SGRPO
from attnpo.credit.methods.shape import Shape
from attnpo.credit.methods.thinkprune import ThinkPrune
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.methods.vsrm import VSRM
from attnpo.credit.settings import MethodSettings
from attnpo.errors import ConfigError, nearest

METHODS: dict[str, type[Method]] = {
    "rloo": RLOO,
    "grpo": GRPO,
    "tlmre": TLMRE,
    "attnpo": AttnPO,
    "attnpo_shuffled": AttnPOShuffled,
    "attnpo_uniform": AttnPOUniform,
    "oracle": Oracle,
    "oracle_reversed": OracleReversed,
    "attnpo_extended": AttnPOExtended,
    "thinkprune": ThinkPrune,
    "kimi": Kimi,
    "laser": LASER,
    "laser_d": LaserD,
    "laser_de": LaserDE,
    "diet": DIET,
    "alp": ALP,
    "l1_exact": L1Exact,
    "l1_max": L1Max,
    "grpo_lead": GRPOLead,
    "dapo_overlong": DAPOOverlong,
    "adaptthink": AdaptThink,
    "autothink": AutoThink,
    "sgrpo": SGRPO,
    "vsrm": VSRM,
    "shape": Shape,
    "lcr1": LCR1,
    "decs": DECS,
    "depo": DEPO,
}


def method_class(name: str) -> type[Method]:
    """Return the class behind the name of a method or a preset.

    Raises:
        ConfigError: there is neither.
    """
    preset = find_preset(name)
    if preset is None and name not in METHODS:
        known = ", ".join([*METHODS, *PRESETS, NUMBER_OF_HEADS])
        resembling = nearest(name, [*METHODS, *PRESETS])
        raise ConfigError(f"method: {name!r} is unknown; use one of {known}{resembling}")
    return METHODS[name if preset is None else preset.method]


def build_method(name: str, settings: MethodSettings | Mapping[str, Any] | None = None) -> Method:
    """Return the method of that name.

    Args:
        name: a key of `METHODS` or `PRESETS`, or `attnpo-N-heads`.
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
    known = [entry.name for entry in fields(method.settings_type)]
    for setting in changes:
        if setting not in known:
            raise ConfigError(f"{setting}: method '{name}' has no such setting; it has {', '.join(known)}")
    return method(method.settings_type(**changes))


__all__ = ["METHODS", "NUMBER_OF_HEADS", "PRESETS", "Method", "Preset", "build_method", "find_preset", "method_class"]
