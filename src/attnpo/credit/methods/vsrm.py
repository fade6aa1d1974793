"""VSRM: each step earns what it changes in the accuracy of answers given right after it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import COUNT, NUMBER, SHARE, SWITCH, TOKENS, one_of, setting
from attnpo.credit.exits import CLOSING, Exit, accuracies, exit_at, is_closed
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import MethodSettings
from attnpo.credit.whitening import token_moments
from attnpo.rollouts import Rollout
from attnpo.segmentation import step_index

RewardPlace = Literal["start", "end"]
STEP_REWARD: Final = "step_reward"
SUM, SQUARES = "step_return_sum", "step_return_squares"
"""Facts of a response: sum over its tokens of the step rewards still to come, and of that squared."""
OUTCOME, MEAN, SCALE = "outcome_reward", "return_mean", "return_scale"
_EQUAL: Final = 1e-5


@dataclass(frozen=True)
class VSRMSettings(MethodSettings):
    """Settings of VSRM."""

    closing: str = setting("</think>", CLOSING, "What closes a prefix.")
    num_answers: int = setting(5, TOKENS, "Short answers a prefix.")
    answer_tokens: int = setting(768, TOKENS, "Limit on a short answer in tokens.")
    look_ahead: int = setting(4, COUNT, "How many steps on a change of accuracy still counts for a step without one.")
    decay: float = setting(0.7, SHARE, "What such a change counts for a step before it, per step of distance.")
    first_step: bool = setting(
        False, SWITCH, "Measure before the first step, too, so that it earns something (published code: no)."
    )
    reward_at: RewardPlace = setting(
        "start",
        one_of(*get_args(RewardPlace)),
        "Token of a step that earns its reward: start (published code) or end, so that all its tokens share in it.",
    )
    unanswered_reward: float = setting(
        -10.0, NUMBER, "Reward of a response that never closed its think part (published code: -10, no box -9.5)."
    )
    whiten: bool = setting(
        True,
        SWITCH,
        "Returns minus mean over std of all tokens of the batch (REINFORCE++); off: `advantage` of the group plus the "
        "step rewards still to come.",
    )


class VSRM(Method):
    """r_j = A_(j+1) - A_j, the accuracy of 5 short answers after and before a step (arXiv 2508.10293, official code).

    Where the accuracy does not change, the step earns the next change within 4 steps, times 0.7 per step of distance.
    What stands before the first border earns nothing. The response's own reward (1 correct, 0 wrong, -10 unclosed) is
    earned by its last token. Advantages are REINFORCE++'s: the return of a token is what is earned from it on, without
    discount, made mean 0 and variance 1 over all tokens of the generation batch. The published runs used PPO with a
    critic too, and a KL penalty, which is the trainer's `beta`.

    Steps are this package's, instead of the official cuts (before words of doubt, the first 1,000 characters and 400
    between cuts left whole). Every prefix is closed with `closing`, the whole think part
    too. A response that never closed its think part is not probed: its steps earn nothing.
    """

    name = "vsrm"
    paper = "VSRM"
    arxiv = "2508.10293"
    source = "official code"
    formula = "step reward A_(j+1) - A_j, looking ahead 4 steps at 0.7^distance; 1[correct] at the end; REINFORCE++"
    extra_tokens = "5 short answers after each step"
    settings_type = VSRMSettings
    settings: VSRMSettings

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Measure the accuracy at every step border; all answers are drawn in one call."""
        own, rollouts = self.settings, sampled.rollouts
        exits = [self._exits(row, rollout, policy) for row, rollout in enumerate(rollouts)]
        shares = iter(
            accuracies(
                [each for row in exits for each in row],
                sampled.prompt_ids,
                [rollout.solution for rollout in rollouts],
                own.num_answers,
                own.answer_tokens,
                policy,
            )
        )
        values = []
        for rollout, row in zip(rollouts, exits, strict=True):
            earned = step_rewards([next(shares) for _ in row], own.look_ahead, own.decay)
            values.append(_at_steps(rollout, earned))
        returns = [self._step_returns(rollout, earned) for rollout, earned in zip(rollouts, values, strict=True)]
        facts = {
            SUM: [float(returns_T.sum()) for returns_T in returns],
            SQUARES: [float(returns_T.square().sum()) for returns_T in returns],
        }
        return Probed(facts, {STEP_REWARD: values})

    def _exits(self, row: int, rollout: Rollout, policy: Policy) -> list[Exit]:
        """Return the prefixes whose accuracies tell the steps apart; none where there is nothing to compare."""
        steps = [step for step in rollout.steps if step.tokens[0] < step.tokens[1]]
        if not is_closed(rollout) or not steps:
            return []
        places = [step.tokens[1] for step in steps]
        if self.settings.first_step:
            places = [steps[0].tokens[0], *places]
        if len(places) == 1:
            return []
        return [exit_at(row, rollout.response_ids, place, self.settings.closing, policy) for place in places]

    def _step_returns(self, rollout: Rollout, earned: Sequence[float]) -> Tensor:
        """Return (T,) float64 what its steps earn from each token of the response on."""
        if not earned:
            return torch.zeros(rollout.n_tokens, dtype=torch.float64)
        index_BT = torch.tensor([step_index(rollout, rollout.n_tokens)])
        return step_returns(torch.tensor([earned], dtype=torch.float64), index_BT, self.settings.reward_at)[0]

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards of whole responses."""
        answered_PG = groups.finished_PG if groups.answered_PG is None else groups.answered_PG
        return torch.where(answered_PG, outcome_rewards(groups.correct_PG), self.settings.unanswered_reward)

    @torch.no_grad()
    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return (P, G) rewards, and mean and 1 / std of the return over all tokens of the batch.

        Raises:
            DataError: the sums over the step rewards are not given.
        """
        total_PG, squares_PG = (self.known(groups.facts.get(name), "step rewards").double() for name in (SUM, SQUARES))
        mean, scale = token_moments(rewards_PG, groups.lengths_PG, total_PG, squares_PG)
        return {
            OUTCOME: rewards_PG.float(),
            MEAN: mean.expand_as(rewards_PG).float(),
            SCALE: scale.expand_as(rewards_PG).float(),
        }

    def whiten(self, advantages_PG: Tensor, groups: GroupBatch, taking_part_PG: Tensor) -> Tensor:
        """Return the advantages as they are: what is whitened are the returns of tokens, in `spread`."""
        return advantages_PG

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) advantage of each token.

        Raises:
            DataError: the step rewards, or the batch's mean, are not given.
        """
        earned_BK = self.known(steps.step_values.get(STEP_REWARD), "step rewards")
        returns_BT = step_returns(earned_BK, step_index_BT, self.settings.reward_at).float()
        if not self.settings.whiten:
            return steps.advantages_B.float()[:, None] + returns_BT
        outcome_B, mean_B, scale_B = (
            self.known(steps.facts.get(name), "the batch's returns") for name in (OUTCOME, MEAN, SCALE)
        )
        return (returns_BT + (outcome_B - mean_B)[:, None]) * scale_B[:, None]


def step_rewards(shares: Sequence[float], look_ahead: int, decay: float) -> list[float]:
    """Return what each step earns, from the accuracies at the borders: one fewer than those.

    Args:
        shares: accuracies before the first of the steps and after each.
        look_ahead: a step that changes nothing earns the next change no more than so many steps on ...
        decay: ... times this to the power of the distance.
    """
    changes = [after - before for before, after in pairwise(shares)]
    earned = []
    for place in range(len(changes)):
        ahead = enumerate(changes[place : place + look_ahead + 1])
        earned.append(next((change * decay**distance for distance, change in ahead if abs(change) >= _EQUAL), 0.0))
    return earned


@torch.no_grad()
def step_returns(earned_BK: Tensor, step_index_BT: Tensor, reward_at: RewardPlace) -> Tensor:
    """Return (B, T) what the steps earn from each token on.

    Args:
        earned_BK: (B, K) rewards of the steps; those without a token earn nothing.
        step_index_BT: (B, T) step of each token, -1 outside the steps.
        reward_at: which token of a step earns its reward.
    """
    edge_B1 = torch.full_like(step_index_BT[:, :1], -1)
    if reward_at == "start":
        beside_BT = torch.cat([edge_B1, step_index_BT[:, :-1]], dim=1)
    else:
        beside_BT = torch.cat([step_index_BT[:, 1:], edge_B1], dim=1)
    earns_BT = (step_index_BT >= 0) & (step_index_BT != beside_BT)
    padded_BK = torch.cat([earned_BK.new_zeros(len(earned_BK), 1), earned_BK], dim=1)
    here_BT = padded_BK.gather(1, step_index_BT.long() + 1).masked_fill(~earns_BT, 0.0)
    return here_BT.flip(1).cumsum(1).flip(1)


def _at_steps(rollout: Rollout, earned: Sequence[float]) -> list[float]:
    """Return a reward for every step: the last ones of those that own tokens have earned something."""
    values = [0.0] * len(rollout.steps)
    owned = [number for number, step in enumerate(rollout.steps) if step.tokens[0] < step.tokens[1]]
    for number, reward in zip(owned[len(owned) - len(earned) :], earned, strict=True):
        values[number] = reward
    return values
