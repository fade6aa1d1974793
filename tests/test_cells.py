from __future__ import annotations

import datetime
from decimal import Decimal

import numpy as np
import pyarrow
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.cells import cell_text
from attnpo.errors import DataError


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("6", "6"),
        (" 6\n", " 6\n"),
        ("nan", "nan"),
        ('["6", "7"]', '["6", "7"]'),
        (["6"], "6"),
        (("6",), "6"),
        ([["6"]], "6"),
        ([[6.0]], "6"),
        (b"6", "6"),
        ("é".encode(), "é"),
        (3, "3"),
        (3.0, "3"),
        (-3.0, "-3"),
        (-0.0, "0"),
        (0.5, "0.5"),
        (100.0, "100"),
        (1e-7, "0.0000001"),
        (1e22, "1" + "0" * 22),
        pytest.param(10**5000, "1" + "0" * 5000, id="more digits than int prints"),
        (Decimal("3.00"), "3"),
        (Decimal("2.50"), "2.5"),
        (Decimal("1E+3"), "1000"),
        (np.int64(7), "7"),
        (np.float32(0.1), "0.1"),
        (np.float64(3), "3"),
        (np.str_("x"), "x"),
        (np.array(["6"]), "6"),
        (np.array(6), "6"),
        (pyarrow.scalar(6), "6"),
        (pyarrow.scalar(["6"]), "6"),
        (torch.tensor(6), "6"),
    ],
)
def test_what_is_one_text(value, text) -> None:
    assert cell_text(value, "solution", "d.jsonl, row 3") == text


@pytest.mark.parametrize(
    "value",
    [None, "", " \n", [], (), [None], [""], b"", float("nan"), np.float32("nan"), Decimal("NaN"), np.array([]),
     pyarrow.scalar(None)],
)  # fmt: skip
def test_what_is_nothing(value) -> None:
    assert cell_text(value, "solution", "d.jsonl, row 3") is None


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (["6", "7"], "holds 2 values, not one text"),
        ([["6", "7"]], "holds 2 values, not one text"),
        (["6", None], "holds 2 values, not one text"),
        (np.array([1, 2]), "holds 2 values, not one text"),
        ({"value": 6}, "is an object, not one text; name 'solution.value'"),
        ([{"value": 6}], "is an object, not one text"),
        ({}, "is an object, not one text"),
        (b"\xff\xfe", "holds bytes that are no UTF-8 text"),
        (True, "is true or false, which has no one spelling"),
        (np.bool_(False), "is true or false, which has no one spelling"),
        (float("inf"), "is inf, no finite number"),
        (float("-inf"), "is -inf, no finite number"),
        (Decimal("Infinity"), "is Infinity, no finite number"),
        (datetime.date(2024, 1, 1), "is a date, not text"),
        (datetime.datetime(2024, 1, 1), "is a datetime, not text"),
        (np.datetime64("2024-01-01"), "is a date, not text"),
        (1j, "is a complex, not text"),
        ("\ud83d", r"holds half a character \(a lone surrogate\)"),
    ],
)
def test_what_is_no_one_text_is_refused_with_row_and_column(value, problem) -> None:
    with pytest.raises(DataError, match=rf"^d.jsonl, row 3: 'solution' {problem}") as caught:
        cell_text(value, "solution", "d.jsonl, row 3")
    assert "\n" not in str(caught.value)


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers())
def test_numbers_keep_their_value(number) -> None:
    text = cell_text(number, "solution", "row")
    assert text is not None
    assert type(number)(text) == number
    assert "e" not in text
