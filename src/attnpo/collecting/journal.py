"""The two files of a run that can be killed at any moment.

`<stem>.samples.jsonl` takes every response the moment it is sampled; `<stem>.jsonl` takes a problem's whole group once
it is verified. What a kill leaves half written is cut off when the run goes on.
"""

from __future__ import annotations

import json
import os
from collections.abc import Container
from pathlib import Path
from types import TracebackType
from typing import IO

from attnpo.errors import DataError, OutputError
from attnpo.files import UserFile
from attnpo.output import cut_half_written_line, write_atomically
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse


class SampleJournal:
    """Responses that are sampled and not yet part of a verified group; a context manager that appends to one file."""

    def __init__(self, path: Path):
        """Open the journal for appending."""
        self.path = path
        self.inexact = 0
        """Responses whose token ids were made from text, among those that `read` came by."""
        self.tokens = 0
        """Tokens of all responses that `read` came by."""
        self._file: IO[str] | None = None

    def read(self, leave_out: Container[str]) -> dict[str, dict[int, SampledResponse]]:
        """Return the responses in the file by problem id and sample, but for the problems of `leave_out`.

        Raises:
            DataError: a line is no response.
        """
        cut_half_written_line(self.path)
        found: dict[str, dict[int, SampledResponse]] = {}
        if not self.path.exists():
            return found
        with self.path.open(encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                try:
                    row = json.loads(line)
                    problem, response = (
                        row["problem_id"],
                        SampledResponse(
                            row["ids"], row["finished"], row["exact_ids"], row.get("in_think"), row.get("failure")
                        ),
                    )
                    sample = int(row["sample"])
                except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
                    raise DataError(
                        f"{self.path}, row {number}: not a sampled response ({error}); remove it"
                    ) from error
                self.inexact += not response.exact_ids
                self.tokens += len(response.ids)
                if problem not in leave_out:
                    found.setdefault(problem, {})[sample] = response
        return found

    def append(self, problem_id: str, sample: int, response: SampledResponse) -> None:
        """Write one response; it is with the operating system when this returns."""
        assert self._file is not None
        row = {
            "problem_id": problem_id,
            "sample": sample,
            "ids": list(response.ids),
            "finished": response.finished,
            "exact_ids": response.exact_ids,
            **{name: value for name in ("in_think", "failure") if (value := getattr(response, name)) is not None},
        }
        self._file.write(json.dumps(row) + "\n")
        self._file.flush()

    def remove(self) -> None:
        """Remove the file: all its responses are in the rollouts file."""
        self._close()
        self.path.unlink(missing_ok=True)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> SampleJournal:
        self._file = self.path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()


def finished_groups(path: Path, samples: int) -> dict[str, int]:
    """Return how many responses are correct for each problem whose group is complete in a rollouts file.

    Incomplete groups are dropped from the file.

    Reads row by row: memory does not grow with the responses.

    Raises:
        DataError: a row is malformed.
        OutputError: a problem's group appears more than once.
    """
    cut_half_written_line(path)
    if not path.exists():
        return {}
    counts: dict[str, int] = {}
    correct: dict[str, int] = {}
    for where, line in UserFile(path).lines():
        rollout = Rollout.from_json(line, where)
        expected = counts.get(rollout.problem_id, 0)
        if rollout.sample != expected or expected == samples:
            raise OutputError(
                f"{path}: problem {rollout.problem_id!r} appears more than once; remove the file and start again"
            )
        counts[rollout.problem_id] = expected + 1
        correct[rollout.problem_id] = correct.get(rollout.problem_id, 0) + bool(rollout.correct)
    complete = {problem_id: correct[problem_id] for problem_id, count in counts.items() if count == samples}
    if len(complete) < len(counts):
        _keep_only(path, complete)
    return complete


def _keep_only(path: Path, problems: Container[str]) -> None:
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8", newline="\n") as target:
        for where, line in UserFile(path).lines():
            if Rollout.from_json(line, where).problem_id in problems:
                target.write(line)
    os.replace(temporary, path)


class Clock:
    """Time and tokens that a rollouts file took, over all runs that wrote it."""

    def __init__(self, path: Path):
        """Read what earlier runs took."""
        stored = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
        self._path = path
        self.seconds = float(stored.get("seconds", 0.0))
        """Seconds from start to end of every run."""
        self.engine_seconds = float(stored.get("engine_seconds", 0.0))
        """Seconds of it spent waiting for the engine."""
        self.sampled_tokens = int(stored.get("sampled_tokens", 0))
        """Response tokens sampled."""
        self.inexact = int(stored.get("inexact", 0))
        """Responses whose token ids were made from text."""

    def save(self) -> None:
        """Write the file."""
        numbers = {
            "seconds": self.seconds,
            "engine_seconds": self.engine_seconds,
            "sampled_tokens": self.sampled_tokens,
            "inexact": self.inexact,
        }
        write_atomically(self._path, json.dumps(numbers) + "\n")
