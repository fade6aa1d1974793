"""Loading a user's own function from a `module:function` spec, and whether it can be called as it will be."""

from __future__ import annotations

import hashlib
import importlib
import inspect
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

from attnpo.errors import ConfigError, nearest


def load_function(
    spec: str, what: str, arguments: Sequence[str] | None = None, kind: Literal["function", "class"] = "function"
) -> Any:
    """Return the function or class that `module:name` names; the working directory is searched too.

    Args:
        spec: the spec, for example `my_package.labels:label_steps`.
        what: what the function is for, as the error message should say it ("labeler").
        arguments: what it will be given, in order; None where that is not checked.
        kind: which of them is wanted, as the error message should say it.

    Raises:
        ConfigError: the spec is malformed, the module cannot be imported, it has no such callable, or that takes other
            arguments.
    """
    module_name, _, function_name = spec.partition(":")
    if not module_name or not function_name.isidentifier():
        raise ConfigError(f"{what} {spec!r}: expected module:{kind}, for example my_module:my_{kind}")
    module = _module(module_name, f"{what} {spec!r}")
    function = getattr(module, function_name, None)
    if not callable(function):
        resembling = nearest(function_name, (name for name, value in vars(module).items() if callable(value)))
        raise ConfigError(f"{what} {spec!r}: module {module_name!r} has no {kind} {function_name!r}{resembling}")
    if arguments is not None:
        check_call(function, f"{what} {spec!r}", arguments)
    return function


def check_call(
    function: Callable[..., Any], where: str, positional: Sequence[str] = (), by_name: Mapping[str, Any] | None = None
) -> None:
    """Check that a function can be called with these arguments.

    Args:
        function: the function; one that hides its parameters passes.
        where: what it is, for the message.
        positional: what it is given in order, in words.
        by_name: what it is given by name.

    Raises:
        ConfigError: it cannot.
    """
    signature = call_signature(function)
    if signature is None:
        return
    try:
        signature.bind(*positional, **(by_name or {}))
    except TypeError as error:
        given = ", ".join([*positional, *(f"{name}=" for name in by_name or {})])
        raise ConfigError(f"{where}: is called with ({given}), but takes {signature} ({error})") from error


def call_signature(function: Callable[..., Any]) -> inspect.Signature | None:
    """Return a function's parameters, None where it hides them, as some written in C do."""
    try:
        return inspect.signature(function)
    except ValueError:
        return None


def source_fingerprint(spec: str | None) -> str | None:
    """Return a hash of the file that a `module:name` of the user's own is written in.

    It tells a function from what it was before it was corrected; what the file imports is not in it. None for this
    package's own, whose version results carry, for what is no such spec, and for a module that is in no file.

    Raises:
        ConfigError: the module cannot be imported.
    """
    module_name, colon, name = (spec or "").partition(":")
    is_own = module_name == "file" or module_name.partition(".")[0] == "attnpo"  # file:NAME names labels
    if not colon or not name.isidentifier() or is_own:
        return None
    file = Path(getattr(_module(module_name, repr(spec)), "__file__", None) or "")
    return hashlib.sha256(file.read_bytes()).hexdigest()[:16] if file.is_file() else None


def _module(name: str, said: str) -> ModuleType:
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        return importlib.import_module(name)
    except (Exception, SystemExit) as error:  # a user's module can fail with anything while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{said}: module {name!r} cannot be imported ({reason}); correct it, or run from the folder that holds it"
        ) from error
