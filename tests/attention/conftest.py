"""Tiny decoders of many architectures, a batch with steps and answers, and the slow truth to compare with."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM, PreTrainedModel

SIZES: dict[str, Any] = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 256,
    "initializer_range": 0.15,
    "pad_token_id": 0,
}
MOE: dict[str, Any] = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 32}
WINDOW = 12

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "qwen2": {},
    "qwen3": {},
    "llama": {},
    "mistral": {"sliding_window": WINDOW},
    "gemma2": {"sliding_window": WINDOW, "query_pre_attn_scalar": 16, "attn_logit_softcapping": 2.0},
    "gemma3_text": {
        "sliding_window": WINDOW,
        "query_pre_attn_scalar": 16,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2, "sliding_window": WINDOW},
    "qwen3_moe": MOE,
    "gpt_oss": {
        "num_local_experts": 4,
        "num_experts_per_tok": 2,
        "sliding_window": WINDOW,
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
    },
    "deepseek_v3": {
        "num_key_value_heads": 6,
        "q_lora_rank": 16,
        "kv_lora_rank": 16,
        "qk_rope_head_dim": 8,
        "qk_nope_head_dim": 8,
        "v_head_dim": 12,
        "first_k_dense_replace": 3,
    },
    "gpt2": {},
}
EAGER_ONLY = {"gemma2", "gpt_oss"}
"""Softcap and attention sinks, which transformers does not run on sdpa."""


def make_model(name: str, implementation: str = "sdpa", **overrides: Any) -> PreTrainedModel:
    if name not in CONFIG_MAPPING:
        pytest.skip(f"transformers {transformers.__version__} has no {name}")
    torch.manual_seed(0)
    settings = {**SIZES, **ARCHITECTURES.get(name, {}), **overrides}
    config = AutoConfig.for_model(name, **settings)
    config.use_cache = False
    model = AutoModelForCausalLM.from_config(config, attn_implementation=implementation).eval()
    for module in model.modules():
        if hasattr(module, "sinks"):
            torch.nn.init.normal_(module.sinks, std=1.0)
    return model


@dataclass
class Batch:
    """Responses of several lengths with one padding side; row 3 has an empty answer."""

    input_ids: Tensor
    attention_mask: Tensor
    step_index_BL: Tensor
    answer_mask_BL: Tensor

    @property
    def inputs(self) -> dict[str, Tensor]:
        position_ids = (self.attention_mask.cumsum(-1) - 1).clamp(min=0)  # counts for learned positions
        return {
            "input_ids": self.input_ids,
            "attention_mask": self.attention_mask,
            "position_ids": position_ids,
        }

    @property
    def annotations(self) -> tuple[Tensor, Tensor]:
        return self.step_index_BL, self.answer_mask_BL


def make_batch(padding: str = "right", lengths: tuple[int, ...] = (60, 51, 43, 47)) -> Batch:
    generator = torch.Generator().manual_seed(1)
    longest = max(lengths)
    batch = Batch(
        input_ids=torch.zeros(len(lengths), longest, dtype=torch.long),
        attention_mask=torch.zeros(len(lengths), longest, dtype=torch.long),
        step_index_BL=torch.full((len(lengths), longest), -1),
        answer_mask_BL=torch.zeros(len(lengths), longest, dtype=torch.bool),
    )
    for row, length in enumerate(lengths):
        # "middle" pads before the prompt and after the response, as trainers do.
        start = {"right": 0, "left": longest - length, "middle": (longest - length) // 2}[padding]
        batch.input_ids[row, start : start + length] = torch.randint(1, 97, (length,), generator=generator)
        batch.attention_mask[row, start : start + length] = 1
        answer = 3 + 4 * row
        think = range(start + 6, start + length - answer - 2)
        steps = 3 + row
        for place, token in enumerate(think):
            batch.step_index_BL[row, token] = place * steps // len(think)
        if row != 3:
            batch.answer_mask_BL[row, start + length - answer : start + length - 1] = True
    return batch


def true_scores(model: PreTrainedModel, batch: Batch) -> Tensor:
    """Eq. 1 in float64 by brute force, each response alone and unpadded, from `output_attentions=True`."""
    slow = deepcopy(model).eval().double()
    slow.set_attn_implementation("eager")
    slow.set_experts_implementation("eager")  # the grouped product of mixtures of experts knows no float64
    num_steps = int(batch.step_index_BL.max()) + 1
    rows = []
    for row, mask in enumerate(batch.attention_mask.bool()):
        with torch.no_grad():
            output = slow(input_ids=batch.input_ids[row : row + 1, mask], output_attentions=True)
        attention_NLL = torch.cat(output.attentions, dim=1)[0].double()
        step_L, answer_L = batch.step_index_BL[row, mask], batch.answer_mask_BL[row, mask]
        scores_KN = torch.zeros(num_steps, len(attention_NLL), dtype=torch.float64)
        for step in range(num_steps):
            keys_L = step_L == step
            taken_N = attention_NLL[:, answer_L][:, :, keys_L].sum((1, 2))
            scores_KN[step] = taken_N / max(1, int(keys_L.sum()))
        rows.append(scores_KN)
    return torch.stack(rows)


def relative_error(scores: Tensor, truth: Tensor) -> float:
    """Largest relative error; where the truth is exactly zero (a hidden step) the score must be zero too."""
    assert scores.shape == truth.shape
    hidden = truth == 0
    assert scores[hidden].abs().max() == 0 if hidden.any() else True
    return float(((scores.double() - truth).abs()[~hidden] / truth[~hidden]).max())


@dataclass(frozen=True)
class Tools:
    model: Callable[..., PreTrainedModel] = make_model
    batch: Callable[..., Batch] = make_batch
    truth: Callable[[PreTrainedModel, Batch], Tensor] = true_scores
    error: Callable[[Tensor, Tensor], float] = relative_error


@pytest.fixture(scope="session")
def tools() -> Tools:
    return Tools()
