"""One interface over every engine that samples responses."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from attnpo.errors import ConfigError


@dataclass(frozen=True)
class SamplingParams:
    """How responses are drawn.

    Attributes:
        max_new_tokens: limit on the response, in tokens, end token included.
        temperature: softmax temperature; 0 takes the most likely token.
        top_p: nucleus: smallest set of tokens whose probability reaches it; 1 keeps all.
        top_k: how many of the most likely tokens to keep; 0 keeps all.
        seed: the response to (prompt `i`, sample `j`) depends on the seed, `i` and `j` only, not on how
            prompts are batched.
    """

    max_new_tokens: int
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens: {self.max_new_tokens} is below 1")
        if self.temperature < 0:
            raise ConfigError(f"temperature: {self.temperature} is negative")
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p: {self.top_p} is not in (0, 1]")
        if self.top_k < 0:
            raise ConfigError(f"top_k: {self.top_k} is negative; 0 keeps every token")


@dataclass(frozen=True)
class SampledResponse:
    """One response: its token ids (end token included where one was sampled) and whether it ended itself."""

    ids: list[int]
    finished: bool


class Sampler(Protocol):
    """An engine that draws `n` responses to each prompt."""

    def sample(
        self, prompt_ids: Sequence[Sequence[int]], n: int, params: SamplingParams, keys: Sequence[int] | None = None
    ) -> Iterator[tuple[int, list[SampledResponse]]]:
        """Yield `(prompt index, its n responses)` as groups finish, in any order.

        Args:
            prompt_ids: token ids of each prompt.
            n: responses a prompt.
            params: how to draw.
            keys: a stable number for each prompt that seeds its responses in place of its index, so that a
                prompt keeps its responses when others are left out.
        """
        ...
