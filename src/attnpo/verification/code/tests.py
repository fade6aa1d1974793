"""The reference of a code problem: its tests."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attnpo.documents import first_problem
from attnpo.errors import DataError

_PACKED = "zlib:"


class CodeTest(BaseModel):
    """One test.

    Attributes:
        input: what stands on standard input; for a call, one JSON value a line, the arguments in order.
        output: what must come out on standard output; for a call, the returned value as JSON.
    """

    model_config = ConfigDict(frozen=True)

    input: str
    output: str


class CodeTests(BaseModel):
    """All tests of a problem; `model_dump_json()` or `pack()` of this is the problem's `solution`.

    Attributes:
        kind: `stdin`, a program that reads and prints; `call`, a function that is called.
        function: for `call`, the name of a plain function or of a method of `class Solution`.
        tests: the tests, in the order in which they are run.
        time_limit: seconds of processor time for a test, None for the verifier's own limit.
    """

    model_config = ConfigDict(frozen=True)

    kind: Literal["stdin", "call"]
    function: str | None = None
    tests: list[CodeTest] = Field(min_length=1)
    time_limit: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _calls_have_values(self) -> CodeTests:
        if self.kind == "call":
            if not self.function:
                raise ValueError("a problem of kind call must name its function")
            for number, test in enumerate(self.tests, 1):
                try:
                    for text in (*test.input.split("\n"), test.output):
                        json.loads(text, parse_int=str)
                except ValueError as error:
                    raise ValueError(f"test {number} of a problem of kind call is not JSON: {error}") from error
        return self

    def pack(self) -> str:
        """Return the tests as compressed text, which `unpack` reads: large ones take a fraction of the space."""
        return _PACKED + base64.b64encode(zlib.compress(self.model_dump_json().encode())).decode()

    @classmethod
    def unpack(cls, solution: str) -> CodeTests:
        """Return the tests that a problem's `solution` states, as JSON or as `pack` writes them.

        Raises:
            DataError: it is neither.
        """
        try:
            text = zlib.decompress(base64.b64decode(solution[len(_PACKED) :])) if solution.startswith(_PACKED) else None
            return cls.model_validate_json(solution if text is None else text)
        except (ValidationError, ValueError, zlib.error) as error:
            reason = first_problem(error) if isinstance(error, ValidationError) else str(error)
            raise DataError(
                f"verifier code: the solution {solution[:40]!r} is no CodeTests, as JSON or packed: {reason}"
            ) from error
