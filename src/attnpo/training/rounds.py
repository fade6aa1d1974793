"""What is known of a generation batch, from sampling to the optimizer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch


@dataclass
class GatheredOutcome:
    """What is known of a whole generation batch once rewards are in, over all processes.

    Attributes:
        rewards_BF: one column a reward function, float32; B spans processes in group order.
        lengths_B: response lengths |o| in tokens, int64.
        finished_B: whether each response ended itself.
        row_ids_B: number of each response within the run; consecutive, a group's responses together.
        group_size: responses a prompt.
        facts: further numbers, one a response, by name: what `GenerationRound.facts` held on each process.
    """

    rewards_BF: torch.Tensor
    lengths_B: torch.Tensor
    finished_B: torch.Tensor
    row_ids_B: torch.Tensor
    group_size: int
    facts: dict[str, torch.Tensor] = field(default_factory=dict)


@dataclass
class GenerationRound:
    """State between sampling a generation batch and handing it to the optimizer.

    Attributes:
        rows: the data set rows of this process, one a response.
        prompt_ids: token ids of the prompts.
        response_ids: the sampled token ids.
        row_ids: number of each response within the run; the same however the work is split over processes.
        tensors: tensors with one row a response that travel beside TRL's own, without `PREFIX`.
        facts: numbers, one a response, that group-relative credit needs gathered; the same names on every process.
        sampling_log_probs: for each response, place of a token -> log-probability it was really drawn with, where
            that is not the policy's own.
        scores_BKN: step scores, once a pass under the sampling policy has read them.
    """

    rows: list[dict[str, Any]]
    prompt_ids: list[list[int]] = field(default_factory=list)
    response_ids: list[list[int]] = field(default_factory=list)
    row_ids: list[int] = field(default_factory=list)
    tensors: dict[str, torch.Tensor] = field(default_factory=dict)
    facts: dict[str, list[float]] = field(default_factory=dict)
    sampling_log_probs: Sequence[Mapping[int, float]] | None = None
    scores_BKN: torch.Tensor | None = None
