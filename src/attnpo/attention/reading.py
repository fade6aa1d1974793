"""Reading step scores inside a forward pass that is made anyway (AttnPO, Eq. 1 and 2)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn

from attnpo.attention.headset import Head, validate_heads
from attnpo.attention.hook import AttentionCall, Decoder, find_decoder, observe_attention
from attnpo.attention.packed import Packing, mixes_sequences
from attnpo.attention.reduction import Reduce, Rows, read_layer
from attnpo.attention.splitting import check_parallelism
from attnpo.attention.witness import output_deviation, tolerance
from attnpo.errors import UnsupportedModelError, listed

_WITNESSED: WeakKeyDictionary[nn.Module, set[tuple[str, torch.dtype]]] = WeakKeyDictionary()
"""Attention modules whose output was seen to follow from the probabilities read, and how they were run."""


@dataclass(frozen=True)
class _Plan:
    """What is read in a forward pass: steps and answers, and which sequence they belong to where rows are packed."""

    step_index_BL: Tensor
    answer_mask_BL: Tensor
    rows: Rows
    packing: Packing | None


class StepReading:
    """What a forward pass said about the steps; filled while it runs."""

    def __init__(
        self, decoder: Decoder, heads: list[Head], plan: _Plan, answer_chunk: int, reduce: Reduce | None = None
    ):
        self._decoder = decoder
        self._heads = heads
        self._plan = plan
        self._rows = rows = plan.rows
        self._answer_chunk = answer_chunk
        self._reduce = reduce
        self._deviations: list[tuple[int, Tensor, float]] = []
        self._mixing: Tensor | None = None
        self._way: dict[int, tuple[str, torch.dtype]] = {}
        self._scores: dict[int, Tensor] = {}
        self._passes = 0
        self._running = False
        self._layers: dict[int, list[int]] = {}
        for head in heads:
            self._layers.setdefault(head.layer, []).append(head.head)
        self._heads_N = {
            layer: torch.tensor(numbers, device=rows.row_R.device) for layer, numbers in self._layers.items()
        }

    @property
    def scores_BKN(self) -> Tensor:
        """Step scores, float32: what the step's tokens receive from the whole answer, averaged over them.

        The last dimension follows the heads asked for. A response with an empty answer scores 0 on every step,
        and a step without tokens (padding of K included) scores 0.

        Of packed rows, one row of scores a sequence: (S, K, N).

        Raises:
            RuntimeError: no forward pass has been made inside the reading.
            UnsupportedModelError: a layer was not seen during the forward pass, or its output does not follow from
                the probabilities that were read.
            ValueError: several sequences stand in a row, and they see each other or were not told apart.
        """
        if not self._passes or self._running:
            raise RuntimeError(
                f"no finished forward pass of {self._decoder.name} inside `read_step_scores`;"
                " call the model there, and do not call a copy"
            )
        unseen = [layer for layer in self._layers if layer not in self._scores]
        if unseen:
            raise UnsupportedModelError(
                f"{self._decoder.name}: layers {listed(sorted(unseen))} made no attention call through transformers'"
                " registry in the forward pass; load the model with attn_implementation='sdpa', uncompiled"
            )
        self._raise_what_was_seen()
        scores_BKN = self._in_order()
        return scores_BKN if self._plan.packing is None else self._plan.packing.by_sequence(scores_BKN)

    @property
    def logits(self) -> tuple[int, int]:
        """Attention logits that the reading computes once more, and those of the pass itself: all heads, all layers."""
        rows, length = self._plan.step_index_BL.shape
        config = self._decoder.config
        own = rows * length * length * int(config.num_attention_heads) * int(config.num_hidden_layers)
        return sum(self._rows.answer_counts) * length * len(self._heads), own

    def _raise_what_was_seen(self) -> None:
        """Judge what was set aside during the pass, so that the device is not waited for in it."""
        for layer, deviation, allowed in self._deviations:
            if not float(deviation) <= allowed:
                raise UnsupportedModelError(
                    f"{self._decoder.name}, layer {layer}: the attention probabilities read do not give the layer's"
                    f" output (off by {float(deviation):.0%}): its attention is more than the softmax that is known"
                    " here; choose another layer or model"
                )
            module = self._decoder.attention[layer]
            _WITNESSED.setdefault(module, set()).add(self._way[layer])
        self._deviations = []
        mixing, self._mixing = self._mixing, None
        if mixing is None or not float(mixing) > 1e-6:
            return
        if self._plan.packing is None:
            raise ValueError(
                "several sequences are packed into a row, and steps or answers of more than one are read together;"
                " give sequence_BL to read each by itself"
            )
        raise ValueError(
            "packed sequences see each other in this forward pass; give position_ids that start anew with each"
            " sequence, and no attention_mask (flash attention: cu_seq_lens_q too)"
        )

    def _in_order(self) -> Tensor:
        device = self._rows.row_R.device
        columns = {
            Head(layer, head): (layer, column)
            for layer, heads in self._layers.items()
            for column, head in enumerate(heads)
        }
        if self._reduce is not None or list(columns) == self._heads:  # what a reduction keeps need not go by heads
            return torch.cat([self._scores[layer].to(device) for layer in self._layers], dim=-1)
        places = [columns[head] for head in self._heads]
        return torch.stack([self._scores[layer][..., column].to(device) for layer, column in places], dim=-1)

    def _packed_badly(self, call: AttentionCall, head: int) -> Tensor | None:
        """Whether sequences see each other although they are packed, or are packed although nothing was said."""
        step_index_BL, answer_mask_BL = self._plan.step_index_BL, self._plan.answer_mask_BL
        if self._plan.packing is not None:
            return self._plan.packing.mass_on_others(call, head)
        return mixes_sequences(call, step_index_BL, answer_mask_BL)

    @contextmanager
    def _attached(self) -> Iterator[None]:
        observers = {
            self._decoder.attention[layer]: partial(self._observe, layer, heads)
            for layer, heads in self._layers.items()
        }
        module = self._decoder.module
        with ExitStack() as stack:
            stack.enter_context(observe_attention(observers))
            # The forward pass is what happens between these two; layers that gradient checkpointing runs
            # again during the backward pass run outside of it. A pass that raises is never finished.
            stack.callback(module.register_forward_pre_hook(self._begin).remove)
            stack.callback(module.register_forward_hook(self._end).remove)
            yield

    def _begin(self, *_: object) -> None:
        if self._passes:
            raise RuntimeError(
                f"a second forward pass of {self._decoder.name} inside one `read_step_scores`; open one a pass"
            )
        self._passes += 1
        self._running = True

    def _end(self, *_: object) -> None:
        self._running = False

    def _observe(self, layer: int, heads: Sequence[int], call: AttentionCall) -> Callable[[Tensor], None] | None:
        if not self._running:
            return None
        where = f"{self._decoder.name}, layer {layer}"
        stated, computed = self._decoder.config.num_attention_heads, call.query_BHLD.shape[1]
        if computed != stated:
            raise UnsupportedModelError(
                f"{where}: computes {computed} heads, its config states {stated}: heads are split over processes, or"
                " are none of softmax attention's; choose another layer, or load the model without splitting it"
            )
        if layer in self._scores:
            raise UnsupportedModelError(f"{where}: calls attention twice in a forward pass; choose another layer")
        expected = tuple(self._plan.step_index_BL.shape)
        for name, tensor in (("queries", call.query_BHLD), ("keys", call.key_BJLD)):
            if (tensor.shape[0], tensor.shape[2]) != expected:
                raise ValueError(
                    f"{where}: {name} of {tensor.shape[0]} rows and {tensor.shape[2]} tokens, but step_index_BL"
                    f" has {expected[0]} and {expected[1]}; pass the same tokens, no cache, no virtual tokens"
                )
        if not self._scores:
            self._mixing = self._packed_badly(call, heads[0])
        self._scores[layer] = read_layer(
            call, heads, self._heads_N[layer], self._rows, self._answer_chunk, self._reduce
        )
        self._way[layer] = way = (call.implementation, call.query_BHLD.dtype)
        if way in _WITNESSED.get(self._decoder.attention[layer], ()):
            return None
        return partial(self._compare, layer, call)

    def _compare(self, layer: int, call: AttentionCall, output: Tensor) -> None:
        deviation = output_deviation(call, self._heads_N[layer], self._rows, output)
        if deviation is not None:
            self._deviations.append((layer, deviation, tolerance(call, output)))


@contextmanager
def read_step_scores(
    model: nn.Module,
    heads: Sequence[Head] | None,
    step_index_BL: Tensor,
    answer_mask_BL: Tensor,
    attention_mask_BL: Tensor | None = None,
    num_steps: int | None = None,
    answer_chunk: int = 64,
    sequence_BL: Tensor | None = None,
    reduce: Reduce | None = None,
) -> Iterator[StepReading]:
    """Read step scores off the next forward pass of `model`, at no extra pass.

        with read_step_scores(model, heads, step_index_BL, answer_mask_BL) as reading:
            output = model(input_ids, attention_mask=attention_mask)
        scores_BKN = reading.scores_BKN

    Outputs and gradients of the model are bit-identical with and without it. The backward pass may run inside
    or outside the block, with gradient checkpointing too. Readings may be nested, of one model or of several;
    each takes exactly one forward pass. Nothing is left behind when the block ends, also by an exception.

    Give the tensors on the model's device: then the device is waited for once, on entering. An exhaustive reading
    (`heads=None`) costs as many rows as there are heads; a few heads cost next to nothing.

    Args:
        model: a transformers decoder, bare or wrapped (PEFT, DDP, accelerate, multimodal).
        heads: the heads to read; None reads all heads of all layers, N = layers x heads by layer, then head.
        step_index_BL: step of each token, -1 where it belongs to none.
        answer_mask_BL: True on the tokens of the final answer F.
        attention_mask_BL: where given, padding (0) belongs to no step and no answer. What queries see is taken
            from the model's own mask.
        num_steps: K; by default the largest step index plus 1.
        answer_chunk: most answer tokens taken at once; bounds memory, does not change scores.
        sequence_BL: where several sequences are packed into a row (padding-free): the sequence of each token, counted
            from 0 over the whole batch, -1 for padding. `step_index_BL` then counts anew in each sequence, and the
            scores have one row a sequence. The model must be told too, by position_ids that start anew.
        reduce: what to keep of a layer's rows in place of Eq. 1 (`attnpo.attention.reduction`); `scores_BKN` is then
            what it returns, the layers one behind the other in the last dimension. Not with `sequence_BL`.

    Raises:
        UnsupportedModelError: a chosen layer has no softmax attention that can be read, or heads are split over
            processes.
        HeadSetError: a head does not exist or is listed twice, or no head is given.
        ValueError: the shapes differ from each other or from the forward pass.
        RuntimeError: a second forward pass is made inside the block.
    """
    if step_index_BL.shape != answer_mask_BL.shape or step_index_BL.dim() != 2 or not step_index_BL.numel():
        raise ValueError(
            f"step_index_BL {tuple(step_index_BL.shape)} and answer_mask_BL {tuple(answer_mask_BL.shape)}"
            " must have one shape (B, L), not empty"
        )
    if answer_chunk < 1:
        raise ValueError(f"answer_chunk is {answer_chunk}; it must be at least 1")
    decoder, chosen = _readable(model, heads)
    answer_mask_BL = answer_mask_BL.bool()
    if attention_mask_BL is not None:
        real_BL = attention_mask_BL.bool()
        answer_mask_BL = answer_mask_BL & real_BL
        step_index_BL = torch.where(real_BL, step_index_BL, -1)
    packing = None
    if sequence_BL is not None:
        packing = Packing.of(sequence_BL, step_index_BL, num_steps)
        answer_mask_BL = answer_mask_BL & (sequence_BL >= 0)
        step_index_BL = packing.numbered_through(step_index_BL)
        num_steps = packing.num_sequences * packing.num_steps
    rows = Rows.of(step_index_BL, answer_mask_BL, num_steps)
    reading = StepReading(decoder, chosen, _Plan(step_index_BL, answer_mask_BL, rows, packing), answer_chunk, reduce)
    with reading._attached():
        yield reading


def check_readable(model: nn.Module, heads: Sequence[Head] | None = None) -> None:
    """Check before any forward pass that heads can be read; None stands for every head of every layer.

    Raises:
        UnsupportedModelError: a chosen layer has no softmax attention that can be read.
        HeadSetError: a head does not exist or is listed twice, or no head is given.
    """
    _readable(model, heads)


def readable_heads(model: nn.Module) -> tuple[list[Head], list[int]]:
    """Return every head that can be read, and the layers that have none.

    Layers without softmax attention (linear attention, convolution, state space), or whose attention transformers'
    registry does not see, are passed over. Query heads that share their keys (grouped-query attention) are heads of
    their own: they ask with different queries.

    Returns:
        heads by layer, then head; the other layers.

    Raises:
        UnsupportedModelError: no layer can be read.
    """
    decoder = find_decoder(model)
    if not decoder.attention:
        _readable(model, None)  # refuses, and says why
    heads = [Head(layer, head) for layer in decoder.attention for head in range(decoder.config.num_attention_heads)]
    return heads, sorted(decoder.unreadable)


def ensemble_scores(scores_BKN: Tensor) -> Tensor:
    """Average step scores over the heads: scores_BK (AttnPO, Eq. 2)."""
    return scores_BKN.mean(-1)


def _readable(model: nn.Module, heads: Sequence[Head] | None) -> tuple[Decoder, list[Head]]:
    check_parallelism(model)
    decoder = find_decoder(model)
    every_layer = range(decoder.config.num_hidden_layers)
    layers = list(every_layer) if heads is None else sorted({head[0] for head in heads})
    # Layers before heads: a model without attention has no number of heads to check against.
    refused = [layer for layer in layers if layer in decoder.unreadable]
    if refused:
        readable = f"in layers {listed(sorted(decoder.attention))}" if decoder.attention else "of another model"
        raise UnsupportedModelError(
            f"{decoder.name}: layer {refused[0]} has no softmax attention to read"
            f" ({decoder.unreadable[refused[0]]}); choose heads {readable}"
        )
    if heads is None:
        return decoder, [Head(n, head) for n in layers for head in range(decoder.config.num_attention_heads)]
    chosen = [Head(*head) for head in heads]
    validate_heads(chosen, decoder.config)
    return decoder, chosen
