"""Tests of code problems as LiveCodeBench publishes them."""

from __future__ import annotations

import base64
import binascii
import io
import json
import pickle
import zlib
from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from attnpo.cells import cell_text
from attnpo.errors import DataError, one_line
from attnpo.verification.code.tests import CodeTest, CodeTests

LONGEST_PLAIN = 10_000
"""Characters of tests that are held as they stand; those of one LiveCodeBench problem can be many megabytes."""


class _TextUnpickler(pickle.Unpickler):
    """Reads pickled text and nothing else: whatever a pickle would import or call is refused."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, only text is allowed")


def unpack_tests(value: Any, where: str) -> list[Mapping[str, Any]]:
    """Return the test cases of a column: a list, JSON text, or base64 of zlib of a pickle of JSON text.

    Raises:
        DataError: it is neither, or the pickle holds anything but text.
    """
    if isinstance(value, list):
        return _cases(value, where)
    text = cell_text(value, "tests", where) or ""
    try:
        if not text.lstrip().startswith("["):
            packed = zlib.decompress(base64.b64decode(text, validate=True))
            text = _TextUnpickler(io.BytesIO(packed)).load()
            if not isinstance(text, str):
                raise pickle.UnpicklingError(f"it holds {type(text).__name__}, only text is allowed")
        cases = json.loads(text)
    except (binascii.Error, zlib.error, pickle.UnpicklingError, EOFError, ValueError) as error:
        reason = one_line(error)
        raise DataError(f"{where}: not readable as test cases ({reason}); expected JSON, or its packed form") from error
    return _cases(cases, where)


def _cases(cases: Any, where: str) -> list[Mapping[str, Any]]:
    if not isinstance(cases, list) or not all(isinstance(case, dict) for case in cases):
        raise DataError(f"{where}: expected a list of test cases")
    return cases


def code_solution(public: Any, private: Any, metadata: Any, time_limit: float, where: str) -> str:
    """Return all tests of a problem as the code verifier takes them, packed where they are long.

    Args:
        public: column of the tests shown in the question.
        private: column of the hidden ones.
        metadata: column with JSON that names the function (`func_name`) of a function-call problem.
        time_limit: seconds a test.
        where: the row, for messages.

    Raises:
        DataError: a column is malformed, there is no test, or the tests are of two kinds.
    """
    cases = [*unpack_tests(public, f"{where}: public tests"), *unpack_tests(private, f"{where}: private tests")]
    kinds = {case.get("testtype") for case in cases}
    if not cases or len(kinds) != 1 or not kinds <= {"stdin", "functional"}:
        found = ", ".join(sorted(str(kind) for kind in kinds)) or "no test"
        raise DataError(f"{where}: expected tests of one kind, stdin or functional, found {found}")
    for number, case in enumerate(cases, start=1):
        if not isinstance(case.get("input"), str) or not isinstance(case.get("output"), str):
            raise DataError(f"{where}: test {number}: input and output must be text")
    function = _function_name(metadata, where) if kinds == {"functional"} else None
    try:
        tests = CodeTests(
            kind="stdin" if function is None else "call",
            function=function,
            tests=[CodeTest(input=case["input"], output=case["output"]) for case in cases],
            time_limit=time_limit,
        )
    except ValidationError as error:
        reason = error.errors()[0]["msg"].removeprefix("Value error, ")
        raise DataError(f"{where}: {' '.join(reason.split())}") from error
    text = tests.model_dump_json()
    return text if len(text) <= LONGEST_PLAIN else tests.pack()


def _function_name(metadata: Any, where: str) -> str:
    try:
        fields = metadata if isinstance(metadata, Mapping) else json.loads(metadata or "{}")
    except (TypeError, ValueError) as error:
        raise DataError(f"{where}: metadata: not valid JSON ({error})") from error
    name = fields.get("func_name") if isinstance(fields, Mapping) else None
    if not isinstance(name, str) or not name.isidentifier():
        raise DataError(f"{where}: metadata: a function-call problem needs func_name, found {name!r}")
    return name
