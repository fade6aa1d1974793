"""The sums of each problem: all that intervals and paired comparisons are made from."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, model_validator

from attnpo.metrics import COUNT
from attnpo.statistics import Floats


class ProblemTable(BaseModel):
    """One row a problem, rows sorted by problem id.

    Attributes:
        problem_id: the problems.
        difficulty: their difficulties, None where unknown.
        subject: their subjects, None where unknown.
        labelled: whether the steps of all responses carry labels.
        columns: per column one number a problem, summed over its responses: `responses` (how many there are),
            `correct`, `response_tokens`, `think_tokens`, `answer_tokens`, `steps`, `truncated`, `confused_phrases`,
            `progression_phrases`, `summary_phrases`, `essential_steps`, `redundant_steps`, `undecided_steps`,
            `redundant_tokens`; for every budget b `correct@b` and `tokens@b`; for every k `majority@k`, which is a
            mean already; and for everything that a counter counted `count:NAME`, with `of:NAME` where it is a share.
    """

    problem_id: list[str]
    difficulty: list[str | None]
    subject: list[str | None]
    labelled: bool
    columns: dict[str, list[int | float]]

    @model_validator(mode="after")
    def _check_lengths(self) -> ProblemTable:
        rows = {"difficulty": len(self.difficulty), "subject": len(self.subject)}
        rows |= {name: len(values) for name, values in self.columns.items()}
        for name, count in rows.items():
            if count != len(self.problem_id):
                raise ValueError(f"column {name} has {count} rows for {len(self.problem_id)} problems")
        if "responses" not in self.columns:
            raise ValueError("no column responses")
        return self

    def __len__(self) -> int:
        return len(self.problem_id)

    def column(self, name: str) -> Floats:
        """Return a column, (C problems,)."""
        return np.asarray(self.columns[name], dtype=np.float64)

    def numbered(self, prefix: str) -> list[int]:
        """Return the numbers behind `prefix@`, ascending: the budgets of `correct`, the k of `majority`."""
        found = (name.partition("@") for name in self.columns)
        return sorted(int(number) for head, _, number in found if head == prefix and number)

    def counted(self) -> list[str]:
        """Return the columns `count:NAME`, in the counter's order."""
        return [name for name in self.columns if name.startswith(COUNT)]

    def select(self, rows: Sequence[int] | NDArray[np.int64]) -> ProblemTable:
        """Return the table of some problems, in the order of `rows`."""
        return ProblemTable(
            problem_id=[self.problem_id[i] for i in rows],
            difficulty=[self.difficulty[i] for i in rows],
            subject=[self.subject[i] for i in rows],
            labelled=self.labelled,
            columns={name: [values[i] for i in rows] for name, values in self.columns.items()},
        )

    def to_json(self) -> str:
        """Return the table as JSON, a line a column, indented as the value of a field of the outermost object."""
        fields = self.model_dump(exclude={"columns"})
        lines = [f"    {json.dumps(name)}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
        columns = [f"      {json.dumps(name)}: {json.dumps(values)}" for name, values in self.columns.items()]
        lines.append('    "columns": {\n' + ",\n".join(columns) + "\n    }")
        return "{\n" + ",\n".join(lines) + "\n  }"
