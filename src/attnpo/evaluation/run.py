"""Measure a model: sample, verify, sum up."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.collecting import Segments, Verifies, collect_rollouts, read_groups
from attnpo.datasets import ProblemRow
from attnpo.errors import DataError
from attnpo.evaluation.metrics import measure, summarize, summarize_by_difficulty
from attnpo.evaluation.result import EvaluationResult
from attnpo.evaluation.settings import EvaluationSettings
from attnpo.labeling import Labeler
from attnpo.output import prepare_output_dir
from attnpo.sampling import Sampler
from attnpo.segmentation import PhraseFamilies, phrase_counts


def evaluate(
    name: str,
    tokenizer: Any,
    problems: Sequence[ProblemRow],
    sampler: Sampler,
    segmenter: Segments,
    verifier: Verifies,
    labeler: Labeler | None,
    settings: EvaluationSettings,
    output_dir: Path,
    progress: Progress | None = None,
    *,
    model_name: str = "",
    dataset_name: str = "",
    context: Mapping[str, Any] | None = None,
    phrases: PhraseFamilies | None = None,
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
        context: whatever else the responses depend on (`model_fingerprint`, verifier, step strategy, labeler, …), as
            JSON values; results in `output_dir` made under another context are refused.
        phrases: phrase families to count; None takes the package's.

    Raises:
        DataError: there are no problems.
        OutputError: the folder cannot be written, or holds results of other settings.
    """
    if not problems:
        raise DataError("evaluate: there are no problems; give a data set with at least one row")
    prepare_output_dir(output_dir)
    collected = collect_rollouts(
        output_dir / "rollouts.jsonl",
        problems,
        tokenizer=tokenizer,
        sampler=sampler,
        segmenter=segmenter,
        verifier=verifier,
        samples=settings.samples_per_problem,
        params=settings.sampling,
        settings={"model": model_name, "dataset": dataset_name, **(context or {})},
        labeler=labeler,
        progress=progress,
        description=f"evaluating {name}",
    )
    families = PhraseFamilies.load() if phrases is None else phrases
    count = functools.partial(phrase_counts, phrases=families)
    measured = [measure(rollout, count) for rollout in read_groups(collected.path, problems)]
    result = EvaluationResult(
        name=name,
        model=model_name,
        dataset=dataset_name,
        num_problems=len(problems),
        samples_per_problem=settings.samples_per_problem,
        seed=settings.seed,
        sampling=asdict(settings.sampling),
        wall_seconds=collected.seconds,
        tokens_per_second=collected.tokens_per_second,
        overall=summarize(measured, settings.level, settings.resamples, settings.seed),
        by_difficulty=summarize_by_difficulty(measured, settings.level, settings.resamples, settings.seed),
    )
    result.save(output_dir / "evaluation.json")
    return result
