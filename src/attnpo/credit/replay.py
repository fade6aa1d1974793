"""The credit that a method gives to responses at hand, token by token: training's own way without the training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.drawing import Policy, Sampled
from attnpo.credit.methods.base import Method
from attnpo.credit.packing import pack_steps
from attnpo.errors import DataError
from attnpo.rollouts import Rollout
from attnpo.segmentation import step_index


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
    asks = [method.ask(r.prompt, i // group_size, i % group_size, progress_step) for i, r in enumerate(rollouts)]
    noted = [method.facts(rollout, ask) for rollout, ask in zip(rollouts, asks, strict=True)]
    known = {name: torch.tensor(list(values)).float() for name, values in (facts or {}).items()}
    known |= {name: torch.tensor([own[name] for own in noted]).float() for name in noted[0]}
    step_values: dict[str, Tensor] = {}
    token_values: dict[str, Tensor] = {}
    width = max(rollout.n_tokens for rollout in rollouts)
    if scores is None:
        scores = [np.zeros(len(rollout.steps), dtype=np.float32) for rollout in rollouts]
    steps = replace(pack_steps(rollouts, scores, [len(ids) for ids in prompt_ids]), progress_step=progress_step)
    if method.overrides("probe"):
        if policy is None:
            raise DataError(f"method {method.name}: probes the policy; give one")
        probed = method.probe(Sampled(rollouts, prompt_ids, progress_step), policy)
        known |= {name: torch.tensor(list(values)).float() for name, values in probed.facts.items()}
        num_steps = steps.step_mask_BK.shape[1]
        step_values = {name: _padded(values, num_steps) for name, values in probed.step_values.items()}
        token_values = {name: _padded(values, width) for name, values in probed.token_values.items()}
    groups = _groups(rollouts, group_size, progress_step, max_length, known)
    method.observe(groups)
    rewards_PG = method.rewards(groups)
    group_facts = {name: fact.flatten(0, 1) for name, fact in method.group_facts(rewards_PG, groups).items()}
    steps = replace(
        steps,
        advantages_B=method.advantages(rewards_PG, groups).reshape(-1),
        pass_rate_B=groups.pass_rate_P.repeat_interleave(group_size),
        facts=known | group_facts,
        step_values=step_values,
        token_values=token_values,
    )
    gamma_BK = method.gamma(steps)
    step_index_BT = torch.tensor([step_index(rollout, width) for rollout in rollouts])
    inside_BT = torch.arange(width) < steps.response_lengths_B[:, None]
    advantages_BT = method.spread(steps, gamma_BK, step_index_BT) * inside_BT
    return Replay(groups, rewards_PG, steps, gamma_BK, advantages_BT, step_index_BT)


def _groups(
    rollouts: Sequence[Rollout],
    size: int,
    progress_step: int,
    max_length: int | None,
    facts: Mapping[str, Tensor],
) -> GroupBatch:
    def table(values: Sequence[float]) -> Tensor:
        return torch.tensor(values).reshape(-1, size)

    return GroupBatch(
        correct_PG=table([bool(rollout.correct) for rollout in rollouts]),
        lengths_PG=table([rollout.n_tokens for rollout in rollouts]),
        finished_PG=table([rollout.finished for rollout in rollouts]),
        progress_step=progress_step,
        max_length=max_length,
        answered_PG=table([rollout.answer_tokens[1] > rollout.answer_tokens[0] for rollout in rollouts]),
        group_ids_P=torch.arange(len(rollouts) // size),
        facts={name: fact_B.reshape(-1, size) for name, fact_B in facts.items()},
    )


def _padded(values: Sequence[Sequence[float]], width: int) -> Tensor:
    return torch.tensor([[*row, *[0.0] * (width - len(row))] for row in values], dtype=torch.float32)
