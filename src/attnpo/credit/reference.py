"""How often the untrained policy is right on each problem: off disk, or measured."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from attnpo.credit.policy import Continuation, Policy, Requests
from attnpo.errors import DataError
from attnpo.rollouts import read_rollouts


def given_accuracies(path: str, keys: Sequence[str]) -> dict[str, float]:
    """Return problem_id -> accuracy of the responses in a rollouts file.

    Args:
        path: `rollouts.jsonl` of an evaluation.
        keys: the problems that are wanted; not all of them need be there.

    Raises:
        DataError: the file is missing, malformed, or has none of the problems.
    """
    verdicts: dict[str, list[bool]] = defaultdict(list)
    for rollout in read_rollouts(Path(path)):
        verdicts[rollout.problem_id].append(bool(rollout.correct))
    if keys and not verdicts.keys() & set(keys):
        raise DataError(
            f"reference_rollouts: {path} has none of the training problems (the first of them is {keys[0][:60]!r}); "
            "evaluate the untrained model on the training data"
        )
    return {key: sum(right) / len(right) for key, right in verdicts.items()}


def measured_accuracies(requests: Requests, samples: int, policy: Policy) -> dict[str, float]:
    """Return key -> accuracy of free responses to the requests' problems.

    Args:
        requests: the problems, one a request.
        samples: responses to each.
        policy: draws and judges them.
    """
    drawn = policy.draw(
        [
            Continuation(row, requests.max_new_tokens, sample=sample)
            for row in range(len(requests))
            for sample in range(samples)
        ]
    )
    prompts = [prompt_ids for prompt_ids in requests.prompt_ids for _ in range(samples)]
    texts = [policy.cut(prompt, response.ids).full_text for prompt, response in zip(prompts, drawn, strict=True)]
    verdicts = policy.verify(texts, [solution for solution in requests.solutions for _ in range(samples)])
    starts = range(0, len(verdicts), samples)
    return {
        key: sum(verdicts[start : start + samples]) / samples for key, start in zip(requests.keys, starts, strict=True)
    }
