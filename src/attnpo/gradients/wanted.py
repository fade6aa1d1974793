"""Which methods at which strengths: `attnpo`, `attnpo+alpha_len=0.2,0.6+lam=0`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from attnpo.credit import build_method
from attnpo.credit.methods.base import Method
from attnpo.credit.settings import LengthTermSettings
from attnpo.errors import ConfigError
from attnpo.gradients.batch import HEADS

DIAL = "alpha_len"
"""The setting that is varied where none is named."""


@dataclass(frozen=True)
class Wanted:
    """A method with its settings.

    Attributes:
        method: its name.
        settings: those that differ from the published ones.
        name: what results call it.
        family: the curve that it is a point of.
        strength: its place on the curve, None where nothing is varied.
    """

    method: str
    settings: Mapping[str, Any]
    name: str
    family: str
    strength: float | None

    @property
    def alpha_len(self) -> float | None:
        """Weight of its length term (Eq. 3), None where it has none."""
        settings = self.build().settings
        return settings.alpha_len if isinstance(settings, LengthTermSettings) else None

    def build(self) -> Method:
        """Return the method."""
        return build_method(self.method, self.settings)


def parse_wanted(text: str, strengths: Sequence[float]) -> list[Wanted]:
    """Return what `METHOD+setting=value+setting=value,value` asks for: one entry a value of the varied setting.

    Args:
        text: method and settings.
        strengths: weights of the length term where the method has one and its settings vary nothing.

    Raises:
        ConfigError: there is no such method or setting, a value is not allowed, or two settings vary.
    """
    method, *parts = text.split("+")
    fixed: dict[str, Any] = {}
    varied: dict[str, list[Any]] = {}
    for part in parts:
        setting, equals, values = part.partition("=")
        if not equals or not values:
            raise ConfigError(f"--methods {text}: write METHOD+setting=value, or +setting=value,value to vary it")
        found = [yaml.safe_load(value) for value in values.split(",")]
        if len(found) == 1:
            fixed[setting] = found[0]
        else:
            varied[setting] = found
    if len(varied) > 1:
        raise ConfigError(f"--methods {text}: {' and '.join(varied)} both vary; vary one, name the method twice")
    try:
        settings = build_method(method, fixed).settings
        if not varied and isinstance(settings, LengthTermSettings) and DIAL not in fixed:
            varied[DIAL] = list(strengths)
        family = " ".join([method, *(f"{name}={value}" for name, value in fixed.items() if name != DIAL)])
        if not varied:
            own = settings.alpha_len if DIAL in fixed and isinstance(settings, LengthTermSettings) else None
            return [Wanted(method, fixed, family if own is None else f"{family} {_said(own)}", family, own)]
        ((dial, places),) = varied.items()
        made = [Wanted(method, {**fixed, dial: v}, f"{family} {_said(v)}", family, _number(v)) for v in places]
        for entry in made:
            entry.build()
    except ConfigError as error:
        raise ConfigError(f"--methods {text}: {error}") from error
    return made


def reason_to_leave_out(
    method: Method, *, labelled: bool, scored: bool, progress_step: int, longest: int
) -> str | None:
    """Return why a method gives no credit to responses at hand, in words; None where it does.

    Args:
        method: the method.
        labelled: whether steps carry labels.
        scored: whether there are heads.
        progress_step: optimizer step t.
        longest: tokens of the longest response.
    """
    if method.overrides("sample", "prepare"):
        return "draws responses of its own"
    if method.overrides("ask"):
        return "asks for other responses"
    limit = method.response_limit(progress_step)
    if limit is not None and limit < longest:
        return f"cuts responses at {limit} tokens"
    if method.needs_scores and method.signal == HEADS and not scored:
        return "reads heads, and none are given (--heads)"
    if method.needs_labels and not labelled:
        return "reads labels, and the steps carry none (--labeler)"
    return None


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _said(value: Any) -> str:
    number = _number(value)
    return str(value) if number is None else f"{number:g}"
