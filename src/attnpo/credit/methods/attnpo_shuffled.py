"""Control: AttnPO with each response's scores permuted among its steps."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.seeding import stream


class AttnPOShuffled(AttnPO):
    """The heads' scores on the wrong steps: a response keeps its scores' distribution, not their meaning."""

    name = "attnpo_shuffled"
    paper = "control of AttnPO"
    source = "this project"
    formula = "AttnPO with each response's scores permuted among its steps"

    def step_scores(self, steps: StepBatch) -> Tensor:
        """Return (B, K) permuted scores, drawn from `settings.seed` and `row_ids_B` alone."""
        return shuffle_scores(steps.scores_BK, steps.owned_BK, steps.row_ids_B, self.settings.seed)


@torch.no_grad()
def shuffle_scores(scores_BK: Tensor, mask_BK: Tensor, row_ids_B: Tensor, seed: int) -> Tensor:
    """Permute the scores of each row among its own steps.

    A row's permutation depends on the seed, its id and its number of steps alone, so neither on padding nor
    on how rows are spread over micro-batches and processes.

    Args:
        scores_BK: (B, K) scores.
        mask_BK: (B, K) bool, the steps; other places keep what they hold.
        row_ids_B: (B,) integer row ids.
        seed: the run's seed.

    Returns:
        (B, K) scores.
    """
    source_BK = torch.arange(scores_BK.shape[1]).repeat(len(scores_BK), 1)
    for row, (row_id, mask_K) in enumerate(zip(row_ids_B.tolist(), mask_BK.cpu(), strict=True)):
        places = mask_K.nonzero().flatten()
        order = list(range(len(places)))
        stream(seed, row_id).shuffle(order)
        source_BK[row, places] = places[order]
    return scores_BK.gather(1, source_BK.to(scores_BK.device))
