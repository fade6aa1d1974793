"""Measure a model: sample, verify, sum up."""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.collecting import claim_rollouts, collect_rollouts
from attnpo.collecting.journal import Clock
from attnpo.datasets import ProblemRow
from attnpo.errors import DataError, EngineError
from attnpo.evaluation.counting import Counter
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.settings import EvaluationSettings
from attnpo.evaluation.summary import summarize, summarize_by
from attnpo.evaluation.tally import CountPhrases, Tally
from attnpo.labeling import Labeler
from attnpo.ledger import settings_path
from attnpo.output import prepare_output_dir
from attnpo.progress import bar
from attnpo.rollouts import ROLLOUTS_FILE, read_rollouts
from attnpo.sampling import Sampler, render_prompt
from attnpo.segmentation import PhraseFamilies, Segmenter, phrase_counts
from attnpo.verification import Verifier


def evaluate(
    name: str,
    tokenizer: Any,
    problems: Sequence[ProblemRow],
    sampler: Sampler,
    segmenter: Segmenter,
    verifier: Verifier,
    labeler: Labeler | None,
    settings: EvaluationSettings,
    output_dir: Path,
    progress: Progress | None = None,
    *,
    model_name: str = "",
    dataset_name: str = "",
    context: Mapping[str, Any] | None = None,
    phrases: PhraseFamilies | None = None,
    counter: Counter | None = None,
    counter_name: str | None = None,
) -> EvaluationResult:
    """Sample responses to every problem and write `rollouts.jsonl` and `evaluation.json`.

    A killed run continues where it stopped when called again with the same settings and ends with the same numbers.

    Args:
        name: name of the run, such as `base` or `attnpo`.
        tokenizer: renders prompts.
        problems: the problems; at least one.
        sampler: draws the responses.
        segmenter: cuts them into steps.
        verifier: judges them.
        labeler: labels every step, where truth or a judge is at hand.
        settings: how to sample and sum up.
        output_dir: where the files go.
        progress: display, or None.
        model_name: the model, as the results should name it.
        dataset_name: the data set, as the results should name it.
        context: whatever else the responses depend on (`engine`, `benchmark`, `model_fingerprint`, verifier, step
            strategy, labeler, …), as JSON values; results in `output_dir` made under another context are refused.
        phrases: phrase families to count; None takes the package's.
        counter: counts whatever else is asked for in every response (`attnpo.evaluation.counting`). It reads what is on
            disk: a finished run that is called again with another counter is counted again, not sampled again.
        counter_name: the counter, as the results should name it.

    Raises:
        DataError: there are no problems, or the counter's answer is malformed.
        OutputError: the folder cannot be written, or holds results of other settings.
        EngineError: the engine went away for good; `evaluation.json` then holds the problems that were finished, with
            `complete` false, unless there are none.
    """
    if not problems:
        raise DataError("evaluate: there are no problems; give a data set with at least one row")
    prepare_output_dir(output_dir)
    rollouts = output_dir / ROLLOUTS_FILE
    families = PhraseFamilies.load() if phrases is None else phrases
    context = context or {}
    asked, labelling = len(problems), labeler is not None
    conclude = functools.partial(
        _conclude,
        _Run(name, model_name, dataset_name, context, settings, asked, rollouts, counter, counter_name, labelling),
        functools.partial(phrase_counts, phrases=families),
        progress,
    )
    try:
        collect_rollouts(
            rollouts,
            problems,
            tokenizer=tokenizer,
            sampler=sampler,
            segmenter=segmenter,
            verifier=verifier,
            samples=settings.samples_per_problem,
            params=settings.sampling,
            settings=_depends_on(tokenizer, problems, model_name, dataset_name, context),
            labeler=labeler,
            opening=settings.opening,
            progress=progress,
            description=f"evaluating {name}",
        )
    except EngineError:
        conclude()
        raise
    result = conclude()
    assert result is not None
    return result


def claim_evaluation(
    output_dir: Path,
    tokenizer: Any,
    problems: Sequence[ProblemRow],
    settings: EvaluationSettings,
    *,
    model_name: str = "",
    dataset_name: str = "",
    context: Mapping[str, Any] | None = None,
) -> None:
    """Claim a folder for an evaluation to come; arguments as of `evaluate`.

    Raises:
        OutputError: the folder cannot be written, or holds results of other settings.
    """
    claim_rollouts(
        output_dir / ROLLOUTS_FILE,
        problems,
        samples=settings.samples_per_problem,
        params=settings.sampling,
        settings=_depends_on(tokenizer, problems, model_name, dataset_name, context or {}),
        opening=settings.opening,
    )


def _depends_on(
    tokenizer: Any, problems: Sequence[ProblemRow], model: str, dataset: str, context: Mapping[str, Any]
) -> dict[str, Any]:
    return {"model": model, "dataset": dataset, **context, "prompts": rendered_fingerprint(tokenizer, problems)}


def rendered_fingerprint(tokenizer: Any, problems: Sequence[ProblemRow]) -> str:
    """Return a hash of the token ids of all prompts: another template or tokenizer gives another one."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps(render_prompt(tokenizer, problem.prompt)).encode())
    return digest.hexdigest()[:16]


def tally_rollouts(
    path: Path,
    count_phrases: CountPhrases,
    progress: Progress | None = None,
    total: int | None = None,
    counter: Counter | None = None,
    labelling: bool = False,
) -> Tally:
    """Take in the rows of a rollouts file one by one.

    Args:
        path: the rollouts file.
        count_phrases: counts the trigger phrases of a response.
        progress: display, or None.
        total: rows expected, for the display.
        counter: counts whatever else is asked for, or None.
        labelling: whether steps are labelled, which responses without any do not show.

    Raises:
        DataError: the file is missing or malformed, or the counter's answer is.
    """
    tally = Tally(count_phrases, counter, labelling)
    with bar(progress, "summing up", total or 0) as advance:
        for rollout in read_rollouts(path):
            tally.add(rollout)
            advance()
    return tally


@dataclass(frozen=True)
class _Run:
    name: str
    model: str
    dataset: str
    context: Mapping[str, Any]
    settings: EvaluationSettings
    problems_asked: int
    rollouts: Path
    counter: Counter | None
    counter_name: str | None
    labelling: bool


def _conclude(run: _Run, count_phrases: CountPhrases, progress: Progress | None) -> EvaluationResult | None:
    """Sum up the finished problems and write `evaluation.json`; None where there are none."""
    if not run.rollouts.exists():
        return None
    settings, context = run.settings, run.context
    total = run.problems_asked * settings.samples_per_problem
    tally = tally_rollouts(run.rollouts, count_phrases, progress, total, run.counter, run.labelling)
    if len(tally) == 0:
        return None
    measured = tally.measured(settings.token_budgets)
    bootstrap = (settings.level, settings.resamples, settings.seed)
    clock = Clock(run.rollouts)
    engine = context.get("engine", {})
    table = measured.table
    result = EvaluationResult(
        name=run.name,
        model=run.model,
        model_fingerprint=context.get("model_fingerprint"),
        dataset=run.dataset,
        benchmark=context.get("benchmark"),
        engine=engine if isinstance(engine, dict) else {"name": str(engine)},
        num_problems=len(table),
        num_problems_asked=run.problems_asked,
        complete=len(table) == run.problems_asked,
        samples_per_problem=settings.samples_per_problem,
        seed=settings.seed,
        sampling=settings.sampling.as_settings(),
        settings=json.loads(settings_path(run.rollouts).read_text(encoding="utf-8")),
        wall_seconds=clock.seconds,
        engine_seconds=clock.engine_seconds,
        overhead_share=1 - clock.engine_seconds / clock.seconds if clock.seconds > 0 else 0.0,
        tokens_per_second=clock.sampled_tokens / clock.seconds if clock.seconds > 0 else 0.0,
        exact_token_counts=clock.inexact == 0,
        failures=tally.failures,
        counter=run.counter_name if run.counter is not None else None,
        overall=summarize(measured, *bootstrap),
        by_difficulty=summarize_by(table.difficulty, measured, *bootstrap, progress, "by difficulty"),
        by_subject=summarize_by(table.subject, measured, *bootstrap, progress, "by subject"),
        problems=table,
    )
    result.save(run.rollouts.with_name("evaluation.json"))
    return result
