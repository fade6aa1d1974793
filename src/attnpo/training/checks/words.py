"""What libraries say, in one line."""

from __future__ import annotations

from typing import Any


def one_line(error: BaseException) -> str:
    """Return the first line of what a library says, without its full stop."""
    return str(error).strip().split("\n")[0].rstrip(".")


def word(value: Any) -> str:
    """Return a setting's word, whether or not transformers made a member of an enumeration of it."""
    return str(getattr(value, "value", value))
