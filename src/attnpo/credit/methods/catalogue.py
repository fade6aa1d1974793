"""What each method is, needs and costs, read off its class: a new method documents itself."""

from __future__ import annotations

import inspect
from dataclasses import asdict, dataclass
from typing import Any, Final

from attnpo.credit.methods import METHODS, NUMBER_OF_HEADS, PRESETS, Preset
from attnpo.credit.methods.base import DRAWS, Method

SOURCES: Final = ("the paper", "official code", "code of others", "secondary notes", "this project")
"""Where a formula may have been read off."""


@dataclass(frozen=True)
class SettingCard:
    """One setting of a method.

    Attributes:
        name: as `method_settings` takes it.
        default: the published value, or what `help` says.
        allowed: what it may be.
        help: what it is.
    """

    name: str
    default: Any
    allowed: str
    help: str


@dataclass(frozen=True)
class MethodCard:
    """What `attnpo methods` shows of a method.

    Attributes:
        name: its name.
        paper: its name in the literature.
        arxiv: number of the paper.
        source: where the formula was read off.
        formula: reward, advantage or factor in a line.
        needs: what the run has to give it.
        extra_tokens: what it samples beyond G responses a prompt.
        extra_passes: forward passes beyond training's own.
        description: what its docstring says.
        settings: its settings.
    """

    name: str
    paper: str
    arxiv: str | None
    source: str
    formula: str
    needs: tuple[str, ...]
    extra_tokens: str
    extra_passes: str
    description: str
    settings: tuple[SettingCard, ...]


@dataclass(frozen=True)
class PresetCard:
    """What `attnpo methods` shows of a preset.

    Attributes:
        name: its name.
        method: the method behind it.
        settings: what it changes.
        purpose: what it is for.
        needs: what the run has to give it.
    """

    name: str
    method: str
    settings: dict[str, Any]
    purpose: str
    needs: tuple[str, ...]


def method_card(method: type[Method]) -> MethodCard:
    """Return the card of one method."""
    return MethodCard(
        name=method.name,
        paper=method.paper,
        arxiv=method.arxiv,
        source=method.source,
        formula=method.formula,
        needs=needs(method),
        extra_tokens=method.extra_tokens,
        extra_passes=method.extra_passes,
        description=inspect.cleandoc(method.__doc__ or ""),
        settings=tuple(
            SettingCard(entry.name, entry.default, entry.metadata["allowed"].text, entry.metadata["help"])
            for entry in method.own_settings().values()
        ),
    )


def needs(method: type[Method]) -> tuple[str, ...]:
    """Return what the run has to give a method, in words."""
    resamples = method.settings_type().resample_groups > 0
    words = {
        "heads" if method.signal == "heads" else f"signal {method.signal}": method.needs_scores,
        "step labels": method.needs_labels,
        **dict.fromkeys(method.also_needs, True),
        "group_sampler": method.overrides(*DRAWS) or resamples,
        "whole groups on each process": method.needs_whole_groups or resamples,
        "state saved with checkpoints": method.overrides("state_dict"),
    }
    return tuple(word for word, needed in words.items() if needed)


def method_cards() -> list[MethodCard]:
    """Return the cards of all methods, in the registry's order."""
    return [method_card(method) for method in METHODS.values()]


def preset_card(name: str, preset: Preset) -> PresetCard:
    """Return the card of one preset."""
    return PresetCard(name, preset.method, dict(preset.settings), preset.purpose, needs(METHODS[preset.method]))


def preset_cards() -> list[PresetCard]:
    """Return the cards of all presets, `attnpo-N-heads` last."""
    any_number = Preset("attnpo", "ablation: the first N of the head set, N = 1, 2, ...", {"num_heads": "N"})
    return [preset_card(name, preset) for name, preset in {**PRESETS, NUMBER_OF_HEADS: any_number}.items()]


def as_json() -> dict[str, Any]:
    """Return the whole catalogue as JSON values."""
    return {
        "methods": [asdict(card) for card in method_cards()],
        "presets": [asdict(card) for card in preset_cards()],
    }
