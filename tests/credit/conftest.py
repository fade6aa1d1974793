from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
from hypothesis import settings

from attnpo.credit import StepBatch

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


@pytest.fixture(scope="session")
def make_steps() -> Callable[..., StepBatch]:
    return _make_steps
