"""What libraries say, in one line."""

from __future__ import annotations

from typing import Any

from attnpo.errors import first_line


def reason(error: BaseException) -> str:
    """Return the first line of what a library says, without its full stop."""
    return first_line(error).rstrip(".")


def word(value: Any) -> str:
    """Return a setting's word, whether or not transformers made a member of an enumeration of it."""
    return str(getattr(value, "value", value))
