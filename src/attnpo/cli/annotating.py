"""Groups of responses to a few problems with the credit a head set gives them, on disk for reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import HeadSet
from attnpo.collecting import collect_rollouts, read_groups
from attnpo.credit import CreditSettings
from attnpo.datasets import ProblemRow
from attnpo.evaluation.annotation import annotate
from attnpo.rollouts import Rollout, write_rollouts
from attnpo.sampling import Sampler, SamplingParams


def annotate_problems(
    output_dir: Path,
    model: Any,
    tokenizer: Any,
    problems: Sequence[ProblemRow],
    sampler: Sampler,
    segmenter: Any,
    verifier: Any,
    labeler: Any,
    head_set: HeadSet,
    *,
    samples: int,
    params: SamplingParams,
    context: Mapping[str, Any],
    progress: Progress | None = None,
    settings: CreditSettings | None = None,
) -> list[Rollout]:
    """Sample a group to each problem, score its steps and write `annotated.jsonl`."""
    collected = collect_rollouts(
        output_dir / "annotated_rollouts.jsonl",
        problems,
        tokenizer=tokenizer,
        sampler=sampler,
        segmenter=segmenter,
        verifier=verifier,
        samples=samples,
        params=params,
        settings=context,
        labeler=labeler,
        progress=progress,
        description="traces to show",
    )
    rollouts = list(read_groups(collected.path, problems))
    annotated = annotate(model, tokenizer, rollouts, head_set.heads, settings, progress=progress)
    write_rollouts(output_dir / "annotated.jsonl", annotated)
    return annotated
