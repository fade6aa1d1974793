"""Where traces come from: sampled from the model, or read from a file that `train` or `evaluate` wrote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.collecting import collect_rollouts
from attnpo.datasets import ProblemRow
from attnpo.discovery.settings import DiscoverySettings
from attnpo.errors import DataError
from attnpo.output import prepare_output_dir
from attnpo.rollouts import Rollout, placed_rollouts, read_rollouts
from attnpo.sampling import Sampler
from attnpo.segmentation import Segmenter
from attnpo.verification import Verifier

TRACES_FILE = "discovery_rollouts.jsonl"


def sample_traces(
    output_dir: Path,
    problems: Sequence[ProblemRow],
    *,
    tokenizer: Any,
    sampler: Sampler,
    segmenter: Segmenter,
    verifier: Verifier,
    settings: DiscoverySettings,
    context: Mapping[str, Any],
    progress: Progress | None = None,
) -> list[Rollout]:
    """Sample, cut and judge the model's own responses into `discovery_rollouts.jsonl`; a killed run goes on.

    Args:
        output_dir: where the file goes.
        problems: the problems; at least one.
        tokenizer: renders prompts.
        sampler: draws responses.
        segmenter: cuts them into steps.
        verifier: judges them.
        settings: how many responses, drawn how.
        context: whatever else they depend on (model, data set, verifier, …), as JSON values.
        progress: display, or None.

    Returns:
        Responses of every problem, in the problems' order.

    Raises:
        DataError: there are no problems.
        OutputError: the folder holds results of other settings.
        EngineError: the engine is gone; what it finished is on disk.
    """
    if not problems:
        raise DataError("discover: there are no problems; give a data set with at least one row")
    prepare_output_dir(output_dir)
    collected = collect_rollouts(
        output_dir / TRACES_FILE,
        problems,
        tokenizer=tokenizer,
        sampler=sampler,
        segmenter=segmenter,
        verifier=verifier,
        samples=settings.samples_per_problem,
        params=settings.sampling,
        settings=context,
        opening=settings.opening,
        progress=progress,
        description="sampling",
    )
    place = {problem.problem_id: index for index, problem in enumerate(problems)}
    return sorted(read_rollouts(collected.path), key=lambda r: (place[r.problem_id], r.sample))


def read_traces(path: Path, segmenter: Segmenter, verifier: Verifier | None = None) -> list[Rollout]:
    """Read sampled responses from a rollouts file and cut them into steps anew.

    Labels in the file are kept where the steps come out the same. Responses without verdict are judged; a pass rate
    that the file does not state is the share of correct responses in it. Samples of a problem are numbered through
    where two of them have the same number; else they keep theirs, by which labels may name them.

    Args:
        path: a rollouts file.
        segmenter: cuts responses, with the tokenizer of the model that heads are wanted of.
        verifier: judges responses that have no verdict.

    Raises:
        DataError: the file is missing, empty or malformed, a row's token ids are another tokenizer's, or a row has no
            verdict and there is no verifier.
    """
    rows = {where: _recut(rollout, segmenter, where) for where, rollout in placed_rollouts(path)}
    if not rows:
        raise DataError(f"{path}: no rows; give a file of responses that `attnpo evaluate` or `train` wrote")
    rollouts = _numbered(rows.values())
    unjudged = [index for index, rollout in enumerate(rollouts) if rollout.correct is None]
    if unjudged:
        if verifier is None:
            raise DataError(f"{list(rows)[unjudged[0]]}: no verdict; name a verifier")
        verdicts = verifier.verify([rollouts[i].full_text for i in unjudged], [rollouts[i].solution for i in unjudged])
        for index, verdict in zip(unjudged, verdicts, strict=True):
            rollouts[index] = replace(rollouts[index], correct=verdict)
    verdicts_of: dict[str, list[bool]] = {}
    for rollout in rollouts:
        verdicts_of.setdefault(rollout.problem_id, []).append(bool(rollout.correct))
    rates = {problem_id: sum(verdicts) / len(verdicts) for problem_id, verdicts in verdicts_of.items()}
    return [r if r.pass_rate is not None else replace(r, pass_rate=rates[r.problem_id]) for r in rollouts]


def _recut(rollout: Rollout, segmenter: Segmenter, where: str) -> Rollout:
    cut = segmenter(rollout.response_ids, rollout.in_think)
    if cut.text != rollout.response:
        raise DataError(
            f"{where}: its token ids mean another text to this model's tokenizer; "
            "give the model (or the tokenizer) that the responses were sampled with"
        )
    recut = rollout.with_segmentation(cut)
    if [step.chars for step in cut.steps] != [step.chars for step in rollout.steps]:
        return recut
    steps = tuple(replace(new, label=old.label) for new, old in zip(cut.steps, rollout.steps, strict=True))
    return replace(recut, steps=steps)


def _numbered(rollouts: Collection[Rollout]) -> list[Rollout]:
    """Training meets a problem more than once: its samples are numbered through."""
    names = Counter((rollout.problem_id, rollout.sample) for rollout in rollouts)
    again = {problem_id for (problem_id, _), count in names.items() if count > 1}
    seen = Counter[str]()
    numbered = []
    for rollout in rollouts:
        sample = seen[rollout.problem_id]
        seen[rollout.problem_id] += 1
        numbered.append(replace(rollout, sample=sample) if rollout.problem_id in again else rollout)
    return numbered
