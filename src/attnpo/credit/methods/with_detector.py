"""What LC-R1, DECS and DEPO share: they look for the first place in a think part where the answer stands."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from attnpo.credit.checks import Allowed, setting
from attnpo.credit.first_answer import DETECTOR, FirstAnswer, Trace, first_answers, load_detector
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Policy
from attnpo.credit.settings import GRPOSettings, MethodSettings
from attnpo.errors import ConfigError
from attnpo.rollouts import Rollout, Span, prompt_text
from attnpo.segmentation import OffsetDecoder

REDUNDANT_FROM: Final = "redundant_from"
"""Fact: place of the first response token behind the part of the think part that the answer needed."""
REDUNDANT_TO: Final = "redundant_to"
"""Fact: place of the token at which the think part ends; where nothing is redundant both are 0."""

NAMED = Allowed(f"'{DETECTOR}' or a module:function", lambda value: value == DETECTOR or ":" in str(value))
_HELP = (
    "What finds the first answer: verifier (what each sentence states is verified), or a function (questions, think "
    "parts, references) -> places."
)


@dataclass(frozen=True)
class DetectorSettings(MethodSettings):
    """Settings of methods with a detector and an advantage of their own."""

    detector: str = setting(DETECTOR, NAMED, _HELP)


@dataclass(frozen=True)
class GRPODetectorSettings(GRPOSettings):
    """The same for methods published with GRPO's advantage."""

    detector: str = setting(DETECTOR, NAMED, _HELP)


@dataclass(frozen=True)
class Thought:
    """The think part of a response, with what is needed to cut it.

    Attributes:
        text: the response.
        tokens: span of characters of each response token.
        think: the think part's span of characters.
        end: place of the token at which it ends, the first of the closing tag.
        answer: where the answer stands first, None where it does nowhere.
    """

    text: str
    tokens: Sequence[Span]
    think: Span
    end: int
    answer: FirstAnswer | None


class WithDetector(Method):
    """A method that asks the detector; the detector is loaded, or refused, when the method is made."""

    settings: DetectorSettings | GRPODetectorSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        """Keep the settings and load the detector.

        Raises:
            ConfigError: the settings are another method's, or the detector cannot be imported.
        """
        super().__init__(settings)
        self._detector = load_detector(self.settings.detector)
        self._decoder: OffsetDecoder | None = None
        self._decoder_of: Any = None

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse `code`: no sentence states a program."""
        if verifier == "code" and self._detector is None:
            raise ConfigError(
                f"verifier: method '{self.name}' looks for the answer in sentences, which state no programs; use "
                "another method with verifier code, or name a module:function as the setting detector"
            )

    def thoughts(
        self,
        questions: Sequence[str],
        solutions: Sequence[str],
        responses: Sequence[tuple[Sequence[int], Span, Sequence[Span]]],
        policy: Policy,
    ) -> list[Thought]:
        """Find where the answer stands first, all responses in one call of the verifier.

        Args:
            questions: what was asked, as text.
            solutions: the references.
            responses: of each its ids, its think part's span of characters, and the steps'.
            policy: decodes and verifies.
        """
        decode = self._decoder_for(policy.tokenizer)
        decoded = [decode(ids) for ids, _, _ in responses]
        starts = [[start for start, _ in tokens] for _, tokens in decoded]
        traces = [
            Trace(question, solution, text, think, steps, begins)
            for question, solution, (text, _), (_, think, steps), begins in zip(
                questions, solutions, decoded, responses, starts, strict=True
            )
        ]
        answers = first_answers(traces, policy.verify, self._detector)
        return [
            Thought(text, tokens, trace.think, bisect_left(begins, trace.think[1]), answer)
            for (text, tokens), trace, begins, answer in zip(decoded, traces, starts, answers, strict=True)
        ]

    def thoughts_of(self, rollouts: Sequence[Rollout], policy: Policy) -> dict[int, Thought]:
        """Return, by their numbers, the thoughts of the correct responses that have steps."""
        numbers = [number for number, rollout in enumerate(rollouts) if rollout.correct and rollout.steps]
        asked = [rollouts[number] for number in numbers]
        found = self.thoughts(
            [prompt_text(rollout.prompt) for rollout in asked],
            [rollout.solution for rollout in asked],
            [
                (r.response_ids, (r.steps[0].chars[0], r.steps[-1].chars[1]), [step.chars for step in r.steps])
                for r in asked
            ],
            policy,
        )
        return dict(zip(numbers, found, strict=True))

    def _decoder_for(self, tokenizer: Any) -> OffsetDecoder:
        if self._decoder is None or self._decoder_of is not tokenizer:
            self._decoder, self._decoder_of = OffsetDecoder(tokenizer), tokenizer
        return self._decoder
