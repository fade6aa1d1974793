"""Rows of responses decoded side by side: rows join, end and leave while the others go on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch

from attnpo.sampling.base import SampledResponse, SamplingParams
from attnpo.sampling.cache import BLOCK, append_rows, can_append, drop_first, growing_cache
from attnpo.sampling.draws import draw_tokens, logits_processors, shaping, uniform_stream
from attnpo.sampling.honoured import OURS, check_checkpoint, check_kwargs, checkpoint_settings
from attnpo.sampling.prompts import end_token_ids


@dataclass
class Row:
    """A response being drawn.

    Attributes:
        index: whose it is, in the caller's count.
        prompt_ids: the prompt.
        key: with `sample` and the seed, the response's stream of random numbers.
        sample: see `key`.
        drawn: the tokens drawn so far, kept here only while the row is out of the batch.
        max_new_tokens: the row's own limit where it is below the batch's.
    """

    index: int
    prompt_ids: Sequence[int]
    key: int
    sample: int
    drawn: list[int] = field(default_factory=list)
    max_new_tokens: int | None = None

    @property
    def read_ids(self) -> tuple[int, ...]:
        """What the model reads when the row joins a batch."""
        return (*self.prompt_ids, *self.drawn)


class DecodingBatch:
    """Rows with one key/value cache, prompts padded on the left.

    Rows of equal prompts that join together are read once. A row that is sent away takes its tokens along and can join
    again: it goes on where it stopped.

    Attributes:
        running: rows that are not finished.
        width: positions a row takes in the cache, padding included.
        can_append: whether rows can join those that are under way.
    """

    def __init__(self, model: Any, tokenizer: Any, params: SamplingParams, capacity: int):
        """Prepare an empty batch.

        Args:
            model: causal language model; its mode, dtype and device are used as they are.
            tokenizer: for the end and padding tokens.
            params: how to draw.
            capacity: rows at most.

        Raises:
            ConfigError: the parameters, or the checkpoint's generation config, ask for what is not honoured here.
        """
        self._model, self._params = model, params
        device = self._device = model.device
        self._end_ids = torch.tensor(end_token_ids(model, tokenizer), device=device)
        pad_id = tokenizer.pad_token_id
        self._pad_id = int(pad_id) if pad_id is not None else int(self._end_ids[0])
        checkpoint = getattr(model, "generation_config", None)
        check_kwargs(OURS, params.extra)
        check_checkpoint(OURS, checkpoint)
        settings = shaping(params, checkpoint_settings(checkpoint))
        self._reading, self._blind, self._warping = logits_processors(settings, self._end_ids)
        # By place, which a row keeps while it is in the batch.
        length = params.max_new_tokens
        self._tokens = torch.full((capacity, length), self._pad_id, device=device)
        self._uniforms = torch.zeros((capacity, length), dtype=torch.float64, device=device)
        self._free = list(range(capacity))[::-1]
        self._clear()

    def _clear(self) -> None:
        self._rows: list[Row] = []
        self._cache: Any = None
        self._drawn: torch.Tensor | None = None  # tokens the model has not read yet
        self.can_append = True
        self.running = self.width = 0

    @property
    def held(self) -> int:
        """Rows held, finished ones that were not dropped yet included."""
        return len(self._rows)

    @torch.no_grad()
    def admit(self, rows: Sequence[Row]) -> None:
        """Read the rows' prompts (and what they drew before) and let them take part from the next step on."""
        self.drop_finished()
        texts: dict[tuple[int, ...], list[Row]] = {}
        for row in rows:
            texts.setdefault(row.read_ids, []).append(row)
        ordered = [row for group in texts.values() for row in group]
        cache, mask, positions, logits = self._read(list(texts))
        counts = torch.tensor([len(group) for group in texts.values()], device=self._device)
        text_of_row = torch.arange(len(texts), device=self._device).repeat_interleave(counts)
        cache.batch_select_indices(text_of_row)
        places = torch.tensor([self._place(row) for row in ordered], device=self._device)
        lengths = torch.tensor([len(row.drawn) for row in ordered], device=self._device)
        most = self._params.max_new_tokens
        limits = torch.tensor([min(row.max_new_tokens or most, most) for row in ordered], device=self._device)
        logits, mask, positions = logits[text_of_row], mask[text_of_row], positions[text_of_row, -1] + 1
        done = torch.zeros(len(ordered), dtype=torch.bool, device=self._device)
        if self._cache is None:
            self._cache, self._mask, self._logits = cache, mask, logits
            self._positions, self._places, self._lengths, self._done = positions, places, lengths, done
            self._limits = limits
            self.can_append = can_append(cache)
        else:
            append_rows(self._cache, cache)
            self._mask = _stack_right(self._mask, mask)
            self._logits = torch.cat([self._logits, logits])
            self._positions = torch.cat([self._positions, positions])
            self._places = torch.cat([self._places, places])
            self._lengths = torch.cat([self._lengths, lengths])
            self._limits = torch.cat([self._limits, limits])
            self._done = torch.cat([self._done, done])
        self._rows += ordered
        self.running += len(ordered)
        self.width = self._mask.size(1)

    def _read(self, texts: list[tuple[int, ...]]) -> tuple[Any, torch.Tensor, torch.Tensor, torch.Tensor]:
        width = max(map(len, texts))
        ids = torch.tensor([[self._pad_id] * (width - len(t)) + list(t) for t in texts], device=self._device)
        mask = torch.tensor([[0] * (width - len(t)) + [1] * len(t) for t in texts], device=self._device)
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        cache = growing_cache(self._model.config)
        logits = self._model(
            input_ids=ids,
            attention_mask=mask,
            position_ids=positions,
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=1,
        ).logits[:, -1]
        return cache, mask, positions, logits

    def _place(self, row: Row) -> int:
        place = self._free.pop()
        self._tokens[place] = self._pad_id
        if row.drawn:
            self._tokens[place, : len(row.drawn)] = torch.tensor(row.drawn, device=self._device)
        stream = uniform_stream(self._params.seed, row.key, row.sample, self._params.max_new_tokens)
        self._uniforms[place] = torch.from_numpy(stream).to(self._device)
        return place

    @torch.no_grad()
    def draw(self) -> list[tuple[Row, SampledResponse]]:
        """Draw a token for every running row; return those that this token finishes."""
        scores = self._blind(None, self._read_text(self._logits.float()))
        step = self._lengths.clamp(max=self._params.max_new_tokens - 1)
        if self._params.temperature == 0.0:
            drawn = scores.argmax(dim=-1)
        else:
            drawn = draw_tokens(self._warping(None, scores), self._uniforms[self._places, step])
        running = ~self._done
        self._drawn = torch.where(running, drawn, self._pad_id)
        # A finished row's tokens were handed out already, so that its padding may go anywhere.
        self._tokens[self._places, step] = self._drawn
        self._lengths = self._lengths + running
        ended = torch.isin(drawn, self._end_ids) & running
        over = ended | ((self._lengths >= self._limits) & running)
        indices = over.nonzero().squeeze(1).tolist()
        if not indices:
            return []
        self._done = self._done | over
        self.running -= len(indices)
        tokens = self._tokens[self._places[indices]].tolist()
        lengths, finished = self._lengths[indices].tolist(), ended[indices].tolist()
        return [
            (self._rows[index], SampledResponse(ids=ids[:length], finished=own_end))
            for index, ids, length, own_end in zip(indices, tokens, lengths, finished, strict=True)
        ]

    def _read_text(self, scores: torch.Tensor) -> torch.Tensor:
        """Return the scores after the processors that read the tokens so far: rows of equal lengths at a time, since
        padding is no text.
        """
        if not self._reading:
            return scores
        alike: dict[tuple[int, int], list[int]] = {}
        for index, (row, drawn) in enumerate(zip(self._rows, self._lengths.tolist(), strict=True)):
            alike.setdefault((len(row.prompt_ids), drawn), []).append(index)
        scores = scores.clone()
        for (_, drawn), indices in alike.items():
            prompts = torch.tensor([list(self._rows[index].prompt_ids) for index in indices], device=self._device)
            texts = torch.cat([prompts, self._tokens[self._places[indices], :drawn]], dim=1)
            scores[indices] = self._reading(texts, scores[indices])
        return scores

    @torch.no_grad()
    def advance(self) -> None:
        """Let the model read the tokens drawn last, where there are any."""
        if self._drawn is None:
            return
        self._mask = torch.cat([self._mask, self._mask.new_ones(self._mask.size(0), 1)], dim=1)
        self.width = self._mask.size(1)
        self._logits = self._model(
            input_ids=self._drawn.unsqueeze(1),
            attention_mask=self._mask,
            position_ids=self._positions.unsqueeze(1),
            past_key_values=self._cache,
            use_cache=True,
        ).logits[:, -1]
        self._positions = self._positions + 1
        self._drawn = None

    def drop_finished(self) -> None:
        """Free the places of finished rows."""
        if self.running < self.held:
            self._keep((~self._done).nonzero().squeeze(1))

    def preempt(self, count: int) -> list[Row]:
        """Take the `count` running rows with the shortest text out of the batch, with what they drew."""
        self.drop_finished()
        order = self._mask.sum(1).argsort(stable=True)
        leaving = order[:count].tolist()
        lengths = self._lengths.tolist()
        rows = [self._rows[index] for index in leaving]
        for row, index in zip(rows, leaving, strict=True):
            row.drawn = self._tokens[self._places[index], : lengths[index]].tolist()
        self.running -= len(rows)
        self._keep(order[count:].sort().values)
        return rows

    def _keep(self, indices: torch.Tensor) -> None:
        kept = indices.tolist()
        staying = set(kept)
        places = self._places.tolist()
        self._free += [places[index] for index in range(self.held) if index not in staying]
        if not kept:
            self._clear()
            return
        self._rows = [self._rows[index] for index in kept]
        self._cache.batch_select_indices(indices)
        self._mask, self._positions, self._logits = self._mask[indices], self._positions[indices], self._logits[indices]
        self._places, self._lengths, self._done = self._places[indices], self._lengths[indices], self._done[indices]
        self._limits = self._limits[indices]
        if self._drawn is not None:
            self._drawn = self._drawn[indices]
        empty = self._mask.size(1) - int(self._mask.sum(1).max())
        if empty >= BLOCK and self.can_append:
            drop_first(self._cache, empty)
            self._mask = self._mask[:, empty:]
            self.width = self._mask.size(1)


def _stack_right(upper: torch.Tensor, lower: torch.Tensor) -> torch.Tensor:
    """Stack two masks, the narrower one padded with zeros on the left."""
    width = max(upper.size(1), lower.size(1))
    padded = [torch.nn.functional.pad(mask, (width - mask.size(1), 0)) for mask in (upper, lower)]
    return torch.cat(padded)
