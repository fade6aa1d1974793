"""Code that must pass tests."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import replace

from attnpo.ranges import SECONDS, WORKERS, check
from attnpo.sandbox import Limits, Sandbox
from attnpo.think import final_answer
from attnpo.verification.base import Closing, share_out
from attnpo.verification.code.comparison import same_output, same_value
from attnpo.verification.code.extraction import last_code_block
from attnpo.verification.code.tests import CodeTests

log = logging.getLogger(__name__)


class CodeVerifier(Closing):
    """Correct means that the last fenced block of the final answer passes all tests, each in a sandbox of its own.

    Tests run in their order until the first fails. Expected outputs are compared in this process and never enter a
    sandbox. Comparison follows LiveCodeBench (`code.comparison`).
    """

    def __init__(
        self,
        timeout: float = 6.0,
        workers: int = 1,
        *,
        total_timeout: float | None = None,
        limits: Limits | None = None,
        allow_weak_sandbox: bool = False,
    ):
        """Set limits; processes start with the first program.

        Args:
            timeout: seconds of processor time for a test, where its problem sets none. The clock may show twice as
                much and a second more.
            workers: number of programs that run at the same time.
            total_timeout: seconds on the clock for all tests of one program, None for `(timeout + 1) * tests + 5`.
            limits: memory, output, files and threads; its times are replaced.
            allow_weak_sandbox: run programs even where the kernel cannot keep them from the network, other processes
                or other files.

        Raises:
            ConfigError: a limit is out of range.
        """
        check("verifier_timeout", timeout, SECONDS)
        if total_timeout is not None:
            check("total_timeout", total_timeout, SECONDS)
        check("verifier_workers", workers, WORKERS)
        self._timeout = timeout
        self._total_timeout = total_timeout
        self._limits = limits or Limits()
        self._sandboxes = [Sandbox(allow_weak_sandbox) for _ in range(workers)]
        self._lock = threading.Lock()

    def check_ready(self) -> None:
        """Check that programs can be contained here, before there are any.

        Raises:
            ConfigError: they cannot.
        """
        self._sandboxes[0].check_ready()

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return for each response whether its code passes the solution's tests.

        Args:
            responses: whole texts.
            solutions: `CodeTests` as JSON, plain or packed.

        Raises:
            DataError: a solution is no `CodeTests`.
            ConfigError: programs cannot be contained on this machine.
        """
        tests = {solution: CodeTests.unpack(solution) for solution in dict.fromkeys(solutions)}
        pairs = [
            None if answer is None or (code := last_code_block(answer)) is None else (code, solution)
            for answer, solution in zip(map(final_answer, responses), solutions, strict=True)
        ]
        # Equal programs of a group run once.
        known: dict[tuple[str, str] | None, bool] = {None: False}
        unknown = [pair for pair in dict.fromkeys(pairs) if pair is not None]
        with self._lock:
            verdicts = self._run_all([(code, tests[solution]) for code, solution in unknown])
        known |= dict(zip(unknown, verdicts, strict=True))
        return [known[pair] for pair in pairs]

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        """Return None for each response: programs have no vote."""
        return [None] * len(responses)

    def close(self) -> None:
        """End all programs and their launchers; a later `verify` starts them again."""
        with self._lock:
            for sandbox in self._sandboxes:
                sandbox.close()

    def _run_all(self, programs: Sequence[tuple[str, CodeTests]]) -> list[bool]:
        return share_out(programs, self._sandboxes, lambda sandbox, program: self._passes(sandbox, *program))

    def _passes(self, sandbox: Sandbox, code: str, tests: CodeTests) -> bool:
        limit = tests.time_limit or self._timeout
        total = self._total_timeout or (limit + 1) * len(tests.tests) + 5
        deadline = time.monotonic() + total
        same = same_output if tests.kind == "stdin" else same_value
        for number, test in enumerate(tests.tests, 1):
            wall = min(2 * limit + 1, deadline - time.monotonic())
            if wall <= 0:
                log.debug("test %d of %d: not run, all tests together took %g s", number, len(tests.tests), total)
                return False
            limits = replace(self._limits, cpu_seconds=limit, wall_seconds=wall)
            outcome = sandbox.run(code, test.input, tests.function if tests.kind == "call" else None, limits)
            if outcome.status != "finished" or not same(outcome.output, test.output):
                log.debug("test %d of %d: %s", number, len(tests.tests), outcome.status)
                return False
        return True
