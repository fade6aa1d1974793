"""The length term of a reward, on any amount of tokens: as a whole, or as what is still to come at each token."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.selection import moments
from attnpo.errors import DataError

_ROUNDING = 1e-12
"""Share of the squared mean below which a variance is rounding: equal amounts do not vary."""


@dataclass(frozen=True)
class LengthTerm:
    """What responses pay for x tokens: alpha_len * 1[correct] * sigmoid((x - mean) / std) + price * x.

    The first is Eq. 3's term, with any amount of tokens in place of the length; its z is 0 where amounts do not vary.

    Attributes:
        alpha_len: weight of Eq. 3's term.
        price: reward a token, of right and wrong responses alike.
        mean, std: of the amounts of each group's correct responses (population); float64, in shapes that fit those of
            the amounts.
    """

    alpha_len: float
    price: float
    mean: Tensor
    std: Tensor

    @classmethod
    @torch.no_grad()
    def of(cls, correct_PG: Tensor, amounts_PG: Tensor, alpha_len: float, price: float = 0.0) -> LengthTerm:
        """Take mean and standard deviation, (P, 1) each, from the (P, G) verdicts and amounts of whole groups."""
        mean_P1, variance_P1 = moments(amounts_PG, correct_PG)
        varies_P1 = variance_P1 > _ROUNDING * mean_P1.square()
        return cls(alpha_len, price, mean_P1, torch.where(varies_P1, variance_P1, 0.0).sqrt())

    def group(self, number: int) -> LengthTerm:
        """Return the term of one group."""
        return LengthTerm(self.alpha_len, self.price, self.mean[number], self.std[number])

    @torch.no_grad()
    def paid(self, correct: Tensor, amounts: Tensor) -> Tensor:
        """Return in float64 what is taken off the reward.

        Args:
            correct: verdicts, or the probability of a right one.
            amounts: tokens, not necessarily whole ones.
        """
        z = torch.where(self.std > 0, (amounts.double() - self.mean) / self.std, 0.0)
        return self.alpha_len * correct.double() * z.sigmoid() + self.price * amounts.double()


@torch.no_grad()
def advantages_to_go(term: LengthTerm, correct_PG: Tensor, lengths_PG: Tensor, weights_PGT: Tensor) -> Tensor:
    """Return the length term's advantage at each token: what is still to come, against a baseline by position.

        A_it = mean over j of paid(c_j, before_it + ahead_jt) - paid(c_i, x_i)

    before_it is what response i has used before token t, ahead_jt what response j uses from t on (0 where it has
    ended), x_i the whole amount of i; j runs over the others of the group. So what stands already is no longer paid
    for: with a price a token, A_it is minus the amount still to come, plus the others' mean of it at the same place.

    The baseline depends on the other responses and on what stands before t, so a price a token keeps the expectation of
    its policy gradient, as long as what a token weighs is settled by what stands before it.

    Args:
        term: the term, taken from these groups.
        correct_PG: (P, G) bool, the verdicts.
        lengths_PG: (P, G) integer, tokens of each response.
        weights_PGT: (P, G, T) what each token counts; 0 behind the response.

    Returns:
        (P, G, T) float32; 0 behind the response, and in groups of one response.
    """
    alive_PGT = torch.arange(weights_PGT.shape[2], device=weights_PGT.device) < lengths_PG[:, :, None]
    # Group by group: of all at once, the pairs of responses would not fit into memory.
    rows = zip(correct_PG.bool(), alive_PGT, weights_PGT.double(), strict=True)
    found = [_group_to_go(term.group(number), *row) for number, row in enumerate(rows)]
    return torch.stack(found) if found else torch.zeros_like(weights_PGT, dtype=torch.float32)


def _group_to_go(term: LengthTerm, correct_G: Tensor, alive_GT: Tensor, weights_GT: Tensor) -> Tensor:
    size = len(correct_G)
    if size == 1:
        return torch.zeros_like(weights_GT, dtype=torch.float32)
    before_GT = weights_GT.cumsum(dim=1) - weights_GT
    ahead_GT = weights_GT.sum(dim=1, keepdim=True) - before_GT
    own_GT = term.paid(correct_G[:, None], before_GT + ahead_GT)
    gains_GT = torch.zeros_like(weights_GT)
    for shift in range(1, size):
        theirs_GT = term.paid(correct_G.roll(shift)[:, None], before_GT + ahead_GT.roll(shift, dims=0))
        gains_GT += theirs_GT - own_GT  # not the difference of means: equal responses give exactly 0
    return (gains_GT / (size - 1) * alive_GT).float()


@torch.no_grad()
def token_weights(steps: StepBatch, weights_BK: Tensor, width: int) -> Tensor:
    """Return (B, T) float64, what each token counts: as much as its step, 0 outside the steps.

    Args:
        steps: the responses.
        weights_BK: (B, K) weight of each step's tokens.
        width: T, at least the longest response.

    Raises:
        DataError: it is not known where the steps begin.
    """
    if steps.step_starts_BK is None:
        raise DataError("length term: it is not known where the steps begin; give step_starts_BK")
    owned_BK, starts_BK = steps.owned_BK, steps.step_starts_BK.long()
    known_BK = torch.where(owned_BK, weights_BK.double(), 0.0)
    ends_BK = starts_BK + torch.where(owned_BK, steps.step_lengths_BK, 0)
    edges_BT1 = known_BK.new_zeros(len(known_BK), width + 1)
    edges_BT1.scatter_add_(1, starts_BK, known_BK)
    edges_BT1.scatter_add_(1, ends_BK, -known_BK)
    return edges_BT1.cumsum(dim=1)[:, :width]
