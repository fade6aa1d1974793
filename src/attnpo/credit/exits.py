"""Answers asked for early: a think part is cut and closed, and the policy answers from there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.credit.checks import Allowed
from attnpo.credit.policy import Continuation, Policy
from attnpo.errors import DataError
from attnpo.rollouts import Rollout, SegmentedResponse, Span
from attnpo.think import THINK_CLOSE

CLOSING: Final = Allowed(
    f"a text that holds {THINK_CLOSE}", lambda value: isinstance(value, str) and THINK_CLOSE in value
)
"""What a setting may be that closes a think part."""


FORCED: Final = ("forced_start", "forced_end")
"""Facts of a response: where a closing that was forced begins and ends; 0 where there is none."""


@dataclass(frozen=True)
class Exit:
    """A closed think part that waits for an answer.

    Attributes:
        row: index of the prompt, among those of this process.
        thought: the response's tokens up to the cut.
        closing: the tokens that close its think part.
    """

    row: int
    thought: tuple[int, ...]
    closing: tuple[int, ...]

    @property
    def prefix_ids(self) -> tuple[int, ...]:
        """All response tokens that stand before the answer."""
        return (*self.thought, *self.closing)


@torch.no_grad()
def without_closing(advantages_BT: Tensor, facts: Mapping[str, Tensor]) -> Tensor:
    """Return (B, T) advantages that are 0 on the tokens of closings that were forced: the policy did not choose them.

    Args:
        advantages_BT: (B, T) advantages.
        facts: (B,) facts of the responses; `FORCED` among them.

    Raises:
        DataError: the spans of the closings are missing.
    """
    if missing := [name for name in FORCED if name not in facts]:
        raise DataError(f"the responses do not carry the spans of the closings: {', '.join(missing)}")
    start_B, end_B = (facts[name] for name in FORCED)
    places_T = torch.arange(advantages_BT.shape[1], device=advantages_BT.device)
    return advantages_BT.masked_fill((places_T >= start_B[:, None]) & (places_T < end_B[:, None]), 0.0)


def think_tokens(response: Rollout | SegmentedResponse) -> Span:
    """Return the think part's span in the response ids, empty where it has no steps."""
    steps = response.steps
    return (steps[0].tokens[0], steps[-1].tokens[1]) if steps else (0, 0)


def is_closed(rollout: Rollout) -> bool:
    """Whether the response closed its think part itself."""
    return THINK_CLOSE in rollout.response


def exit_at(row: int, response_ids: Sequence[int], place: int, closing: str, policy: Policy) -> Exit:
    """Cut a response and close its think part.

    Args:
        row: index of the prompt.
        response_ids: the response.
        place: number of its tokens that stay. Where the closing begins with a blank (space, line break), tokens of
            blanks alone before the cut are left out: the closing brings its own.
        closing: text that closes the think part.
        policy: knows the tokens of that text.
    """
    if closing[:1].isspace():
        while place > 0 and _is_blank(policy.tokenizer, response_ids[place - 1]):
            place -= 1
    return Exit(row, tuple(response_ids[:place]), tuple(policy.encode(closing)))


def accuracies(
    exits: Sequence[Exit],
    prompt_ids: Sequence[tuple[int, ...]],
    solutions: Sequence[str],
    num_answers: int,
    answer_tokens: int,
    policy: Policy,
) -> list[float]:
    """Return for each exit the share of short answers from there that are correct, in [0, 1].

    All are drawn in one call. Exits with the same prompt, prefix and solution share their answers, so what the
    responses of a group have in common is paid for once.

    Args:
        exits: where to answer.
        prompt_ids: what the model reads, a row each.
        solutions: reference answers, a row each.
        num_answers: answers an exit.
        answer_tokens: limit on an answer, in tokens.
        policy: draws and verifies.
    """
    first: dict[tuple[tuple[int, ...], tuple[int, ...], str], Exit] = {}
    keys = [(prompt_ids[e.row], e.prefix_ids, solutions[e.row]) for e in exits]
    for key, each in zip(keys, exits, strict=True):
        first.setdefault(key, each)
    if not first:
        return []
    wanted = [
        Continuation(each.row, answer_tokens, each.prefix_ids, sample)
        for each in first.values()
        for sample in range(num_answers)
    ]
    asked = [each for each in first.values() for _ in range(num_answers)]
    drawn = policy.draw(wanted)
    # The verdict looks after the last closing tag: the thought before it need not be decoded.
    texts = [policy.segment([*e.closing, *answer.ids], True).full_text for e, answer in zip(asked, drawn, strict=True)]
    verdicts = policy.verify(texts, [solutions[each.row] for each in asked])
    shares = {
        key: sum(verdicts[place * num_answers : (place + 1) * num_answers]) / num_answers
        for place, key in enumerate(first)
    }
    return [shares[key] for key in keys]


def _is_blank(tokenizer: Any, token_id: int) -> bool:
    text: str = tokenizer.decode([token_id], skip_special_tokens=False)
    return text.isspace()
