"""Responses as the padded tensors that credit is computed from; training and replay lay them out alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.credit.batches import LABEL_CODES, GroupBatch, StepBatch
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Probed
from attnpo.credit.selection import advantages_among
from attnpo.rollouts import Rollout
from attnpo.segmentation import answer_mask, step_index

FACT, STEP_VALUE, TOKEN_VALUE = "fact/", "value/", "token/"
"""How a method's own facts, step values and token values are named among the tensors of a batch."""

_OF_STEPS = (
    "step_lengths",
    "step_starts",
    "step_mask",
    "answer_lengths",
    "prompt_lengths",
    "response_lengths",
    "row_ids",
    "labels",
)
Device = torch.device | str


def lay_out(
    responses: Sequence[Rollout],
    prompt_lengths: Sequence[int],
    row_ids: Sequence[int],
    device: Device = "cpu",
    labelled: bool = True,
) -> dict[str, Tensor]:
    """Return what is known of B segmented responses and their steps, by name; K is the most steps of any.

    Args:
        responses: the responses.
        prompt_lengths: tokens of each prompt.
        row_ids: number of each response within the run.
        device: where the tensors go.
        labelled: whether the steps carry labels.
    """
    num_steps = max([1, *(len(r.steps) for r in responses)])

    def padded(rows: list[list[int]]) -> Tensor:
        return torch.tensor([row + [0] * (num_steps - len(row)) for row in rows], device=device)

    tensors = {
        "step_lengths": padded([[s.tokens[1] - s.tokens[0] for s in r.steps] for r in responses]),
        "step_starts": padded([[s.tokens[0] for s in r.steps] for r in responses]),
        "step_characters": padded([[s.chars[1] - s.chars[0] for s in r.steps] for r in responses]),
        "step_mask": padded([[1] * len(r.steps) for r in responses]).bool(),
        "answer_lengths": torch.tensor([r.answer_tokens[1] - r.answer_tokens[0] for r in responses], device=device),
        "prompt_lengths": torch.tensor(prompt_lengths, device=device),
        "response_lengths": torch.tensor([r.n_tokens for r in responses], device=device),
        "row_ids": torch.tensor(row_ids, device=device),
    }
    if labelled:
        tensors["labels"] = padded([[LABEL_CODES[s.label or "undecided"] for s in r.steps] for r in responses])
    return tensors


def lay_out_tokens(responses: Sequence[Rollout], width: int, device: Device = "cpu") -> dict[str, Tensor]:
    """Return `step_index` (B, T), -1 outside steps, and `answer_mask` (B, T), the tokens of F; T is `width`."""
    return {
        "step_index": torch.tensor([step_index(r, width) for r in responses], device=device),
        "answer_mask": torch.tensor([answer_mask(r, width) for r in responses], device=device),
    }


def lay_out_facts(facts: Mapping[str, Sequence[float]], device: Device = "cpu") -> dict[str, Tensor]:
    """Return a method's facts of responses, each (B,) float32."""
    return {
        f"{FACT}{name}": torch.tensor(list(values), dtype=torch.float32, device=device)
        for name, values in facts.items()
    }


def lay_out_probed(probed: Probed, num_steps: int, width: int, device: Device = "cpu") -> dict[str, Tensor]:
    """Return a method's values of steps (B, K) and of tokens (B, T), float32, 0 where there is none."""

    def padded(values: Sequence[Sequence[float]], size: int) -> Tensor:
        rows = [[*row, *[0.0] * (size - len(row))] for row in values]
        return torch.tensor(rows, dtype=torch.float32, device=device)

    return {f"{STEP_VALUE}{name}": padded(values, num_steps) for name, values in probed.step_values.items()} | {
        f"{TOKEN_VALUE}{name}": padded(values, width) for name, values in probed.token_values.items()
    }


def outcome(method: Method, groups: GroupBatch, more_PG: Tensor | float = 0.0) -> tuple[Tensor, dict[str, Tensor]]:
    """Return the (P, G) rewards of whole groups, and by name what follows for each response (AttnPO, Eq. 3, 4).

    Args:
        method: the method; it observes the groups.
        groups: the groups.
        more_PG: rewards of other functions, added to the method's.
    """
    method.observe(groups)
    rewards_PG = method.rewards(groups)
    if isinstance(more_PG, Tensor):
        rewards_PG = rewards_PG + more_PG
    facts = method.group_facts(rewards_PG, groups)
    return rewards_PG, {
        "advantages": outcome_advantages(method, rewards_PG, groups).reshape(-1),
        "correct": groups.correct_PG.reshape(-1),
        "pass_rate": groups.pass_rate_P.repeat_interleave(groups.correct_PG.shape[1]),
        **{f"{FACT}{name}": fact.flatten(0, 1) for name, fact in facts.items()},
    }


def outcome_advantages(method: Method, rewards_PG: Tensor, groups: GroupBatch) -> Tensor:
    """Return (P, G) float32 advantages: within each group, among what the method selects, then over the batch."""
    kept_PG = method.select(rewards_PG, groups)
    if kept_PG is None:
        advantages_PG = method.advantages(rewards_PG, groups)
        kept_PG = torch.ones_like(groups.correct_PG, dtype=torch.bool)
    else:
        advantages_PG = advantages_among(method, rewards_PG, groups, kept_PG)
    return method.whiten(advantages_PG, groups, kept_PG & (advantages_PG != 0).any(dim=1, keepdim=True))


def step_batch(
    tensors: Mapping[str, Tensor], advantages_B: Tensor, scores_BK: Tensor | None, progress_step: int
) -> StepBatch:
    """Return responses with their steps, as step credit takes them.

    Args:
        tensors: what `lay_out`, `lay_out_facts`, `lay_out_probed` and `outcome` returned, any slice of the batch.
        advantages_B: outcome advantage of each response.
        scores_BK: step scores (Eq. 2); None where the method reads none.
        progress_step: optimizer steps made so far.
    """
    mask_BK = tensors["step_mask"]
    return StepBatch(
        scores_BK=torch.zeros(mask_BK.shape, device=mask_BK.device) if scores_BK is None else scores_BK,
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
        facts=_named(tensors, FACT),
        step_values=_named(tensors, STEP_VALUE),
        token_values=_named(tensors, TOKEN_VALUE),
        step_starts_BK=tensors.get("step_starts"),
    )


def group_steps(
    tensors: Mapping[str, Tensor],
    scores_BK: Tensor | None,
    groups: GroupBatch,
    gather: Callable[[Tensor], Tensor] = lambda tensor: tensor,
) -> StepBatch:
    """Return the steps of whole groups (`GroupBatch.steps`), from what each process laid out of its responses.

    Args:
        tensors: what `lay_out` and `lay_out_probed` returned.
        scores_BK: step scores; None where the method reads none.
        groups: the groups of all processes.
        gather: puts a tensor's rows of all processes together.
    """
    mask_BK = tensors["step_mask"]
    num_steps = int(gather(torch.tensor([mask_BK.shape[1]], device=mask_BK.device)).max())
    own = {name: tensor for name, tensor in tensors.items() if name in _OF_STEPS or name.startswith(STEP_VALUE)}
    if scores_BK is not None:
        own["scores"] = scores_BK

    def whole(tensor: Tensor) -> Tensor:
        wide = torch.nn.functional.pad(tensor, (0, num_steps - tensor.shape[1])) if tensor.dim() > 1 else tensor
        return gather(wide.long() if wide.dtype == torch.bool else wide)

    everything = {name: whole(tensor) for name, tensor in own.items()}
    everything |= {f"{FACT}{name}": fact.flatten() for name, fact in groups.facts.items()}
    everything["correct"] = groups.correct_PG.flatten()
    everything["pass_rate"] = groups.pass_rate_P.repeat_interleave(groups.correct_PG.shape[1])
    unknown_B = torch.zeros_like(everything["pass_rate"])
    return step_batch(everything, unknown_B, everything.get("scores"), groups.progress_step)


def pack_scores(scores: Sequence[NDArray[np.floating]], num_steps: int) -> Tensor:
    """Return (B, K) float32 from one row of step scores a response."""
    scores_BK = torch.zeros(len(scores), num_steps)
    for row, scores_K in enumerate(scores):
        scores_BK[row, : len(scores_K)] = torch.as_tensor(np.asarray(scores_K), dtype=torch.float32)
    return scores_BK


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
    tensors = lay_out(rollouts, prompt_lengths or [0] * len(rollouts), range(len(rollouts)))
    tensors["correct"] = torch.tensor([bool(r.correct) for r in rollouts])
    tensors["pass_rate"] = torch.tensor([0.0 if r.pass_rate is None else r.pass_rate for r in rollouts])
    advantages_B = torch.tensor([0.0 if r.advantage is None else r.advantage for r in rollouts])
    return step_batch(tensors, advantages_B, pack_scores(scores, tensors["step_mask"].shape[1]), progress_step=0)


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
