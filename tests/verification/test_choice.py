from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import DataError
from attnpo.verification import ChoiceVerifier, build_verifier, chosen_letter

letters = st.sampled_from(string.ascii_uppercase)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # boxes
        (r"\boxed{B}", "B"),
        (r"so $\boxed{\text{B}}$.", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{B. the second text}", "B"),
        (r"\boxed{B: 12}", "B"),
        (r"\boxed{\text{(C) }5}", "C"),
        (r"\boxed{\textbf{(E)}\ 12}", "E"),
        (r"\boxed{\mathrm{d}}", "D"),
        (r"\boxed{\text{Option F}}", "F"),
        (r"The answer is A. \boxed{B}", "B"),
        (r"\boxed{A}, no: \boxed{B}", "B"),
        (r"\boxed{5}. The answer is C.", "C"),
        (r"\boxed{A car}", None),
        (r"\boxed{A} or \boxed{B}", None),
        (r"\boxed{A, C}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{5}", None),
        (r"\boxed{}", None),
        # statements
        ("The answer is B.", "B"),
        ("The answer is B", "B"),
        ("the answer is **B**, since A is wrong.", "B"),
        ("Answer: (C)", "C"),
        ("**Answer: D**", "D"),
        ("**Answer:** D", "D"),
        ("### Answer:\nC", "C"),
        ("Answer:\n**(B) A car**", "B"),
        ("The answer is: \n\nB) stuff", "B"),
        ("Answer: B: text", "B"),
        ("The final answer is $\\text{Z}$.", "Z"),
        (r"The answer is \(\mathrm{B}\)", "B"),
        ('The answer is "C".', "C"),
        ("The answer is (b)", "B"),
        ("the best answer is therefore option D", "D"),
        ("The correct choice is C) 42", "C"),
        ("Therefore, the answer is choice (A): a car", "A"),
        ("The answer to question A is (B)", "B"),
        ("So I choose D.", "D"),
        ("I'd go with option C", "C"),
        ("the answer is D, not C", "D"),
        ("First the answer is A. But no: the answer is C.", "C"),
        ("A. one\nB. two\nThe answer is B", "B"),
        ("the answer is A because it is", "A"),
        # called right
        ("option B is correct", "B"),
        ("Choice B is the right answer", "B"),
        ("(B) is correct, as (A) is false", "B"),
        ("B is the correct answer.", "B"),
        ("Among these, only B is true", "B"),
        # alone
        ("**D**", "D"),
        ("**D. the text**", "D"),
        ("D", "D"),
        ("(J)", "J"),
        ("It follows that\n\nC", "C"),
        # no choice
        ("A car drives by.", None),
        ("The answer is a car.", None),
        ("The answer is A car", None),
        ("I think so. I am sure.", None),
        ("The answer is I think B.", None),
        ("The answer is not B.", None),
        ("Option A is incorrect", None),
        ("Vitamin C is the best.", None),
        ("Plan B is correct", None),
        ("The answer is B-cells", None),
        ("answer is E=mc^2", None),
        ("The answer is C++", None),
        ("the answer is X-ray", None),
        ("The answer is B or C", None),
        ("Answer: A, B", None),
        ("", None),
    ],
)
def test_chosen_letter(text, letter) -> None:
    assert chosen_letter(text) == letter


STATEMENTS = [
    r"\boxed{%s}", r"\boxed{\text{(%s)}}", r"$\boxed{%s. it is so}$", "The answer is %s.", "Answer: %s", "Answer: (%s)",
    "**Answer:** %s", "The correct option is **%s**.", "I choose (%s).", "**%s**", "option %s is correct.",
]  # fmt: skip


@given(letter=letters, statement=st.sampled_from(STATEMENTS))
def test_every_letter_is_read_from_every_statement(letter, statement) -> None:
    assert chosen_letter("It is a matter of taste.\n\n" + statement % letter) == letter


@given(first=letters, last=letters, statement=st.sampled_from(STATEMENTS[3:8]))
def test_the_last_statement_counts(first, last, statement) -> None:
    assert chosen_letter(f"{statement % first}\nWait, no.\n{statement % last}\n") == last


PROSE = ["a", "car", "i", "think", "it", "is", "so", "was", "the", "plan", "of", "and", "then", "b", "c", "d", ",", "."]


@given(st.lists(st.sampled_from(PROSE)))
def test_lower_case_prose_chooses_nothing(words) -> None:
    assert chosen_letter(" ".join(words)) is None


@given(st.text(alphabet="AB (){}\\boxedtansweri:*$.\n", max_size=200))
def test_any_text_is_read(text) -> None:
    assert chosen_letter(text) in {None, *string.ascii_uppercase}


@pytest.mark.parametrize(
    "text", ["answer is " * 20_000, "*" * 100_000, "\\text{" * 30_000, "$ " * 50_000, "A. " * 30_000]
)
def test_long_texts_are_read(text) -> None:
    assert chosen_letter(text + r" \boxed{C}") == "C"
    assert chosen_letter(text + "\n\nThe answer is C.") == "C"


def test_verdicts_and_answers() -> None:
    responses = [
        r"<think>x</think>\boxed{B}", "</think>The answer is A.", "<think>The answer is B", r"\boxed{B}</think>none",
        "</think>b", "The answer is B",
    ]  # fmt: skip
    with build_verifier("choice") as verifier:
        assert isinstance(verifier, ChoiceVerifier)
        assert verifier.verify(responses, ["B", "(A)", "B", r"\boxed{B}", "B", "B"]) == [
            True, True, False, False, False, True,
        ]  # fmt: skip
        assert verifier.answers(responses) == ["B", "A", None, None, None, "B"]


def test_a_reference_must_be_a_letter() -> None:
    with pytest.raises(DataError, match="'42' is no single letter"):
        ChoiceVerifier().verify(["</think>B"], ["42"])
    with pytest.raises(ValueError, match="shorter"):
        ChoiceVerifier().verify(["</think>B", "</think>B"], ["B"])


def test_shuffled_options_keep_the_verdict() -> None:
    options = [f"option {n}" for n in range(26)]
    for seed in range(20):
        order = random.Random(seed).sample(range(26), 26)
        letter = string.ascii_uppercase[order.index(7)]
        text = "\n".join(f"{string.ascii_uppercase[n]}. {options[o]}" for n, o in enumerate(order))
        assert chosen_letter(f"{text}\n\nThe answer is {letter}.") == letter
