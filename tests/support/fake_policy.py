"""A policy for methods that draw: it notes what is asked and answers as the test says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import torch
from transformers import AutoTokenizer

from attnpo.credit import Continuation, Policy, Requests, TokenStats
from attnpo.sampling import SampledResponse, render_prompt
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.tinyworld import checkpoint_path

QUESTION = [{"role": "user", "content": "Kim has 3 coins. How many coins does Kim have?"}]


@lru_cache(maxsize=1)
def world_tokenizer() -> Any:
    """The small world's tokenizer; its generation prompt opens the think part."""
    return AutoTokenizer.from_pretrained(checkpoint_path())


@dataclass
class FakePolicy:
    """Notes what is asked of it.

    Attributes:
        write: the text that follows a prefix, without the end token.
        first: (V,) log-probabilities of any next token.
        correct: whether a response text is correct.
        think: what it thinks of a response's tokens.
    """

    write: Callable[[Continuation], str] = lambda wanted: "So 3."
    first: torch.Tensor | None = None
    correct: Callable[[str, str], bool] = lambda text, solution: solution in text
    think: Callable[[Sequence[int]], TokenStats] | None = None
    drawn: list[Continuation] = field(default_factory=list)
    contexts: list[list[int]] = field(default_factory=list)

    @property
    def policy(self) -> Policy:
        """It as a method sees it."""
        tokenizer = world_tokenizer()
        return Policy(
            tokenizer=tokenizer,
            draw=self._draw,
            segment=Segmenter(tokenizer, build_strategy("paragraphs")),
            verify=lambda texts, solutions: [self.correct(t, s) for t, s in zip(texts, solutions, strict=True)],
            token_stats=self._stats,
            next_log_probs=self._next,
        )

    def _draw(self, wanted: Sequence[Continuation]) -> list[SampledResponse]:
        self.drawn += wanted
        tokenizer = world_tokenizer()
        ids = [tokenizer(self.write(item), add_special_tokens=False)["input_ids"] for item in wanted]
        return [SampledResponse([*text, tokenizer.eos_token_id], finished=True) for text in ids]

    def _next(self, contexts: Sequence[Sequence[int]]) -> torch.Tensor:
        self.contexts += [list(context) for context in contexts]
        assert self.first is not None, "no next token is to be asked for"
        return self.first.expand(len(contexts), -1)

    def _stats(self, prompts: Any, responses: Sequence[Sequence[int]]) -> list[TokenStats]:
        assert self.think is not None, "no forward pass is to be asked for"
        return [self.think(response) for response in responses]


def make_requests(groups: int = 1, size: int = 4, *, step: int = 0, limit: int = 50, opened: bool = True) -> Requests:
    """Requests for whole groups; `opened` says whether the prompts open the think part."""
    prompt = tuple(render_prompt(world_tokenizer(), QUESTION))
    if not opened:
        think = world_tokenizer().convert_tokens_to_ids("<think>")
        prompt = prompt[: prompt.index(think)]
    rows = [(group, sample) for group in range(groups) for sample in range(size)]
    return Requests(
        prompt_ids=[prompt] * len(rows),
        solutions=[str(group) for group, _ in rows],
        group_ids=[group for group, _ in rows],
        samples=[sample for _, sample in rows],
        max_new_tokens=limit,
        progress_step=step,
        keys=[f"p{group}" for group, _ in rows],
    )
