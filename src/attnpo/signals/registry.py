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
    """Return the class behind a name: of a signal, or `module:Class` of a user's own.

    Raises:
        ConfigError: there is none.
    """
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
        name: a key of `SIGNALS`, or `module:Class`.
        heads: the chosen heads, for signals that read them.

    Raises:
        ConfigError: there is no such signal.
    """
    return signal_class(name)(heads)


def needs_heads(name: str) -> bool:
    """Whether a signal reads a chosen head set.

    Raises:
        ConfigError: there is no such signal.
    """
    return "heads" in signal_class(name).needs


def check_signal(name: str, method: str) -> None:
    """Check that there is such a signal and, unless it is the default, that the method has a use for it.

    Raises:
        ConfigError: otherwise.
    """
    if signal_class(name) is not Heads and not method_class(method).needs_scores:
        raise ConfigError(f"signal: method '{method}' reads no step scores; drop it, or use method attnpo")


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
    return [signal for signal in found if signal.rule is None and "heads" not in signal.needs]
