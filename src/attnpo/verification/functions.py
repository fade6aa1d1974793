"""Finding a user's own function by its name `module:function`."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any

from attnpo.errors import ConfigError


def load_function(spec: str, where: str = "verifier") -> Callable[..., Any]:
    """Import the function that `module:function` names; the current folder is searched last.

    Args:
        spec: dotted module name, colon, name of the function in it.
        where: the setting, for error messages.

    Raises:
        ConfigError: the name is malformed, or the module or function is missing or fails on import.
    """
    module_name, colon, name = spec.partition(":")
    if not (colon and module_name and name.isidentifier()):
        raise ConfigError(f"{where}: {spec!r} is no function's name; write module:function")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module can fail with anything while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(f"{where}: cannot import {module_name!r} ({reason})") from error
    function = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{where}: module {module_name!r} has no function {name!r}")
    return function
