"""Errors that a user can cause and can mend: each message is one line that names the file, field or row and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class AttnPOError(Exception):
    """Base of all errors caused by input; the command line prints it without a traceback and exits with 2."""


class ConfigError(AttnPOError):
    """A setting is missing, malformed or contradicts another one."""


class DataError(AttnPOError):
    """A data file or data set lacks a column, a row or a valid value."""


class HeadSetError(AttnPOError):
    """A head set is missing, malformed, or does not fit the model it is used with."""


class UnsupportedModelError(AttnPOError):
    """A model has no softmax attention that can be read where it is asked for."""


class OutputError(AttnPOError):
    """An output folder or file cannot be written, or holds results of other settings."""


class EngineError(AttnPOError):
    """An engine or a server that was at work is gone and stayed so; what was finished before is on disk."""


class TrainingError(AttnPOError):
    """Training cannot go on (updates that are not finite, a reward function that keeps failing); names a checkpoint."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return "; did you mean X?" for the known name that resembles `name` most, "" where none does."""
    close = difflib.get_close_matches(name, sorted(known), n=1)
    return f"; did you mean {close[0]}?" if close else ""


def install_command(extra: str) -> str:
    """Return what installs an extra, as messages say it: attnpo is installed from its clone, not from an index."""
    return f"pip install '.[{extra}]' in the clone of attnpo"


def listed(names: Iterable[object], at_most: int = 10) -> str:
    """Return names joined by commas, "a, b and 3 more" where there are more than `at_most`."""
    said = [str(name) for name in names]
    more = f" and {len(said) - at_most:,} more" if len(said) > at_most else ""
    return ", ".join(said[:at_most]) + more


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, the name of its type where it says nothing."""
    return str(error).strip().split("\n")[0] or type(error).__name__


def one_line(error: BaseException) -> str:
    """Return all that an error says, in one line."""
    return " ".join(str(error).split())
