"""A policy for methods that draw: what it writes is a function, and everything asked of it is remembered."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoTokenizer

from attnpo.credit import Continuation, Policy, TokenStats
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.tinyworld import checkpoint_path
from attnpo.verification import build_verifier

Writes = Callable[[Continuation, str], str]
"""(what is asked, text of its prefix) -> text that follows, without its end token."""


@lru_cache(maxsize=1)
def small_tokenizer() -> Any:
    """The small world's tokenizer."""
    return AutoTokenizer.from_pretrained(checkpoint_path())


def ids_of(text: str, ends: bool = True) -> list[int]:
    """Tokens of a response, its end token included."""
    ids = small_tokenizer()(text, add_special_tokens=False)["input_ids"]
    return [*ids, small_tokenizer().eos_token_id] if ends else ids


@lru_cache(maxsize=1)
def small_segmenter() -> Segmenter:
    """Cuts at blank lines; one-line steps are long enough."""
    return Segmenter(small_tokenizer(), build_strategy("paragraphs", None, 1))


def rollout(text: str, solution: str = "7", sample: int = 0, ends: bool = True) -> Rollout:
    """A segmented response of which nothing is known yet."""
    ids = ids_of(text, ends)
    made = Rollout("p", "?", solution, sample, tuple(ids), text, finished=ends)
    return made.with_segmentation(small_segmenter()(ids))


@dataclass
class ScriptedPolicy:
    """Writes what a function says, cut to what is asked; `entropy` gives each token's entropy.

    Attributes:
        writes: the function.
        entropy: (token text, place) -> nats.
        calls: what each draw asked.
        passes: responses of each pass for entropies.
        drawn: tokens drawn so far.
    """

    writes: Writes
    entropy: Callable[[str, int], float] = lambda text, place: 0.0
    calls: list[list[Continuation]] = field(default_factory=list)
    passes: list[list[tuple[int, ...]]] = field(default_factory=list)
    drawn: int = 0

    def __call__(self, wanted: Sequence[Continuation]) -> list[SampledResponse]:
        self.calls.append(list(wanted))
        responses = []
        for each in wanted:
            ids = ids_of(self.writes(each, small_tokenizer().decode(each.prefix_ids)))
            responses.append(SampledResponse(ids[: each.max_new_tokens], len(ids) <= each.max_new_tokens))
        self.drawn += sum(len(response.ids) for response in responses)
        return responses

    def token_stats(self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> list[TokenStats]:
        self.passes.append([tuple(ids) for ids in responses])
        decode = small_tokenizer().decode
        entropies = [[self.entropy(decode([token]), place) for place, token in enumerate(ids)] for ids in responses]
        return [TokenStats(torch.zeros(len(row)), torch.zeros(len(row)), torch.tensor(row)) for row in entropies]

    @property
    def policy(self) -> Policy:
        """What a method is lent."""
        wanted: dict[str, Any] = {
            "tokenizer": small_tokenizer(),
            "draw": self,
            "segment": small_segmenter(),
            "verify": build_verifier("exact").verify,
            "token_stats": self.token_stats,
        }
        # A policy can do more than these methods ask for.
        others = {name: None for name in Policy.__dataclass_fields__ if name not in wanted}
        return Policy(**wanted, **others)
