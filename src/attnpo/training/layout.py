"""Steps, answers and truth of sampled responses as padded tensors that travel beside the token ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from attnpo.credit import LABEL_CODES
from attnpo.rollouts import Rollout
from attnpo.segmentation import answer_mask, step_index


@dataclass(frozen=True)
class ResponseLayout:
    """Where steps and answers lie in a batch of sampled responses.

    Attributes:
        step_index_BT: step of each response token, -1 outside steps, int64.
        answer_mask_BT: tokens of the final answer F.
        step_lengths_BK: tokens in each step; 0 marks padding.
        step_mask_BK: which steps exist (a step may hold no token).
        answer_lengths_B: tokens in F.
        labels_BK: 0 undecided, 1 essential, 2 redundant; None without truth.
    """

    step_index_BT: torch.Tensor
    answer_mask_BT: torch.Tensor
    step_lengths_BK: torch.Tensor
    step_mask_BK: torch.Tensor
    answer_lengths_B: torch.Tensor
    labels_BK: torch.Tensor | None


def lay_out(
    responses: Sequence[Rollout], width: int, device: torch.device | str, labelled: bool = False
) -> ResponseLayout:
    """Pack segmented responses into tensors.

    Args:
        responses: B segmented responses.
        width: T, the padded response length.
        device: where the tensors go.
        labelled: whether the steps carry labels.
    """
    num_steps = max([1, *(len(r.steps) for r in responses)])

    def pad(row: list[int]) -> list[int]:
        return row + [0] * (num_steps - len(row))

    lengths = [pad([s.tokens[1] - s.tokens[0] for s in r.steps]) for r in responses]
    exists = [pad([1] * len(r.steps)) for r in responses]
    codes = None
    if labelled:
        rows = [pad([LABEL_CODES[step.label or "undecided"] for step in r.steps]) for r in responses]
        codes = torch.tensor(rows, device=device)
    return ResponseLayout(
        step_index_BT=torch.tensor([step_index(r, width) for r in responses], device=device),
        answer_mask_BT=torch.tensor([answer_mask(r, width) for r in responses], device=device),
        step_lengths_BK=torch.tensor(lengths, device=device),
        step_mask_BK=torch.tensor(exists, device=device).bool(),
        answer_lengths_B=torch.tensor([r.answer_tokens[1] - r.answer_tokens[0] for r in responses], device=device),
        labels_BK=codes,
    )


def lay_out_log_probs(places: Sequence[Mapping[int, float]], width: int, device: torch.device | str) -> torch.Tensor:
    """Return (B, T) float32 log-probabilities of forced tokens, NaN where a token was drawn from the policy.

    Args:
        places: for each response, place of a token -> log-probability.
        width: T, the padded response length.
        device: where the tensor goes.
    """
    log_probs_BT = torch.full((len(places), width), float("nan"), device=device)
    for row, known in enumerate(places):
        for place, log_prob in known.items():
            log_probs_BT[row, place] = log_prob
    return log_probs_BT


def lay_out_values(values: Sequence[Sequence[float]], width: int, device: torch.device | str) -> torch.Tensor:
    """Return (B, width) float32: one number a step or a token, 0 where there is none."""
    rows = [[*row, *[0.0] * (width - len(row))] for row in values]
    return torch.tensor(rows, dtype=torch.float32, device=device)
