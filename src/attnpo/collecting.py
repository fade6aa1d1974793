"""Groups of responses, sampled, segmented, verified and labelled, on disk as they are made.

Discovery and evaluation both stand on this. A group (the n responses to one problem) is written the moment it is
verified, so a killed run continues with the problems that are not on disk yet. Each problem's responses are seeded by
its id, so they are the ones an uninterrupted run would have drawn.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import torch
from rich.progress import Progress

from attnpo.datasets import ProblemRow
from attnpo.errors import OutputError
from attnpo.labeling import Labeler, label_steps
from attnpo.output import claim_settings, write_atomically
from attnpo.progress import bar
from attnpo.rollouts import Rollout, SegmentedResponse, read_rollouts, write_rollouts
from attnpo.sampling import SampledResponse, Sampler, SamplingParams, render_prompt


class Segments(Protocol):
    """Cuts sampled response ids into steps and final answer (`attnpo.segmentation.Segmenter`)."""

    def __call__(self, response_ids: Sequence[int]) -> SegmentedResponse:
        """Return the segmented response."""
        ...


class Verifies(Protocol):
    """Judges whole responses against reference answers (`attnpo.verification.Verifier`)."""

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        """Return one verdict a response."""
        ...


@dataclass(frozen=True)
class Collected:
    """What `collect_rollouts` leaves behind.

    Attributes:
        path: the rollouts file; one complete group a problem.
        seconds: time spent sampling, segmenting, verifying and labelling, over all runs that wrote the file.
        sampled_tokens: response tokens sampled in that time.
    """

    path: Path
    seconds: float
    sampled_tokens: int

    @property
    def tokens_per_second(self) -> float:
        """Sampled response tokens a second of collecting."""
        return self.sampled_tokens / self.seconds if self.seconds > 0 else 0.0


def collect_rollouts(
    path: Path,
    problems: Sequence[ProblemRow],
    *,
    tokenizer: Any,
    sampler: Sampler,
    segmenter: Segments,
    verifier: Verifies,
    samples: int,
    params: SamplingParams,
    settings: Mapping[str, Any],
    labeler: Labeler | None = None,
    needs_labels: Callable[[Rollout], bool] = lambda rollout: True,
    progress: Progress | None = None,
    description: str = "sampling",
) -> Collected:
    """Sample every problem's group into a rollouts file, skipping the groups it already holds.

    Args:
        path: the rollouts file; its settings lie beside it as `<stem>.settings.json`.
        problems: the problems, ids unique.
        tokenizer: renders prompts.
        sampler: draws the responses.
        segmenter: cuts them into steps.
        verifier: judges them, a group at a time.
        samples: responses a problem.
        params: how to draw.
        settings: whatever else the responses depend on (model, fingerprint, data set, …), as JSON values.
        labeler: labels the steps, where given.
        needs_labels: which rollouts to label.
        progress: display, or None.
        description: text of the progress bar.

    Raises:
        OutputError: the file was made with other settings.
        DataError: the file, or a labeler's answer, is malformed.
    """
    claim_settings(
        path.with_name(f"{path.stem}.settings.json"),
        {**settings, "samples": samples, "sampling": asdict(params), "problems": problems_fingerprint(problems)},
    )
    done = _drop_unfinished_groups(path, samples)
    todo = [problem for problem in problems if problem.problem_id not in done]
    clock_path = path.with_name(f"{path.stem}.clock.json")
    clock = json.loads(clock_path.read_text()) if clock_path.exists() else {"seconds": 0.0, "sampled_tokens": 0}
    prompt_ids = [render_prompt(tokenizer, problem.prompt) for problem in todo]
    keys = [problem_key(problem.problem_id) for problem in todo]
    start, tokens, correct, finished_groups = time.perf_counter(), 0, 0, 0
    total = len(problems) * samples
    try:
        with bar(progress, description, total, done=total - len(todo) * samples) as advance:
            for index, responses in sampler.sample(prompt_ids, samples, params, keys=keys) if todo else ():
                group = _verified_group(todo[index], responses, segmenter, verifier)
                if labeler is not None:
                    group = [label_steps(labeler, r) if needs_labels(r) else r for r in group]
                write_rollouts(path, group, append=True)
                tokens += sum(r.n_tokens for r in group)
                correct += sum(bool(r.correct) for r in group)
                finished_groups += 1
                seconds = time.perf_counter() - start
                share = correct / (finished_groups * samples)
                advance(samples, f"{share:.0%} correct, {tokens / seconds:,.0f} tok/s")
    finally:
        clock = {
            "seconds": clock["seconds"] + time.perf_counter() - start,
            "sampled_tokens": clock["sampled_tokens"] + tokens,
        }
        write_atomically(clock_path, json.dumps(clock) + "\n")
    return Collected(path, clock["seconds"], int(clock["sampled_tokens"]))


def problem_key(problem_id: str) -> int:
    """Return the number that seeds a problem's responses: 63 bits of a hash of its id."""
    return int.from_bytes(hashlib.sha256(problem_id.encode()).digest()[:8], "big") >> 1


def problems_fingerprint(problems: Iterable[ProblemRow]) -> str:
    """Return a hash of ids, prompts and solutions in order."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.problem_id, problem.prompt, problem.solution]).encode())
    return digest.hexdigest()[:16]


def model_fingerprint(model: torch.nn.Module, elements: int = 1024) -> str:
    """Return a hash over a strided sample of every parameter.

    It tells a retrained checkpoint from the one before it under the same name, at a cost that does not grow with the
    size of the parameters.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().flatten()
        stride = max(1, flat.numel() // elements)
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(flat[::stride].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _verified_group(
    problem: ProblemRow, responses: Sequence[SampledResponse], segmenter: Segments, verifier: Verifies
) -> list[Rollout]:
    segmented = [segmenter(response.ids) for response in responses]
    verdicts = verifier.verify([s.text for s in segmented], [problem.solution] * len(segmented))
    rate = sum(verdicts) / len(verdicts)
    rows = []
    for sample, (response, cut, verdict) in enumerate(zip(responses, segmented, verdicts, strict=True)):
        rollout = Rollout(
            problem_id=problem.problem_id,
            prompt=problem.prompt,
            solution=problem.solution,
            sample=sample,
            response_ids=tuple(response.ids),
            response=cut.text,
            finished=response.finished,
            correct=bool(verdict),
            difficulty=problem.difficulty,
            pass_rate=rate,
            extra=problem.extra,
        )
        rows.append(rollout.with_segmentation(cut))
    return rows


def _drop_unfinished_groups(path: Path, samples: int) -> set[str]:
    """Cut what a killed run left half written off the end of the file; return the ids of the complete groups."""
    if not path.exists():
        return set()
    data = path.read_bytes()
    complete = data[: data.rfind(b"\n") + 1]  # a line without its end was being written when the run died
    if len(complete) < len(data):
        write_atomically(path, complete.decode("utf-8"))
    groups: dict[str, list[Rollout]] = {}
    for rollout in read_rollouts(path):
        groups.setdefault(rollout.problem_id, []).append(rollout)
    for problem_id, group in groups.items():
        if [r.sample for r in group] != list(range(len(group))) or len(group) > samples:
            raise OutputError(f"{path}: problem {problem_id!r} appears more than once; remove the file and start again")
    kept = {problem_id: group for problem_id, group in groups.items() if len(group) == samples}
    if len(kept) < len(groups):
        lines = [rollout.to_json() + "\n" for group in kept.values() for rollout in group]
        write_atomically(path, "".join(lines))
    return set(kept)


def read_groups(path: Path, problems: Sequence[ProblemRow]) -> list[Rollout]:
    """Return the rollouts of a complete file in the order of `problems`, whatever order they were finished in."""
    place = {problem.problem_id: index for index, problem in enumerate(problems)}
    return sorted(read_rollouts(path), key=lambda r: (place[r.problem_id], r.sample))
