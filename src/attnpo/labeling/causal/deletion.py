"""A response as a trace whose steps can be left out, as if they had never been written.

Leaving out a step means leaving out its token ids; nothing is tokenized again, and positions are numbered anew. One
seam has to be mended: a step owns the white space behind it, so the bare span of the last step takes along what stands
before `</think>` and leaves a paragraph break there that the model has never seen. That alone can cost the answer more
than losing a step that it needs. So a step is left out with the white space *before* it, and what follows keeps the
white space that it had in front. (The first step has none of its own and is left out with what follows it.)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from attnpo.errors import DataError
from attnpo.rollouts import Rollout
from attnpo.sampling import render_prompt

TokenText = Callable[[int], str]
"""Text of one token."""
_BOXED = "\\boxed{"


@dataclass(frozen=True)
class Piece:
    """A step's tokens, taken apart where the white space at its end begins.

    Attributes:
        body: the tokens up to the last one that shows something.
        space: the tokens behind it, white space only.
        visible: text of the last token of `body` without the white space at its end.
        fused: that white space: it shares a token with text.
        gap: all white space at the step's end, `fused` included.
    """

    body: tuple[int, ...]
    space: tuple[int, ...]
    visible: str
    fused: str
    gap: str

    @property
    def ids(self) -> tuple[int, ...]:
        """All tokens."""
        return self.body + self.space

    def ending_like(self, other: Piece) -> tuple[int, ...] | None:
        """Return this step's tokens with another step's white space at the end.

        None where tokens do not allow it: white space shares a token with text, and the texts differ.
        """
        if self.gap == other.gap:
            return self.ids
        if not self.fused and not other.fused:
            return self.body + other.space
        if self.body and other.body and self.visible == other.visible:
            return self.body[:-1] + other.body[-1:] + other.space
        return None


@dataclass(frozen=True)
class Trace:
    """One response, ready for steps to be left out.

    Attributes:
        prompt: the prompt.
        before: what the response has before its first step, white space at this step's beginning included.
        pieces: the K steps.
        after: what stands between the last step and the final answer (`</think>`).
        answer: the final answer F, without end token.
        boxed: the positions in F of what its last `\\boxed{…}` holds; all of F where there is none.
    """

    prompt: tuple[int, ...]
    before: tuple[int, ...]
    pieces: tuple[Piece, ...]
    after: tuple[int, ...]
    answer: tuple[int, ...]
    boxed: tuple[int, ...]

    def __len__(self) -> int:
        """Return the number of steps K."""
        return len(self.pieces)

    @property
    def deletable(self) -> tuple[int, ...]:
        """The steps that own tokens."""
        return tuple(k for k, piece in enumerate(self.pieces) if piece.ids)

    def without(self, deleted: Collection[int]) -> tuple[int, ...]:
        """Return the ids of prompt, trace and final answer if some steps had never been written."""
        return self.prompt + self.think_without(deleted) + self.answer

    def think_without(self, deleted: Collection[int]) -> tuple[int, ...]:
        """Return the ids of the response up to its final answer if some steps had never been written."""
        ids = list(self.before)
        for piece, follows in self._joints(deleted):
            mended = piece.ending_like(follows)
            ids += piece.ids if mended is None else mended
        owners = self.deletable
        if owners and set(owners) <= set(deleted):
            ids += self.pieces[owners[-1]].space
        return (*ids, *self.after)

    def open_seams(self, deleted: Collection[int]) -> int:
        """Return how many times what follows does not have the white space in front that it had."""
        return sum(piece.ending_like(follows) is None for piece, follows in self._joints(deleted))

    def later_tokens(self, step: int) -> int:
        """Return how many tokens follow a step, up to the end of the final answer."""
        pieces = self.pieces[step + 1 :]
        return sum(len(piece.ids) for piece in pieces) + len(self.after) + len(self.answer)

    def _joints(self, deleted: Collection[int]) -> Iterator[tuple[Piece, Piece]]:
        """Yield each kept step with the step whose white space what follows it had in front."""
        owners = [self.pieces[k] for k in self.deletable]
        kept = [place for place, k in enumerate(self.deletable) if k not in deleted]
        for place, following in itertools.pairwise([*kept, len(owners)]):
            yield owners[place], owners[following - 1]


class TraceBuilder:
    """Turns rollouts into traces; decodes each token of a tokenizer once."""

    def __init__(self, tokenizer: Any):
        """Keep the tokenizer."""
        self._tokenizer = tokenizer
        self._text: TokenText = lru_cache(maxsize=None)(
            lambda token: str(tokenizer.decode([token], clean_up_tokenization_spaces=False))
        )

    def __call__(self, rollout: Rollout) -> Trace:
        """Return the trace of a segmented response.

        Raises:
            DataError: the steps' token spans overlap, are out of order, or reach into the final answer.
        """
        ids, (start, end) = rollout.response_ids, rollout.answer_tokens
        borders = [position for step in rollout.steps for position in step.tokens]
        if not rollout.steps or borders != sorted(borders) or borders[-1] > start:
            raise DataError(
                f"problem {rollout.problem_id!r}, sample {rollout.sample}: the steps' token spans are missing, out of "
                "order or reach into the final answer; segment the response again"
            )
        first, last = borders[0], borders[-1]
        while first < rollout.steps[0].tokens[1] and self._is_space(ids[first]):
            first += 1
        # A token between two steps (a special token) goes with the step before it.
        starts = [first, *(max(first, step.tokens[0]) for step in rollout.steps[1:]), last]
        pieces = tuple(self._piece(ids[a:b]) for a, b in itertools.pairwise(starts))
        answer = tuple(ids[start:end])
        return Trace(
            prompt=tuple(render_prompt(self._tokenizer, rollout.prompt, rollout.opening)),
            before=tuple(ids[:first]),
            pieces=pieces,
            after=tuple(ids[last:start]),
            answer=answer,
            boxed=boxed_positions([self._text(token) for token in answer]),
        )

    def _is_space(self, token: int) -> bool:
        text = self._text(token)
        return text != "" and text.isspace()

    def _piece(self, ids: Sequence[int]) -> Piece:
        cut = len(ids)
        while cut > 0 and self._is_space(ids[cut - 1]):
            cut -= 1
        text = self._text(ids[cut - 1]) if cut else ""
        visible = text.rstrip()
        fused = text[len(visible) :]
        space = tuple(ids[cut:])
        return Piece(tuple(ids[:cut]), space, visible, fused, fused + "".join(map(self._text, space)))


def boxed_positions(texts: Sequence[str]) -> tuple[int, ...]:
    r"""Return the tokens that what the last `\boxed{…}` holds begins in or runs through; all where there is none.

    Args:
        texts: the text of each token.
    """
    text = "".join(texts)
    opened = text.rfind(_BOXED)
    depth, close = 0, -1
    for place in range(opened + len(_BOXED) - 1, len(text)) if opened >= 0 else ():
        depth += {"{": 1, "}": -1}.get(text[place], 0)
        if depth == 0:
            close = place
            break
    ends = list(itertools.accumulate(map(len, texts)))
    spans = zip([0, *ends[:-1]], ends, strict=True)
    held = tuple(i for i, (a, b) in enumerate(spans) if a < close and b > opened + len(_BOXED)) if close > 0 else ()
    return held or tuple(range(len(texts)))
