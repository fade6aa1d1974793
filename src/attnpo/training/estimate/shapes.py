"""A model's size, counted on the meta device: no weight is read."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import AutoModelForCausalLM, PretrainedConfig

from attnpo.errors import ConfigError, one_line
from attnpo.training.estimate.passes import FUSED_ATTENTION

OWN_ATTENTION = ("sdpa", "eager")
"""Implementations that are run as they are; every other one is a fused kernel."""


@dataclass(frozen=True)
class ModelShape:
    """Parameter counts, and the widths that memory depends on.

    Attributes:
        parameters: all parameters, tied ones once.
        trainable: those that get a gradient.
        layers: parameters of each decoder layer.
        outside: parameters outside the decoder layers: embedding, head, last norm.
        head_trainable: whether the head's weights get a gradient.
        hidden_size: width of the residual stream.
        vocab_size: rows of the head.
        num_heads: query heads a layer.
        head_dim: width of a head.
        cache_widths: keys and values a token takes in each layer (numbers), and the most tokens held there (None: all).
        matrices: frozen weights of linear layers other than the head, which quantised loading packs.
        largest_matrix: most of them in one layer.
    """

    parameters: int
    trainable: int
    layers: tuple[int, ...]
    outside: int
    head_trainable: bool
    hidden_size: int
    vocab_size: int
    num_heads: int
    head_dim: int
    cache_widths: tuple[tuple[int, int | None], ...]
    matrices: int = 0
    largest_matrix: int = 0

    @property
    def frozen(self) -> int:
        """Parameters that get no gradient."""
        return self.parameters - self.trainable


def meta_model(
    config: PretrainedConfig, *, attn_implementation: str | None = None, trust_remote_code: bool = False
) -> Any:
    """Build a causal language model without weights.

    Args:
        config: its configuration.
        attn_implementation: as in training; None is transformers' choice.
        trust_remote_code: whether a Hub model may run its own code.

    Raises:
        ConfigError: transformers has no causal language model for it.
    """
    options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    if attn_implementation not in (None, *OWN_ATTENTION):
        options = {"attn_implementation": FUSED_ATTENTION}
    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trust_remote_code, **options)
    except ValueError as error:
        raise ConfigError(f"--model: {one_line(error)}") from error


def with_lora(model: Any, lora: Any) -> Any:
    """Wrap a model without weights in LoRA adapters without weights.

    Args:
        model: from `meta_model`.
        lora: a `peft.LoraConfig`.

    Raises:
        ConfigError: the adapters do not fit the model.
    """
    from peft import get_peft_model

    try:
        with torch.device("meta"):
            return get_peft_model(model, deepcopy(lora))  # PEFT writes the base's name into it
    except ValueError as error:
        raise ConfigError(f"--use_peft: {one_line(error)}") from error


def model_shape(model: Any) -> ModelShape:
    """Count a model's parameters and read its widths; `model` may be PEFT's wrapper."""
    base = model.get_base_model() if hasattr(model, "get_base_model") else model
    config = base.config.get_text_config(decoder=True)
    layers = tuple(_count(layer) for layer in _decoder_layers(base))
    head = base.get_output_embeddings()
    parameters = _count(model)
    matrices = [module.weight.numel() for module in _frozen_linears(base) if module is not head]
    head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    kv_heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return ModelShape(
        parameters=parameters,
        trainable=_count(model, trainable=True),
        layers=layers,
        outside=parameters - sum(layers),
        head_trainable=any(parameter.requires_grad for parameter in head.parameters()),
        hidden_size=config.hidden_size,
        vocab_size=config.vocab_size,
        num_heads=config.num_attention_heads,
        head_dim=head_dim,
        cache_widths=tuple((2 * kv_heads * head_dim, window) for window in _windows(config)),
        matrices=sum(matrices),
        largest_matrix=max(matrices, default=0),
    )


def _decoder_layers(base: Any) -> list[nn.Module]:
    """The decoder's layers: its longest list of modules."""
    lists = [module for module in base.get_decoder().modules() if isinstance(module, nn.ModuleList)]
    return max((list(modules) for modules in lists), key=len, default=[])


def _frozen_linears(base: Any) -> list[nn.Linear]:
    linears = [module for module in base.modules() if isinstance(module, nn.Linear)]
    return [module for module in linears if not module.weight.requires_grad]


def _windows(config: Any) -> list[int | None]:
    """For each layer that keeps keys and values, the most tokens it keeps."""
    kinds = getattr(config, "layer_types", None) or ["full_attention"] * config.num_hidden_layers
    sliding = getattr(config, "sliding_window", None)
    keeping = [kind for kind in kinds if "attention" in kind and "linear" not in kind]
    return [sliding if kind == "sliding_attention" else None for kind in keeping]


def _count(module: nn.Module, trainable: bool = False) -> int:
    return sum(p.numel() for p in module.parameters() if p.requires_grad or not trainable)
