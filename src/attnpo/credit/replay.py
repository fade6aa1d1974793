"""The credit that a method gives to responses at hand, token by token: training's own way without the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.layout import (
    group_steps,
    lay_out,
    lay_out_facts,
    lay_out_probed,
    lay_out_tokens,
    outcome,
    pack_scores,
    step_batch,
)
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Policy, Sampled
from attnpo.errors import DataError
from attnpo.rollouts import Rollout


@dataclass(frozen=True)
class Replay:
    """What a method makes of B responses.

    Attributes:
        groups: the responses as groups.
        rewards_PG: (P, G) rewards.
        steps: their steps, with the outcome advantages.
        gamma_BK: (B, K) factors on the advantage of each step.
        advantages_BT: (B, T) final advantage of each response token; 0 behind the response.
        step_index_BT: (B, T) step of each token, -1 outside the steps.
    """

    groups: GroupBatch
    rewards_PG: Tensor
    steps: StepBatch
    gamma_BK: Tensor
    advantages_BT: Tensor
    step_index_BT: Tensor


def replay(
    method: Method,
    rollouts: Sequence[Rollout],
    group_size: int,
    *,
    scores: Sequence[NDArray[np.floating]] | None = None,
    progress_step: int = 0,
    max_length: int | None = None,
    facts: Mapping[str, Sequence[float]] | None = None,
    policy: Policy | None = None,
    prompt_ids: Sequence[tuple[int, ...]] = (),
) -> Replay:
    """Give credit to responses as a training step would (AttnPO, Eq. 3-8).

    The responses are taken as they are: a method that asks for a length finds responses that were not asked.

    Args:
        method: the method; `observe` is called once.
        rollouts: segmented, verified responses, the groups one after the other.
        group_size: G, responses a group.
        scores: per response (K,) step scores (Eq. 2), for methods that read them.
        progress_step: optimizer step t, counted from 0.
        max_length: limit on a response in tokens, where known.
        facts: by name one number a response, as `Method.sample` noted them.
        policy: the policy, for methods that probe.
        prompt_ids: what it reads for each response, where there is a policy.

    Raises:
        DataError: the rollouts are not whole groups, or the method needs what is not given.
    """
    if not rollouts or len(rollouts) % group_size:
        raise DataError(f"replay: {len(rollouts)} responses are not whole groups of {group_size}; leave none out")
    size, count = group_size, len(rollouts)
    asks = [method.ask(r.prompt, row // size, row % size, progress_step) for row, r in enumerate(rollouts)]
    noted = [method.facts(rollout, ask) for rollout, ask in zip(rollouts, asks, strict=True)]
    known = {**(facts or {}), **{name: [own[name] for own in noted] for name in noted[0]}}
    width = max(rollout.n_tokens for rollout in rollouts)
    tensors = lay_out(rollouts, [len(ids) for ids in prompt_ids] or [0] * count, range(count))
    num_steps = tensors["step_mask"].shape[1]
    if method.overrides("probe"):
        if policy is None:
            raise DataError(f"method {method.name}: probes the policy; give one")
        probed = method.probe(Sampled(rollouts, prompt_ids, progress_step), policy)
        known |= probed.facts
        tensors |= lay_out_probed(probed, num_steps, width)
    tensors |= lay_out_facts(known)

    def table(values: Sequence[float]) -> Tensor:
        return torch.tensor(list(values)).reshape(-1, size)

    groups = GroupBatch(
        correct_PG=table([bool(rollout.correct) for rollout in rollouts]),
        lengths_PG=table([rollout.n_tokens for rollout in rollouts]),
        finished_PG=table([rollout.finished for rollout in rollouts]),
        progress_step=progress_step,
        max_length=max_length,
        answered_PG=table([rollout.answer_tokens[1] > rollout.answer_tokens[0] for rollout in rollouts]),
        group_ids_P=torch.arange(count // size),
        facts={name: table(values).float() for name, values in known.items()},
    )
    scores_BK = None if scores is None else pack_scores(scores, num_steps)
    if method.judges_steps:
        groups = replace(groups, steps=group_steps(tensors, scores_BK, groups))
    rewards_PG, found = outcome(method, groups)
    steps = step_batch(tensors | found, found["advantages"], scores_BK, progress_step)
    gamma_BK = method.gamma(steps)
    step_index_BT = lay_out_tokens(rollouts, width)["step_index"]
    inside_BT = torch.arange(width) < steps.response_lengths_B[:, None]
    advantages_BT = method.spread(steps, gamma_BK, step_index_BT) * inside_BT
    return Replay(groups, rewards_PG, steps, gamma_BK, advantages_BT, step_index_BT)
