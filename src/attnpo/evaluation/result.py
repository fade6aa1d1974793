"""What an evaluation run measured: `evaluation.json`."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

from attnpo.documents import Document
from attnpo.evaluation.table import ProblemTable
from attnpo.statistics import Interval


class Tail(BaseModel):
    """How a length is spread over the responses, in tokens (quantiles interpolate between neighbours).

    Attributes:
        median: half of the responses are at most this long.
        p90: 90 % of the responses are at most this long; the next two likewise.
        p95: 95 %.
        p99: 99 %.
        max: the longest.
    """

    model_config = ConfigDict(frozen=True)

    median: float
    p90: float
    p95: float
    p99: float
    max: int


class BudgetPoint(BaseModel):
    """What a token budget b leaves of a run; see `attnpo.evaluation.metrics` for what it cannot say.

    Attributes:
        accuracy: share of responses that are correct and at most b tokens long.
        tokens: mean of min(length, b), the tokens spent.
    """

    model_config = ConfigDict(frozen=True)

    accuracy: Interval
    tokens: Interval


class Summary(BaseModel):
    """Numbers of a set of responses, with intervals by bootstrap over problems.

    Attributes:
        num_responses: responses summed up.
        num_problems: problems they belong to; None in files of version 1.
        accuracy: share of correct responses.
        response_tokens: response length |o|, end token included.
        think_tokens: tokens of the reasoning steps.
        answer_tokens: tokens of the final answer.
        steps: reasoning steps a response.
        truncated: share of responses cut off by the token limit; those that came to nothing are not.
        confused_phrases: phrases of the confused family a response; the next two likewise.
        progression_phrases: phrases of the progression family.
        summary_phrases: phrases of the summary family.
        confused_per_1k_tokens: phrases of the confused family in 1,000 response tokens; the next two likewise.
        progression_per_1k_tokens: phrases of the progression family.
        summary_per_1k_tokens: phrases of the summary family.
        essential_steps: essential steps a response; None without labels, here and below.
        redundant_steps: redundant steps a response.
        undecided_steps: undecided steps a response.
        redundant_token_share: share of all think tokens that lie in redundant steps.
        tails: median, tail and maximum of `response_tokens`, `think_tokens` and `answer_tokens`.
        pass_at_k: k → chance that at least one of k responses is correct, unbiased (Chen et al. 2021, Eq. 1).
        majority_at_k: k → expected accuracy of the most frequent answer of k responses; None where no response cast a
            vote.
        budgets: token budget → accuracy and tokens spent within it.
        counts: what the counter counted: name → mean a response, or share; what is a share of nothing is left out.
    """

    num_responses: int
    num_problems: int | None = None
    accuracy: Interval
    response_tokens: Interval
    think_tokens: Interval
    answer_tokens: Interval
    steps: Interval
    truncated: Interval
    confused_phrases: Interval
    progression_phrases: Interval
    summary_phrases: Interval
    confused_per_1k_tokens: Interval | None = None
    progression_per_1k_tokens: Interval | None = None
    summary_per_1k_tokens: Interval | None = None
    essential_steps: Interval | None = None
    redundant_steps: Interval | None = None
    undecided_steps: Interval | None = None
    redundant_token_share: Interval | None = None
    tails: dict[str, Tail] = {}
    pass_at_k: dict[int, Interval] = {}
    majority_at_k: dict[int, Interval] | None = None
    budgets: dict[int, BudgetPoint] = {}
    counts: dict[str, Interval] = {}


class EvaluationResult(Document):
    """One model measured on one data set.

    What version 1 of the file did not hold has a default here, so that it can still be read.

    Attributes:
        name: name of the run, such as `base` or `attnpo`.
        model: the model.
        model_fingerprint: what tells the checkpoint from another one under the same name; None where the engine does
            not say.
        dataset: the data set.
        benchmark: name, revision and the like where the problems are a benchmark's; None otherwise.
        engine: what sampled the responses, as JSON values.
        num_problems: problems measured on; all their responses are finished.
        num_problems_asked: problems of the data set; more than `num_problems` where the run is not complete. None in
            files of version 1.
        complete: False where the engine went away for good and only `num_problems` are finished.
        samples_per_problem: responses to each.
        seed: seed of sampling.
        sampling: sampling parameters.
        settings: everything the responses depend on, as it was claimed in the output folder.
        wall_seconds: time spent sampling, segmenting, verifying and labelling, over all runs that contributed.
        engine_seconds: time of it spent waiting for the engine.
        overhead_share: 1 − engine_seconds / wall_seconds.
        tokens_per_second: response tokens a second of `wall_seconds`.
        exact_token_counts: whether the token ids are the sampled ones; False where an engine reported text, and lengths
            are those of the text tokenized again.
        failures: responses that a server refused or that came to nothing (a content filter); they count as wrong, but
            not as cut off.
        counter: what counted `Summary.counts`; None where nothing else was counted.
        overall: over all responses.
        by_difficulty: by difficulty of the problem; empty where the data set has none.
        by_subject: by subject of the problem; empty where the data set has none.
        problems: the sums of each problem, from which every comparison is made; None in files of version 1.
    """

    MAKE: ClassVar[str] = "make it with `attnpo evaluate`"
    MEND: ClassVar[str] = "make it again with `attnpo evaluate`"

    schema_version: Literal[1, 2] = 2
    name: str
    model: str
    model_fingerprint: str | None = None
    dataset: str
    benchmark: dict[str, Any] | None = None
    engine: dict[str, Any] = Field(default_factory=dict)
    num_problems: int
    num_problems_asked: int | None = None
    complete: bool = True
    samples_per_problem: int
    seed: int
    sampling: dict[str, Any]
    settings: dict[str, Any] = Field(default_factory=dict)
    wall_seconds: float
    engine_seconds: float | None = None
    overhead_share: float | None = None
    tokens_per_second: float
    exact_token_counts: bool = True
    failures: int = 0
    counter: str | None = None
    overall: Summary
    by_difficulty: dict[str, Summary]
    by_subject: dict[str, Summary] = Field(default_factory=dict)
    problems: ProblemTable | None = None

    @property
    def failures_said(self) -> str | None:
        """What to know of the responses that came to nothing, in words; None where there were none."""
        if not self.failures:
            return None
        return (
            f"{self.failures:,} of {self.overall.num_responses:,} responses were refused by the server or came to "
            "nothing (a content filter): they count as wrong, not as cut off, and with the tokens that came"
        )

    def to_text(self) -> str:
        """Return what the file holds; the table of the problems takes one line a column."""
        text = self.model_dump_json(indent=2, exclude={"problems"})
        if self.problems is not None:
            text = f'{text.removesuffix("}").rstrip()},\n  "problems": {self.problems.to_json()}\n}}'
        return text + "\n"
