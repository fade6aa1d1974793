"""Delete steps by score and let the model answer anew: if the heads mean something, low-scored steps are not missed.

Each trace is cut on the very token ids that were sampled: without its lowest-scored or its highest-scored steps, or
without random steps of (nearly) as many tokens. The model then writes the final answer again, several times, and the
answers are verified (AttnPO). Every deletion of a trace is answered with the same random numbers, so that
what is common to the draws cancels in differences.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.discovery.deletion import Amount, Deleted, deleted_at_random, deleted_by_score, step_lengths
from attnpo.discovery.evidence import Condition, ConditionName, InterventionResult
from attnpo.discovery.intervention_answers import Answers, AnswerStore
from attnpo.errors import ConfigError, DataError
from attnpo.ranges import AtLeast1, OpenShare, Resamples, check_settings
from attnpo.rollouts import Rollout
from attnpo.sampling import Sampler, SamplingParams
from attnpo.segmentation import Segmenter
from attnpo.statistics import Interval, mean_interval, paired_difference_interval
from attnpo.verification import Verifier

ANSWERS_FILE = "intervention_answers.jsonl"
MIN_STEPS = 2


@dataclass(frozen=True)
class InterventionSettings:
    """What is deleted, and how answers are drawn anew.

    Attributes:
        amounts: how much to delete: shares of the think tokens, or numbers of steps.
        samples: answers drawn to each trace under each condition.
        random_draws: random deletions of as many tokens drawn for each deletion by score.
        sampling: how answers are drawn; its seed is that of random deletions and resamples too.
        level: coverage of the intervals.
        resamples: bootstrap resamples of the intervals.

    Raises:
        ConfigError: a value is out of range, or an amount cannot be read.
    """

    amounts: str = "20%,40%"
    samples: AtLeast1 = 4
    random_draws: AtLeast1 = 4
    sampling: SamplingParams = field(default_factory=lambda: SamplingParams(max_new_tokens=2048))
    level: OpenShare = 0.95
    resamples: Resamples = 2000

    def __post_init__(self) -> None:
        check_settings(self)
        if not self.parsed_amounts:
            raise ConfigError("amounts: name at least one, for instance '20%'")

    @property
    def parsed_amounts(self) -> list[Amount]:
        """The amounts in order, each once."""
        return list(dict.fromkeys(Amount.parse(part) for part in self.amounts.split(",") if part.strip()))


@dataclass(frozen=True)
class Plan:
    """What is deleted from one trace.

    Attributes:
        by_score: (amount, whether the highest) → the steps.
        at_random: the same → random steps of as many tokens, one entry a draw.
    """

    by_score: Mapping[tuple[Amount, bool], Deleted]
    at_random: Mapping[tuple[Amount, bool], tuple[Deleted, ...]]

    def deletions(self) -> list[Deleted]:
        """Return every set of steps to answer without, each once; first none."""
        drawn = (deleted for draws in self.at_random.values() for deleted in draws)
        return list(dict.fromkeys([(), *self.by_score.values(), *drawn]))


def usable_traces(rollouts: Iterable[Rollout], limit: int | None = None, seed: int = 0) -> list[Rollout]:
    """Return the traces that an intervention can be made on: correct, finished, two steps, a final answer.

    Labels are not needed.

    Args:
        rollouts: segmented, verified responses.
        limit: most traces to take, one a problem before a second of any; drawn with `seed`.
        seed: seed of the draw.
    """
    usable = [r for r in rollouts if r.correct and r.finished and is_usable(r)]
    if limit is None or len(usable) <= limit:
        return usable
    order = list(range(len(usable)))
    random.Random(seed).shuffle(order)
    turn: dict[str, int] = {}
    rounds: list[tuple[int, int, int]] = []
    for index in order:
        problem = usable[index].problem_id
        rounds.append((turn.get(problem, 0), len(rounds), index))
        turn[problem] = turn.get(problem, 0) + 1
    return [usable[index] for index in sorted(index for _, _, index in sorted(rounds)[:limit])]


def is_usable(rollout: Rollout) -> bool:
    """Return whether steps can be deleted from a response: two of them own tokens, and a final answer follows."""
    owned = sum(length > 0 for length in step_lengths(rollout))
    return owned >= MIN_STEPS and rollout.answer_tokens[1] > rollout.answer_tokens[0]


def intervene(
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    *,
    tokenizer: Any,
    sampler: Sampler,
    segmenter: Segmenter,
    verifier: Verifier,
    settings: InterventionSettings,
    output_dir: Path,
    context: Mapping[str, Any],
    heads: Sequence[tuple[int, int]],
    model_name: str = "",
    dataset_name: str = "",
    progress: Progress | None = None,
) -> InterventionResult:
    """Delete steps, draw answers anew, and write `intervention_answers.jsonl` and `intervention.json`.

    A group of answers (one trace without one set of steps) is on disk the moment it is verified; a killed run goes on
    with the groups that are missing. Amounts, random draws and heads may change: groups made before are used again.

    Args:
        rollouts: the traces (`usable_traces`), labelled or not.
        scores: per trace (K,) ensemble scores of its steps (AttnPO, Eq. 2).
        tokenizer: renders prompts.
        sampler: draws answers; it must take the prompt's token ids as they are.
        segmenter: decodes a cut trace and its new answer into text.
        verifier: judges them.
        settings: what to delete and how to draw.
        output_dir: where the files go.
        context: whatever else answers depend on (model fingerprint, verifier, …), as JSON values.
        heads: the heads that gave the scores, as the result should name them.
        model_name: the model, as the result should name it.
        dataset_name: the data set, as the result should name it.
        progress: display, or None.

    Raises:
        DataError: there are no traces, or one cannot be used.
        OutputError: the folder holds answers of other settings.
        EngineError: the engine is gone; the groups that it finished are on disk.
    """
    if not rollouts:
        raise DataError("intervention: there are no correct traces with two steps and a final answer; sample more")
    for rollout in rollouts:
        if not is_usable(rollout):
            raise DataError(
                f"intervention: problem {rollout.problem_id!r}, sample {rollout.sample} has fewer than two steps or no "
                "final answer; take traces from `usable_traces`"
            )
    plans = [plan_deletions(r, s.tolist(), settings) for r, s in zip(rollouts, scores, strict=True)]
    claimed = {**context, "samples": settings.samples, "sampling": settings.sampling.as_settings()}
    store = AnswerStore(output_dir / ANSWERS_FILE, settings.samples, claimed, rollouts)
    store.answer(
        [(rollout, plan.deletions()) for rollout, plan in zip(rollouts, plans, strict=True)],
        tokenizer=tokenizer,
        sampler=sampler,
        segmenter=segmenter,
        verifier=verifier,
        params=settings.sampling,
        progress=progress,
    )
    result = summarize(
        rollouts, plans, store.answers, settings, heads=heads, model_name=model_name, dataset_name=dataset_name
    ).model_copy(update={"wall_seconds": store.clock.seconds, "sampled_tokens": store.clock.sampled_tokens})
    result.save(output_dir / "intervention.json")
    return result


def plan_deletions(rollout: Rollout, scores: Sequence[float], settings: InterventionSettings) -> Plan:
    """Decide what is deleted from one trace; the same for the same trace, scores and seed."""
    lengths = step_lengths(rollout)
    by_score: dict[tuple[Amount, bool], Deleted] = {}
    at_random: dict[tuple[Amount, bool], tuple[Deleted, ...]] = {}
    for amount in settings.parsed_amounts:
        for highest in (False, True):
            deleted = deleted_by_score(lengths, scores, amount, highest=highest)
            tokens = sum(lengths[k] for k in deleted)
            rng = random.Random(f"{settings.sampling.seed}/{rollout.problem_id}/{rollout.sample}/{amount}/{highest}")
            by_score[amount, highest] = deleted
            at_random[amount, highest] = tuple(
                deleted_at_random(lengths, tokens, rng) for _ in range(settings.random_draws)
            )
    return Plan(by_score, at_random)


def summarize(
    rollouts: Sequence[Rollout],
    plans: Sequence[Plan],
    answers: Mapping[tuple[str, int], Mapping[Deleted, Answers]],
    settings: InterventionSettings,
    *,
    heads: Sequence[tuple[int, int]],
    model_name: str = "",
    dataset_name: str = "",
) -> InterventionResult:
    """Compare the conditions; every trace has the same weight, intervals are over problems.

    Args:
        rollouts: the traces.
        plans: what was deleted from each.
        answers: the answers to each trace without each set of steps.
        settings: what was asked for.
        heads: the heads that gave the scores.
        model_name: the model, as the result should name it.
        dataset_name: the data set, as the result should name it.
    """
    lengths = [step_lengths(rollout) for rollout in rollouts]
    own = [answers[rollout.problem_id, rollout.sample] for rollout in rollouts]
    problems = [rollout.problem_id for rollout in rollouts]

    def drawn(deletions: Sequence[Sequence[Deleted]]) -> _Drawn:
        """Means by trace over some deletions of each."""
        return _Drawn(
            accuracy=np.array(
                [np.mean([x for d in each for x in own[i][d].correct]) for i, each in enumerate(deletions)]
            ),
            unfinished=float(
                np.mean([1 - x for i, each in enumerate(deletions) for d in each for x in own[i][d].finished])
            ),
            tokens=float(
                np.mean([np.mean([sum(lengths[i][k] for k in d) for d in each]) for i, each in enumerate(deletions)])
            ),
            steps=float(np.mean([np.mean([len(d) for d in each]) for each in deletions])),
        )

    def interval(values: NDArray[np.float64]) -> Interval:
        return mean_interval(values, problems, settings.level, settings.resamples, settings.sampling.seed)

    def difference(values: NDArray[np.float64], minus: NDArray[np.float64]) -> Interval:
        return paired_difference_interval(
            minus,
            values,
            problems,
            problems,
            level=settings.level,
            n_resamples=settings.resamples,
            seed=settings.sampling.seed,
        )

    def condition(name: ConditionName, amount: str, of: _Drawn, random: _Drawn | None = None) -> Condition:
        return Condition(
            name=name,
            amount=amount,
            deleted_tokens=of.tokens,
            deleted_steps=of.steps,
            accuracy=interval(of.accuracy),
            difference=None if name == "untouched" else difference(of.accuracy, untouched.accuracy),
            against_random=None if random is None else difference(of.accuracy, random.accuracy),
            matched_tokens=None if random is None else random.tokens,
            unfinished=of.unfinished,
        )

    untouched = drawn([[()] for _ in rollouts])
    conditions = [condition("untouched", "", untouched)]
    for amount in settings.parsed_amounts:
        by_score = {top: drawn([[plan.by_score[amount, top]] for plan in plans]) for top in (False, True)}
        at_random = {top: drawn([plan.at_random[amount, top] for plan in plans]) for top in (False, True)}
        both = drawn([[*plan.at_random[amount, False], *plan.at_random[amount, True]] for plan in plans])
        conditions += [
            condition("lowest", str(amount), by_score[False], at_random[False]),
            condition("random", str(amount), both),
            condition("highest", str(amount), by_score[True], at_random[True]),
        ]
    return InterventionResult(
        model=model_name,
        dataset=dataset_name,
        heads=list(heads),
        samples_per_trace=settings.samples,
        random_draws=settings.random_draws,
        temperature=settings.sampling.temperature,
        num_traces=len(rollouts),
        num_problems=len(set(problems)),
        think_tokens=float(np.mean([sum(each) for each in lengths])),
        conditions=conditions,
        wall_seconds=0.0,
        sampled_tokens=0,
    )


@dataclass(frozen=True)
class _Drawn:
    """Means over traces under one condition; accuracy trace by trace."""

    accuracy: NDArray[np.float64]
    unfinished: float
    tokens: float
    steps: float
