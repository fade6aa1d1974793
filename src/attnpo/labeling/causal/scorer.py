"""Log-probabilities of the ends of token sequences that begin alike: what they share is computed once.

The common sequence is run once and its keys and values are kept; a variant that departs from it at token p is run from
p on. Several variants go through in one pass: all rows are aligned at their ends, and the kept prefixes, cut to what
each row needs, are padded on the left. So distances between tokens (sliding windows), rotary positions and the place
of the scored tokens are those of a plain pass over the row alone.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from attnpo.labeling.causal.plan import plan_passes
from attnpo.models import forward_arguments
from attnpo.statistics import Floats

log = logging.getLogger(__name__)

Layers = tuple[tuple[torch.Tensor, torch.Tensor] | None, ...]
"""Keys and values of each layer, (1, heads, tokens, width); None for a layer that keeps none of its own."""

CACHE_NAMES = ("past_key_values", "cache")
"""What a model calls its cache: as transformers does below 5.24, and from there on."""
LOGITS_HELD = 2**28
"""Logits held at a time; 1 GiB in float32."""
TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-3}
"""Mean difference a token, in nats, that rounding may make between a plain pass and one that shares a prefix."""
TOLERANCE_16_BIT = 0.1


@dataclass
class Cost:
    """What scoring took.

    Attributes:
        variants: sequences scored.
        tokens: tokens run through the model.
        plain_tokens: tokens that a pass over each whole sequence would have run.
        passes: forward passes; plain ones would have been one a variant.
        seconds: time taken.
    """

    variants: int = 0
    tokens: int = 0
    plain_tokens: int = 0
    passes: int = 0
    seconds: float = 0.0

    def plus(self, other: Cost, sign: int = 1) -> Cost:
        """Return both together, or with `sign` -1 what this has more than the other."""
        return Cost(**{name: value + sign * getattr(other, name) for name, value in asdict(self).items()})


@dataclass(frozen=True)
class Variant:
    """A sequence of which the log-probabilities of the last `scored` tokens are wanted."""

    ids: tuple[int, ...]
    scored: int


@dataclass(frozen=True)
class Prefix:
    """A sequence that was run.

    Attributes:
        ids: its tokens.
        logprobs: log-probabilities (nats) of its last tokens.
        layers: keys and values; None where every variant takes a plain pass.
    """

    ids: tuple[int, ...]
    logprobs: Floats
    layers: Layers | None


class VariantScorer:
    """Scores variants of a sequence with a causal language model, in evaluation mode and without gradients.

    Attributes:
        cost: what was spent so far.
        plain_because: why each variant takes a plain pass of its own; None where prefixes are shared.
    """

    def __init__(self, model: Any, *, batch_tokens: int = 32768, pass_tokens: int = 256, share_prefix: bool = True):
        """Look at what the model can do.

        Args:
            model: the causal language model.
            batch_tokens: tokens, cached ones included, that a pass over several rows holds at most, and that a pass
                over one row runs at most.
            pass_tokens: tokens that may be run for nothing to save one pass.
            share_prefix: False takes plain passes.
        """
        self.cost = Cost()
        self._model = model
        self._batch_tokens = batch_tokens
        self._pass_tokens = pass_tokens
        self._arguments = forward_arguments(model)
        self._cache_name = next((name for name in CACHE_NAMES if name in self._arguments), None)
        self._vocabulary = int(model.config.get_text_config(decoder=True).vocab_size)
        self._checked = False
        self.plain_because = _why_plain(model.config, self._arguments) if share_prefix else "asked for"

    def open(self, ids: Sequence[int], scored: int) -> Prefix:
        """Run a sequence, and keep what its variants will share with it.

        Args:
            ids: the sequence.
            scored: how many of its last tokens to return log-probabilities of.
        """
        whole = Variant(tuple(ids), scored)
        with self._at_work([whole]):
            if self.plain_because is not None:
                return Prefix(whole.ids, self._plain(whole), None)
            cache = DynamicCache()
            logprobs = self._run([whole], len(whole.ids), cache)[0]
        layers = tuple((layer.keys, layer.values) if layer.is_initialized else None for layer in cache.layers)
        return Prefix(whole.ids, logprobs, layers)

    def score(self, prefix: Prefix, variants: Sequence[Variant]) -> list[Floats]:
        """Return per variant the log-probabilities (nats, float64) of its last `scored` tokens.

        The first time, one variant is scored both ways. Where they differ by more than rounding, the model's cache does
        not serve, `plain_because` says so, and all goes on in plain passes.
        """
        with self._at_work(variants):
            if prefix.layers is None or self.plain_because is not None or not variants:
                return [self._plain(variant) for variant in variants]
            scores = self._shared(prefix, prefix.layers, variants)
            if not self._checked:
                self._checked = True
                difference = float(np.abs(self._plain(variants[0]) - scores[0]).mean())
                if not difference <= TOLERANCE.get(self._model.dtype, TOLERANCE_16_BIT):
                    self.plain_because = f"sharing prefixes changes a token's log-probability by {difference:.2g}"
                    log.warning("causal effects: %s; each variant takes a pass of its own", self.plain_because)
                    return [self._plain(variant) for variant in variants]
        return scores

    def _shared(self, prefix: Prefix, layers: Layers, variants: Sequence[Variant]) -> list[Floats]:
        # The token before the first scored one has to be run, since its output is the score.
        to_run = [
            max(variant.scored + 1, len(variant.ids) - common_length(prefix.ids, variant.ids)) for variant in variants
        ]
        lengths = [len(variant.ids) for variant in variants]
        scores: dict[int, Floats] = {}
        for group in plan_passes(to_run, lengths, self._batch_tokens, self._pass_tokens):
            new = max(to_run[v] for v in group)
            cache = _cut_to_rows(layers, [lengths[v] - new for v in group])
            scores.update(zip(group, self._run([variants[v] for v in group], new, cache), strict=True))
        return [scores[v] for v in range(len(variants))]

    def _run(self, rows: Sequence[Variant], new: int, cache: DynamicCache) -> list[Floats]:
        """Run the last `new` tokens of each row after a cache that holds the others, padded on the left."""
        device = self._model.device
        ids_BQ = torch.tensor([row.ids[len(row.ids) - new :] for row in rows], device=device)
        kept_B1 = torch.tensor([[len(row.ids) - new] for row in rows], device=device)
        cached = int(kept_B1.max())
        positions_BQ = kept_B1 + torch.arange(new, device=device)
        mask_BL = (torch.arange(cached + new, device=device) >= cached - kept_B1).long()
        scored = max(row.scored for row in rows)
        found: list[torch.Tensor] = []
        # The last token's output scores nothing.
        for start, end, wanted in self._chunks(len(rows), new - 1, scored):
            logits_BQV = self._forward(
                ids_BQ[:, start:end],
                wanted,
                attention_mask=mask_BL[:, : cached + end],
                position_ids=positions_BQ[:, start:end],
                use_cache=True,
                **{str(self._cache_name): cache},
            )
            if wanted:
                found.append(_gather(logits_BQV[:, -wanted:], ids_BQ[:, end + 1 - wanted : end + 1]))
        logprobs_BS = torch.cat(found, dim=1).double().cpu().numpy()
        return [logprobs_S[scored - row.scored :] for row, logprobs_S in zip(rows, logprobs_BS, strict=True)]

    def _plain(self, variant: Variant) -> Floats:
        """Score one row by a pass over all of it, no cache and no padding."""
        ids_1L = torch.tensor([variant.ids], device=self._model.device)
        logits_1QV = self._forward(ids_1L[:, :-1], variant.scored, use_cache=False)
        return _gather(logits_1QV[:, -variant.scored :], ids_1L[:, -variant.scored :])[0].double().cpu().numpy()

    @torch.no_grad()
    def _forward(self, ids_BQ: torch.Tensor, wanted: int, **arguments: Any) -> torch.Tensor:
        self.cost.passes += 1
        self.cost.tokens += ids_BQ.numel()
        known = {name: value for name, value in arguments.items() if name in self._arguments}
        if "logits_to_keep" in self._arguments:
            known["logits_to_keep"] = max(1, wanted)
        logits_BQV: torch.Tensor = self._model(input_ids=ids_BQ, **known).logits
        return logits_BQV

    def _chunks(self, rows: int, length: int, scored: int) -> Iterator[tuple[int, int, int]]:
        """Yield `(start, end, outputs wanted)` of the parts that `length` tokens a row are run in."""
        tokens = max(1, self._batch_tokens // rows)
        outputs = max(1, LOGITS_HELD // (rows * self._vocabulary))
        if "logits_to_keep" not in self._arguments:
            tokens = min(tokens, outputs)
        start, first = 0, length - scored
        while start < length:
            end = min(start + tokens, length, max(start, first) + outputs)
            yield start, end, max(0, end - max(start, first))
            start = end

    @contextmanager
    def _at_work(self, variants: Sequence[Variant]) -> Iterator[None]:
        """Count variants and time; keep the model in evaluation mode meanwhile."""
        was_training, start = self._model.training, time.perf_counter()
        self._model.eval()
        try:
            yield
        finally:
            self._model.train(was_training)
            self.cost.seconds += time.perf_counter() - start
            self.cost.variants += len(variants)
            self.cost.plain_tokens += sum(len(variant.ids) for variant in variants)


def common_length(a: Sequence[int], b: Sequence[int]) -> int:
    """Return how many tokens two sequences have in common before they part."""
    shorter = min(len(a), len(b))
    return next((i for i in range(shorter) if a[i] != b[i]), shorter)


def _gather(logits_BSV: torch.Tensor, targets_BS: torch.Tensor) -> torch.Tensor:
    logits_BSV = logits_BSV if logits_BSV.dtype == torch.float64 else logits_BSV.float()
    return logits_BSV.gather(-1, targets_BS.unsqueeze(-1)).squeeze(-1) - logits_BSV.logsumexp(-1)


def _cut_to_rows(layers: Layers, kept: Sequence[int]) -> DynamicCache:
    """Return a cache of one row an entry, each holding the first `kept` tokens, padded on the left."""
    cache = DynamicCache()
    width = max(kept)
    for pair in layers:
        layer = DynamicLayer()
        if pair is not None and width:
            keys_HLD, values_HLD = pair[0][0], pair[1][0]
            padding_B1 = width - torch.tensor(kept, device=keys_HLD.device)[:, None]
            index_BL = (torch.arange(width, device=keys_HLD.device) - padding_B1).clamp(min=0)
            layer.update(keys_HLD[:, index_BL].transpose(0, 1), values_HLD[:, index_BL].transpose(0, 1))
        cache.layers.append(layer)
    return cache


def _why_plain(config: Any, arguments: frozenset[str]) -> str | None:
    """Return why prefixes cannot be shared, None where they can.

    Sliding layers can: the cache made here keeps all their tokens, and the model's own mask keeps the window.
    """
    if arguments.isdisjoint(CACHE_NAMES) or "attention_mask" not in arguments:
        return "the model takes no key/value cache"
    kinds = {type(layer) for layer in DynamicCache(config=config).layers}
    other = kinds - {DynamicLayer, DynamicSlidingWindowLayer}
    if other:
        return f"its cache has layers of another kind ({', '.join(sorted(kind.__name__ for kind in other))})"
    return None
