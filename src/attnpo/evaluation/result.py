"""What an evaluation run measured: `evaluation.json`."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from attnpo.errors import DataError
from attnpo.output import write_atomically
from attnpo.statistics import Interval


class Summary(BaseModel):
    """Means over responses with intervals over problems.

    Attributes:
        num_responses: responses summed up.
        accuracy: share of correct responses.
        response_tokens: response length |o|, end token included.
        think_tokens: tokens of the reasoning steps.
        answer_tokens: tokens of the final answer.
        steps: reasoning steps a response.
        truncated: share of responses cut off by the token limit.
        confused_phrases: phrases of the confused family a response; the next two likewise.
        progression_phrases: phrases of the progression family.
        summary_phrases: phrases of the summary family.
        essential_steps: essential steps a response; None without labels, here and below.
        redundant_steps: redundant steps a response.
        undecided_steps: undecided steps a response.
        redundant_token_share: share of all think tokens that lie in redundant steps.
    """

    num_responses: int
    accuracy: Interval
    response_tokens: Interval
    think_tokens: Interval
    answer_tokens: Interval
    steps: Interval
    truncated: Interval
    confused_phrases: Interval
    progression_phrases: Interval
    summary_phrases: Interval
    essential_steps: Interval | None = None
    redundant_steps: Interval | None = None
    undecided_steps: Interval | None = None
    redundant_token_share: Interval | None = None


class EvaluationResult(BaseModel):
    """One model measured on one data set.

    Attributes:
        name: name of the run, such as `base` or `attnpo`.
        model: the model.
        dataset: the data set.
        num_problems: problems measured on.
        samples_per_problem: responses to each.
        seed: seed of sampling.
        sampling: sampling parameters.
        wall_seconds: time spent, over all runs that contributed.
        tokens_per_second: response tokens a second while sampling and verifying.
        overall: over all responses.
        by_difficulty: by difficulty of the problem; empty where the data set has none.
    """

    schema_version: Literal[1] = 1
    name: str
    model: str
    dataset: str
    num_problems: int
    samples_per_problem: int
    seed: int
    sampling: dict[str, Any]
    wall_seconds: float
    tokens_per_second: float
    overall: Summary
    by_difficulty: dict[str, Summary]

    def save(self, path: Path) -> None:
        """Write `evaluation.json`."""
        write_atomically(path, self.model_dump_json(indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> EvaluationResult:
        """Read `evaluation.json`.

        Raises:
            DataError: the file is missing or malformed.
        """
        if not path.is_file():
            raise DataError(f"{path}: no such file; make it with `attnpo evaluate`")
        try:
            return cls.model_validate_json(path.read_text(encoding="utf-8"))
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(map(str, first["loc"])) or "file"
            raise DataError(f"{path}: {place}: {first['msg']}; make it again with `attnpo evaluate`") from error
