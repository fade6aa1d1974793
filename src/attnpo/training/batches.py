"""From the tensors of a training batch to the arguments of credit."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import torch

from attnpo.attention import ensemble_scores
from attnpo.credit import GroupBatch, StepBatch
from attnpo.training.packing import TOKEN_VALUE
from attnpo.training.rounds import GatheredOutcome

FACT, STEP_VALUE = "fact/", "value/"
"""How a method's own facts and step values are named among the tensors of a batch."""


def group_batch(
    outcome: GatheredOutcome, progress_step: int, max_length: int, method_facts: Iterable[str] = ()
) -> GroupBatch:
    """Return whole groups, as the outcome part of credit takes them.

    Args:
        outcome: gathered values; its first reward is the verifier's.
        progress_step: optimizer steps made so far.
        max_length: the run's limit on a response, in tokens.
        method_facts: names of the facts that the method itself noted.
    """
    size = outcome.group_size
    facts = {name: fact_B.reshape(-1, size) for name, fact_B in outcome.facts.items()}
    return GroupBatch(
        correct_PG=(outcome.rewards_BF[:, 0] > 0.5).view(-1, size),
        lengths_PG=outcome.lengths_B.reshape(-1, size),
        finished_PG=outcome.finished_B.reshape(-1, size),
        progress_step=progress_step,
        max_length=max_length,
        answered_PG=facts["answered"].bool(),
        group_ids_P=outcome.row_ids_B.reshape(-1, size)[:, 0] // size,
        facts={name: facts[name].float() for name in method_facts},
    )


def step_batch(
    tensors: dict[str, torch.Tensor],
    advantages_B: torch.Tensor,
    scores_BKN: torch.Tensor | None,
    progress_step: int,
) -> StepBatch:
    """Return responses with their steps, as step credit takes them.

    Args:
        tensors: what travelled beside TRL's own tensors.
        advantages_B: outcome advantage of each response.
        scores_BKN: step scores of each head; None where the method reads none.
        progress_step: optimizer steps made so far.
    """
    mask_BK = tensors["step_mask"]
    return StepBatch(
        scores_BK=(
            torch.zeros(mask_BK.shape, device=mask_BK.device) if scores_BKN is None else ensemble_scores(scores_BKN)
        ),
        step_mask_BK=mask_BK,
        step_lengths_BK=tensors["step_lengths"],
        answer_lengths_B=tensors["answer_lengths"],
        response_lengths_B=tensors["response_lengths"],
        prompt_lengths_B=tensors["prompt_lengths"],
        advantages_B=advantages_B,
        correct_B=tensors["correct"],
        pass_rate_B=tensors["pass_rate"],
        progress_step=progress_step,
        row_ids_B=tensors["row_ids"],
        labels_BK=tensors.get("labels"),
        facts=named(tensors, FACT),
        step_values=named(tensors, STEP_VALUE),
        token_values=named(tensors, TOKEN_VALUE),
    )


def named(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
