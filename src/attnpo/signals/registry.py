"""The signals by name. A new one is a file: here with a line in `SIGNALS`, or anywhere as `module:Class`."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.attention import Head
from attnpo.credit import method_class
from attnpo.errors import ConfigError, nearest
from attnpo.loading import load_function
from attnpo.signals.all_heads import AllHeads
from attnpo.signals.base import Signal
from attnpo.signals.entropy import EntropyHigh, EntropyLow
from attnpo.signals.fai import FutureInfluence
from attnpo.signals.flow_tracer import FlowTracer
from attnpo.signals.heads import Heads, HeadsRanked
from attnpo.signals.length import FewerCharacters, Longer, MoreCharacters, Shorter
from attnpo.signals.log_prob import LogProb
from attnpo.signals.oracle import OracleSignal
from attnpo.signals.position import Earlier, Later
from attnpo.signals.probe import Probe
from attnpo.signals.random import Random
from attnpo.signals.think_close import ThinkClose
from attnpo.signals.uniform import Uniform
from attnpo.signals.waad import WindowedDistance

SIGNALS: dict[str, type[Signal]] = {
    signal.name: signal
    for signal in (
        Heads,
        HeadsRanked,
        LogProb,
        EntropyHigh,
        EntropyLow,
        ThinkClose,
        FutureInfluence,
        WindowedDistance,
        FlowTracer,
        Probe,
        Shorter,
        Longer,
        FewerCharacters,
        MoreCharacters,
        Earlier,
        Later,
        AllHeads,
        Uniform,
        Random,
        OracleSignal,
    )
}


def signal_class(name: str) -> type[Signal]:
    """Return the class behind a name: of a signal, of a probe's file (.json), or `module:Class` of a user's own.

    Raises:
        ConfigError: there is none.
    """
    if name.endswith(".json"):
        return Probe
    if ":" in name:
        own = load_function(name, "signal", kind="class")
        if not (isinstance(own, type) and issubclass(own, Signal)):
            raise ConfigError(f"signal: {name} is no signal; let it inherit from attnpo.signals.Signal")
        return own
    if name not in SIGNALS:
        raise ConfigError(f"signal: {name!r} is unknown; use one of {', '.join(SIGNALS)}{nearest(name, SIGNALS)}")
    return SIGNALS[name]


def build_signal(name: str, heads: Sequence[Head] = ()) -> Signal:
    """Return the signal of that name.

    Args:
        name: a key of `SIGNALS`, the path of a probe's file (.json), or `module:Class`.
        heads: the chosen heads, for signals that read them.

    Raises:
        ConfigError: there is no such signal or file.
    """
    return Probe.load(name) if name.endswith(".json") else signal_class(name)(heads)


def needs_heads(name: str | None) -> bool:
    """Whether a signal reads a chosen head set; None is no signal.

    Raises:
        ConfigError: there is no such signal.
    """
    return name is not None and "heads" in signal_class(name).needs


def signal_of(method: str, given: str | None = None) -> str | None:
    """Return the name of the signal that scores steps for a method: the given one, else the method's own.

    Returns:
        None where the method reads no scores.

    Raises:
        ConfigError: there is no such method or signal, or one is given to a method that has no use for it.
    """
    found = method_class(method)
    if given is not None:
        signal = build_signal(given)
        if isinstance(signal, Probe):
            signal.known  # noqa: B018 - says what is missing
        if not found.needs_scores:
            raise ConfigError(f"signal: method '{method}' reads no step scores; drop it, or use method attnpo")
    return (given or found.signal) if found.needs_scores else None


def rules() -> list[Signal]:
    """Return the rankings that need neither a pass nor a choice of heads, which every head set is held against."""
    return [build_signal(name) for name, signal in SIGNALS.items() if signal.rule is not None and not signal.needs]


def rivals(names: str = "all") -> list[Signal]:
    """Return the signals that discovery sets beside its heads and rules.

    Args:
        names: `all`, `none`, or names separated by commas; heads and the rules themselves are passed over.

    Raises:
        ConfigError: there is no such signal.
    """
    listed = [name.strip() for name in names.split(",") if name.strip()]
    chosen = list(SIGNALS) if names == "all" else [] if names == "none" else list(dict.fromkeys(listed))
    found = [build_signal(name) for name in chosen]
    return [s for s in found if s.rule is None and not {"heads", "probe file"} & set(s.needs)]


def wants_probe(names: str = "all") -> bool:
    """Whether a probe is among the signals that `rivals` was asked for: it has to be fitted first."""
    return names == "all" or Probe.name in [name.strip() for name in names.split(",")]
