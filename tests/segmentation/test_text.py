from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import ConfigError
from attnpo.segmentation import ParagraphStrategy, PhraseStrategy, build_strategy, segment_text

PHRASES = PhraseStrategy()
FINE = PhraseStrategy(min_chars=0)
PARAGRAPHS = ParagraphStrategy()
WORDS = [
    "Wait",
    "But",
    " ",
    "\n",
    "\n\n",
    "\r\n",
    "So",
    "**Final Answer**",
    "<think>",
    "</think>",
    "</thi",
    "é😀",
    "\u2028",
]
WORDS += ["Let me check", "x = 5. ", "First", "\x00", "\ud800", "word " * 20]
texts = st.text() | st.lists(st.sampled_from(WORDS), max_size=40).map("".join)


@given(texts, st.sampled_from([PHRASES, FINE, PARAGRAPHS, ParagraphStrategy(min_chars=40)]))
def test_parts_tile_any_text(text, strategy) -> None:
    parts = segment_text(text, strategy)
    start, end = parts.think
    at = start
    for (step_start, step_end), _ in parts.steps:
        assert step_start == at < step_end
        at = step_end
    assert at == end
    assert bool(parts.steps) == (end > start)
    assert parts.closed == ("</think>" in text)
    # Nothing lost or doubled: before and opening tag, steps, closing tag, answer.
    before, answer = text[:start], text[slice(*parts.answer)]
    assert before == "" or (before.endswith("<think>") and before.count("<think>") == 1)
    assert before + text[start:end] + ("</think>" if parts.closed else "") + answer == text
    assert "</think>" not in text[:end]


def steps(text: str, strategy=FINE) -> list[tuple[str, str]]:
    return [(text[slice(*span)], family) for span, family in segment_text(text, strategy).steps]


def answer(text: str) -> str:
    return text[slice(*segment_text(text, FINE).answer)]


def test_prompt_opened_the_think_part() -> None:
    assert steps("Bob has 5. Wait, 6.\n</think>6") == [("Bob has 5.", "plain"), (" Wait, 6.\n", "confused")]
    assert answer("Bob has 5.</think>6") == "6"


def test_response_opens_the_think_part_itself() -> None:
    assert steps("Sure.<think>\nSo 5.</think>6") == [("\nSo 5.", "summary")]


def test_missing_and_empty_think_part() -> None:
    assert steps("") == []
    assert steps("</think>6") == []
    assert steps("<think></think>6") == []
    assert steps("<think>\n\n</think>6") == [("\n\n", "plain")]
    assert answer("</think>6") == "6"


def test_truncated_response_has_no_answer() -> None:
    parts = segment_text("<think>Bob", FINE)
    assert (parts.closed, parts.think, parts.answer) == (False, (7, 10), (10, 10))


def test_think_part_ends_at_the_first_closing_tag() -> None:
    text = "a</think>b<think>c</think>d"
    assert steps(text) == [("a", "plain")]
    assert answer(text) == "b<think>c</think>d"


def test_a_border_once_found_stays() -> None:
    text = "a. Wait, b</think>c <think>d</think>e"
    whole = segment_text(text, FINE)
    for end in range(text.index("</think>") + len("</think>"), len(text)):
        part = segment_text(text[:end], FINE)
        assert (part.think, part.steps, part.answer[0]) == (whole.think, whole.steps, whole.answer[0])


def test_the_papers_rules_on_one_trace() -> None:
    long = "x" * 90
    text = f"Okay, {long}\nFirst, short.\nWait, {long}. But no.\nNext, {long}\nSo 5.\nThus {long}\n**Final Answer**\n5"
    assert steps(text, PHRASES) == [
        (f"Okay, {long}\nFirst, short.\n", "plain"),
        (f"Wait, {long}.", "confused"),
        (f" But no.\nNext, {long}\nSo 5.\n", "confused"),
        (f"Thus {long}\n", "summary"),
        ("**Final Answer**\n5", "final"),
    ]


def test_white_space_before_the_first_phrase_joins_it() -> None:
    assert steps("\n\nWait, x.") == [("\n\nWait, x.", "confused")]


def test_paragraphs() -> None:
    text = "\n\n  So 5.\nStill.\n\n\nBob.\n \t\n Wait, no.\n\n \n"
    assert steps(text, PARAGRAPHS) == [
        ("\n\n  So 5.\nStill.\n\n\n", "summary"),
        ("Bob.\n \t\n", "plain"),
        (" Wait, no.\n\n \n", "confused"),
    ]
    assert steps("a\r\n\r\nb", PARAGRAPHS) == [("a\r\n\r\n", "plain"), ("b", "plain")]


@given(st.lists(st.text(st.characters(exclude_characters="\n<"), min_size=1).filter(str.strip), min_size=1))
def test_paragraphs_equal_a_plain_split(paragraphs) -> None:
    assert [text.removesuffix("\n\n") for text, _ in steps("\n\n".join(paragraphs), PARAGRAPHS)] == paragraphs


def test_work_grows_with_the_text_and_not_its_square() -> None:
    """Adversarial runs of 1 MB: a quadratic scan would take hours."""
    for text in (" " * 1_000_000, "Let" + " " * 1_000_000 + "me", "(" * 1_000_000, "\n \t" * 300_000, "Wait" * 250_000):
        for strategy in (PHRASES, PARAGRAPHS):
            assert strategy.split(text)[-1][1] == len(text)


def test_build_strategy(tmp_path) -> None:
    assert build_strategy("phrases") == PHRASES
    assert build_strategy("phrases", None, 0) == FINE
    assert build_strategy("paragraphs", None, None) == PARAGRAPHS
    own = tmp_path / "own.yaml"
    own.write_text("families: {confused: {cut: anywhere, phrases: [Ach]}}")
    assert steps("5 Ach 6", build_strategy("phrases", str(own), 0)) == [("5", "plain"), (" Ach 6", "confused")]
    for arguments in (("words",), ("phrases", None, -1), ("paragraphs", str(tmp_path / "none.yaml"))):
        with pytest.raises(ConfigError):
            build_strategy(*arguments)
