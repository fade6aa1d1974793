"""What help and lists show of settings, methods, signals and benchmarks, made ahead so that neither loads torch.

`python -m attnpo.cli.shown` writes `shown.json` anew; a test compares it with what it would write.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from attnpo.about import installed_version

FILE = Path(__file__).with_name("shown.json")
SETTINGS = (
    "attnpo.coldstart:ColdStartAdapters",
    "attnpo.coldstart:ColdStartConfig",
    "attnpo.discovery:DiscoverySettings",
    "attnpo.evaluation:EvaluationSettings",
    "attnpo.labeling.causal:CausalSettings",
    "attnpo.labeling.judge:JudgeSettings",
    "attnpo.sampling:EngineSettings",
    "attnpo.training:AdapterSettings",
    "attnpo.training:AttnPOConfig",
)
"""Dataclasses whose modules take seconds to import, as `module:name`."""
SOURCES = ("torch", "transformers", "trl")
"""Packages whose versions decide settings that `AttnPOConfig` inherits, and their defaults."""

Card = Mapping[str, Any]
"""A `MethodCard`, `PresetCard`, `SettingCard` (`attnpo.credit.methods.catalogue`) or `SignalCard`, by its fields."""


def load_class(spec: str) -> Any:
    """Return the class that `module:name` names."""
    module, _, name = spec.partition(":")
    return getattr(importlib.import_module(module), name)


def shown_flags(spec: str) -> list[tuple[list[str], dict[str, Any]]]:
    """Return the flags of one of `SETTINGS` for `--help`; read off the class where other versions are installed."""
    shown = _shown()
    flags: Any = shown["settings"][spec] if shown["versions"] == _versions() else _help_flags(load_class(spec))
    return [(list(names), dict(options)) for names, options in flags]


def shown_methods() -> dict[str, list[Card]]:
    """Return the cards of all `methods` and `presets` (`attnpo.credit.methods.catalogue`)."""
    return {kind: _shown()[kind] for kind in ("methods", "presets")}


def shown_method(name: str) -> tuple[Card, Card | None]:
    """Return the cards of a method and of the preset that `name` stands for, None where it is the method itself.

    Raises:
        ConfigError: there is no method or preset of that name.
    """
    known = shown_methods()
    presets = {card["name"]: card for card in known["presets"]}
    methods = {card["name"]: card for card in known["methods"]}
    preset = presets.get(name)
    method = methods.get(name if preset is None else preset["method"])
    if method is not None:
        return method, preset
    from attnpo.credit.methods import catalogue, find_preset, method_class

    cls, found = method_class(name), find_preset(name)  # attnpo-3-heads, a user's module:Class, or no name
    return asdict(catalogue.method_card(cls)), None if found is None else asdict(catalogue.preset_card(name, found))


def shown_signals() -> list[Card]:
    """Return the cards of all step signals (`attnpo.signals.catalogue`)."""
    return _shown()["signals"]


def shown_signal(name: str) -> Card:
    """Return the card of a step signal.

    Raises:
        ConfigError: there is no signal of that name.
    """
    for card in shown_signals():
        if card["name"] == name:
            return card
    from attnpo.signals import catalogue, signal_class

    return asdict(catalogue.signal_card(signal_class(name)))  # a user's module:Class, or no name


def shown_benchmarks() -> list[list[str]]:
    """Return the packaged benchmarks' rows (`attnpo.evaluation.benchmarks.benchmark_rows`)."""
    return _shown()["benchmarks"]


def make() -> dict[str, Any]:
    """Return what `shown.json` should hold, read off the classes themselves."""
    from attnpo.credit.methods import catalogue
    from attnpo.evaluation.benchmarks import benchmark_rows
    from attnpo.signals.catalogue import signal_cards

    made = {
        "versions": _versions(),
        "methods": [asdict(card) for card in catalogue.method_cards()],
        "presets": [asdict(card) for card in catalogue.preset_cards()],
        "signals": [asdict(card) for card in signal_cards()],
        "benchmarks": benchmark_rows(),
        "settings": {spec: _help_flags(load_class(spec)) for spec in SETTINGS},
    }
    return json.loads(json.dumps(made, default=str))


@functools.cache
def _shown() -> dict[str, Any]:
    return json.loads(FILE.read_text(encoding="utf-8"))


def _help_flags(dataclass_type: Any) -> list[tuple[list[str], Mapping[str, Any]]]:
    from attnpo.cli.flags import dataclass_flags

    return [
        (names, {name: value for name, value in options.items() if name != "type"})
        for names, options in dataclass_flags(dataclass_type)
    ]


def _versions() -> dict[str, str]:
    return {name: (installed_version(name) or "none").partition("+")[0] for name in SOURCES}


if __name__ == "__main__":
    FILE.write_text(json.dumps(make(), indent=1) + "\n", encoding="utf-8")
