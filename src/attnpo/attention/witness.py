"""Whether the probabilities that are read are the ones the layer used: its own output is the witness."""

from __future__ import annotations

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import Rows, key_share, masked_logits, reading_dtype

FINE, COARSE = 1e-3, 0.05
"""Largest deviation that is rounding: in float32 and above, and where anything is held in less."""


def tolerance(call: AttentionCall, output: Tensor) -> float:
    """Return how far an output may lie from the one computed anew, as a share of its size."""
    tensors = (call.query_BHLD, call.key_BJLD, call.value_BJLE, output)
    return FINE if all(t is None or t.dtype in (torch.float32, torch.float64) for t in tensors) else COARSE


@torch.no_grad()
def output_deviation(call: AttentionCall, heads_N: Tensor, rows: Rows, output: Tensor) -> Tensor | None:
    """Compute one query's output anew from the probabilities as they are read, and compare it with the layer's own.

    The query is the last answer token of the row with the longest answer, which sees the most keys. A soft cap, sink,
    window, bias or mask that the reading does not know shows here, whatever it is called.

    Args:
        call: the attention call.
        heads_N: the heads that are read.
        rows: the plan of the reading.
        output: what the attention function returned, (B, L, H, E) or (B, L, H E).

    Returns:
        The largest deviation over the heads, relative to the size of the terms that make up the output; None where
        nothing can be compared (no row is read, dropout is at work, no values were seen).
    """
    if not rows.answer_counts or call.dropout or call.value_BJLE is None:
        return None
    value_BJLE, dtype = call.value_BJLE, reading_dtype(call)
    batch_size, num_heads, length, _ = call.query_BHLD.shape
    device = call.query_BHLD.device
    with torch.autocast(device.type, enabled=False):
        rows, heads_N = rows.to(device), heads_N.to(device)
        kv_N = heads_N // (num_heads // call.key_BJLD.shape[1])
        row_R, index_RC = rows.row_R[:1], rows.answer_index_RA[:1, -1:]
        key_RNLD = call.key_BJLD[row_R[:, None], kv_N].to(dtype)
        logits_RNCL = masked_logits(call, key_RNLD, row_R, index_RC, heads_N, rows.first_answer)
        share = key_share(call, logits_RNCL, heads_N)
        share_RNCL = share.unsqueeze(-1) if isinstance(share, Tensor) else share
        probabilities_RNCL = logits_RNCL.softmax(-1) * share_RNCL
        value_RNLE = value_BJLE[row_R[:, None], heads_N // (num_heads // value_BJLE.shape[1])].to(dtype)
        anew_NE = (probabilities_RNCL @ value_RNLE)[0, :, 0]
        size_N = (probabilities_RNCL @ value_RNLE.abs())[0, :, 0].amax(-1)
        own_BLHE = output.view(batch_size, length, num_heads, -1)
        own_NE = own_BLHE[row_R[0], index_RC[0, 0], heads_N].to(dtype)
        return ((own_NE - anew_NE).abs().amax(-1) / size_N.clamp(min=torch.finfo(dtype).tiny)).max()
