"""What a judge answers: its schema, and the strict reading of whatever text came."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, Field, ValidationError, field_validator

from attnpo.errors import listed
from attnpo.labeling.base import LABELS
from attnpo.rollouts import StepLabel


class InvalidAnswer(ValueError):
    """An answer that cannot be used; the message says why, in words meant for the judge."""


class JudgedStep(BaseModel):
    """The label of one step."""

    step: int = Field(description="Number of the step, from 1.")
    label: StepLabel = Field(description="Whether the final answer needed the step.")

    @field_validator("label", mode="before")
    @classmethod
    def _plain(cls, value: Any) -> Any:
        return value.strip().lower() if isinstance(value, str) else value


class JudgeAnswer(BaseModel):
    """A judge's whole answer on one response."""

    analysis: str = Field(default="", description="The results the answer rests on and which step first brings each.")
    steps: list[JudgedStep] = Field(description="One entry a step, in order.")


def answer_schema() -> dict[str, Any]:
    """Return the JSON schema of an answer, in the strict form that hosted APIs ask for.

    Every property is required and no other is allowed. Reading an answer is more lenient: servers that know no schemas
    leave things out or add some.
    """
    return _strict(JudgeAnswer.model_json_schema())


def read_answer(text: str, n_steps: int) -> tuple[StepLabel, ...]:
    """Return the labels that a judge's answer gives `n_steps` steps.

    The judge's own thinking (up to the last `</think>`) is left out; then the last JSON object counts that is a valid
    answer, whatever stands around it (code fences, words).

    Raises:
        InvalidAnswer: there is none; the message is of the last object that could have been meant.
    """
    visible = without_thinking(text)
    complaint = "it holds no JSON object"
    for number, found in enumerate(reversed(list(_objects(visible)))):
        try:
            return _labels(found, n_steps)
        except InvalidAnswer as error:
            if number == 0:
                complaint = str(error)
    raise InvalidAnswer(complaint)


def without_thinking(text: str) -> str:
    """Return what follows the thinking; nothing where the thinking was never closed."""
    _, closed, visible = text.rpartition("</think>")
    if not closed:
        visible = text.partition("<think>")[0]
    return visible.strip()


def _objects(text: str) -> Iterator[Any]:
    """Yield the JSON objects that stand in the text side by side."""
    decoder = json.JSONDecoder()
    start = text.find("{")
    while start >= 0:
        try:
            found, end = decoder.raw_decode(text, start)
            yield found
        except (ValueError, RecursionError):
            end = start + 1
        start = text.find("{", end)


def _labels(found: Any, n_steps: int) -> tuple[StepLabel, ...]:
    try:
        answer = JudgeAnswer.model_validate(found)
    except ValidationError as error:
        raise InvalidAnswer(_complaint(error)) from error
    counts = Counter(judged.step for judged in answer.steps)
    wrong = {
        "there is no step": [n for n in counts if not 1 <= n <= n_steps],
        "more than one label for step": [n for n, count in counts.items() if count > 1],
        "no label for step": [n for n in range(1, n_steps + 1) if n not in counts],
    }
    complaints = [f"{what} {listed(steps)}" for what, steps in wrong.items() if steps]
    if complaints:
        raise InvalidAnswer(f"{'; '.join(complaints)} (the reasoning has {n_steps} steps)")
    by_step = {judged.step: judged.label for judged in answer.steps}
    return tuple(by_step[number] for number in range(1, n_steps + 1))


def _complaint(error: ValidationError) -> str:
    first = error.errors(include_url=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    if first["type"] == "missing":
        return f"`{place}` is missing"
    if place.endswith("label"):
        return f"`{place}` is {str(first['input'])[:40]!r}, not one of {', '.join(LABELS)}"
    return f"`{place}`: {first['msg']}"


def _strict(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: _strict(value) for key, value in schema.items() if key not in ("default", "title")}
    if isinstance(out.get("properties"), dict):
        out |= {"required": list(out["properties"]), "additionalProperties": False}
    return out
