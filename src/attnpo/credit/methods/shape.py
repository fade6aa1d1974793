"""SHAPE: segments between uncertain tokens earn their gain in solvability, less a tax on length."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, POSITIVE, SHARE, TOKENS, one_of, setting
from attnpo.credit.exits import CLOSING, Exit, accuracies, exit_at, is_closed, think_tokens
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError
from attnpo.rollouts import Rollout, Span

Outcome = Literal["reward", "advantage"]
SHAPING, WEIGHT = "shaping", "entropy_weight"
"""Numbers of a token: gain in potential of its segment; its weight within it."""
OUTCOME: Final = "outcome_reward"
_EPSILON: Final = 1e-6


@dataclass(frozen=True)
class ShapeSettings(GRPOSettings):
    """Settings of SHAPE; `advantage` and `scale_advantages` count with `outcome: advantage` alone."""

    alpha: float = setting(0.3, AT_LEAST_0, "Weight of the gain in potential.")
    outcome: Outcome = setting(
        "reward",
        one_of(*get_args(Outcome)),
        "R: the response's reward as it is (as the formula reads), or its advantage in the group (no published word).",
    )
    num_segments: int = setting(8, TOKENS, "Most segments of a think part, K.")
    entropy_quantile: float = setting(
        0.8, SHARE, "Tokens above this quantile of their think part's entropies may open a segment (not published)."
    )
    num_answers: int = setting(8, TOKENS, "Short answers a border.")
    answer_tokens: int = setting(16, TOKENS, "Limit on a short answer in tokens.")
    closing: str = setting(
        "\n</think>\n\n", CLOSING, "What closes a prefix before its short answers (the published text is not known)."
    )
    least_gamma: float = setting(0.9, SHARE, "Least discount gamma_k, that of long segments.")
    reference_length: int = setting(
        1024, TOKENS, "Length L_ref in tokens from which on a segment has the least discount (not published)."
    )
    entropy_weight: float = setting(
        0.5, AT_LEAST_0, "beta: what a standard deviation of entropy adds to a token's weight (not published)."
    )
    least_weight: float = setting(0.5, AT_LEAST_0, "Least weight of a token (not published).")
    greatest_weight: float = setting(1.5, POSITIVE, "Greatest weight of a token (not published).")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.least_weight > self.greatest_weight:
            raise ConfigError(
                f"least_weight: {self.least_weight} is not allowed; use at most greatest_weight, {self.greatest_weight}"
            )


class Shape(Method):
    """A_k = R + 0.3 (gamma_k Phi_(k+1) - Phi_k), times a token's weight (arXiv 2604.06636, secondary notes).

    Tokens of high entropy in the think part may open a segment; of those, evenly many are kept so that there are at
    most K = 8 segments. The potential Phi is the accuracy of 8 short answers (16 tokens) at each border, at the start
    and at the end of the think part. gamma_k = max(0.9, 1 - 0.1 L_k / L_ref) falls with the segment's length L_k, so
    that standing still costs more where much is solved already. Within a segment a token weighs
    clip(1 + beta z, least, greatest), z its standardized entropy.

    Not known are the threshold of entropy and how cuts are thinned out, L_ref, beta, the bounds of the weight, the text
    that closes a prefix, and whether R is centered: all are settings. Tags and final answer carry R alone. A response
    that never closed its think part is not probed and carries R alone.
    """

    name = "shape"
    paper = "SHAPE"
    arxiv = "2604.06636"
    source = "secondary notes"
    formula = "A = (R + 0.3 (gamma_k Phi_(k+1) - Phi_k)) w_t; Phi: accuracy at entropy cuts, gamma_k down to 0.9"
    extra_tokens = "8 short answers at each of at most 9 borders"
    extra_passes = "one, for the entropy of each token"
    settings_type = ShapeSettings
    settings: ShapeSettings

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Cut the think parts where the policy was uncertain and measure potentials; one pass, one draw for all."""
        own, rollouts, prompt_ids = self.settings, sampled.rollouts, sampled.prompt_ids
        rows = [row for row, rollout in enumerate(rollouts) if is_closed(rollout) and _length(rollout) > 0]
        found = policy.entropies([prompt_ids[row] for row in rows], [rollouts[row].response_ids for row in rows])
        entropies = dict(zip(rows, found, strict=True))
        cuts = {
            row: segments(entropies[row], think_tokens(rollouts[row]), own.entropy_quantile, own.num_segments)
            for row in rows
        }
        exits = [each for row in rows for each in self._exits(row, rollouts[row], cuts[row], policy)]
        solutions = [rollout.solution for rollout in rollouts]
        potentials = iter(accuracies(exits, prompt_ids, solutions, own.num_answers, own.answer_tokens, policy))
        shaping = [[0.0] * rollout.n_tokens for rollout in rollouts]
        weights = [[1.0] * rollout.n_tokens for rollout in rollouts]
        for row in rows:
            borders = [next(potentials) for _ in range(len(cuts[row]) + 1)]
            for (start, end), before, after in zip(cuts[row], borders[:-1], borders[1:], strict=True):
                gain = discount(end - start, own.least_gamma, own.reference_length) * after - before
                shaping[row][start:end] = [gain] * (end - start)
                weights[row][start:end] = self._weights(entropies[row][start:end])
        return Probed(token_values={SHAPING: shaping, WEIGHT: weights})

    def _exits(self, row: int, rollout: Rollout, cuts: Sequence[Span], policy: Policy) -> list[Exit]:
        places = [*(start for start, _ in cuts), cuts[-1][1]]
        return [exit_at(row, rollout.response_ids, place, self.settings.closing, policy) for place in places]

    def _weights(self, entropies_T: Tensor) -> list[float]:
        own = self.settings
        centered_T = entropies_T.double() - entropies_T.double().mean()
        z_T = centered_T / (centered_T.square().mean().sqrt() + _EPSILON)
        weights: list[float] = (1 + own.entropy_weight * z_T).clamp(own.least_weight, own.greatest_weight).tolist()
        return weights

    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return the (P, G) rewards."""
        return {OUTCOME: rewards_PG.float()}

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) advantage of each token, 0 on padding.

        Raises:
            DataError: potentials or rewards are not given.
        """
        shaping_BT = self.known(steps.token_values.get(SHAPING), "potentials")
        weight_BT = self.known(steps.token_values.get(WEIGHT), "potentials")
        outcome_B = steps.advantages_B
        if self.settings.outcome == "reward":
            outcome_B = self.known(steps.facts.get(OUTCOME), "the rewards")
        return (outcome_B.float()[:, None] + self.settings.alpha * shaping_BT) * weight_BT


def segments(entropies_T: Tensor, think: Span, quantile: float, num_segments: int) -> list[Span]:
    """Return the segments of a think part, which tile it.

    Args:
        entropies_T: (T,) entropy of each token of the response.
        think: the think part's span, not empty.
        quantile: tokens whose entropy is above this quantile of the think part's may open a segment.
        num_segments: most segments; more possible openings are thinned out evenly.
    """
    start, end = think
    inside = entropies_T[start:end].double()
    above = (inside > torch.quantile(inside, quantile)).nonzero().flatten().tolist()
    openings = [start + place for place in above if place > 0]
    kept = num_segments - 1
    if len(openings) > kept:
        openings = [openings[(2 * number + 1) * len(openings) // (2 * kept)] for number in range(kept)]
    borders = [start, *openings, end]
    return list(pairwise(borders))


def discount(length: int, least: float, reference_length: int) -> float:
    """Return gamma_k = max(least, 1 - (1 - least) L_k / L_ref)."""
    return max(least, 1 - (1 - least) * length / reference_length)


def _length(rollout: Rollout) -> int:
    start, end = think_tokens(rollout)
    return end - start
