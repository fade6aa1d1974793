"""Answers in forms that verifiers stumble over: `tests/support/awkward_answers.py`, and properties of their kinds."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from fractions import Fraction

import pytest
from awkward_answers import AWKWARD
from hypothesis import given, settings
from hypothesis import strategies as st
from math_verify import grader

from attnpo.verification import ExactVerifier, MathVerifier, math_values
from attnpo.verification.math_form import normal_form
from attnpo.verification.math_judge import parsed, same_answer


def boxed(text: str) -> str:
    return rf"\boxed{{{text}}}"


@pytest.fixture(scope="module")
def math() -> Iterator[MathVerifier]:
    with MathVerifier(timeout=60) as verifier:
        yield verifier


@pytest.mark.parametrize("kind", AWKWARD)
def test_verdicts(math, kind) -> None:
    answers = AWKWARD[kind]
    verdicts = math.verify(
        [f"</think>{boxed(answer)}" for answer, _, _ in answers], [wanted for _, wanted, _ in answers]
    )
    wrong = [case for case, verdict in zip(answers, verdicts, strict=True) if verdict != case[2]]
    assert wrong == []
    assert math.pool.interrupted == 0


@pytest.mark.parametrize("kind", AWKWARD)
def test_different_answers_share_no_normal_form(math, kind) -> None:
    different = [case for case in AWKWARD[kind] if not case[2]]
    given_forms = math.answers([f"</think>{boxed(answer)}" for answer, _, _ in different])
    wanted_forms = math.answers([f"</think>{boxed(wanted)}" for _, wanted, _ in different])
    assert [case for case, one, other in zip(different, given_forms, wanted_forms, strict=True) if one == other] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("137 1/2", r"137 \frac{1}{2}"),
        ("137 1/2", "137.5"),
        (r"37\frac{1}{2}\%", r"37.5\%"),
        ("2 4/5", r"\frac{14}{5}"),
        ("½", "0.5"),
        ("x²", "x^2"),
        ("４２", "42"),
        (r"0.\overline{3}", r"\frac13"),
        (r"\mathrm{e}-1", "e-1"),
        (r"3+2\mathrm{i}", "3+2i"),
        ("]2,5[", "(2,5)"),
        (r"x<3 \text{ or } x>3", r"(-\infty,3)\cup(3,\infty)"),
        ("1,1,2", "1,2,1"),
        (r"1,2,3,\dots,9", "1,2,3,...,9"),
        (r"5:00\text{ p.m.}", "5 pm"),
        ("2:3:4", "4:6:8"),
        ("x=1, y=2", "y=2, x=1"),
        (r"3\text{ million}", "3000000"),
        ("{" * 12 + "5" + "}" * 12, "5"),
    ],
)
def test_votes_read_answers_as_verdicts_do(one, other) -> None:
    assert normal_form(boxed(one)) == normal_form(boxed(other)) is not None


def test_multiplicity_and_names_count_in_votes() -> None:
    assert normal_form(boxed("1,2,2")) != normal_form(boxed("1,1,2"))
    assert normal_form(boxed("x=1, y=2")) != normal_form(boxed("x=2, y=1"))
    assert normal_form(boxed(r"\{1,2,2\}")) == normal_form(boxed(r"\{1,1,2\}"))


fractions = st.fractions(max_denominator=40).filter(lambda value: abs(value) < 10**6)


def written(value: Fraction) -> list[str]:
    """Return ways to write a number."""
    sign, size = "-" if value < 0 else "", abs(value)
    whole, top = divmod(size.numerator, size.denominator)
    forms = [f"{value}", rf"{sign}\frac{{{size.numerator}}}{{{size.denominator}}}"]
    if whole and top:
        forms += [f"{sign}{whole} {top}/{size.denominator}", rf"{sign}{whole}\tfrac{{{top}}}{{{size.denominator}}}"]
    digits, seen, rest = "", {}, top
    while rest not in seen and len(digits) < 15:
        seen[rest] = len(digits)
        digits += str(rest * 10 // size.denominator)
        rest = rest * 10 % size.denominator
    if rest in seen:
        forms.append(rf"{sign}{whole}.{digits[: seen[rest]]}\overline{{{digits[seen[rest] :]}}}")
    return forms


@given(fractions, st.data())
@settings(max_examples=60, deadline=None)
def test_one_rational_number_in_two_forms_is_one_answer(value, data) -> None:
    one, other = (data.draw(st.sampled_from(written(value))) for _ in range(2))
    assert same_answer(boxed(one), boxed(other))
    assert normal_form(boxed(one)) == normal_form(boxed(other)) == str(value)


@given(fractions, fractions, st.data())
@settings(max_examples=60, deadline=None)
def test_two_rational_numbers_are_two_answers(first, second, data) -> None:
    if first != second:
        one, other = (data.draw(st.sampled_from(written(value))) for value in (first, second))
        assert not same_answer(boxed(one), boxed(other))
        assert not same_answer(boxed(other), boxed(one))
        assert normal_form(boxed(one)) != normal_form(boxed(other))


@given(st.integers(1, 300), st.integers(1, 300))
@settings(max_examples=30, deadline=None)
def test_small_powers_differ(first, second) -> None:
    assert same_answer(boxed(f"3^{{-{first}}}"), boxed(f"3^{{-{second}}}")) == (first == second)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=4), st.lists(st.integers(0, 3), min_size=2, max_size=4))
@settings(max_examples=60, deadline=None)
def test_lists_are_equal_with_their_multiplicities_and_without_order(first, second) -> None:
    one, other = (boxed(", ".join(map(str, members))) for members in (first, second))
    equal = sorted(first) == sorted(second)
    assert same_answer(one, other) == same_answer(other, one) == (normal_form(one) == normal_form(other)) == equal


def test_math_verify_compares_through_the_hook() -> None:
    """The parameters that the hook takes, and the comparisons that go through it."""
    names = ["a", "b", "float_rounding", "numeric_precision"]
    assert list(inspect.signature(math_values._math_verify_equal).parameters) == names
    assert grader.sympy_numeric_eq is math_values.same_value
    for form in (
        "{}",
        "({}, 1)",
        r"\{{{}, 1\}}",
        "[0, {}]",
        r"\begin{{pmatrix}} {} \\ 1 \end{{pmatrix}}",
        "x = {}",
        "x < {}",
    ):
        one, other = (boxed(form.format(f"10^{{-{power}}}")) for power in (20, 21))
        assert same_answer(one, one)
        assert not same_answer(one, other), form


@pytest.mark.parametrize(
    ("answer", "solution", "same"),
    [
        (r"So $\boxed{7}$. \boxed{}", "7", True),
        (r"\boxed{} \boxed{7}", "7", True),
        (r"\boxed{6} \boxed{}", "7", False),
        (r"\fbox{42}", "42", True),
        (r"\fbox{41}", "42", False),
        (r"\boxed{41} so \fbox{42}", "42", True),
    ],
)
def test_boxes(math, answer, solution, same) -> None:
    assert math.verify([f"</think>{answer}"], [solution]) == [same]
    assert ExactVerifier().verify([f"</think>{answer}"], [solution]) == [same]


@pytest.mark.parametrize(
    ("text", "solution", "same"),
    [
        ("The answer is $137 1/2$.", "137.5", True),
        ("The answer is $137 1/2$.", "69", False),
        (r"The answer is $1+4\mathrm{i}$.", r"3+2\mathrm{i}", False),
        (r"The answer is $0.\overline{3}$.", r"\frac13", True),
        (r"The answer is $2^{-64}$.", "2^{-63}", False),
    ],
)
def test_without_a_box(math, text, solution, same) -> None:
    assert math.verify([f"</think>{text}"], [solution]) == [same]


@pytest.mark.parametrize(
    ("one", "other", "apart"),
    [
        (r"\sqrt{2}", r"\sqrt{3}", True),
        (r"\sqrt{2}", "1.41", False),
        (r"50\%", "0.7", False),
        ("x", "2x", False),
        (r"\sqrt{3+2\sqrt{2}} - \sqrt{2} - 1", "0", False),
        ("2i", "-2i", True),
    ],
)
def test_only_constants_are_told_apart_without_algebra(one, other, apart) -> None:
    assert math_values.far_apart(parsed(boxed(one))[0], parsed(boxed(other))[0]) is apart
