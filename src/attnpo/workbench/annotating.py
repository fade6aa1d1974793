"""Groups of responses to a few problems with the credit a head set gives them, on disk for reports."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.progress import Progress

from attnpo.attention import HeadSet
from attnpo.collecting import collect_rollouts, read_groups
from attnpo.evaluation.annotation import annotate
from attnpo.rollouts import ANNOTATED_FILE, Rollout, write_rollouts
from attnpo.sampling import SamplingParams
from attnpo.signals import Signal
from attnpo.verification import Verifier
from attnpo.workbench.loading import Session


def sample_groups(
    path: Path,
    session: Session,
    verifier: Verifier,
    *,
    problems: int,
    samples: int,
    params: SamplingParams,
    opening: str = "",
    progress: Progress | None = None,
    description: str = "traces to show",
) -> list[Rollout]:
    """Sample, judge and label `samples` responses to each of the first `problems` problems, or read them off disk."""
    chosen = session.problems[:problems]
    collected = collect_rollouts(
        path,
        chosen,
        tokenizer=session.tokenizer,
        sampler=session.sampler,
        segmenter=session.segmenter,
        verifier=verifier,
        samples=samples,
        params=params,
        settings=session.context,
        labeler=session.labeler,
        opening=opening,
        progress=progress,
        description=description,
    )
    return read_groups(collected.path, chosen)


def annotate_problems(
    output_dir: Path,
    session: Session,
    verifier: Verifier,
    head_set: HeadSet,
    *,
    problems: int,
    samples: int,
    params: SamplingParams,
    opening: str = "",
    signals: Sequence[Signal] = (),
    progress: Progress | None = None,
) -> list[Rollout]:
    """Sample a group to each problem, score its steps and write `annotated.jsonl`."""
    path = output_dir / "annotated_rollouts.jsonl"
    rollouts = sample_groups(
        path, session, verifier, problems=problems, samples=samples, params=params, opening=opening, progress=progress
    )
    annotated = annotate(
        session.model,
        session.tokenizer,
        rollouts,
        head_set.heads,
        signals=signals,
        temperature=params.temperature or 1.0,
        progress=progress,
    )
    write_rollouts(output_dir / ANNOTATED_FILE, annotated)
    return annotated
