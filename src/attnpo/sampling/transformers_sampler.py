"""Sampling with a transformers model: each prompt is read once for its group, rows that end make place for others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import transformers

from attnpo.sampling.base import SampledResponse, SampleRequest, SamplingParams
from attnpo.sampling.decoding import DecodingBatch, Row
from attnpo.sampling.memory import CACHE_SHARE, cache_bytes_a_token, free_bytes

REFILL_BELOW = 0.75
HEADROOM = 512
"""Positions kept free a row when rows join, so that they are not sent away again soon."""


def describe() -> dict[str, Any]:
    """Return what responses depend on besides model, prompts and sampling settings; JSON values."""
    return {
        "engine": "transformers",
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "seed": "a response depends on the seed, its prompt and its number only",
    }


@dataclass
class TransformersSampler:
    """Samples from a loaded causal language model.

    A response depends on (seed, key, sample) only: every row draws from a stream of random numbers of its own. (A
    token may differ where two are equally likely to within the rounding of the model's arithmetic.)

    Attributes:
        model: the model; its current mode, dtype and device are used as they are.
        tokenizer: for the end and padding tokens.
        rows: how many responses are decoded side by side.
        compact_below: finished rows are dropped once the share still running falls below this.
        refill_below: waiting requests join once the share still running falls below this; 0 waits until all have
            ended. `REFILL_BELOW` if absent, 0 on a CPU: there a narrow batch is cheap, and joining rows, whose cache is
            as wide as the longest one's, cost more than they save (`benchmarks/sampling_engines.py`).
        attn_implementation: attention to decode with; the model's own if absent. On a CPU `sdpa` decodes faster
            and `eager` trains faster.
        cache_tokens: positions of keys and values held at most (rows times their length); by the free memory if
            absent. Where long responses would exceed it, the shortest ones wait and go on later.
        on_tokens: called with the number of tokens drawn in each step.
    """

    model: Any
    tokenizer: Any
    rows: int = 128
    compact_below: float = 0.9
    refill_below: float | None = None
    attn_implementation: str | None = None
    cache_tokens: int | None = None
    on_tokens: Callable[[int], None] | None = None

    @property
    def description(self) -> dict[str, Any]:
        """What the responses depend on besides model, prompts and sampling settings; JSON values."""
        return describe()

    def close(self) -> None:
        """Do nothing: the model is another's."""

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the request, its response)` in the order they end; see `Sampler.sample`."""
        rows = [Row(i, request.prompt_ids, request.key, request.sample) for i, request in enumerate(requests)]
        yield from self.stream(rows, params)

    def stream(self, rows: Sequence[Row], params: SamplingParams) -> Iterator[tuple[int, SampledResponse]]:
        """Yield `(index of the row, what was drawn)` in the order rows end; rows may have limits of their own."""
        waiting = deque(sorted(rows, key=lambda row: (len(row.read_ids), row.key, row.index)))
        if not waiting:
            return
        batch = DecodingBatch(self.model, self.tokenizer, params, min(self.rows, len(waiting)))
        limit = self.cache_tokens or self._affordable_tokens()
        while waiting or batch.running:
            # The model's own attention is in place whenever the caller has the word.
            with self._attention():
                finished: list[tuple[Row, SampledResponse]] = []
                while not finished:
                    batch.advance()
                    waiting.extendleft(reversed(_overflow(batch, limit)))
                    self._fill(batch, waiting, limit)
                    finished = self._draw(batch)
            for row, response in finished:
                yield row.index, response

    def decode(
        self,
        prompts: Sequence[Sequence[int]],
        streams: Sequence[Sequence[tuple[int, int]]],
        params: SamplingParams,
    ) -> list[SampledResponse]:
        """Draw responses to all prompts in one batch.

        Args:
            prompts: token ids of each prompt; read once each.
            streams: for each prompt, the `(key, sample)` pair that seeds each of its responses.
            params: how to draw.

        Returns:
            The responses, prompt by prompt, in the order of `streams`.
        """
        pairs = [(prompt, stream) for prompt, group in zip(prompts, streams, strict=True) for stream in group]
        rows = [Row(index, prompt, key, sample) for index, (prompt, (key, sample)) in enumerate(pairs)]
        responses: dict[int, SampledResponse] = {}
        with self._attention():
            batch = DecodingBatch(self.model, self.tokenizer, params, len(rows))
            batch.admit(rows)
            while batch.running:
                batch.advance()
                responses.update((row.index, response) for row, response in self._draw(batch))
        return [responses[row.index] for row in rows]

    def _draw(self, batch: DecodingBatch) -> list[tuple[Row, SampledResponse]]:
        running = batch.running
        finished = batch.draw()
        if self.on_tokens is not None:
            self.on_tokens(running)
        if batch.running < self.compact_below * batch.held:
            batch.drop_finished()
        return finished

    def _fill(self, batch: DecodingBatch, waiting: deque[Row], limit: int) -> None:
        """Let waiting rows join where enough places are free and the memory allows."""
        if not waiting or (batch.running and not batch.can_append):
            return
        most = min(self.rows, limit // (max(batch.width, len(waiting[0].read_ids)) + HEADROOM))
        if batch.running and batch.running >= self._refill_below() * most:
            return
        joining: list[Row] = []
        width = batch.width
        while waiting and batch.running + len(joining) < self.rows:
            width = max(width, len(waiting[0].read_ids))
            fits = (batch.running + len(joining) + 1) * (width + HEADROOM) <= limit
            if not fits and (batch.running or joining):
                break
            joining.append(waiting.popleft())
        if joining:
            batch.admit(joining)

    def _refill_below(self) -> float:
        if self.refill_below is not None:
            return self.refill_below
        return 0.0 if self.model.device.type == "cpu" else REFILL_BELOW

    def _affordable_tokens(self) -> int:
        """Return how many positions of keys and values the free memory holds."""
        free = free_bytes(self.model.device)
        return max(1, int(CACHE_SHARE * free / cache_bytes_a_token(self.model, self.tokenizer)))

    @contextmanager
    def _attention(self) -> Iterator[None]:
        own = self.model.config._attn_implementation
        if self.attn_implementation in (None, own):
            yield
            return
        self.model.set_attn_implementation(self.attn_implementation)
        try:
            yield
        finally:
            self.model.set_attn_implementation(own)


def _overflow(batch: DecodingBatch, limit: int) -> list[Row]:
    """Send away the rows that the memory has no room for; one always stays."""
    if batch.running * (batch.width + 1) <= limit:
        return []
    staying = max(1, limit // (batch.width + 1))
    return batch.preempt(batch.running - staying) if staying < batch.running else []
