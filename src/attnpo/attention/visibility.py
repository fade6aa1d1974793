"""Which keys an attention function lets a query see, derived from the mask the layer handed to it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask

from attnpo.attention.hook import AttentionCall


def mask_logits_(
    logits_RNCL: Tensor,
    call: AttentionCall,
    rows_R: Tensor,
    query_index_RC: Tensor,
    heads_N: Tensor,
    first_query: int,
) -> None:
    """Apply, in place, every mask and bias of an attention call to some rows of its logits.

    Without a four-dimensional mask: `sdpa` is causal where asked, `eager` and flex hide nothing, and all
    others (flash attention, hub kernels) are causal where asked, with a sliding window, a (B, L) padding mask and
    packed sequences where given.

    Args:
        logits_RNCL: scaled logits of R batch rows, N heads, C queries over L keys.
        call: the attention call.
        rows_R: batch row of each of the R rows.
        query_index_RC: position of each query in the sequence.
        heads_N: query head of each of the N heads.
        first_query: a position that no query lies before; spares work.
    """
    length = logits_RNCL.shape[-1]
    if call.position_bias is not None:
        logits_RNCL += _pick(call.position_bias, rows_R, query_index_RC, heads_N, length)
    mask = call.mask
    keys_L = torch.arange(length, device=logits_RNCL.device)
    if isinstance(mask, Tensor) and mask.dim() == 4:
        picked = _pick(mask, rows_R, query_index_RC, heads_N, length)
        if picked.dtype == torch.bool:
            _hide_(logits_RNCL, picked.logical_not())
        else:
            logits_RNCL += picked
    elif isinstance(mask, BlockMask):
        row = rows_R[:, None, None, None]
        visible = mask.mask_mod(row, torch.zeros_like(row), query_index_RC[:, None, :, None], keys_L)
        _hide_(logits_RNCL, visible.logical_not())
    elif call.implementation not in ("eager", "flex_attention"):
        if call.is_causal:
            tail = keys_L[first_query:] > query_index_RC[:, None, :, None]
            _hide_(logits_RNCL[..., first_query:], tail)
        if call.implementation != "sdpa":
            _hide_as_flash_(logits_RNCL, call, rows_R, query_index_RC, keys_L)


def _hide_as_flash_(
    logits_RNCL: Tensor, call: AttentionCall, rows_R: Tensor, query_index_RC: Tensor, keys_L: Tensor
) -> None:
    """What flash attention hides beside later keys: keys outside the window, padding, other sequences."""
    if call.sliding_window is not None:
        _hide_(logits_RNCL, keys_L <= query_index_RC[:, None, :, None] - call.sliding_window)
    if isinstance(call.mask, Tensor):
        _hide_(logits_RNCL, call.mask[rows_R, -len(keys_L) :].bool().logical_not()[:, None, None, :])
        return
    sequence_BL = sequence_of_token(call, len(keys_L))
    if sequence_BL is not None:
        sequence_RL = sequence_BL[rows_R]
        own_RC = sequence_RL.gather(1, query_index_RC)
        _hide_(logits_RNCL, sequence_RL[:, None, None, :] != own_RC[:, None, :, None])


def _hide_(logits: Tensor, hidden: Tensor) -> None:
    """Push hidden logits so far down that their probability is exactly zero.

    An addition, since `masked_fill_` takes longer than the matrix product on a CPU; and the lowest finite number, so
    that zero times it is zero.
    """
    logits += hidden.view(torch.uint8).to(logits.dtype) * torch.finfo(torch.float32).min


def sequence_of_token(call: AttentionCall, length: int) -> Tensor | None:
    """Number of the sequence each token belongs to (B, L) where flash attention is given packed sequences."""
    rows = call.query_BHLD.shape[0]
    if call.sequence_ends is not None:
        tokens = torch.arange(rows * length, device=call.sequence_ends.device, dtype=call.sequence_ends.dtype)
        return torch.bucketize(tokens, call.sequence_ends[1:], right=True).view(rows, length)
    if rows == 1 and call.position_ids is not None and call.position_ids.shape == (1, length):
        # A position that does not follow the one before it starts a new sequence.
        breaks_BL = torch.zeros_like(call.position_ids, dtype=torch.bool)
        breaks_BL[:, 1:] = call.position_ids.diff(dim=-1) != 1
        return breaks_BL.cumsum(-1)
    return None


def _pick(table: Tensor, rows_R: Tensor, query_index_RC: Tensor, heads_N: Tensor, length: int) -> Tensor:
    """Rows of a (B or 1, H or 1, L, L) table as (R, N or 1, C, L), never copying the whole table."""
    row_R = rows_R if table.shape[0] > 1 else torch.zeros_like(rows_R)
    index_RC = query_index_RC if table.shape[2] > 1 else torch.zeros_like(query_index_RC)
    table = table[..., :length]
    if table.shape[1] == 1:
        return table[row_R[:, None], 0, index_RC].unsqueeze(1)
    return table[row_R[:, None, None], heads_N[None, :, None], index_RC[:, None, :]]
