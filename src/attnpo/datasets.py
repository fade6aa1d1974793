"""Problems from data sets: local files, the Hugging Face Hub, or a function that builds one."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from attnpo.cells import cell_text, plain
from attnpo.errors import DataError
from attnpo.files import whole_json
from attnpo.hub import load_hub
from attnpo.loading import call_signature, check_call, load_function
from attnpo.prompt_template import PromptTemplate
from attnpo.rollouts import Prompt
from attnpo.rows import LOCAL_SUFFIXES, column_names, column_value, has_column, is_local, read_rows

FUNCTION_SPEC = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
_HUB_SPEC = re.compile(r"(?P<id>[\w.-]+(?:/[\w.-]+)?)(?:@(?P<revision>[^:]+))?(?::(?P<config>.+))?")


@dataclass(frozen=True)
class ProblemRow:
    """One problem of a data set.

    Attributes:
        problem_id: unique in the data set.
        prompt: text or chat messages.
        solution: the reference answer.
        difficulty: difficulty or level, where the data set has one.
        subject: subject or domain, where the data set has one.
        extra: the row's other columns, as JSON values.
    """

    problem_id: str
    prompt: Prompt
    solution: str
    difficulty: str | None = None
    subject: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)


def load_problems(
    spec: str,
    *,
    limit: int | None = None,
    prompt_column: str = "prompt",
    solution_column: str = "solution",
    id_column: str = "problem_id",
    difficulty_column: str = "difficulty",
    subject_column: str = "subject",
    solution_after: str | None = None,
    prompt_template: str | None = None,
    split: str | None = None,
    seed: int | None = None,
    left_out: list[str] | None = None,
    keep: Collection[str] = (),
) -> list[ProblemRow]:
    r"""Load the problems of a data set.

    A row seen before (same id and prompt; some benchmark files hold each problem once a sample) is left out.

    Args:
        spec: a local `.jsonl`, `.json`, `.parquet` or `.csv` file, or a folder of such; `module:function` returning a
            `datasets.Dataset` (it gets `split`, `limit` (or `n`) and `seed` where it has arguments of those names); or
            a Hub id, with an optional revision and configuration (`openai/gsm8k:main`, `owner/name@revision:config`).
        limit: keep at most this many problems.
        prompt_column: column of the prompt. A dot reaches into a nested column (`reward_model.ground_truth`), here and
            below.
        solution_column: column of the reference answer.
        id_column: column of the problem id; where the data set has none, the id is a hash of the prompt.
        difficulty_column: column of the difficulty, optional.
        subject_column: column of the subject, optional.
        solution_after: where given, the reference answer is what follows the last occurrence of this text ("####" in
            GSM8K).
        prompt_template: jinja2 template over the row's columns (`{{ question }}\nAnswer within \boxed{}.`); its text
            becomes the user's chat message, and `prompt_column` plays no part.
        split: split of a Hub data set; may be left out where there is only one.
        seed: with `limit`, draw the problems at random with this seed and keep the file's order; None takes the first
            ones.
        left_out: where given, a row without prompt or answer, or with another problem's id, is left out and its message
            put here; without it such a row is refused.
        keep: columns that `extra` holds too where a row has them, though they are read as prompt or answer, or nested.

    Raises:
        DataError: no such file or data set, a column is missing (one that the template names included), a row lacks
            prompt or answer, or there are no rows.
        ConfigError: `module:function` does not name a function, or the template is none.
    """
    template = None if prompt_template is None else PromptTemplate(prompt_template, "--prompt_template")
    rows = list(_read(spec, limit=limit, split=split, seed=seed))
    prompt_needed = {"--prompt_column": prompt_column} if template is None else {}
    _check_columns(spec, rows, {**prompt_needed, "--solution_column": solution_column})
    used = [solution_column, id_column, difficulty_column, subject_column]
    named = {column.split(".")[0] for column in (used if template is not None else [prompt_column, *used])}
    problems = Problems(spec)
    for number, row in enumerate(rows, start=1):
        where = f"{spec}, row {number}"
        try:
            prompt: Any = column_value(row, prompt_column)
            if template is not None:
                prompt = [{"role": "user", "content": template.render(row, where)}]
            problems.add(
                where,
                problem_id=cell_text(column_value(row, id_column), id_column, where),
                prompt=check_prompt(prompt, prompt_column, where),
                solution=solution_text(column_value(row, solution_column), solution_column, solution_after, where),
                difficulty=cell_text(column_value(row, difficulty_column), difficulty_column, where),
                subject=cell_text(column_value(row, subject_column), subject_column, where),
                extra={
                    **{name: value for name, value in row.items() if name not in named},
                    **{column: column_value(row, column) for column in keep if has_column(row, column)},
                },
            )
        except DataError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
    if left_out and not len(problems):
        raise DataError(left_out[0])
    return choose_problems(spec, problems.found, limit, seed)


class Problems:
    """Collects the problems of a data set: each once, and no id twice."""

    def __init__(self, source: str):
        """Start empty; `source` names the data set in messages."""
        self._source = source
        self._by_id: dict[str, ProblemRow] = {}

    @property
    def found(self) -> list[ProblemRow]:
        """The problems so far, in order.

        Raises:
            DataError: there is none.
        """
        if not self._by_id:
            raise DataError(f"{self._source}: the data set has no rows; give one with at least one problem")
        return list(self._by_id.values())

    def __len__(self) -> int:
        return len(self._by_id)

    def add(
        self,
        where: str,
        *,
        prompt: Prompt,
        solution: str,
        problem_id: str | None = None,
        difficulty: str | None = None,
        subject: str | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        """Add the problem of one row; one that is there already is left out.

        Args:
            where: the row, for messages.
            prompt: text or chat messages.
            solution: the reference answer.
            problem_id: None makes a hash of the prompt.
            difficulty: None for none.
            subject: None for none.
            extra: other columns, any values that have a text form.

        Raises:
            DataError: the id belongs to another problem already.
        """
        problem = ProblemRow(
            problem_id=_prompt_hash(prompt) if problem_id is None else problem_id,
            prompt=prompt,
            solution=solution,
            difficulty=difficulty,
            subject=subject,
            extra=_jsonable(dict(extra or {})),
        )
        first = self._by_id.setdefault(problem.problem_id, problem)
        if (first.prompt, first.solution) != (problem.prompt, problem.solution):
            raise DataError(
                f"{where}: problem id {problem.problem_id!r} already belongs to a row with another prompt or solution; "
                "make the ids unique or choose another id column"
            )


def choose_problems(
    source: str, problems: Sequence[ProblemRow], limit: int | None, seed: int | None
) -> list[ProblemRow]:
    """Return at most `limit` problems in their order: the first ones, or with a seed some drawn at random.

    Raises:
        DataError: the limit is below 1.
    """
    if limit is None or limit >= len(problems):
        return list(problems)
    if limit < 1:
        raise DataError(f"{source}: a limit of {limit} leaves no problem; give at least 1")
    if seed is None:
        return list(problems[:limit])
    return [problems[i] for i in sorted(random.Random(seed).sample(range(len(problems)), limit))]


def check_prompt(value: Any, column: str, where: str) -> Prompt:
    """Return a column's value as a prompt: text, or chat messages with role and content.

    Content in parts becomes their text.

    Raises:
        DataError: it is neither, or empty.
    """
    value = plain(value)
    if isinstance(value, (list, tuple)) and any(isinstance(message, Mapping) for message in value):
        return [_message(message, f"{where}: {column!r}: message {n}") for n, message in enumerate(value, start=1)]
    if isinstance(value, Mapping) or (isinstance(value, (list, tuple)) and len(value) > 1):
        raise DataError(f"{where}: {column!r} is neither text nor a list of messages with role and content")
    text = cell_text(value, column, where)
    if text is None:
        raise DataError(f"{where}: {column!r} is empty; give text or a list of messages with role and content")
    return text


def solution_text(value: Any, column: str, after: str | None, where: str) -> str:
    """Return a column's value as a reference answer, `after` as in `load_problems`.

    Raises:
        DataError: it is empty, no one text (see `cell_text`), or does not contain `after`.
    """
    text = (cell_text(value, column, where) or "").strip()
    if after is not None and text:
        _, found, text = text.rpartition(after)
        if not found:
            raise DataError(f"{where}: {column!r} does not contain {after!r}; leave solution_after out or correct it")
        text = text.strip()
    if not text:
        raise DataError(f"{where}: {column!r} is empty; every problem needs a reference answer")
    return text


def call_source(spec: str, offered: Mapping[str, Any], settings: Mapping[str, Any] | None = None) -> Any:
    """Call a `module:function` data set.

    Args:
        spec: the function.
        offered: arguments it gets where it names them and they are not None.
        settings: arguments it gets in any case.

    Raises:
        ConfigError: it does not name a function, or the function does not take the settings.
    """
    function = load_function(spec, "data set")
    signature = call_signature(function)
    named = () if signature is None else signature.parameters
    accepted = {name: value for name, value in offered.items() if name in named and value is not None}
    arguments = {**(settings or {}), **accepted}
    check_call(function, f"data set {spec!r}", by_name=arguments)
    return function(**arguments)


def _read(spec: str, *, limit: int | None, split: str | None, seed: int | None) -> Iterable[dict[str, Any]]:
    if is_local(spec):
        if split is not None:
            raise DataError(f"{spec}: files have no splits, and split {split!r} is asked for; name the file of it")
        return read_rows(spec)
    if FUNCTION_SPEC.fullmatch(spec):
        signature = call_signature(load_function(spec, "data set"))
        if split is not None and signature is not None and "split" not in signature.parameters:
            raise DataError(f"{spec}: takes no split, and split {split!r} is asked for; leave that out")
        rows = call_source(spec, {"split": split, "limit": limit, "n": limit, "seed": seed})
        if not isinstance(rows, Dataset):
            raise DataError(f"{spec}: returned {type(rows).__name__}; return a datasets.Dataset")
        return rows
    match = _HUB_SPEC.fullmatch(spec)
    if match is None:
        raise DataError(
            f"data set {spec!r}: expected a {', '.join(LOCAL_SUFFIXES)} file, module:function, "
            "or a Hub id such as owner/name"
        )
    return load_hub(match["id"], config=match["config"], split=split, revision=match["revision"])


def _check_columns(spec: str, rows: list[dict[str, Any]], needed: Mapping[str, str]) -> None:
    """Complain of a column that no row has; a single row without it is named later."""
    for flag, column in needed.items():
        if rows and not any(has_column(row, column) for row in rows):
            present = sorted({name for row in rows for name in column_names(row)})
            raise DataError(
                f"{spec}: no column {column!r}; the columns are {', '.join(present)}; name the right one with {flag}"
            )


def _message(value: Any, where: str) -> dict[str, str]:
    if not isinstance(value, Mapping) or not isinstance(value.get("role"), str) or not value["role"]:
        raise DataError(f"{where} has no role; give messages with role and content")
    content = plain(value.get("content"))
    if isinstance(content, (list, tuple)):
        kinds = {part.get("type", "text") if isinstance(part, Mapping) else "text" for part in content}
        if others := sorted(map(str, kinds - {"text"})):
            raise DataError(f"{where} holds parts of the kind {', '.join(others)}; only text can be asked")
        content = [part.get("text") if isinstance(part, Mapping) else part for part in content]
        if not all(isinstance(part, str) for part in content):
            raise DataError(f"{where} holds a part without text; give messages with role and content")
        content = "".join(content)
    if not isinstance(content, str):
        raise DataError(f"{where} has no text as content; give messages with role and content")
    # The converter also refuses text that cannot be written; a message may be empty.
    return {"role": value["role"], "content": cell_text(content, "content", where) or content}


def _prompt_hash(prompt: Prompt) -> str:
    key = prompt if isinstance(prompt, str) else json.dumps(prompt, ensure_ascii=False)
    return hashlib.sha256(key.encode()).hexdigest()[:16]


def _jsonable(value: Any) -> Any:
    return whole_json(json.loads(json.dumps(value, default=str)))
