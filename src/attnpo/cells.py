"""What a cell of a data set says as text: one rule for reference answers, ids, options and prompts."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from attnpo.errors import DataError


def cell_text(value: Any, column: str, where: str) -> str | None:
    """Return a cell as one text, None where it holds nothing: no value, NaN, blank text, an empty list.

    Text stays as it is, bytes are read as UTF-8, a list of one element is its element. Numbers are written as short as
    they can be, 3.0 as 3: a column of integers with gaps becomes one of floats.

    Args:
        value: the cell; numpy's and pyarrow's values, too.
        column: its column, for messages.
        where: its row, for messages.

    Raises:
        DataError: it is no one text: several values, an object, true or false, a date, an infinite number, bytes that
            are no UTF-8.
    """
    value = _element(value)
    if isinstance(value, str):
        text = value
    elif value is None or (isinstance(value, (list, tuple)) and not value):
        return None
    elif isinstance(value, bytes):
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise _refused(where, column, "holds bytes that are no UTF-8 text") from error
    elif isinstance(value, (int, float, np.floating, Decimal)) and not isinstance(value, bool):
        if value != value:  # NaN
            return None
        if value in (math.inf, -math.inf):
            raise _refused(where, column, f"is {value}, no finite number")
        text = _number(value)
    elif isinstance(value, Mapping):
        nested = " or ".join(repr(f"{column}.{name}") for name in list(value)[:3])
        raise DataError(f"{where}: {column!r} is an object, not one text" + (f"; name {nested}" if nested else ""))
    elif isinstance(value, (list, tuple)):
        raise _refused(where, column, f"holds {len(value)} values, not one text")
    elif isinstance(value, bool):
        raise _refused(where, column, "is true or false, which has no one spelling")
    else:
        raise _refused(where, column, f"is a {type(value).__name__}, not text")
    if not text.isascii():
        try:
            text.encode("utf-8")
        except UnicodeEncodeError as error:
            raise _refused(where, column, "holds half a character (a lone surrogate)") from error
    return text if text.strip() else None


def plain(value: Any) -> Any:
    """Return numpy's, pyarrow's and torch's values as Python's; all others as they are."""
    if isinstance(value, np.floating):
        return value  # keeps its precision: 0.1 of a float32 is 0.1
    if hasattr(value, "as_py"):
        return value.as_py()
    return value.tolist() if isinstance(value, np.generic) or hasattr(value, "__array__") else value


def _element(value: Any) -> Any:
    value = plain(value)
    while isinstance(value, (list, tuple)) and len(value) == 1:
        value = plain(value[0])
    return value


def _number(value: int | float | np.floating[Any] | Decimal) -> str:
    # The shortest text that means this float, without an exponent.
    text = format(Decimal(value) if isinstance(value, int) else Decimal(str(value)), "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text


def _refused(where: str, column: str, problem: str) -> DataError:
    return DataError(f"{where}: {column!r} {problem}; give the text that is meant, or name another column")
