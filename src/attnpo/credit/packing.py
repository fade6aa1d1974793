"""Scored responses as the padded batch that methods take."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from attnpo.credit.batches import LABEL_CODES, StepBatch
from attnpo.rollouts import Rollout


def pack_steps(
    rollouts: Sequence[Rollout],
    scores: Sequence[NDArray[np.floating]],
    prompt_lengths: Sequence[int] | None = None,
) -> StepBatch:
    """Pad scored responses to a batch that methods take.

    Args:
        rollouts: segmented, verified responses with pass rates; steps without a label count as undecided.
        scores: per response (K,) ensemble scores (AttnPO, Eq. 2).
        prompt_lengths: tokens of each prompt, needed only where Eq. 6 divides by prompt + response.
    """
    shape = (len(rollouts), max(len(rollout.steps) for rollout in rollouts))
    scores_BK = torch.zeros(shape)
    step_mask_BK = torch.zeros(shape, dtype=torch.bool)
    lengths_BK = torch.zeros(shape, dtype=torch.long)
    labels_BK = torch.zeros(shape, dtype=torch.long)
    for b, (rollout, scores_K) in enumerate(zip(rollouts, scores, strict=True)):
        k = len(rollout.steps)
        scores_BK[b, :k] = torch.as_tensor(np.asarray(scores_K), dtype=torch.float32)
        step_mask_BK[b, :k] = True
        lengths_BK[b, :k] = torch.tensor([step.tokens[1] - step.tokens[0] for step in rollout.steps])
        labels_BK[b, :k] = torch.tensor([LABEL_CODES[step.label or "undecided"] for step in rollout.steps])
    return StepBatch(
        scores_BK=scores_BK,
        step_mask_BK=step_mask_BK,
        step_lengths_BK=lengths_BK,
        answer_lengths_B=torch.tensor([r.answer_tokens[1] - r.answer_tokens[0] for r in rollouts]),
        response_lengths_B=torch.tensor([r.n_tokens for r in rollouts]),
        prompt_lengths_B=torch.tensor(prompt_lengths or [0] * len(rollouts)),
        advantages_B=torch.tensor([0.0 if r.advantage is None else r.advantage for r in rollouts]),
        correct_B=torch.tensor([bool(r.correct) for r in rollouts]),
        pass_rate_B=torch.tensor([0.0 if r.pass_rate is None else r.pass_rate for r in rollouts]),
        progress_step=0,
        row_ids_B=torch.arange(len(rollouts)),
        labels_BK=labels_BK,
    )
