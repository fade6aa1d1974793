"""The program's own process: it reads the code from a file, runs it, and never returns."""

from __future__ import annotations

import atexit
import builtins
import contextlib
import importlib
import json
import os
import random
import sys
import threading
import types
from typing import Any, NoReturn, TextIO, cast

CODE_FD, RESULT_FD = 3, 4
_RECURSION_LIMIT = 50_000
_INTEGER_DIGITS = 50_000
# LiveCodeBench puts `from m import *`, then `import m`, of these before each solution; solutions count on it.
_STARRED = (
    *(
        "string",
        "re",
        "datetime",
        "collections",
        "heapq",
        "bisect",
        "copy",
        "math",
        "random",
        "statistics",
        "itertools",
    ),
    *("functools", "operator", "io", "sys", "json", "builtins", "typing"),
)
_NAMED = [name for name in _STARRED if name not in ("builtins", "typing")]


def load_prelude() -> None:
    """Import what every program finds imported, once for all programs that are forked from this process."""
    for name in _STARRED:
        importlib.import_module(name)


def run_program(function: str | None, import_path: list[str]) -> NoReturn:
    """Run the code in file 3 and end the process: status 0, or 1 where an exception was not caught.

    Args:
        function: name of the function to call with the JSON values on standard input (one a line), whose value goes as
            JSON to file 4; None to run the code as a program.
        import_path: becomes `sys.path`.
    """
    status = 1
    try:
        sys.path[:] = import_path
        sys.argv = ["solution.py"]
        for name in [name for name in sys.modules if name.startswith("attnpo")]:
            del sys.modules[name]
        sys.setrecursionlimit(_RECURSION_LIMIT)
        if hasattr(sys, "set_int_max_str_digits"):
            sys.set_int_max_str_digits(_INTEGER_DIGITS)
        random.seed(0)
        sys.stdin, sys.stdout, sys.stderr = _stream(0, "r"), _stream(1, "w"), _stream(2, "w")
        # As Python reads a file: without a byte-order mark.
        with open(CODE_FD, encoding="utf-8-sig", errors="replace") as file:
            code = compile(file.read(), "solution.py", "exec")
        if function is None:
            _run(code)
        else:
            _call(code, function)
        status = 0
    finally:
        # Whatever the program raises, the process ends here.
        os._exit(status)


def _stream(file: int, mode: str) -> TextIO:
    return cast(TextIO, open(file, mode, encoding="utf-8", errors="replace", closefd=False))


def _run(code: types.CodeType) -> None:
    with contextlib.suppress(SystemExit):
        exec(code, _namespace("__main__"))
    _wait_for_threads()
    atexit._run_exitfuncs()
    sys.stdout.flush()


def _call(code: types.CodeType, function: str) -> None:
    arguments = [json.loads(line) for line in sys.stdin.read().split("\n")]
    namespace = _namespace("solution")
    exec(code, namespace)
    solution = namespace.get("Solution")
    called = getattr(solution(), function) if isinstance(solution, type) else namespace[function]
    text = json.dumps(called(*arguments), default=_plain).encode()
    while text:
        text = text[os.write(RESULT_FD, text) :]


def _namespace(name: str) -> dict[str, Any]:
    """Return fresh globals with the prelude's names in them, in a module that pickling and typing find."""
    module = types.ModuleType(name)
    sys.modules[name] = module
    for starred in _STARRED:
        source = sys.modules[starred]
        public = getattr(source, "__all__", None) or [key for key in vars(source) if not key.startswith("_")]
        vars(module).update((key, getattr(source, key)) for key in public)
    vars(module).update((key, sys.modules[key]) for key in _NAMED)
    vars(module)["__builtins__"] = builtins
    return vars(module)


def _wait_for_threads() -> None:
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def _plain(value: Any) -> Any:
    """Turn numpy's numbers and arrays into Python's."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is no JSON value")
