"""From a group's sampled responses to rows with steps, verdicts, pass rate and labels."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

from attnpo.datasets import ProblemRow
from attnpo.rollouts import Rollout, read_rollouts
from attnpo.sampling import SampledResponse
from attnpo.segmentation import Segmenter
from attnpo.verification import Verifier

LONGEST_SOLUTION = 10_000
"""Characters of a reference answer that rows repeat; the tests of a code problem can be megabytes."""
FAILURE = "failure"
"""Key of a row's `extra` that says why the server gave no response of use."""
COUNTED = "server_tokens"
"""Key of a row's `extra` that says how many tokens the server counts, where the row's ids were made from text."""


def verified_group(
    problem: ProblemRow,
    responses: Sequence[SampledResponse],
    segmenter: Segmenter,
    verifier: Verifier,
    opening: str = "",
    in_think: bool = True,
) -> list[Rollout]:
    """Return the rows of one problem's group, in the order of its samples.

    Args:
        problem: the problem.
        responses: the sampled responses.
        segmenter: cuts them into steps.
        verifier: judges them.
        opening: what stood behind the prompt.
        in_think: whether the prompt left a think part open; a response that knows better says so itself.
    """
    begins = [in_think if response.in_think is None else response.in_think for response in responses]
    segmented = [segmenter(response.ids, inside) for response, inside in zip(responses, begins, strict=True)]
    texts = [cut.full_text for cut in segmented]
    failed = [response.failure is not None for response in responses]
    judged = verifier.verify(texts, [problem.solution] * len(texts))
    verdicts = [bool(verdict) and not lost for verdict, lost in zip(judged, failed, strict=True)]
    answers = [None if lost else said for said, lost in zip(verifier.answers(texts), failed, strict=True)]
    rate = sum(verdicts) / len(verdicts)
    rows = []
    for sample, (response, cut, verdict) in enumerate(zip(responses, segmented, verdicts, strict=True)):
        rollout = Rollout(
            problem_id=problem.problem_id,
            prompt=problem.prompt,
            solution=stored_solution(problem.solution),
            sample=sample,
            response_ids=tuple(response.ids),
            response=cut.text,
            finished=response.finished,
            correct=bool(verdict),
            difficulty=problem.difficulty,
            subject=problem.subject,
            answer=answers[sample],
            pass_rate=rate,
            extra={**_of_data(problem), **_said(response)},
            opening=opening,
        )
        rows.append(rollout.with_segmentation(cut))
    return rows


def counted_tokens(rollout: Rollout) -> int:
    """Return how many tokens of a response were sampled: as its server counts them, else those of its ids."""
    counted = rollout.extra.get(COUNTED)
    return counted if isinstance(counted, int) else rollout.n_tokens


def failure_of(rollout: Rollout) -> str | None:
    """Return why the server gave no response of use, None where it gave one."""
    said = rollout.extra.get(FAILURE)
    return said if isinstance(said, str) else None


def _of_data(problem: ProblemRow) -> dict[str, object]:
    """Return the data's other columns; one that has the name of what a server says is called `NAME_column`."""
    taken = {FAILURE, COUNTED}
    return {f"{name}_column" if name in taken else name: value for name, value in problem.extra.items()}


def _said(response: SampledResponse) -> dict[str, object]:
    said = {FAILURE: response.failure, COUNTED: response.tokens}
    return {name: value for name, value in said.items() if value is not None}


def stored_solution(solution: str) -> str:
    """Return a reference answer as rows repeat it: itself, or its hash where it is long."""
    if len(solution) <= LONGEST_SOLUTION:
        return solution
    return f"sha256:{hashlib.sha256(solution.encode()).hexdigest()}"


def read_groups(path: Path, problems: Sequence[ProblemRow]) -> list[Rollout]:
    """Return the rollouts of a complete file in the order of `problems`, whatever order they were finished in."""
    place = {problem.problem_id: index for index, problem in enumerate(problems)}
    return sorted(read_rollouts(path), key=lambda r: (place[r.problem_id], r.sample))
