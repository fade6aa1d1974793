"""Merging of segments too short to be steps of their own (AttnPO, step segmentation)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from attnpo.rollouts import StepFamily


class Segment(NamedTuple):
    """A piece of the think part: characters `[start, end)` and the family of the phrase that opens it."""

    start: int
    end: int
    family: StepFamily


def merge_short(segments: Sequence[Segment], min_chars: int) -> list[Segment]:
    """Merge every segment of fewer than `min_chars` characters (spaces and line breaks count) into a neighbour.

    The segments must tile a text in order. From left to right, the first short segment is merged and the result looked
    at again, until none is left:

    - confused: into the segment to its right;
    - progression, and plain (text before the first phrase): to the right, or to the left if a confused one follows;
    - summary: to the left;
    - final: never merged, and nothing is merged into it.

    Where the side named has no segment or a final one, the other side is taken; where neither side will do, the segment
    stays short. A merged segment keeps the family of its first piece. Linear in the number of segments.
    """
    merged: list[Segment] = []
    position = 0
    while position < len(segments):
        current = segments[position]
        position += 1
        while current.family != "final" and current.end - current.start < min_chars:
            right = segments[position] if position < len(segments) else None
            can_right = right is not None and right.family != "final"
            can_left = bool(merged) and merged[-1].family != "final"
            if can_right and right is not None and (not can_left or not _prefers_left(current, right)):
                current = Segment(current.start, right.end, current.family)
                position += 1
            elif can_left:
                left = merged.pop()
                current = Segment(left.start, current.end, left.family)
            else:
                break
        merged.append(current)
    return merged


def _prefers_left(segment: Segment, right: Segment) -> bool:
    if segment.family == "summary":
        return True
    return segment.family in ("progression", "plain") and right.family == "confused"
