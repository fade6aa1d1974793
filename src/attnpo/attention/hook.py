"""The one place that knows how transformers dispatches attention.

Every decoder of transformers looks its attention function up in a registry (`ALL_ATTENTION_FUNCTIONS`, with the
modeling file's own `eager_attention_forward` as the default) and calls it as `function(module, query, key, value,
attention_mask, **options)`, query and key after rotary embedding and normalization. `observe_attention` puts a
thin wrapper around the entry in force that shows each call of chosen modules to an observer and then makes the
call unchanged. `tests/attention/test_hook.py` holds the contract this relies on.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from attnpo.errors import UnsupportedModelError

REGISTRY = "ALL_ATTENTION_FUNCTIONS"
EAGER = "eager_attention_forward"

READABLE_LAYER_TYPES = frozenset(
    {"full_attention", "sliding_attention", "chunked_attention", "hybrid", "hybrid_sliding"}
)
"""`config.layer_types` that mix tokens by one softmax over visible keys (`hybrid`: beside a recurrent path)."""


@dataclass(frozen=True)
class AttentionCall:
    """One call of an attention function, as the layer made it.

    Attributes:
        implementation: the name it was dispatched under: `sdpa`, `eager`, `flash_attention_2`, ...
        query_BHLD: queries after rotary embedding, H query heads.
        key_BJLD: keys after rotary embedding, J key/value heads; query head h reads key head `h // (H // J)`.
        value_BJLE: values.
        mask: a (B or 1, 1 or H, L, L) boolean or additive tensor, a (B, L) padding mask, a flex `BlockMask`,
            or None.
        scaling: factor on the logits; None stands for `1 / sqrt(D)`.
        is_causal: whether the function hides later keys where no full mask is given.
        softcap: logits become `softcap * tanh(logits / softcap)`.
        sliding_window: keys at a distance of this or more are hidden (where no full mask is given).
        sinks_H: attention sinks: one more logit per head, whose probability goes to no key.
        position_bias: additive bias, shaped like a four-dimensional mask.
        position_ids: positions, which restart where several sequences are packed into one row.
        sequence_ends: 0 and then the end of each packed sequence, counted over all rows (flash attention's
            `cu_seq_lens_q`).
        dropout: share of the probabilities that is dropped.
    """

    implementation: str
    query_BHLD: Tensor
    key_BJLD: Tensor
    mask: Any
    value_BJLE: Tensor | None = None
    scaling: float | None = None
    is_causal: bool = True
    softcap: float | None = None
    sliding_window: int | None = None
    sinks_H: Tensor | None = None
    position_bias: Tensor | None = None
    position_ids: Tensor | None = None
    sequence_ends: Tensor | None = None
    dropout: float = 0.0


Observer = Callable[[AttentionCall], Any]
"""Is shown a call; if it returns a function, that is shown the call's output, (B, L, H, E)."""


@dataclass(frozen=True)
class Decoder:
    """The text decoder inside a model, and what of it can be read.

    Attributes:
        name: class name of the model, for messages.
        module: the module that runs exactly once in each forward pass.
        config: the text config.
        attention: attention module of each readable layer.
        unreadable: for every other layer, what it is.
    """

    name: str
    module: nn.Module
    config: PretrainedConfig
    attention: Mapping[int, nn.Module]
    unreadable: Mapping[int, str]


def find_decoder(model: nn.Module) -> Decoder:
    """Find the text decoder in a model, whatever wraps it (PEFT, DDP, accelerate, a multimodal model).

    Raises:
        UnsupportedModelError: `model` holds no transformers model, or it is an encoder-decoder.
    """
    base = next((module for module in model.modules() if isinstance(module, PreTrainedModel)), None)
    if base is None:
        raise UnsupportedModelError(
            f"{type(model).__name__} holds no transformers model; heads are read from transformers decoders"
        )
    name = type(base).__name__
    if base.config.is_encoder_decoder:
        raise UnsupportedModelError(f"{name} is an encoder-decoder; use a decoder-only model (AutoModelForCausalLM)")
    config = base.config.get_text_config(decoder=True)
    module = base.get_decoder()
    # A module reached under two names is shared between layers: its calls cannot be told apart.
    claims: dict[int, list[nn.Module]] = {}
    for _, child in module.named_modules(remove_duplicate=False):
        if isinstance(getattr(child, "layer_idx", None), int) and _dispatches(child):
            claims.setdefault(child.layer_idx, []).append(child)
    layer_types = getattr(config, "layer_types", None)
    attention: dict[int, nn.Module] = {}
    unreadable: dict[int, str] = {}
    for layer in range(config.num_hidden_layers):
        kind = layer_types[layer] if layer_types else "full_attention"
        claimed = claims.get(layer, [])
        if kind not in READABLE_LAYER_TYPES:
            unreadable[layer] = kind
        elif not claimed:
            unreadable[layer] = "no attention through transformers' registry"
        elif len(claimed) > 1:
            unreadable[layer] = "attention shared between layers"
        else:
            attention[layer] = claimed[0]
    return Decoder(name, module, config, attention, unreadable)


@contextmanager
def observe_attention(observers: Mapping[nn.Module, Observer]) -> Iterator[None]:
    """Show every attention call of the given modules to their observers, just before it is made.

    Calls, results and gradients are left as they are. Several observations may be active at once, of one model or
    of several, and may end in any order. Not thread-safe: enter, run and leave in one thread.

    Args:
        observers: attention module (compared by identity) → what to call.
    """
    entries = {(id(entry.table), entry.key): entry for entry in (_entry_in_force(module) for module in observers)}
    with ExitStack() as stack:
        for entry in entries.values():
            entry.acquire()
            stack.callback(entry.release)
        for module, observer in observers.items():
            _OBSERVERS.setdefault(module, []).append(observer)
            stack.callback(_forget, module, observer)
        yield


def _dispatches(module: nn.Module) -> bool:
    """Whether the module's forward looks its attention function up in the registry."""
    code = getattr(_forward(module), "__code__", None)
    return code is not None and REGISTRY in code.co_names and REGISTRY in _forward(module).__globals__


def _forward(module: nn.Module) -> Any:
    """The function behind the class's forward: instances may carry a wrapped one (accelerate, offloading)."""
    return inspect.unwrap(type(module).forward)


_OBSERVERS: dict[nn.Module, list[Observer]] = {}
_ENTRIES: dict[tuple[int, str], _Entry] = {}


def _forget(module: nn.Module, observer: Observer) -> None:
    _OBSERVERS[module].remove(observer)
    if not _OBSERVERS[module]:
        del _OBSERVERS[module]


def _entry_in_force(module: nn.Module) -> _Entry:
    """The registry entry, or the modeling file's eager function, that this module will call."""
    names = _forward(module).__globals__
    registry = names[REGISTRY]
    implementation = str(vars(module)["config"]._attn_implementation)
    if implementation in registry:
        return _Entry.of(registry, registry._local_mapping, implementation, implementation)
    if implementation == "eager" and EAGER in names:
        return _Entry.of(names, names, EAGER, "eager")
    raise UnsupportedModelError(
        f"{type(module).__name__} uses attention implementation {implementation!r}, which is not in transformers'"
        " registry; load the model with attn_implementation='sdpa'"
    )


@dataclass
class _Entry:
    """A name to be wrapped: looked up in `table`, overridden in `overrides`, shared by all who observe it."""

    table: MutableMapping[str, Any]
    overrides: MutableMapping[str, Any]
    key: str
    implementation: str
    users: int = 0
    previous: list[Any] = field(default_factory=list)
    """The override that was there before, if any."""
    wrapper: Any = None

    @classmethod
    def of(cls, table: MutableMapping[str, Any], overrides: MutableMapping[str, Any], key: str, name: str) -> _Entry:
        return _ENTRIES.get((id(table), key)) or cls(table, overrides, key, name)

    def acquire(self) -> None:
        if self.users == 0:
            _ENTRIES[id(self.table), self.key] = self
            self.previous = [self.overrides[self.key]] if self.key in self.overrides else []
            self.wrapper = _showing(self.table[self.key], self.implementation)
            self.overrides[self.key] = self.wrapper
        self.users += 1

    def release(self) -> None:
        self.users -= 1
        if self.users:
            return
        del _ENTRIES[id(self.table), self.key]
        # Someone who registered another function meanwhile meant it to stay.
        if self.overrides.get(self.key) is self.wrapper:
            if self.previous:
                self.overrides[self.key] = self.previous[0]
            else:
                del self.overrides[self.key]


def _showing(function: Callable[..., Any], implementation: str) -> Callable[..., Any]:
    """Wrap an attention function so that it first shows the call to whoever observes the calling module."""

    # Compiled as a part of the model, a graph break between the observers and the call could run them twice.
    @torch.compiler.disable
    @functools.wraps(function)
    def shown(
        module: nn.Module,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attention_mask: Any,
        *args: Any,
        **kwargs: Any,
    ) -> Any:
        waiting = [
            _show(observer, module, implementation, query, key, value, attention_mask, kwargs)
            for observer in _OBSERVERS.get(module, ())
        ]
        result = function(module, query, key, value, attention_mask, *args, **kwargs)
        for show_output in waiting:
            if callable(show_output):
                show_output(result[0])
        return result

    return shown


def _show(
    observer: Observer,
    module: nn.Module,
    implementation: str,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Any,
    options: Mapping[str, Any],
) -> Any:
    is_causal = options.get("is_causal")
    return observer(
        AttentionCall(
            implementation=implementation,
            query_BHLD=query,
            key_BJLD=key,
            mask=mask,
            value_BJLE=value,
            scaling=options.get("scaling"),
            is_causal=getattr(module, "is_causal", True) if is_causal is None else is_causal,
            softcap=options.get("softcap"),
            sliding_window=options.get("sliding_window"),
            sinks_H=options.get("s_aux"),
            position_bias=options.get("position_bias"),
            position_ids=options.get("position_ids"),
            sequence_ends=options.get("cu_seq_lens_q"),
            dropout=options.get("dropout") or 0.0,
        )
    )
