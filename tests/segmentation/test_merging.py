from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnpo.segmentation import Segment, merge_short

FAMILIES = ["confused", "progression", "summary", "final", "plain"]


def tile(pieces: list[tuple[int, str]]) -> list[Segment]:
    at, segments = 0, []
    for length, family in pieces:
        segments.append(Segment(at, at + length, family))
        at += length
    return segments


def merged(pieces: list[tuple[int, str]]) -> list[tuple[int, str]]:
    return [(s.end - s.start, s.family) for s in merge_short(tile(pieces), 80)]


def test_confused_goes_right() -> None:
    assert merged([(100, "plain"), (20, "confused"), (90, "progression")]) == [(100, "plain"), (110, "confused")]


def test_progression_goes_right() -> None:
    assert merged([(100, "plain"), (20, "progression"), (90, "summary")]) == [(100, "plain"), (110, "progression")]


def test_progression_goes_left_if_a_confused_step_follows() -> None:
    assert merged([(100, "plain"), (20, "progression"), (90, "confused")]) == [(120, "plain"), (90, "confused")]


def test_summary_goes_left() -> None:
    assert merged([(100, "plain"), (20, "summary"), (90, "progression")]) == [(120, "plain"), (90, "progression")]


def test_eighty_characters_are_enough() -> None:
    assert merged([(80, "confused"), (79, "confused"), (1, "plain")]) == [(80, "confused"), (80, "confused")]


def test_final_answer_stands_alone() -> None:
    pieces = [(10, "confused"), (5, "final"), (10, "summary")]
    assert merged(pieces) == pieces


def test_the_other_side_where_one_is_missing() -> None:
    assert merged([(100, "plain"), (5, "confused"), (9, "final")]) == [(105, "plain"), (9, "final")]
    assert merged([(5, "summary"), (100, "confused")]) == [(105, "summary")]
    assert merged([(5, "progression"), (100, "confused")]) == [(105, "progression")]
    assert merged([(5, "progression")]) == [(5, "progression")]
    assert merged([]) == []


def slow(segments: list[Segment], min_chars: int) -> list[Segment]:
    """The documented rule, word for word: merge the first short segment, look again from the start."""
    segments = list(segments)
    while True:
        for i, s in enumerate(segments):
            if s.family == "final" or s.end - s.start >= min_chars:
                continue
            right = segments[i + 1] if i + 1 < len(segments) and segments[i + 1].family != "final" else None
            left = segments[i - 1] if i > 0 and segments[i - 1].family != "final" else None
            confused_follows = right is not None and right.family == "confused"
            wants_left = s.family == "summary" or (s.family in ("progression", "plain") and confused_follows)
            side = (left or right) if wants_left else (right or left)
            if side is None:
                continue
            at = i if side is right else i - 1
            a, b = segments[at], segments[at + 1]
            segments[at : at + 2] = [Segment(a.start, b.end, a.family)]
            break
        else:
            return segments


@given(
    st.lists(st.tuples(st.integers(1, 120), st.sampled_from(FAMILIES)), max_size=25),
    st.integers(0, 200),
)
def test_equals_the_rule_word_for_word(pieces, min_chars) -> None:
    segments = tile(pieces)
    result = merge_short(segments, min_chars)
    assert result == slow(segments, min_chars)
    assert [s.start for s in result[1:]] == [s.end for s in result[:-1]]
    for before, s, after in zip([None, *result], result, [*result[1:], None], strict=False):
        if s.family != "final" and s.end - s.start < min_chars:
            assert all(n is None or n.family == "final" for n in (before, after))
