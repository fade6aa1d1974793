"""What one forward and backward pass holds, found by making it on tensors without data."""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from transformers import AttentionInterface

from attnpo.training.estimate.live import LiveBytes, gradients_set_aside

FUSED_ATTENTION = "attnpo_estimate_fused"
"""Stands for flash attention: keeps queries, keys, values, outputs and one number a query and head."""


@dataclass(frozen=True)
class PassMemory:
    """Bytes of one micro-batch's pass through the decoder, beside weights and accumulated gradients.

    Attributes:
        saved: alive between forward and backward: what the backward pass needs.
        forward_peak: most alive during the forward pass.
        forward_end: alive at its end while autocast still holds its copies of weights.
        backward_peak: most alive during the backward pass, what was saved included.
    """

    saved: int
    forward_peak: int
    forward_end: int
    backward_peak: int


def decoder_pass(
    model: Any,
    rows: int,
    length: int,
    *,
    padded: bool,
    checkpointing: bool,
    autocast: torch.dtype | None,
    dtype_of: Callable[[nn.Parameter], torch.dtype],
) -> PassMemory:
    """Make one pass through a decoder on fake tensors and count what it holds.

    Every operation is dispatched as in training: real shapes and dtypes, autocast's copies of weights, what
    checkpointing runs again; no data, so a 7B model takes seconds and no memory. The head is counted in `head.py`.

    Args:
        model: a causal language model on the meta device, PEFT's wrapper or not; it is left as it is.
        rows: rows of the micro-batch.
        length: tokens a row, prompt and response.
        padded: whether rows of different length stand side by side, so that attention gets a mask.
        checkpointing: gradient checkpointing, a decoder layer at a time.
        autocast: compute type of mixed precision; None computes in the weights' own.
        dtype_of: type in which a parameter is held.
    """
    model = copy.deepcopy(model)
    live = LiveBytes()
    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _fill(model, dtype_of)
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        if not padded and base.config.get_text_config(decoder=True)._attn_implementation == "sdpa":
            base.set_attn_implementation(FUSED_ATTENTION)  # without a mask it is a fused kernel, too
        if checkpointing:
            base.gradient_checkpointing_enable({"use_reentrant": False})
            if base is not model:
                base.enable_input_require_grads()
        model.train()
        ids_BL = torch.zeros(rows, length, dtype=torch.long)
        mask_BL = torch.ones(rows, length, dtype=torch.long) if padded else None
        for tensor in (*model.parameters(), *model.buffers()):
            live.leave_out(tensor)
        with live, gradients_set_aside(live, model):
            with torch.autocast("cpu", autocast or torch.bfloat16, enabled=autocast is not None):
                hidden_BLD = base.get_decoder()(
                    input_ids=ids_BL, attention_mask=mask_BL, use_cache=False
                ).last_hidden_state
                forward_end = live.live
            saved, forward_peak = live.live, live.peak
            live.mark()
            gradient_BLD = torch.ones_like(hidden_BLD)
            hidden_BLD.backward(gradient_BLD)
            backward_peak = live.peak
        del hidden_BLD, gradient_BLD
    return PassMemory(saved, forward_peak, forward_end, backward_peak)


def _fill(model: Any, dtype_of: Callable[[nn.Parameter], torch.dtype]) -> None:
    """Put fake tensors in place of meta ones, tied ones once."""
    made: dict[int, nn.Parameter] = {}
    for module in model.modules():
        for name, parameter in list(module._parameters.items()):
            if parameter is not None:
                if id(parameter) not in made:
                    empty = torch.empty(parameter.shape, dtype=dtype_of(parameter), device="cpu")
                    made[id(parameter)] = nn.Parameter(empty, requires_grad=parameter.requires_grad)
                module._parameters[name] = made[id(parameter)]
        for name, buffer in list(module._buffers.items()):
            if buffer is not None:
                module._buffers[name] = torch.empty(buffer.shape, dtype=buffer.dtype, device="cpu")


class _Fused(torch.autograd.Function):
    """Shapes and saved tensors of a fused attention kernel, without its arithmetic."""

    @staticmethod
    def forward(ctx: Any, query_BHLD: Tensor, key_BJLD: Tensor, value_BJLD: Tensor) -> Tensor:
        """Return outputs (B, L, H, D)."""
        output_BLHD = torch.empty_like(query_BHLD.transpose(1, 2))
        log_sums_BHL = query_BHLD.new_empty(query_BHLD.shape[:3], dtype=torch.float32)
        ctx.save_for_backward(query_BHLD, key_BJLD, value_BJLD, output_BLHD, log_sums_BHL)
        return output_BLHD

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, ...]:
        """Return gradients of queries, keys and values."""
        return tuple(torch.empty_like(tensor) for tensor in ctx.saved_tensors[:3])


def _fused_attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Any, **options: Any
) -> tuple[Tensor, None]:
    return _Fused.apply(query, key, value), None


AttentionInterface.register(FUSED_ATTENTION, _fused_attention)
