from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.gsmworld.equations import find_equations, find_numbers, to_number, write_number


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("There are 40 girls x 3 boys/girl = 120 boys.", [("40 * 3", "120", True)]),
        ("He drank 7*6=42 ounces, so 42*3=126.", [("7*6", "42", True), ("42*3", "126", True)]),
        ("225 pages x 2/3 = 150 pages", [("225 * 2/3", "150", True)]),
        ("0.5 * 442 + 7 = 228 points", [("0.5 * 442 + 7", "228", True)]),
        ("they cost €63 + €116 + €81 = €260.", [("63 + 116 + 81", "260", True)]),
        ("(3 + 4) * 2 = 14", [("(3 + 4) * 2", "14", True)]),
        ("130 - 75 signatures. 130 - 75 = 55 signatures", [("130 - 75", "55", True)]),
        ("1,044 + 1733 = 2,777.", [("1044 + 1733", "2777", True)]),
        ("24*2=46, not 48", [("24*2", "46", False)]),
        ("5/0=3", [("5/0", "3", False)]),
        ("$5 \\times 4 = 20$", [("5 * 4", "20", True)]),
        ("12 ÷ 4 = 3; 9 − 2 = 7; 2×3=6", [("12 / 4", "3", True), ("9 - 2", "7", True), ("2*3", "6", True)]),
        ("100% - 30% = 70%", [("100 - 30", "70", True)]),
        ("2 liters * 20% = .4 liters", [("2 * 20/100", "0.4", True)]),
        ("40 * 25% = 11", [("40 * 25", "11", False)]),
        ("2 - .5 = 1.5", [("2 - .5", "1.5", True)]),
        ("40-8-16 = 16", [("40-8-16", "16", True)]),
        ("8 x 0.5 = 4.0 liters", [("8 * 0.5", "4", True)]),
        ("x + 3 = 7 and y = 4", []),
        ("She has 5 marbles and he has 3 = three", []),
        ("(3 + 4 = 7", [("3 + 4", "7", True)]),
        ("1.05 * 20 = 21", [("1.05 * 20", "21", True)]),
        ("0.05 * 100 = 5 and 2.005 + 1 = 3.005", [("0.05 * 100", "5", True), ("2.005 + 1", "3.005", True)]),
        ("007 + 01.50 = 8.5", [("7 + 1.50", "8.5", True)]),
        ("(40 * 25% = 10)", [("40 * 25/100", "10", True)]),
        ("40 * (25% = 10)", [("40 * 25/100", "10", True)]),
        ("", []),
    ],
)
def test_equations_of_a_text(text: str, expected: list[tuple[str, str, bool]]) -> None:
    assert [(e.left, write_number(e.value), e.right) for e in find_equations(text)] == expected


def test_an_equation_and_its_inverse_have_the_same_numbers() -> None:
    there, back = find_equations("24*2=48, since 48/2=24")
    assert there.numbers == back.numbers


def test_the_span_is_the_equation() -> None:
    text = "In total 3 + 4 = 7 apples."
    (equation,) = find_equations(text)
    assert text[slice(*equation.span)] == "3 + 4 = 7"


@given(st.integers(0, 999), st.sampled_from("+-*/"), st.integers(1, 999), st.sampled_from(["", " ", " cups "]))
def test_values_are_those_of_arithmetic(a: int, sign: str, b: int, unit: str) -> None:
    value = {"+": a + b, "-": a - b, "*": a * b, "/": a // b}[sign]
    if value < 0 or (sign == "/" and a % b):
        return
    (equation,) = find_equations(f"so that {a}{unit}{sign} {b}{unit}= {value} in all")
    assert equation.right
    (wrong,) = find_equations(f"{a} {sign} {b} = {value + 1}")
    assert not wrong.right


@given(st.text(max_size=80))
def test_any_text_is_read(text: str) -> None:
    find_equations(text)
    find_numbers(text)


def test_a_sum_without_end_is_read() -> None:
    find_equations(" + ".join(["1"] * 3000) + " = 3000")


def test_decimals_are_written_whole() -> None:
    figures = ["12345.67", "112500.5", "0.00001", "-2.05", "1000000.25"]
    assert [write_number(Fraction(figure)) for figure in figures] == figures
    assert write_number(Fraction(1, 3)) == "0.333333"


def test_numbers() -> None:
    assert find_numbers("In 3.5 hours, 1,200 of 40% cost $7. No12x") == [Fraction(7, 2), 1200, 40, 7, 12]
    assert to_number("$1,250.50") == Fraction(2501, 2)
    assert [write_number(Fraction(n)) for n in ("7", "5/2", "1200")] == ["7", "2.5", "1200"]
