"""From a data set's row to a problem, as a benchmark's entry says."""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from typing import Any

from attnpo.cells import cell_text, plain
from attnpo.datasets import check_prompt, solution_text
from attnpo.errors import DataError
from attnpo.evaluation.benchmarks.code_tests import code_solution
from attnpo.evaluation.benchmarks.entry import Benchmark, ColumnMap
from attnpo.rows import column_value

LETTERS = string.ascii_uppercase
_LABELS = ("problem_id", "difficulty", "subject")


class RowReader:
    """Turns rows into the fields of problems."""

    def __init__(self, entry: Benchmark, roles: ColumnMap, seed: int):
        """Prepare the reader.

        Args:
            entry: the benchmark.
            roles: role → column of the rows at hand.
            seed: seed of the options' order.
        """
        self._entry = entry
        self._roles = roles
        self._seed = seed
        self._template = entry.prompt_template

    def read(self, row: Mapping[str, Any], where: str) -> dict[str, Any]:
        """Return the problem's fields, as `attnpo.datasets.Problems.add` takes them.

        Args:
            row: the row.
            where: the row, for messages.

        Raises:
            DataError: the row lacks a value that the problem needs, or has one of another form.
        """
        roles = {role: self._value(row, role) for role in {**self._entry.columns, **self._roles}}
        messages: list[dict[str, str]] = []
        if self._template is not None:
            *messages, last = self._question(roles["question"], where)
            roles["question"] = last["content"]
        solution = self._solution(roles, where)
        if self._template is None:
            prompt, column = roles["prompt"], str(self._roles["prompt"])
        else:
            prompt, column = [*messages, {"role": "user", "content": self._render(row, roles, where)}], "template"
        return {
            "prompt": check_prompt(prompt, column, where),
            "solution": solution,
            **{name: cell_text(roles.get(name), str(self._roles.get(name)), where) for name in _LABELS},
            "extra": {name: column_value(row, name) for name in self._entry.extra},
        }

    def _value(self, row: Mapping[str, Any], role: str) -> Any:
        column = self._roles.get(role)
        if column is None:
            return None
        return column_value(row, column) if isinstance(column, str) else [column_value(row, name) for name in column]

    def _question(self, value: Any, where: str) -> list[dict[str, str]]:
        column = str(self._roles["question"])
        prompt = check_prompt(value, column, where)
        if isinstance(prompt, str):
            return [{"role": "user", "content": prompt.strip()}]
        if prompt[-1]["role"] != "user":
            raise DataError(f"{where}: {column!r}: the last message must be the user's")
        return [*prompt[:-1], {"role": "user", "content": prompt[-1]["content"].strip()}]

    def _render(self, row: Mapping[str, Any], roles: dict[str, Any], where: str) -> str:
        assert self._template is not None
        values = {**row, **roles}
        question: str = roles["question"]
        text = self._template.render(values, where)
        # A file that stands in may hold questions with the instruction already behind them.
        _, found, instruction = text.rpartition(question)
        if found and instruction.strip() and question.endswith(instruction.strip()):
            values["question"] = question.removesuffix(instruction.strip()).strip()
            return self._template.render(values, where)
        return text

    def _solution(self, roles: dict[str, Any], where: str) -> str:
        entry = self._entry
        if entry.answer == "code":
            public, private, metadata = roles["public_tests"], roles["private_tests"], roles["metadata"]
            return code_solution(public, private, metadata, entry.time_limit, where)
        if entry.answer == "choice":
            options = _options(roles["choices"], where)
            answer = cell_text(roles["solution"], str(self._roles["solution"]), where)
            right = _right_option((answer or "").strip(), options, entry.solution_form, where)
            order = list(range(len(options)))
            if entry.shuffle_choices:
                # The question's own generator: its order depends on no other problem.
                random.Random(f"{self._seed}/{roles['question']}").shuffle(order)
            roles["options"] = [(LETTERS[place], options[number]) for place, number in enumerate(order)]
            return LETTERS[order.index(right)]
        column = str(self._roles["solution"])
        value = cell_text(roles["solution"], column, where)
        after = entry.solution_after
        # Another column than the data set's own may hold the bare answer.
        if after is not None and column != entry.columns["solution"] and after not in (value or ""):
            after = None
        return solution_text(value, column, after, where)


def _options(value: Any, where: str) -> list[str]:
    value = plain(value)
    if not isinstance(value, (list, tuple)) or not 2 <= len(value) <= len(LETTERS):
        raise DataError(f"{where}: choices: expected a list of 2 to {len(LETTERS)} options, found {value!r:.80}")
    options = [(cell_text(option, "choices", where) or "").strip() for option in value]
    if "" in options:
        raise DataError(f"{where}: choices: option {options.index('') + 1} is empty")
    return options


def _right_option(text: str, options: list[str], form: str, where: str) -> int:
    if form == "text":
        if text in options:
            return options.index(text)
        raise DataError(f"{where}: the right answer {text!r:.80} is none of the options")
    # A file that stands in may hold the letter where the data set itself holds the index; one cannot be the other.
    if form == "index" and text.isdecimal() and int(text) < len(options):
        return int(text)
    if len(text) == 1 and text.upper() in LETTERS[: len(options)]:
        return LETTERS.index(text.upper())
    raise DataError(f"{where}: expected the {form} of one of {len(options)} options, found {text!r:.80}")
