"""Softmax rows of chosen heads, reduced at once to what each step receives."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.visibility import mask_logits_

MAX_LOGITS = 2**23
"""Logits taken at once (32 MiB in float32): larger batches, head counts and lengths get smaller chunks."""


@dataclass(frozen=True)
class Rows:
    """Which queries are read: the R batch rows that have both an answer and steps, longest answer first.

    Attributes:
        batch_size: B.
        num_steps: K.
        row_R: batch row of each row.
        answer_counts: number of answer tokens of each row, falling.
        first_answer: position of the first answer token of all.
        answer_index_RA: positions of the answer tokens, the last one repeated up to the longest answer.
        answer_valid_RA: 1.0 where `answer_index_RA` is an answer token, 0.0 where it repeats one.
        step_index_RL: step of each token; K where it belongs to none.
        step_length_RK: number of tokens of each step, at least 1.
    """

    batch_size: int
    num_steps: int
    row_R: Tensor
    answer_counts: Sequence[int]
    first_answer: int
    answer_index_RA: Tensor
    answer_valid_RA: Tensor
    step_index_RL: Tensor
    step_length_RK: Tensor

    @classmethod
    def of(cls, step_index_BL: Tensor, answer_mask_BL: Tensor, num_steps: int | None) -> Rows:
        """Plan a reading; waits for the device once.

        Raises:
            ValueError: a step index is not below `num_steps`.
        """
        batch_size, length = step_index_BL.shape
        answer_count_B = answer_mask_BL.sum(1)
        readable_B = (answer_count_B > 0) & (step_index_BL >= 0).any(1)
        order_B = torch.where(readable_B, answer_count_B, 0).argsort(descending=True, stable=True)
        counts = torch.where(readable_B, answer_count_B, 0)[order_B]
        first_B = torch.where(readable_B, answer_mask_BL.to(torch.uint8).argmax(1), length)
        limits = torch.stack([step_index_BL.max(), first_B.min()])
        *answer_counts, found, first_answer = torch.cat([counts, limits]).tolist()
        if num_steps is None:
            num_steps = max(found + 1, 0)
        if found >= num_steps:
            raise ValueError(f"step_index_BL names step {found}, but num_steps is {num_steps}")
        answer_counts = [count for count in answer_counts if count]
        row_R = order_B[: len(answer_counts)]
        longest = answer_counts[0] if answer_counts else 0
        slot_A = torch.arange(longest, device=row_R.device)
        count_R1 = answer_count_B[row_R][:, None]
        position_RL = answer_mask_BL[row_R].to(torch.uint8).argsort(dim=1, descending=True, stable=True)
        step_index_RL = step_index_BL[row_R]
        step_index_RL = torch.where(step_index_RL < 0, num_steps, step_index_RL)
        step_length_RK = torch.zeros(len(answer_counts), num_steps + 1, device=row_R.device)
        step_length_RK.scatter_add_(1, step_index_RL, torch.ones_like(step_index_RL, dtype=torch.float32))
        return cls(
            batch_size=batch_size,
            num_steps=num_steps,
            row_R=row_R,
            answer_counts=answer_counts,
            first_answer=first_answer,
            answer_index_RA=position_RL.gather(1, torch.minimum(slot_A, count_R1 - 1)),
            answer_valid_RA=(slot_A < count_R1).float(),
            step_index_RL=step_index_RL,
            step_length_RK=step_length_RK[:, :num_steps].clamp(min=1),
        )

    def to(self, device: torch.device) -> Rows:
        """Return the same plan on another device."""
        if self.row_R.device == device:
            return self
        moved = {name: value.to(device) for name, value in vars(self).items() if isinstance(value, Tensor)}
        return Rows(**{**vars(self), **moved})


@dataclass(frozen=True)
class Chunk:
    """Attention rows of some queries; R rows of the plan, longest answer first, may be fewer than all of them.

    Attributes:
        index_RC: position of each query.
        valid_RC: 1.0 where it is one, 0.0 where it repeats one.
        counted_RNC: the same times the share of the probability that sinks leave to the keys.
        probabilities_RNCL: softmax over the keys.
    """

    index_RC: Tensor
    valid_RC: Tensor
    counted_RNC: Tensor
    probabilities_RNCL: Tensor


Reduce = Callable[[AttentionCall, Sequence[int], Tensor, Rows, int], Tensor]
"""(a layer's call, heads, the same as a tensor, the rows, most queries at once) -> what is kept, columns last."""


@torch.no_grad()
def read_layer(
    call: AttentionCall,
    heads: Sequence[int],
    heads_N: Tensor,
    rows: Rows,
    answer_chunk: int,
    reduce: Reduce | None = None,
) -> Tensor:
    """Reduce the attention rows of one layer's heads, by default to step scores (AttnPO, Eq. 1).

    Probabilities are those of the attention function without dropout, in float32 (float64 for a float64 model).
    Memory: a chunk of at most `answer_chunk` queries over all keys, the keys of the chosen heads, and one number
    per head and key.

    Args:
        call: the layer's attention call.
        heads: query heads, in any order.
        heads_N: the same as a tensor, so that no copy to the device is made here.
        rows: which queries to read, and the steps.
        answer_chunk: most answer tokens taken at once.
        reduce: what to keep of the rows.

    Returns:
        scores_BKN, in the order of `heads`, or what `reduce` returns.
    """
    with torch.autocast(call.query_BHLD.device.type, enabled=False):
        rows = rows.to(call.query_BHLD.device)
        heads_N = heads_N.to(call.query_BHLD.device)
        return (reduce or step_scores)(call, heads, heads_N, rows, answer_chunk)


def step_scores(call: AttentionCall, heads: Sequence[int], heads_N: Tensor, rows: Rows, answer_chunk: int) -> Tensor:
    """Return scores_BKN: what each step receives from all queries of its row, averaged over its tokens (Eq. 1)."""
    dtype, length = reading_dtype(call), call.key_BJLD.shape[2]
    mass_RNL = torch.zeros(len(rows.answer_counts), len(heads), length, dtype=dtype, device=call.key_BJLD.device)
    for chunk in probability_chunks(call, heads, heads_N, rows, answer_chunk):
        active = len(chunk.index_RC)
        mass_RNL[:active] += (chunk.counted_RNC.unsqueeze(-2) @ chunk.probabilities_RNCL).squeeze(-2)
    return mean_over_steps(mass_RNL, rows)


def probability_chunks(
    call: AttentionCall, heads: Sequence[int], heads_N: Tensor, rows: Rows, answer_chunk: int
) -> Iterator[Chunk]:
    """Yield the attention rows of all queries, some at a time."""
    length, dtype = call.key_BJLD.shape[2], reading_dtype(call)
    # Heads that share their keys take one product together where the heads chosen allow it.
    group = call.query_BHLD.shape[1] // call.key_BJLD.shape[1]
    key_RMLD = call.key_BJLD[rows.row_R[:, None], heads_N[:: _heads_per_key(heads, group)] // group].to(dtype)
    start = 0
    while start < rows.answer_index_RA.shape[1]:
        active = sum(count > start for count in rows.answer_counts)
        chunk = max(1, min(answer_chunk, MAX_LOGITS // (active * len(heads) * length)))
        index_RC = rows.answer_index_RA[:active, start : start + chunk]
        valid_RC = rows.answer_valid_RA[:active, start : start + chunk].to(dtype)
        logits_RNCL = masked_logits(call, key_RMLD[:active], rows.row_R[:active], index_RC, heads_N, rows.first_answer)
        counted_RNC = valid_RC[:, None, :] * key_share(call, logits_RNCL, heads_N)
        yield Chunk(index_RC, valid_RC, counted_RNC, logits_RNCL.softmax(-1))
        start += chunk


def reading_dtype(call: AttentionCall) -> torch.dtype:
    """Return the type that probabilities are computed in: float32, or float64 for a float64 model."""
    return torch.promote_types(call.query_BHLD.dtype, torch.float32)


def masked_logits(
    call: AttentionCall, key_RMLD: Tensor, row_R: Tensor, index_RC: Tensor, heads_N: Tensor, first_query: int
) -> Tensor:
    """Return the logits of C queries of R rows over all keys, soft cap, biases and masks applied: (R, N, C, L).

    Args:
        call: the attention call.
        key_RMLD: keys of these rows for M of the N heads, one for each N / M heads that follow one another.
        row_R: batch rows.
        index_RC: position of each query.
        heads_N: query heads.
        first_query: a position that no query lies before.
    """
    query_BHLD, dtype = call.query_BHLD, key_RMLD.dtype
    scaling = query_BHLD.shape[-1] ** -0.5 if call.scaling is None else call.scaling
    query_RNCD = query_BHLD[row_R[:, None, None], heads_N[:, None], index_RC[:, None, :]].to(dtype) * scaling
    grouped = query_RNCD.reshape(len(row_R), key_RMLD.shape[1], -1, query_RNCD.shape[-1])
    logits_RNCL = (grouped @ key_RMLD.transpose(-1, -2)).view(len(row_R), len(heads_N), -1, key_RMLD.shape[2])
    if call.softcap is not None:
        logits_RNCL.div_(call.softcap).tanh_().mul_(call.softcap)
    mask_logits_(logits_RNCL, call, row_R, index_RC, heads_N, first_query)
    return logits_RNCL


def key_share(call: AttentionCall, logits_RNCL: Tensor, heads_N: Tensor) -> Tensor | float:
    """Return the share of the probability that attention sinks leave to the keys, (R, N, C): 1 without sinks."""
    # sdpa has no attention sinks and passes over them.
    if call.sinks_H is None or call.implementation == "sdpa":
        return 1.0
    # A sink is one more logit in the denominator.
    return (logits_RNCL.logsumexp(-1) - call.sinks_H.to(logits_RNCL.dtype)[heads_N][:, None]).sigmoid()


def _heads_per_key(heads: Sequence[int], group: int) -> int:
    """How many heads in a row share each key head: 1 unless `heads` falls into runs of one length."""
    runs = [len(list(run)) for _, run in groupby(heads, key=lambda head: head // group)]
    return runs[0] if len(set(runs)) == 1 else 1


def mean_over_steps(mass_RNL: Tensor, rows: Rows) -> Tensor:
    """Sum what keys received over each step's tokens and divide by their number; scores_BKN in float32."""
    taken_RNK = mass_RNL.new_zeros(*mass_RNL.shape[:2], rows.num_steps + 1)
    taken_RNK.scatter_add_(2, rows.step_index_RL[:, None, :].expand_as(mass_RNL), mass_RNL)
    scores_RKN = (taken_RNK[..., : rows.num_steps] / rows.step_length_RK[:, None, :]).transpose(1, 2).float()
    scores_BKN = scores_RKN.new_zeros(rows.batch_size, *scores_RKN.shape[1:])
    scores_BKN[rows.row_R] = scores_RKN
    return scores_BKN
