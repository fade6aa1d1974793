"""FlowTracer: how much of what reaches the answer from the question passes through a step."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

import torch
from torch import Tensor

from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import Rows, probability_chunks
from attnpo.signals.base import Places, Seen, Signal
from attnpo.signals.fai import ROWS_COST
from attnpo.signals.rows import middle_heads, read_rows


class FlowTracer(Signal):
    """The more of the flow from question to answer passes through a step, the more it deserves to be kept.

    Nodes are the question (all of the prompt), the steps and the final answer. W_ik is what a token of the later node k
    pays on average to all tokens of node i, averaged over all heads of five layers of the model's middle third. With
    h(answer) = 1 and h(i) = sum_k W_ik h(k), a unit of flow leaves the question and goes from i to k in the proportion
    W_ik h(k) / h(i): all of it arrives at the answer. A step scores the flow through it (arXiv 2606.10646; which
    layers, and how W is averaged, is not known from the notes).
    """

    name = "flow_tracer"
    paper = "FlowTracer"
    arxiv = "2606.10646"
    source = "secondary notes"
    formula = "flow through s, question to answer, by W h / h over attention"
    needs = ("attention",)
    extra_cost = ROWS_COST

    def check(self, model: Any) -> None:
        """Check that some layer has attention that can be read."""
        middle_heads(model)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read what nodes pay each other."""
        return read_rows(model, places, partial(_between_nodes, node_of_token(places), places.num_steps + 2))

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) flows in [0, 1]; 0 for all steps where no attention leads from the answer to the question."""
        read = seen.reading.scores_BKN  # M columns a layer
        paid_BMM = read.view(len(read), read.shape[1], -1, read.shape[1]).mean(dim=2)
        return flows(paid_BMM.cpu())[:, 1:-1].float().to(paid_BMM.device)  # not every device has float64


def node_of_token(places: Places) -> Tensor:
    """Return (B, L): 0 for the question, k + 1 for step k, K + 1 for the answer, K + 2 for all else."""
    other = places.num_steps + 2
    before_BL = (places.step_index_BL >= 0).cummax(dim=1).values.logical_not() & ~places.answer_mask_BL.bool()
    node_BL = torch.where(places.step_index_BL >= 0, places.step_index_BL + 1, other)
    node_BL = node_BL.masked_fill(places.answer_mask_BL.bool(), places.num_steps + 1)
    node_BL = node_BL.masked_fill(before_BL, 0)
    return node_BL.masked_fill(~places.attention_mask_BL.bool(), other)


@torch.no_grad()
def flows(paid_BMM: Tensor) -> Tensor:
    """Return (B, M) float64, the flow through each node of a unit that leaves the first one and ends in the last one.

    Args:
        paid_BMM: [b, k, i] what node k pays to node i; only i < k is read.
    """
    paid_BMM = paid_BMM.double()
    nodes = paid_BMM.shape[1]
    reach_BM = paid_BMM.new_zeros(len(paid_BMM), nodes)
    reach_BM[:, -1] = 1.0
    for i in range(nodes - 2, -1, -1):
        reach_BM[:, i] = (paid_BMM[:, i + 1 :, i] * reach_BM[:, i + 1 :]).sum(dim=1)
    flow_BM = torch.zeros_like(reach_BM)
    flow_BM[:, 0] = (reach_BM[:, 0] > 0).double()
    for k in range(1, nodes):
        share_Bi = flow_BM[:, :k] / reach_BM[:, :k].clamp(min=torch.finfo(torch.float64).tiny)
        flow_BM[:, k] = (share_Bi * paid_BMM[:, k, :k]).sum(dim=1) * reach_BM[:, k]
    return flow_BM


def _between_nodes(
    node_BL: Tensor,
    nodes: int,
    call: AttentionCall,
    heads: Sequence[int],
    heads_N: Tensor,
    rows: Rows,
    answer_chunk: int,
) -> Tensor:
    """Return (B, M, M): mean attention of a token of node k to all of node i, mean over the heads."""
    node_RL = node_BL.to(call.key_BJLD.device)[rows.row_R]
    paid_RMM = torch.zeros(len(node_RL), nodes + 1, nodes + 1, device=node_RL.device)
    for chunk in probability_chunks(call, heads, heads_N, rows, answer_chunk):
        active = len(chunk.index_RC)
        mean_RCL = (chunk.probabilities_RNCL * chunk.counted_RNC.unsqueeze(-1)).mean(dim=1).float()
        to_RCM = mean_RCL.new_zeros(*mean_RCL.shape[:2], nodes + 1)
        to_RCM.scatter_add_(2, node_RL[:active, None, :].expand_as(mean_RCL), mean_RCL)
        from_RC = node_RL[:active].gather(1, chunk.index_RC)
        paid_RMM[:active].scatter_add_(1, from_RC[:, :, None].expand_as(to_RCM), to_RCM)
    tokens_RM = torch.stack([(node_RL == node).sum(dim=1) for node in range(nodes)], dim=1).clamp(min=1)
    paid_BMM = paid_RMM.new_zeros(rows.batch_size, nodes, nodes)
    paid_BMM[rows.row_R] = paid_RMM[:, :nodes, :nodes] / tokens_RM[:, :, None]
    return paid_BMM
