"""The files of a run that can be killed at any moment.

`<stem>.samples.jsonl` takes every response the moment it is sampled; `<stem>.jsonl` takes a problem's whole group once
it is verified; `<stem>.clock.json` knows what both took.
"""

from __future__ import annotations

import json
from collections.abc import Container
from pathlib import Path
from typing import Any

from attnpo.errors import OutputError
from attnpo.ledger import Ledger, json_row
from attnpo.output import write_atomically
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse

Sample = tuple[str, int, SampledResponse]
"""Problem id, number within the group, response."""


RARE = ("in_think", "failure", "tokens")
"""Fields of a response that stand in its row where they are known."""


class SampleJournal(Ledger[Sample]):
    """Responses that are sampled and not yet part of a verified group."""

    def __init__(self, path: Path):
        """Open the journal."""
        super().__init__(path, json_row("a sampled response", _sample))
        self.inexact = 0
        """Responses whose token ids were made from text, among those that `read` came by."""
        self.tokens = 0
        """Tokens of all responses that `read` came by."""

    def read(self, leave_out: Container[str]) -> dict[str, dict[int, SampledResponse]]:
        """Return the responses in the file by problem id and sample, but for the problems of `leave_out`.

        Raises:
            DataError: a line is no response.
        """
        found: dict[str, dict[int, SampledResponse]] = {}
        for _, (problem, sample, response) in self.rows():
            self.inexact += not response.exact_ids
            self.tokens += response.n_tokens
            if problem not in leave_out:
                found.setdefault(problem, {})[sample] = response
        return found

    def add(self, problem_id: str, sample: int, response: SampledResponse) -> None:
        """Write one response."""
        row = {
            "problem_id": problem_id,
            "sample": sample,
            "ids": list(response.ids),
            "finished": response.finished,
            "exact_ids": response.exact_ids,
            **{
                name: value
                for name in ("in_think", "failure", "tokens")
                if (value := getattr(response, name)) is not None
            },
        }
        self.append(json.dumps(row))


def _sample(row: Any) -> Sample:
    rest = (row.get(name) for name in RARE)
    response = SampledResponse(row["ids"], row["finished"], row["exact_ids"], *rest)
    return row["problem_id"], int(row["sample"]), response


def finished_groups(groups: Ledger[Rollout], samples: int) -> dict[str, int]:
    """Return how many responses are correct for each problem whose group is complete; drop the incomplete ones.

    Reads row by row: memory does not grow with the responses.

    Raises:
        DataError: a row is malformed.
        OutputError: a problem's group appears more than once.
    """
    counts: dict[str, int] = {}
    correct: dict[str, int] = {}
    for _, rollout in groups.rows():
        expected = counts.get(rollout.problem_id, 0)
        if rollout.sample != expected or expected == samples:
            raise OutputError(
                f"{groups.path}: problem {rollout.problem_id!r} appears more than once; remove the file and start again"
            )
        counts[rollout.problem_id] = expected + 1
        correct[rollout.problem_id] = correct.get(rollout.problem_id, 0) + bool(rollout.correct)
    complete = {problem_id: correct[problem_id] for problem_id, count in counts.items() if count == samples}
    if len(complete) < len(counts):
        groups.keep(lambda rollout: rollout.problem_id in complete)
    return complete


class Clock:
    """Time and tokens that a ledger's rows took, over all runs that wrote it: `<stem>.clock.json`."""

    def __init__(self, ledger: Path):
        """Read what earlier runs took.

        Args:
            ledger: the file that the clock lies beside.
        """
        self._path = ledger.with_name(f"{ledger.stem}.clock.json")
        stored = json.loads(self._path.read_text(encoding="utf-8")) if self._path.exists() else {}
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
