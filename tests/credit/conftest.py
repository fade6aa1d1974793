from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import settings

from attnpo.credit import GroupBatch, StepBatch

# The first example of a test pays for warming up torch: no deadlines.
settings.register_profile("credit", deadline=None)
settings.load_profile("credit")


def _make_steps(
    scores: Sequence[Sequence[float]],
    *,
    step_lengths: Sequence[Sequence[int]] | None = None,
    answer: int | Sequence[int] = 16,
    response: int | Sequence[int] = 128,
    prompt: int | Sequence[int] = 64,
    advantage: float | Sequence[float] = 1.0,
    correct: bool | Sequence[bool] = True,
    pass_rate: float | Sequence[float] = 0.5,
    t: int = 10**6,
    row_ids: Sequence[int] | None = None,
    labels: Sequence[Sequence[int]] | None = None,
    width: int | None = None,
) -> StepBatch:
    """Pad rows of step scores into a batch; a single value holds for every row."""
    size = len(scores)
    width = max((len(row) for row in scores), default=0) if width is None else width

    def padded(rows: Sequence[Sequence[float]], fill: float, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor([[*row, *[fill] * (width - len(row))] for row in rows], dtype=dtype).reshape(size, width)

    def column(value: object, dtype: torch.dtype) -> torch.Tensor:
        return torch.tensor(value if isinstance(value, Sequence) else [value] * size, dtype=dtype)

    return StepBatch(
        scores_BK=padded(scores, float("nan"), torch.float32),
        step_mask_BK=padded([[1] * len(row) for row in scores], 0, torch.bool),
        step_lengths_BK=padded(step_lengths or [[8] * len(row) for row in scores], 0, torch.long),
        answer_lengths_B=column(answer, torch.long),
        response_lengths_B=column(response, torch.long),
        prompt_lengths_B=column(prompt, torch.long),
        advantages_B=column(advantage, torch.float32),
        correct_B=column(correct, torch.bool),
        pass_rate_B=column(pass_rate, torch.float32),
        progress_step=t,
        row_ids_B=column(list(range(size)) if row_ids is None else list(row_ids), torch.long),
        labels_BK=None if labels is None else padded(labels, 0, torch.long),
    )


def _make_groups(
    responses: Sequence[tuple[bool, int]] | Sequence[Sequence[tuple[bool, int]]],
    *,
    t: int = 0,
    limit: int | None = None,
    target: int | None = None,
    unfinished: Sequence[int] = (),
    unanswered: Sequence[int] = (),
    repetitive: Sequence[int] = (),
    no_think: Sequence[int] = (),
    group_ids: Sequence[int] | None = None,
) -> GroupBatch:
    """Groups from (correct, length) of each response; `unfinished` and the like name places in every group."""
    rows = [responses] if isinstance(responses[0][0], bool) else responses
    correct = torch.tensor([[right for right, _ in row] for row in rows])

    def all_but(places: Sequence[int]) -> torch.Tensor:
        mask = torch.ones_like(correct)
        mask[:, list(places)] = False
        return mask

    return GroupBatch(
        correct_PG=correct,
        lengths_PG=torch.tensor([[length for _, length in row] for row in rows]),
        finished_PG=all_but(unfinished),
        progress_step=t,
        max_length=limit,
        answered_PG=all_but([*unfinished, *unanswered]),
        group_ids_P=torch.arange(len(rows)) if group_ids is None else torch.tensor(group_ids),
        facts={
            "repetitive": (~all_but(repetitive)).float(),
            "no_think": (~all_but(no_think)).float(),
            **({} if target is None else {"target_length": torch.full(correct.shape, float(target))}),
        },
    )


@pytest.fixture(scope="session")
def make_groups() -> Callable[..., GroupBatch]:
    return _make_groups


@pytest.fixture(scope="session")
def make_steps() -> Callable[..., StepBatch]:
    return _make_steps
