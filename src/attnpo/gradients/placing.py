"""Curves of gradients read at one change of length, where what they say can be compared."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from attnpo.evaluation.strength import accuracy_at, curve_knots

PLACE = "a place on TLMRE's curve"


@dataclass(frozen=True)
class Point:
    """A method at one strength.

    Attributes:
        name: its name.
        saved: tokens that a unit step saves; None where it is not known.
        values: its measures, each against TLMRE's curve where that saves as many; None where one is not known.
    """

    name: str
    saved: float | None
    values: tuple[float, ...] | None


@dataclass(frozen=True)
class Placed:
    """Curves at one place.

    Attributes:
        place: tokens saved by a unit step, at which curves of several strengths are read; None where there are none.
        values: curve → its measures there; of a method without a dial, its own.
        own: method without a dial → tokens that it saves; None where that is not known.
        left_out: curve → why it has no measures.
        unknown: strengths whose measures are not known; of their curves the others are read.
    """

    place: float | None
    values: Mapping[str, tuple[float, ...]]
    own: Mapping[str, float | None]
    left_out: Mapping[str, str]
    unknown: Sequence[str]

    def said(self) -> list[str]:
        """Return where curves were read, and what was not, in sentences."""
        found = []
        if self.place is not None:
            reach = ", ".join(name for name in self.values if name not in self.own)
            found.append(f"read where a unit step saves {self.place:.4g} tokens, which {reach} reach.")
        if self.own:
            each = ", ".join(f"{n} ({'–' if at is None else format(at, '.4g')})" for n, at in self.own.items())
            found.append(f"without a dial, held against TLMRE where that saves as many tokens: {each}.")
        if self.unknown:
            found.append(f"not measured, or TLMRE saves as many tokens at no strength: {', '.join(self.unknown)}.")
        return found + [f"{name} is left out: {why}." for name, why in self.left_out.items()]


def placed(curves: Mapping[str, Sequence[Point]], dialless: Collection[str] = ()) -> Placed:
    """Read every curve where a unit step saves as many tokens.

    Between strengths curves are straight; where noise says that more strength saves less, neighbours are pooled, as
    those of trained curves are. The place is the middle of what all curves of several strengths reach; where that is
    nothing, of what most of them reach. A method without a dial has its measures against TLMRE's curve at its own
    change of length, so it needs no place; one strength of a curve does not stand for the curve.

    Args:
        curves: curve → its strengths, weakest first.
        dialless: those that are a method without a dial.
    """
    knots, own, values, left_out = {}, {}, {}, {}
    unknown = [point.name for points in curves.values() for point in points if point.values is None]
    for name, points in curves.items():
        known = [(point.saved, point.values) for point in points if point.values is not None]
        saved = [tokens for tokens, _ in known if tokens is not None]
        if not known:
            left_out[name] = f"none of its strengths has {PLACE}"
        elif name in dialless:
            own[name], values[name] = known[0]
        elif len(known) == 1:
            left_out[name] = f"one strength alone has {'a gradient' if len(points) == 1 else PLACE}"
        elif len(saved) < len(known):
            left_out[name] = "it is not known how many tokens its strengths save"
        else:
            columns = np.array([measures for _, measures in known]).T
            found = [curve_knots(-np.array(saved), column) for column in columns]
            if len(found[0][0]) > 1:
                knots[name] = found
            else:
                left_out[name] = "noise does not tell its strengths apart"
    reaches = {name: (-tokens[-1], -tokens[0]) for name, ((tokens, _), *_) in knots.items()}
    place = _common(list(reaches.values()))
    for name, (low, high) in reaches.items():
        if place is not None and low <= place <= high:
            values[name] = tuple(accuracy_at(*knot, -place) for knot in knots[name])
        else:
            left_out[name] = f"its strengths save {low:.4g} to {high:.4g} tokens"
    return Placed(place, {name: values[name] for name in curves if name in values}, own, left_out, unknown)


def _common(reaches: Sequence[tuple[float, float]]) -> float | None:
    """Return the middle of what most intervals hold, the widest such piece; None without any."""
    if not reaches:
        return None
    ends = sorted({end for reach in reaches for end in reach})
    pieces = [*pairwise(ends)] or [(ends[0], ends[0])]

    def held(piece: tuple[float, float]) -> tuple[int, float]:
        return sum(low <= piece[0] and piece[1] <= high for low, high in reaches), piece[1] - piece[0]

    low, high = max(pieces, key=held)
    return float((low + high) / 2)
