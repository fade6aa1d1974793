from __future__ import annotations

import asyncio

import pytest

from attnpo.errors import TrainingError
from attnpo.training.reward_guard import RewardGuard


def ask(guarded, n: int = 4, **columns):
    return guarded(
        prompts=["p"] * n, completions=[str(i) for i in range(n)], completion_ids=[[i] for i in range(n)], **columns
    )


def guard(most: float = 0.05) -> tuple[RewardGuard, list]:
    seen: list = []
    return RewardGuard(most, lambda asked, failures: seen.append((asked, list(failures)))), seen


def test_a_function_that_works_is_asked_once_with_the_whole_batch():
    made, seen = guard()
    calls = []

    def length(completions, level, **kwargs):
        calls.append(len(completions))
        return [float(c) + one for c, one in zip(completions, level, strict=True)]

    guarded = made.wrap(length)
    assert guarded.__name__ == "length"
    assert ask(guarded, level=[1, 2, 3, 4]) == [1.0, 3.0, 5.0, 7.0]
    assert calls == [4]
    assert seen == [(4, [])]


def test_one_response_that_fails_gets_no_reward_and_the_others_theirs():
    made, seen = guard()

    def picky(completions, level, state, **kwargs):
        assert state == "same"
        if "2" in completions:
            raise KeyError("no box")
        return [float(c) * one for c, one in zip(completions, level, strict=True)]

    assert ask(made.wrap(picky), level=[1, 2, 3, 4], state="same") == [0.0, 2.0, None, 12.0]
    ((asked, (failure,)),) = seen
    assert asked == 4
    assert (failure.index, failure.function, failure.error) == (2, "picky", "KeyError: 'no box'")


def test_what_is_no_finite_number_counts_as_failed_and_none_and_nan_do_not():
    made, seen = guard()
    values = ask(made.wrap(lambda completions, **kwargs: [1, float("inf"), None, "x"]))
    assert values == [1.0, None, None, None]
    assert [failure.index for failure in seen[0][1]] == [1, 3]
    assert str(ask(made.wrap(lambda completions, **kwargs: [float("nan"), 1, 1, 1]))[0]) == "nan"
    assert seen[1][1] == []


def test_an_asynchronous_function():
    made, _ = guard()

    async def slow(completions, **kwargs):
        if "1" in completions:
            raise ValueError("no")
        return [float(c) for c in completions]

    guarded = made.wrap(slow)
    assert asyncio.iscoroutinefunction(guarded)
    assert asyncio.run(ask(guarded)) == [0.0, None, 2.0, 3.0]


def test_a_batch_that_fails_as_a_whole_ends_the_run():
    made, _ = guard(most=1.0)

    def broken(completions, **kwargs):
        raise NameError("x is not defined")

    with pytest.raises(TrainingError, match=r"reward function broken: failed on 4 of 4 .*NameError: x is not defined"):
        ask(made.wrap(broken))


def test_more_failures_than_allowed_end_the_run_once_enough_were_asked():
    made, _ = guard(most=0.1)

    def sometimes(completions, bad, **kwargs):
        if any(bad):
            raise ValueError("bad")
        return [0.0] * len(completions)

    guarded = made.wrap(sometimes)
    for _ in range(6):  # 24 of 96 failed, no verdict yet
        ask(guarded, n=16, bad=[True] * 4 + [False] * 12)
    with pytest.raises(TrainingError, match=r"failed on 28 of 112"):
        ask(guarded, n=16, bad=[True] * 4 + [False] * 12)


def test_reward_models_stay_as_they_are():
    import torch

    made, _ = guard()
    model = torch.nn.Linear(1, 1)
    assert made.wrap(model) is model
    assert made.wrap("owner/model") == "owner/model"
