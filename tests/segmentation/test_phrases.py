from __future__ import annotations

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import ConfigError
from attnpo.segmentation import PhraseFamilies, phrase_counts
from attnpo.segmentation.phrases import DEFAULT_PHRASES, PHRASE_FAMILIES

PHRASES = PhraseFamilies.load()


def cuts(text: str, phrases: PhraseFamilies = PHRASES) -> list[tuple[str, str]]:
    """The text after each cut up to the next one, with its family."""
    found = phrases.cuts(text)
    ends = [*(cut.start for cut in found), len(text)][1:]
    return [(text[cut.start : end], cut.family) for cut, end in zip(found, ends, strict=True)]


@pytest.mark.parametrize(
    "phrase",
    [
        "Wait",
        "But",
        "However",
        "Hold on",
        "Hmm",
        "Let me double-check",
        "Let me verify",
        "Let me check",
        "Let me confirm",
        "Let me recap",
        "Let me make sure",
        "Is it",
        "Alternatively",
        "Another approach",
        "Another way",
        "No,",
    ],
)
def test_the_papers_confused_phrases_cut_anywhere(phrase) -> None:
    assert cuts(f"x is 5. {phrase} y is 6.") == [(f" {phrase} y is 6.", "confused")]
    assert cuts(f"x is 5.\n{phrase} y is 6.") == [(f"{phrase} y is 6.", "confused")]


@pytest.mark.parametrize(
    ("phrase", "family"),
    [(p, "progression") for p in ("First", "Let me", "Now", "Then", "Next", "Since", "Given that", "To")]
    + [(p, "summary") for p in ("So", "Therefore", "Thus", "Hence", "Putting it all together")],
)
def test_the_papers_other_phrases_cut_at_line_starts_only(phrase, family) -> None:
    assert cuts(f"x is 5. {phrase} y is 6.") == []
    assert cuts(f"x is 5.\n{phrase} y is 6.") == [(f"{phrase} y is 6.", family)]
    assert cuts(f"{phrase} y is 6.") == [(f"{phrase} y is 6.", family)]
    assert cuts(f"x is 5.\r\n  {phrase} y is 6.") == [(f"  {phrase} y is 6.", family)]


def test_no_phrase_is_fused_with_another() -> None:
    listed = [p for family in PHRASES.families.values() for p in family.phrases]
    assert {"No,", "Let me double-check"} <= set(listed)
    assert not any(p != "No," and p.startswith("No,") for p in listed)


@pytest.mark.parametrize(
    "text",
    [
        "Butter melts.",
        "a waiter",
        "I wait, but not long.",
        "Await",
        "x.Button",
        "Wait-and-see",
        "anti-But",
        "sWait",
        'the word "But" here',
        "it's “Wait” again",
        "'But' he said",
        "`Wait`",
        "\\But",
        "First-order terms",
        "Now's",
        "Sol",
        "Tomorrow",
        "Thenceforth",
        "éBut",
        "不But",
    ],
)
def test_words_that_only_look_like_phrases(text) -> None:
    assert cuts(text) == []


def test_longest_phrase_wins() -> None:
    assert cuts("Let me check x.\nLet me compute x.\nTo verify x.\nTo get x.") == [
        ("Let me check x.\n", "confused"),
        ("Let me compute x.\n", "progression"),
        ("To verify x.\n", "confused"),
        ("To get x.", "progression"),
    ]


def test_spellings_of_one_phrase() -> None:
    for variant in (
        "Let me double-check",
        "Let me double check",
        "Let  me double\u2011check",
        "Let's check",
        "Let’s check",
    ):
        assert cuts(f"5. {variant} x")[0][1] == "confused"


def test_opening_markup_and_spaces_go_with_the_step() -> None:
    assert cuts("x.  **Wait** y. (But z)") == [("  **Wait** y.", "confused"), (" (But z)", "confused")]
    assert cuts("x\n**So** y") == [("**So** y", "summary")]


def test_final_answer_cuts_anywhere() -> None:
    assert cuts("x is 5.**Final Answer** 5") == [("**Final Answer** 5", "final")]
    assert cuts("Final Answer 5") == []


def test_ignore_case() -> None:
    document = yaml.safe_load(DEFAULT_PHRASES.read_text())
    loose = PhraseFamilies.parse({**document, "ignore_case": True})
    assert cuts("x. wait y\nİso\nso z", loose) == [(" wait y\nİso\n", "confused"), ("so z", "summary")]


def test_opening_family() -> None:
    assert PHRASES.opening_family("\n  Wait , no") == "confused"
    assert PHRASES.opening_family("**Final Answer**") == "final"
    assert PHRASES.opening_family("Bob. Wait") == "plain"
    assert PHRASES.opening_family("") == "plain"


def test_phrase_counts() -> None:
    text = "First x. So y. Wait, but z. Hmm.\nSo w.\nTherefore v.\n**Final Answer**"
    assert phrase_counts(text, PHRASES) == {"confused": 2, "progression": 1, "summary": 2}


@given(
    st.lists(st.sampled_from(["Wait", "But", " ", "\n", "So", "**", "(", "é", '"', "Let me check", "To", "x."])).map(
        "".join
    )
)
def test_cuts_are_ordered_and_open_with_a_phrase(text) -> None:
    found = PHRASES.cuts(text)
    assert [cut.start for cut in found] == sorted({cut.start for cut in found})
    for cut in found:
        opening = text[cut.start :].lstrip(" *(_[")
        phrases = [p for p in PHRASES.families[cut.family].phrases if opening.startswith(p.lstrip("*"))]
        assert phrases
        if PHRASES.families[cut.family].cut == "line_start":
            assert cut.start == 0 or text[cut.start - 1] == "\n"


def write(path, document) -> str:
    path.write_text(document if isinstance(document, str) else yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def test_a_users_file_replaces_the_list(tmp_path) -> None:
    document = {"families": {"confused": {"cut": "anywhere", "phrases": ["Ach"]}}}
    own = PhraseFamilies.load(write(tmp_path / "own.yaml", document))
    assert cuts("5. Ach 6. Wait", own) == [(" Ach 6. Wait", "confused")]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ("a: [", "not valid YAML"),
        ("- x", "must be a mapping"),
        ({"families": {"confused": {"cut": "anywhere", "phrases": []}}}, "no phrase"),
        ({"families": {"doubt": {"cut": "anywhere", "phrases": ["x"]}}}, "unknown 'doubt'"),
        ({"families": {"confused": {"cut": "here", "phrases": ["x"]}}}, "families.confused.cut"),
        ({"families": {"confused": {"cut": "anywhere", "phrases": "x"}}}, "must be a list"),
        ({"families": {"confused": {"cut": "anywhere", "phrases": [False]}}}, "holds False"),
        ({"families": {"confused": {"cut": "anywhere", "phrases": [" "]}}}, "holds ' '"),
        ({"families": {}, "schema_version": 2}, "schema_version is 2"),
        ({"families": {}, "ignore_case": "no"}, "ignore_case is 'no'"),
        ({"families": {f: {"cut": "anywhere", "phrases": ["x-y"]} for f in PHRASE_FAMILIES[:2]}}, "stands in confused"),
    ],
)
def test_a_wrong_file_is_one_clear_line(tmp_path, document, message) -> None:
    path = write(tmp_path / "own.yaml", document)
    with pytest.raises(ConfigError) as caught:
        PhraseFamilies.load(path)
    assert message in str(caught.value)
    assert path in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file(tmp_path) -> None:
    with pytest.raises(ConfigError, match="no such phrases file"):
        PhraseFamilies.load(tmp_path / "none.yaml")
