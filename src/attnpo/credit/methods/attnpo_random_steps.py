"""Control: AttnPO's attenuation on random steps of equal token mass."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.rescaling import step_gamma
from attnpo.credit.seeding import stream


class AttnPORandomSteps(AttnPO):
    """As many tokens of a response lose as much advantage as under AttnPO, on steps drawn at random.

    Steps are taken in a random order until they hold as many tokens as AttnPO touches; the last one counts in part.
    """

    name = "attnpo_random_steps"
    paper = "control of AttnPO"
    source = "this project"
    formula = "AttnPO; the tokens with gamma < 1 moved to random steps, sum of 1 - gamma over tokens kept"

    @torch.no_grad()
    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) factors, drawn from `settings.seed` and `row_ids_B` alone."""
        gamma_BK = step_gamma(self.step_scores(steps), steps, self.settings)
        return move_attenuation(gamma_BK, steps, self.settings.seed)


@torch.no_grad()
def move_attenuation(gamma_BK: Tensor, steps: StepBatch, seed: int) -> Tensor:
    """Move what factors below 1 take from a response to random steps of it.

    The touched tokens lose the same share each, so that both their number and the sum of 1 - gamma over tokens stay.
    A row's order of steps depends on the seed, its id and its number of steps alone.

    Args:
        gamma_BK: (B, K) factors in [0, 1].
        steps: the responses.
        seed: the run's seed.

    Returns:
        (B, K) factors in [0, 1].
    """
    moved_BK = torch.ones_like(gamma_BK)
    lengths, owned = steps.step_lengths_BK.tolist(), steps.owned_BK.cpu()
    for row, row_id in enumerate(steps.row_ids_B.tolist()):
        places = owned[row].nonzero().flatten().tolist()
        factors = gamma_BK[row].tolist()
        left = sum(lengths[row][k] for k in places if factors[k] < 1)
        if not left:
            continue
        share = sum((1 - factors[k]) * lengths[row][k] for k in places) / left
        stream(seed, row_id).shuffle(places)
        for k in places:
            taken = min(left, lengths[row][k])
            moved_BK[row, k] = 1 - share * taken / lengths[row][k]
            left -= taken
            if not left:
                break
    return moved_BK
