"""Reproducible draws: every (prompt, sample) pair owns a stream of uniform numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from transformers import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    InfNanRemoveLogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    NoRepeatNGramLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from attnpo.errors import ConfigError, one_line
from attnpo.sampling.base import SamplingParams
from attnpo.sampling.honoured import KWARGS, OWN


def request_seed(seed: int, key: int, sample: int) -> int:
    """Return a number below 2^31 that depends on (seed, key, sample), for engines that draw by themselves."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}/{sample}".encode()).digest()[:4], "big") >> 1


def uniform_stream(seed: int, key: int, sample: int, length: int) -> np.ndarray:
    """Return `length` uniform float64 numbers in [0, 1) that depend on (seed, key, sample) only."""
    digest = hashlib.sha256(f"{seed}/{key}/{sample}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little"))).random(length)


Processors = dict[str, Callable[[Any, torch.Tensor], Any]]

READING: Processors = {
    "sequence_bias": lambda value, ends: SequenceBiasLogitsProcessor(value),
    "repetition_penalty": lambda value, ends: RepetitionPenaltyLogitsProcessor(float(value)),
    "no_repeat_ngram_size": lambda value, ends: NoRepeatNGramLogitsProcessor(value),
    "bad_words_ids": lambda value, ends: NoBadWordsLogitsProcessor(value, ends),
}
"""What looks at the tokens so far: transformers' own processors by setting, in its order; `ends` are the end tokens."""
BLIND: Processors = {
    "remove_invalid_values": lambda value, ends: InfNanRemoveLogitsProcessor(),
    "suppress_tokens": lambda value, ends: SuppressTokensLogitsProcessor(value, device=str(ends.device)),
}
"""What looks at the scores alone, whether a token is sampled or the likeliest taken."""
WARPING: Processors = {
    "temperature": lambda value, ends: TemperatureLogitsWarper(float(value)),
    "top_h": lambda value, ends: TopHLogitsWarper(value),
    "top_k": lambda value, ends: TopKLogitsWarper(value),
    "top_p": lambda value, ends: TopPLogitsWarper(float(value)),
    "min_p": lambda value, ends: MinPLogitsWarper(float(value)),
    "typical_p": lambda value, ends: TypicalLogitsWarper(value),
    "epsilon_cutoff": lambda value, ends: EpsilonLogitsWarper(value),
    "eta_cutoff": lambda value, ends: EtaLogitsWarper(value, device=str(ends.device)),
}
"""What shapes the distribution that a token is sampled from."""


def shaping(params: SamplingParams, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return every setting that acts on a draw: the run's, and the checkpoint's where the run says nothing."""
    given = {**checkpoint, **params.extra, **{name: getattr(params, name) for name in OWN}}
    return {name: value for name, value in given.items() if {**KWARGS, **OWN}[name].acts(value)}


def logits_processors(
    settings: Mapping[str, Any], ends: torch.Tensor
) -> tuple[LogitsProcessorList, LogitsProcessorList, LogitsProcessorList]:
    """Return transformers' own processors: those that read the text so far, those that do not, and the warpers.

    Args:
        settings: what `shaping` returns.
        ends: end tokens.

    Raises:
        ConfigError: transformers refuses a value.
    """
    settings = {name: value for name, value in settings.items() if (name, value) != ("temperature", 1.0)}
    lists = []
    warping: Processors = {} if settings.get("temperature") == 0.0 else WARPING
    for made in (READING, BLIND, warping):
        processors = LogitsProcessorList()
        for name in made:
            if name not in settings:
                continue
            try:
                processors.append(made[name](settings[name], ends))
            except (TypeError, ValueError) as error:
                raise ConfigError(f"{name}: {settings[name]!r} is refused ({one_line(error)})") from error
        lists.append(processors)
    return lists[0], lists[1], lists[2]


def draw_tokens(logits_BV: torch.Tensor, uniform_B: torch.Tensor) -> torch.Tensor:
    """Draw one token a row by inverting the cumulative distribution at `uniform_B`.

    Args:
        logits_BV: warped logits, float32; -inf marks excluded tokens.
        uniform_B: uniform numbers in [0, 1), float64.

    Returns:
        Token ids, (B,) int64.
    """
    cumulative_BV = torch.softmax(logits_BV, dim=-1).cumsum(dim=-1, dtype=torch.float64)
    target_B1 = (uniform_B * cumulative_BV[:, -1]).unsqueeze(1)
    # First position whose cumulative mass exceeds the target: never a token of zero probability.
    return torch.searchsorted(cumulative_BV, target_B1, right=True).squeeze(1).clamp_(max=logits_BV.size(1) - 1)
