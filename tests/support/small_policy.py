"""A policy whose responses are given texts: for methods that draw, probe or verify, without a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attnpo.credit import Continuation, Policy
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.verification import ExactVerifier

END = "<|end_of_sentence|>"


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """Return the ids of a response, the end token included."""
    return tokenizer(text + END, add_special_tokens=False)["input_ids"]


def policy_of(tokenizer: Any, texts: Sequence[str] = (), calls: list[int] | None = None) -> Policy:
    """Return a policy that answers continuation i with the i-th text; `calls` collects how much each call verifies."""

    def draw(wanted: Sequence[Continuation]) -> list[SampledResponse]:
        return [SampledResponse(ids_of(tokenizer, texts[item.row]), finished=True) for item in wanted]

    def verify(responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        if calls is not None:
            calls.append(len(responses))
        return ExactVerifier().verify(responses, solutions)

    def no_pass(*_: Any) -> Any:
        raise AssertionError("a forward pass was asked for")

    segmenter = Segmenter(tokenizer, build_strategy("paragraphs"))
    return Policy(tokenizer, draw=draw, segment=segmenter, verify=verify, token_stats=no_pass, next_log_probs=no_pass)


def rollout_of(tokenizer: Any, question: str, solution: str, text: str) -> Rollout:
    """Return a segmented, verified response."""
    ids = ids_of(tokenizer, text)
    segmented = Segmenter(tokenizer, build_strategy("paragraphs"))(ids)
    return Rollout(
        problem_id=question,
        prompt=[{"role": "user", "content": question}],
        solution=solution,
        sample=0,
        response_ids=tuple(ids),
        response=segmented.text,
        finished=True,
        correct=ExactVerifier().verify([segmented.text], [solution])[0],
        steps=segmented.steps,
        answer_tokens=segmented.answer_tokens,
    )
