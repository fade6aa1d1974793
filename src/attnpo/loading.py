"""Loading a user's own function from a `module:function` spec."""

from __future__ import annotations

import importlib
import os
import sys
from typing import Any

from attnpo.errors import ConfigError


def load_function(spec: str, what: str) -> Any:
    """Return the callable that `module:function` names; the working directory is searched too.

    Args:
        spec: the spec, for example `my_package.labels:label_steps`.
        what: what the function is for, as the error message should say it ("labeler").

    Raises:
        ConfigError: the spec is malformed, the module cannot be imported, or it has no such callable.
    """
    module_name, _, function_name = spec.partition(":")
    if not module_name or not function_name.isidentifier():
        raise ConfigError(f"{what} {spec!r}: expected module:function, for example my_module:my_function")
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.append(os.getcwd())
    try:
        module = importlib.import_module(module_name)
    except Exception as error:  # a user's module can fail with anything while it is imported
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise ConfigError(
            f"{what} {spec!r}: module {module_name!r} cannot be imported ({reason}); "
            "correct it, or run from the folder that holds it"
        ) from error
    function = getattr(module, function_name, None)
    if not callable(function):
        raise ConfigError(f"{what} {spec!r}: module {module_name!r} has no function {function_name!r}")
    return function
