"""Several sequences in one row (padding-free batches), read one by one."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import masked_logits, reading_dtype
from attnpo.attention.visibility import sequence_of_token


@dataclass(frozen=True)
class Packing:
    """Which sequence each token of a batch belongs to.

    Attributes:
        sequence_BL: number of the sequence, counted over the whole batch; -1 for padding.
        num_sequences: S.
        num_steps: K, the most steps of a sequence.
    """

    sequence_BL: Tensor
    num_sequences: int
    num_steps: int

    @classmethod
    def of(cls, sequence_BL: Tensor, step_index_BL: Tensor, num_steps: int | None) -> Packing:
        """Plan the reading of packed sequences.

        Raises:
            ValueError: the shapes differ, or a step index is not below `num_steps`.
        """
        if sequence_BL.shape != step_index_BL.shape:
            raise ValueError(
                f"sequence_BL {tuple(sequence_BL.shape)} and step_index_BL {tuple(step_index_BL.shape)}"
                " must have one shape (B, L)"
            )
        last, found = torch.stack([sequence_BL.max(), step_index_BL.max()]).tolist()
        if num_steps is not None and found >= num_steps:
            raise ValueError(f"step_index_BL names step {found}, but num_steps is {num_steps}")
        return cls(sequence_BL, last + 1, max(found + 1, 0) if num_steps is None else num_steps)

    def numbered_through(self, step_index_BL: Tensor) -> Tensor:
        """Give the steps of all sequences numbers of their own: sequence * K + step, -1 where there is none."""
        is_step_BL = (step_index_BL >= 0) & (self.sequence_BL >= 0)
        return torch.where(is_step_BL, self.sequence_BL * self.num_steps + step_index_BL, -1)

    def by_sequence(self, scores_BKN: Tensor) -> Tensor:
        """Turn scores of steps that are numbered through into (S, K, N)."""
        # A sequence lies in one row; its steps score 0 in the others.
        return scores_BKN.sum(0).view(self.num_sequences, self.num_steps, -1)

    @torch.no_grad()
    def mass_on_others(self, call: AttentionCall, head: int) -> Tensor:
        """Return the largest probability that the first token of a sequence gives to other sequences.

        The first token has no key of its own sequence but itself, and whatever reaches back a little way from it lies
        in another one.

        Args:
            call: the layer's attention call.
            head: a query head.
        """
        device, length = call.query_BHLD.device, self.sequence_BL.shape[1]
        sequence_BL = self.sequence_BL.to(device)
        position_L = torch.arange(length, device=device)
        first_BS = torch.stack(
            [torch.where(sequence_BL == s, position_L, length).amin(-1) for s in range(self.num_sequences)], 1
        )
        in_row_BS, first_BS = first_BS < length, first_BS.clamp(max=length - 1)
        row_B, heads_N = torch.arange(len(sequence_BL), device=device), torch.tensor([head], device=device)
        with torch.autocast(device.type, enabled=False):
            kv_head = head // (call.query_BHLD.shape[1] // call.key_BJLD.shape[1])
            key_B1LD = call.key_BJLD[:, kv_head : kv_head + 1].to(reading_dtype(call))
            probabilities_BSL = masked_logits(call, key_B1LD, row_B, first_BS, heads_N, 0).softmax(-1)[:, 0]
        own_BS = sequence_BL.gather(1, first_BS)
        foreign_BSL = (sequence_BL[:, None, :] != own_BS[..., None]) & in_row_BS[..., None]
        return (probabilities_BSL * foreign_BSL).sum(-1).max()


def mixes_sequences(call: AttentionCall, step_index_BL: Tensor, answer_mask_BL: Tensor) -> Tensor | None:
    """Whether a row's steps and answer lie in several sequences, as far as the call says; None where it cannot."""
    batch_size, length = step_index_BL.shape
    device = call.query_BHLD.device
    read_BL = ((step_index_BL >= 0) | answer_mask_BL).to(device)
    if call.sequence_ends is not None:
        sequence_BL = sequence_of_token(call, length)
        if sequence_BL is None:
            return None
        first_B = torch.where(read_BL, sequence_BL, length).amin(-1)
        return (torch.where(read_BL, sequence_BL, -1).amax(-1) > first_B).any()
    positions = call.position_ids
    if positions is None or positions.shape != (batch_size, length):
        return None
    # Positions grow along a sequence; one that does not lie beyond all before it has started anew.
    known_BL = torch.where(read_BL, positions, -1)
    before_BL = known_BL.cummax(-1).values[:, :-1]
    return (read_BL[:, 1:] & (positions[:, 1:] <= before_BL)).any()
