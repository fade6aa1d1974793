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


def build_signal(name: str, heads: Sequence[Head] = (), seed: int = 0) -> Signal:
    """Return the signal of that name; it goes by it from then on, whatever its class is called.

    Args:
        name: a key of `SIGNALS`, the path of a probe's file (.json), or `module:Class`.
        heads: the chosen heads, for signals that read them.
        seed: the run's, for signals that draw.

    Raises:
        ConfigError: there is no such signal or file.
    """
    signal = Probe.load(name) if name.endswith(".json") else signal_class(name)(heads)
    signal.name, signal.seed = name, seed
    return signal


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
    return found.reads(given)


def rules() -> list[Signal]:
    """Return the rankings that need neither a pass nor a choice of heads, which every head set is held against."""
    return [build_signal(name) for name, signal in SIGNALS.items() if signal.rule is not None and not signal.needs]


def rivals(
    names: str = "all",
    heads: Sequence[Head] | None = None,
    seed: int = 0,
    *,
    flag: str = "signals",
    labelled: bool = True,
    fits_probe: bool = False,
) -> list[Signal]:
    """Return the signals that are set beside a head set.

    Args:
        names: `none`, names separated by commas, or `all`: those that are no rule and need neither heads nor a file.
        heads: the head set, empty where it is not known yet; None where there is none.
        seed: the run's, for signals that draw.
        flag: how the setting is called in errors.
        labelled: whether steps have labels; without them `all` leaves out what reads some.
        fits_probe: whether the caller fits `probe` itself; it is not among those returned then.

    Raises:
        ConfigError: there is no such signal or file, or one is named that reads what there is none of.
    """
    if names == "none":
        return []
    if names == "all":
        found = [build_signal(name, seed=seed) for name in SIGNALS]
        return [s for s in found if s.rule is None and not {"heads", "probe file"} & set(s.needs) and _has(s, labelled)]
    asked = [name for name in _listed(names) if not (fits_probe and name == Probe.name)]
    found = [build_signal(name, heads or (), seed) for name in asked]
    for signal in found:
        if "heads" in signal.needs and heads is None:
            raise ConfigError(
                f"{flag}: {signal.name} reads a head set, which discover measures in any case and other commands take "
                "with --heads; leave it out"
            )
        if isinstance(signal, Probe) and signal.fitted is None:
            raise ConfigError(f"{flag}: probe has weights of its own; give its file (probe.json of `attnpo discover`)")
        if not _has(signal, labelled):
            raise ConfigError(f"{flag}: {signal.name} reads step labels, and nothing gives them; give a labeler")
    return found


def wants_probe(names: str = "all") -> bool:
    """Whether the signals that `rivals` is asked for include a probe that is to be fitted first."""
    return names == "all" or Probe.name in _listed(names)


def _has(signal: Signal, labelled: bool) -> bool:
    return labelled or "labels" not in signal.needs


def _listed(names: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in names.split(",") if name.strip()))
