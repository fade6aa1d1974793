"""Labels of the user's own, from a JSON Lines file.

A row names a response, by `problem_id` and `sample`, by `response_sha256` (of its text) or by both, and labels it, by
`labels` (one a step) or by `spans` (`[{"start", "end", "label"}]`, characters of the response). Spans need not know how
responses are cut into steps: a step takes the label whose spans cover most of it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.errors import DataError
from attnpo.files import UserFile, parse_json
from attnpo.labeling.base import (
    LABELS,
    UNLABELLED,
    StepLabels,
    no_labels,
    response_sha256,
    steps_fingerprint,
    with_labels,
)
from attnpo.rollouts import Rollout, Span, StepLabel

_FIELDS = ("problem_id", "sample", "response_sha256", "labels", "spans", "fingerprint", "evidence")
Name = tuple[str, int] | str
"""What a row may name its response by: problem id and sample number, or the hash of its text."""


@dataclass(frozen=True)
class LabelledSpan:
    """A label on the characters `[start, end)` of a response."""

    start: int
    end: int
    label: StepLabel


@dataclass(frozen=True)
class _Row:
    where: str
    name: Name
    response_sha256: str | None
    labels: tuple[StepLabel, ...] | None
    spans: tuple[LabelledSpan, ...]
    fingerprint: str | None
    reason: str | None


class FileLabeler:
    """Labels responses as a file says; a response that the file does not name gets no labels."""

    def __init__(self, path: str | Path):
        """Read and check the whole file.

        Raises:
            DataError: the file is missing, or a row is malformed or names a response that another row names.
        """
        self.path = Path(path)
        file = UserFile(self.path, "labels file")
        file.check()
        self.name = f"file:{self.path.name}"
        self.settings: Mapping[str, Any] = {"labels_sha256": hashlib.sha256(self.path.read_bytes()).hexdigest()}
        self._rows: dict[Name, _Row] = {}
        self._used: set[str] = set()
        self._count = 0
        for where, line in file.lines():
            self._add(_parse(line, where))
        if not self._rows:
            raise DataError(f"{self.path}: holds no row; a row is {{problem_id, sample, labels}}")

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index, labels)` in order.

        Raises:
            DataError: a row does not have one label a step, its spans reach beyond the response, or it was written for
                other steps.
        """
        for index, rollout in enumerate(rollouts):
            row = self._row_of(rollout)
            yield index, _labels(row, rollout) if row else no_labels(f"no row in {self.path.name}")

    def recall(self, rollout: Rollout, labels: StepLabels) -> None:
        """Count the row that an earlier run took for this response."""
        self._row_of(rollout)

    def report(self) -> dict[str, Any]:
        """Return how many rows the file holds and how many named one of the responses."""
        return {"rows": self._count, "rows_used": len(self._used)}

    def _add(self, row: _Row) -> None:
        self._count += 1
        other = self._rows.setdefault(row.name, row)
        if other is not row:
            raise DataError(f"{row.where}: labels the same response as {other.where}; remove one of them")

    def _row_of(self, rollout: Rollout) -> _Row | None:
        by_id = self._rows.get((rollout.problem_id, rollout.sample))
        by_text = self._rows.get(response_sha256(rollout.response))
        if by_id is not None and by_text is not None and by_id is not by_text:
            raise DataError(
                f"{by_text.where}: labels problem {rollout.problem_id!r}, sample {rollout.sample}, as {by_id.where} "
                "does; remove one of them"
            )
        row = by_id or by_text
        if row is not None:
            self._used.add(row.where)
        return row


def labels_of_spans(rollout: Rollout, spans: Sequence[LabelledSpan]) -> tuple[StepLabel, ...]:
    """Return one label a step: the one whose spans cover most of the step's characters, white space not counted.

    A step is undecided where that is less than half of it, or where two labels cover it equally.
    """
    return tuple(_label_of_span(rollout.response, step.chars, spans) for step in rollout.steps)


def _label_of_span(text: str, chars: Span, spans: Sequence[LabelledSpan]) -> StepLabel:
    inked = {position for position in range(*chars) if not text[position].isspace()}
    covered: dict[StepLabel, set[int]] = {}
    for span in spans:
        if span.start < chars[1] and chars[0] < span.end:
            covered.setdefault(span.label, set()).update(inked.intersection(range(span.start, span.end)))
    shares = sorted(((len(positions), label) for label, positions in covered.items()), reverse=True)
    if not shares or shares[0][0] == 0 or 2 * shares[0][0] < len(inked):
        return "undecided"
    if len(shares) > 1 and shares[0][0] == shares[1][0]:
        return "undecided"
    return shares[0][1]


def _labels(row: _Row, rollout: Rollout) -> StepLabels:
    named = f"problem {rollout.problem_id!r}, sample {rollout.sample}"
    if row.response_sha256 not in (None, response_sha256(rollout.response)):
        raise DataError(
            f"{row.where}: its `response_sha256` is that of another response than {named} has here; label it anew"
        )
    if row.fingerprint is not None and row.fingerprint != steps_fingerprint(rollout):
        raise DataError(
            f"{row.where}: its `fingerprint` is that of another response, or of other steps, than {named} has here; "
            "label the response anew, or give character spans"
        )
    if row.labels is None:
        end = max(span.end for span in row.spans)
        if end > len(rollout.response):
            raise DataError(
                f"{row.where}: a span ends at {end}, but the response ({named}) has {len(rollout.response)} characters"
            )
        return StepLabels(labels_of_spans(rollout, row.spans))
    if not row.labels and row.reason is not None:
        return no_labels(row.reason)
    if len(row.labels) != len(rollout.steps):
        raise DataError(
            f"{row.where}: {len(row.labels)} labels, but the response ({named}) has {len(rollout.steps)} steps; "
            "give one label a step, or character spans"
        )
    with_labels(rollout, row.labels, row.where)
    return StepLabels(row.labels)


def _parse(line: str, where: str) -> _Row:
    try:
        row = parse_json(line)
    except ValueError as error:
        raise DataError(f"{where}: not JSON ({error}); a row is {{problem_id, sample, labels}}") from error
    if not isinstance(row, dict):
        raise DataError(f"{where}: not a JSON object; a row is {{problem_id, sample, labels}}")
    if unknown := [name for name in row if name not in _FIELDS]:
        raise DataError(
            f"{where}: there is no field {unknown[0]!r}; a row has {', '.join(_FIELDS)}; notes belong in `evidence`"
        )
    if ("labels" in row) == ("spans" in row):
        raise DataError(f"{where}: give either `labels` (one a step) or `spans` (start, end, label)")
    evidence = row.get("evidence")
    if not isinstance(evidence, (dict, type(None))):
        raise DataError(f"{where}: `evidence` must be an object, is {evidence!r:.60}")
    reason = (evidence or {}).get(UNLABELLED)
    fingerprint = row.get("fingerprint")
    if not isinstance(fingerprint, (str, type(None))):
        raise DataError(f"{where}: `fingerprint` must be text, is {fingerprint!r:.60}")
    digest = _digest(row, where)
    return _Row(
        where=where,
        name=_name(row, digest, where),
        response_sha256=digest,
        labels=_label_list(row["labels"], where) if "labels" in row else None,
        spans=_span_list(row["spans"], where) if "spans" in row else (),
        fingerprint=fingerprint,
        reason=reason,
    )


def _digest(row: Mapping[str, Any], where: str) -> str | None:
    digest = row.get("response_sha256")
    if digest is not None and not (isinstance(digest, str) and len(digest) == 64):
        raise DataError(f"{where}: `response_sha256` must be 64 hexadecimal digits, is {digest!r}")
    return digest.lower() if digest else None


def _name(row: Mapping[str, Any], digest: str | None, where: str) -> Name:
    problem_id, sample = row.get("problem_id"), row.get("sample")
    if problem_id is not None:
        if not isinstance(problem_id, (str, int)) or isinstance(problem_id, bool):
            raise DataError(f"{where}: `problem_id` must be text, is {problem_id!r:.60}")
        if not isinstance(sample, int) or isinstance(sample, bool) or sample < 0:
            raise DataError(f"{where}: `sample` must be the number of the response within its problem, is {sample!r}")
        return str(problem_id), sample
    if digest is None:
        raise DataError(f"{where}: name the response, by `problem_id` and `sample` or by `response_sha256`")
    return digest


def _label_list(value: Any, where: str) -> tuple[StepLabel, ...]:
    if not isinstance(value, list):
        raise DataError(f"{where}: `labels` must be a list, one label a step")
    return tuple(_label(label, f"{where}, step {number}") for number, label in enumerate(value))


def _span_list(value: Any, where: str) -> tuple[LabelledSpan, ...]:
    if not isinstance(value, list) or not value:
        raise DataError(f"{where}: `spans` must be a list of {{start, end, label}}")
    spans = []
    for number, span in enumerate(value):
        at = f"{where}, span {number}"
        if not isinstance(span, dict) or not {"start", "end", "label"} <= span.keys():
            raise DataError(f"{at}: needs `start`, `end` and `label`")
        start, end = span["start"], span["end"]
        if not (type(start) is int and type(end) is int) or not 0 <= start < end:
            raise DataError(f"{at}: `start` and `end` must be character positions with start < end, are {start}, {end}")
        spans.append(LabelledSpan(start, end, _label(span["label"], at)))
    return tuple(spans)


def _label(value: Any, where: str) -> StepLabel:
    if not isinstance(value, str) or value not in LABELS:
        raise DataError(f"{where}: label {value!r} is not one of {', '.join(LABELS)}")
    return value
