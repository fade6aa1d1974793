"""Which methods at which strengths: `attnpo`, `attnpo+alpha_len=0.2,0.6+lam=0`, `sas+signal=random`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import yaml

from attnpo.attention import Head
from attnpo.credit import build_method
from attnpo.credit.methods.base import Method
from attnpo.credit.methods.gr3 import GR3
from attnpo.credit.settings import LengthTermSettings
from attnpo.errors import ConfigError
from attnpo.gradients.batch import HEADS
from attnpo.signals import needs_heads, signal_class, signal_of

FLAGS = {"max_completion_length": "--max_new_tokens", "num_generations": "--samples_per_problem"}
"""What methods call a run's limits when they refuse them → the flags here."""
DIAL = "alpha_len"
"""The setting that is varied where none is named."""
SIGNAL = "signal"
"""What is named like a setting and puts another step signal in the place of the method's own."""


@dataclass(frozen=True)
class Wanted:
    """A method with its settings.

    Attributes:
        method: its name.
        settings: those that differ from the published ones.
        name: what results call it.
        family: the curve that it is a point of.
        strength: its place on the curve, None where nothing is varied.
        signal: the step signal in place of the method's own; None for that.
    """

    method: str
    settings: Mapping[str, Any]
    name: str
    family: str
    strength: float | None
    signal: str | None = None

    @property
    def reads(self) -> str | None:
        """The step signal that scores steps for it, None where it reads no scores."""
        return self.build().reads(self.signal)

    def by(self, signal: str) -> Wanted:
        """Return the method with a step signal in place of its own.

        Raises:
            ConfigError: there is no such signal, or the method reads no scores.
        """
        signal_of(self.method, signal)
        return replace(self, name=f"{self.name} by {signal}", family=f"{self.family} by {signal}", signal=signal)

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

    `+signal=name,name` puts step signals in the place of the method's own, one entry a value and signal.

    Args:
        text: method and settings.
        strengths: weights of the length term where the method has one and its settings vary nothing.

    Raises:
        ConfigError: there is no such method, setting or signal, a value is not allowed, or two settings vary.
    """
    method, *parts = text.split("+")
    signals = [part.partition("=")[2] for part in parts if part.partition("=")[0] == SIGNAL]
    entries = _parse(text, method, [part for part in parts if part.partition("=")[0] != SIGNAL], strengths)
    if not signals:
        return entries
    if len(signals) > 1 or not all(names := signals[0].split(",")):
        raise ConfigError(f"--methods {text}: write signal=name, or signal=name,name, once")
    try:
        return [entry.by(name) for name in names for entry in entries]
    except ConfigError as error:
        raise ConfigError(f"--methods {text}: {error}") from error


def _parse(text: str, method: str, parts: Sequence[str], strengths: Sequence[float]) -> list[Wanted]:
    fixed: dict[str, Any] = {}
    varied: dict[str, list[Any]] = {}
    for part in parts:
        setting, equals, values = part.partition("=")
        if not equals or not values:
            raise ConfigError(f"--methods {text}: write METHOD+setting=value, or +setting=value,value to vary it")
        try:
            found = [_exponent(value) for value in yaml.safe_load(f"[{values}]")]
        except yaml.YAMLError as error:
            raise ConfigError(f"--methods {text}: {setting}={values} cannot be read; write value,value") from error
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


def parse_all(texts: Sequence[str], strengths: Sequence[float]) -> list[Wanted]:
    """Return what all of these ask for (`parse_wanted`).

    Raises:
        ConfigError: one cannot be meant, or is asked for twice.
    """
    found: dict[str, Wanted] = {}
    for text in texts:
        for entry in parse_wanted(text, strengths):
            if entry.name in found:
                raise ConfigError(f"--methods {text}: {entry.name} is asked for twice; leave one out")
            found[entry.name] = entry
    return list(found.values())


def needs_other_responses(method: Method) -> str | None:
    """Return why a method gives no credit to responses that another drew, in words; None where it does."""
    if method.overrides("prepare") or (method.overrides("sample") and not method.only_cuts):
        return "draws responses of its own"
    return "asks for other responses" if method.overrides("ask") else None


def reason_to_leave_out(entry: Wanted, *, labelled: bool, scored: bool, relabels: bool = True) -> str | None:
    """Return why a method gives no credit to responses at hand, in words; None where it does.

    Args:
        entry: the method.
        labelled: whether steps carry labels.
        scored: whether there are heads.
        relabels: whether steps of responses that are cut can be labelled again.
    """
    method, signal = entry.build(), entry.reads
    if (reason := needs_other_responses(method)) is not None:
        return reason
    if isinstance(method, GR3) and method.settings.alpha is None:
        return f"calibrates alpha on earlier groups, and there are none; name an alpha: {method.name}+alpha=0.33"
    if needs_heads(signal) and not scored:
        return "reads heads, and none are given (--heads)"
    if method.needs_labels or (signal is not None and "labels" in signal_class(signal).needs):
        if not labelled:
            return "reads labels, and the steps carry none (--labeler)"
        if not relabels and (method.only_cuts or method.response_limit(0) is not None):
            return "reads labels of responses that it cuts, which only a labeler gives anew (--labeler)"
    return None


def check_run(
    wanted: Sequence[Wanted], max_length: int, group_size: int, verifier: str, *, sampled: bool = True
) -> None:
    """Check what methods ask of a run, before anything is sampled or differentiated.

    Args:
        wanted: the methods.
        max_length: limit on a response, in tokens.
        group_size: responses to a problem.
        verifier: the verifier's name.
        sampled: whether responses are sampled now, so that other ones can be had.

    Raises:
        ConfigError: a setting does not fit; the message names the method.
    """
    _check(wanted, lambda entry: entry.build().check(max_length, group_size, verifier), sampled)


def check_heads(wanted: Sequence[Wanted], heads: Sequence[Head]) -> None:
    """Check what methods ask of the heads whose scores they read.

    Raises:
        ConfigError: the heads are not enough; the message names the method.
    """

    def check(entry: Wanted) -> None:
        if needs_heads(entry.reads):
            chosen = entry.build().select_heads(heads)
            if entry.reads != HEADS and len(chosen) < len(heads):
                raise ConfigError(
                    f"num_heads: {entry.reads} reads all {len(heads)} heads here; leave it out, or give --heads fewer"
                )

    _check(wanted, check)


def _check(wanted: Sequence[Wanted], check: Callable[[Wanted], None], sampled: bool = True) -> None:
    for entry in wanted:
        if needs_other_responses(entry.build()) is None:
            try:
                check(entry)
            except ConfigError as error:
                said = str(error)
                for theirs, ours in FLAGS.items():
                    said = said.replace(f"raise {theirs}", f"{'raise' if sampled else 'sample anew with more'} {ours}")
                raise ConfigError(f"--methods {entry.name}: {said}") from error


def _exponent(value: Any) -> Any:
    """Return a number for 1e-4, which YAML takes for text."""
    try:
        return float(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _number(value: Any) -> float | None:
    if isinstance(value, list) and len(value) == 1:
        return _number(value[0])
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


def _said(value: Any) -> str:
    number = _number(value)
    return str(value) if number is None else f"{number:g}"
