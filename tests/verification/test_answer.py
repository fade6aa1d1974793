from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.verification import boxed_answer, reference_answer


@pytest.mark.parametrize(
    ("text", "content"),
    [
        (r"\boxed{5}", "5"),
        (r"so \boxed{ \frac{1}{2} }.", r"\frac{1}{2}"),
        (r"first \boxed{1}, no: \boxed{2}", "2"),
        (r"$\boxed{1}$ and $\boxed{2}$", "1, 2"),
        (r"\(\boxed{x}\), \(\boxed{y}\) or \(\boxed{z}\)", "x, y, z"),
        (r"\boxed{5}, \boxed{5}", "5"),
        (r"\boxed{\{1, 2\}}", r"\{1, 2\}"),
        (r"\boxed {5}", "5"),
        (r"\boxed{5", None),
        (r"\boxed{4} then \boxed{5", "4"),
        (r"\boxed{ \boxed{4}", "4"),
        (r"\boxed{a \boxed{4}}", r"a \boxed{4}"),
        (r"} } \boxed{4} {", "4"),
        (r"\\\boxed{4}", "4"),
        (r"\\boxed{4}", None),
        ("5", None),
        (r"\boxed{}", ""),
        (r"\boxed{7} and \boxed{}", "7"),
        (r"\boxed{7}\boxed{ }", "7"),
        (r"\boxed{} \boxed{ }", ""),
        (r"\fbox{42}", "42"),
        (r"\fbox{\boxed{42}}", r"\boxed{42}"),
        (r"\framebox{42}", "42"),
    ],
)
def test_boxed_answer(text, content) -> None:
    assert boxed_answer(text) == content


@given(
    st.recursive(st.text(st.characters(exclude_characters="{}\\")), lambda inner: inner.map(lambda s: "{" + s + "}"))
)
def test_any_balanced_content_comes_back(content) -> None:
    assert boxed_answer(rf"{{x}} \boxed{{{content}}} y") == content.strip()


def test_many_boxes_take_linear_time() -> None:
    assert boxed_answer(r"\boxed{" * 40_000) is None
    assert boxed_answer(r"\boxed{" * 40_000 + "}" * 40_000) is not None
    assert boxed_answer(r"\boxed{1}" * 20_000) == "1"


def test_reference_answer() -> None:
    assert reference_answer(" 5 ") == "5"
    assert reference_answer("He has 2 + 3 = 5.\n#### 5") == "5"
    assert reference_answer(r"Thus $\boxed{\sqrt{2}}$.") == r"\sqrt{2}"
