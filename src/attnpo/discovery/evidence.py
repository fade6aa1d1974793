"""What proves that heads mean something: intervention, stability, transfer; and their files.

The results carry numbers, not traces: `intervention.json`, `stability.json` and `transfer.json` lie beside
`discovery.json`, and a summary of each travels with the head set (`attnpo.discovery.verify.with_evidence`).
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, Field

from attnpo.documents import Document
from attnpo.statistics import Interval

ConditionName = Literal["untouched", "lowest", "highest", "random"]


class Evidence(Document):
    """A proof with a file of its own."""

    MAKE: ClassVar[str] = "make it with `attnpo discover`"
    MEND: ClassVar[str] = "make it again with `attnpo discover`"


class Condition(BaseModel):
    """Answers regenerated after one kind of deletion.

    Attributes:
        name: which steps were deleted; `untouched` deletes none.
        amount: how much: "20%" of the think tokens, or "2 steps"; "" where nothing was deleted.
        deleted_tokens: tokens deleted, mean a trace.
        deleted_steps: steps deleted, mean a trace.
        accuracy: share of regenerated answers that are correct, with its interval over problems.
        difference: accuracy minus that of the untouched traces, the same problems drawn for both; None for these.
        against_random: accuracy minus that of random deletions of (nearly) the same number of tokens, trace by trace;
            None for `untouched` and `random`.
        matched_tokens: tokens that those random deletions took, mean a trace; to be compared with `deleted_tokens`.
        unfinished: share of the answers that the token limit cut.
    """

    name: ConditionName
    amount: str = ""
    deleted_tokens: float
    deleted_steps: float
    accuracy: Interval
    difference: Interval | None = None
    against_random: Interval | None = None
    matched_tokens: float | None = None
    unfinished: float = 0.0


class InterventionResult(Evidence):
    """Steps deleted by score, answers regenerated: `intervention.json` (AttnPO, Key-Focus Heads).

    Attributes:
        model: model that wrote the traces and regenerated the answers.
        dataset: data set the problems came from.
        heads: the heads whose mean score ordered the steps, as (layer, head).
        samples_per_trace: answers regenerated to each trace under each condition.
        random_draws: random deletions drawn for each deletion by score.
        temperature: sampling temperature of the answers.
        num_traces: traces.
        num_problems: problems they answer.
        think_tokens: tokens in steps, mean a trace.
        conditions: `untouched`, then for each amount `lowest`, `random` and `highest`.
        wall_seconds: time spent, over all runs that wrote the answers.
        sampled_tokens: answer tokens sampled in it.
    """

    schema_version: Literal[1] = 1
    model: str
    dataset: str
    heads: list[tuple[int, int]]
    samples_per_trace: int
    random_draws: int = 0
    temperature: float = 1.0
    num_traces: int
    num_problems: int = 0
    think_tokens: float = 0.0
    conditions: list[Condition]
    wall_seconds: float
    sampled_tokens: int

    def condition(self, name: ConditionName, amount: str = "") -> Condition:
        """Return one condition.

        Raises:
            KeyError: there is none of that name and amount.
        """
        for condition in self.conditions:
            if (condition.name, condition.amount) == (name, amount):
                return condition
        raise KeyError((name, amount))

    @property
    def amounts(self) -> list[str]:
        """The amounts deleted, in order."""
        return list(dict.fromkeys(c.amount for c in self.conditions if c.amount))


class HeadStability(BaseModel):
    """One head of a set at one point: its own SRA, and the correlation of its step scores with those at the start."""

    head: tuple[int, int]
    sra: float
    pearson: float


class StabilityPoint(BaseModel):
    """A head set on the fixed probe set, read with one checkpoint.

    Attributes:
        step: optimizer steps taken, None for a checkpoint that has no such number.
        name: name of the checkpoint ("step 20", a path).
        sra: SRA of the ensemble with its interval over problems.
        sra_length_matched: the same on length-matched pairs; None where there are none.
        pearson: correlation of the ensemble's scores of all steps with those at the start, interval over problems.
        pearson_within: the same after each response's mean is taken off, so that differences between responses (length
            of the answer, difficulty) count for nothing; None where no response has two steps.
        per_head: each head on its own.
        heads: the heads, as (layer, head).
    """

    step: int | None
    name: str
    sra: Interval
    sra_length_matched: Interval | None = None
    pearson: Interval
    pearson_within: Interval | None = None
    per_head: list[HeadStability] = Field(default_factory=list)
    heads: list[tuple[int, int]]


class Reselection(BaseModel):
    """Heads chosen anew during training.

    Attributes:
        step: optimizer steps taken.
        old: heads until then.
        new: heads from then on; the same as `old` where none were found that do better.
        sra_old: SRA of the old heads on the half of the probe set that the new ones were not chosen on.
        sra_new: SRA of the new heads there.
    """

    step: int
    old: list[tuple[int, int]]
    new: list[tuple[int, int]]
    sra_old: float | None = None
    sra_new: float | None = None


class StabilityResult(Evidence):
    """A head set through training, or over any checkpoints: `stability.json`.

    Attributes:
        model: model that training started from.
        heads: the heads at the start, as (layer, head).
        points: the points in order; the first one is the start, whose correlation with itself is 1.
        min_sra: bound under which a warning is given, None for none.
        min_pearson: the same for the correlation.
        warnings: one line a crossing of a bound.
        reselections: where heads were chosen anew.
        num_responses: responses of the probe set.
        num_steps: their steps.
    """

    schema_version: Literal[1] = 1
    model: str
    heads: list[tuple[int, int]]
    points: list[StabilityPoint]
    min_sra: float | None = None
    min_pearson: float | None = None
    warnings: list[str] = Field(default_factory=list)
    reselections: list[Reselection] = Field(default_factory=list)
    num_responses: int = 0
    num_steps: int = 0


class TransferRow(BaseModel):
    """Heads chosen on one group of traces, reported on another.

    Attributes:
        selected_on: group that the heads were chosen on (one part of its problems).
        reported_on: group they are reported on (the other part of its problems).
        heads: the heads, as (layer, head).
        sra: SRA there, with its interval over problems.
        sra_length_matched: the same on length-matched pairs; None where there are none.
        pairs: (essential, redundant) pairs reported on.
        best_there: SRA, on the same pairs, of the set that the reported group chose for itself on its own other part.
        best_there_heads: that set.
        difference: `sra` minus `best_there`, the same problems drawn for both.
    """

    selected_on: str
    reported_on: str
    heads: list[tuple[int, int]]
    sra: Interval
    sra_length_matched: Interval | None = None
    pairs: int
    best_there: Interval | None = None
    best_there_heads: list[tuple[int, int]] = Field(default_factory=list)
    difference: Interval | None = None


class TransferResult(Evidence):
    """Do heads found here serve there: `transfer.json`.

    Attributes:
        model: model that was read.
        grouped_by: what tells the groups apart: "difficulty", "subject", "file", …
        rows: all ordered pairs of groups.
        left_out: groups that could not be used, each with the reason.
    """

    schema_version: Literal[1] = 1
    model: str = ""
    grouped_by: str = ""
    rows: list[TransferRow]
    left_out: list[str] = Field(default_factory=list)


class Figure(BaseModel):
    """One figure of a head set's evidence, and the same on new traces.

    Attributes:
        name: what it is: "sra", "trivial: shorter first", "signal: log_prob", "credit: PA redundant", …
        then: as the head set carries it; None where it does not.
        now: on the new traces; None where they have no such pairs or tokens.
        inside: whether the new value lies in the stored interval. With as many new traces as old ones about one figure
            in six lies outside a 95 % interval though nothing has changed, since the new value has its own error.
        overlap: whether the two intervals overlap.
    """

    name: str
    then: Interval | None
    now: Interval | None
    inside: bool | None
    overlap: bool | None


class VerificationResult(Evidence):
    """A head set's evidence repeated on new traces: `verification.json`.

    Attributes:
        model: model that was read.
        dataset: data set the new traces come from.
        labeler: what labelled their steps.
        heads: the heads, as (layer, head).
        found_on: model that the heads were found on.
        num_responses: new traces.
        pairs: (essential, redundant) pairs in them.
        pairs_length_matched: those of like length.
        problems_length_matched: problems that these come from; 0 in files that do not say.
        ties: share of the pairs that the head set scores alike.
        figures: the figures, then and now.
        proven_then: whether the head set says it was proven; None where it says nothing.
        proven_now: whether it is on the new traces.
        verdict: in a sentence.
        wall_seconds: time the run took.
    """

    schema_version: Literal[1] = 1
    model: str
    dataset: str
    labeler: str
    heads: list[tuple[int, int]]
    found_on: str
    num_responses: int
    pairs: int
    pairs_length_matched: int
    problems_length_matched: int = 0
    ties: float
    figures: list[Figure]
    proven_then: bool | None
    proven_now: bool
    verdict: str
    wall_seconds: float = 0.0
