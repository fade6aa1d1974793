"""No blame before the first error: by hand, and with the oracles that find it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
import torch

from attnpo.credit import Ask, StepBatch, build_method, pack_steps
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout, Step

BEFORE_ERROR = "benchmarks.hypotheses.before_error:BeforeError"


def gamma(steps: StepBatch, **settings) -> list[list[float]]:
    return build_method(BEFORE_ERROR, settings).gamma(steps).tolist()


def test_what_stands_before_the_first_error_is_not_punished(make_steps):
    steps = make_steps(
        [[0.5, 0.0, 0.5]] * 5,
        correct=[False, False, False, True, False],
        advantage=[-1.0, -1.0, -1.0, -1.0, 1.0],
        pass_rate=0.25,
    )
    first = torch.tensor([2.0, 0.0, -1.0, 1.0, 2.0])
    found = gamma(replace(steps, facts={"first_error": first}))
    assert found == [[0, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 0], [1, 1, 1]]
    # Row 0: before the error, answered or not.
    unanswered = replace(steps, answer_lengths_B=torch.zeros(5, dtype=torch.long), facts={"first_error": first})
    assert gamma(unanswered) == [[0, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
    with pytest.raises(DataError, match=r"^method before_error: needs the fact first_error"):
        gamma(steps)


def test_where_the_error_stands_behind_the_steps_none_is_punished(make_steps):
    # Wrong box, wrong box after one step, no answer; a step without tokens counts as a step and gets nothing.
    steps = make_steps(
        [[0.5, 0.0], [0.5], [0.5, 0.0], [0.5, 0.0]],
        step_lengths=[[4, 4], [4], [4, 4], [4, 0]],
        correct=False,
        advantage=-1.0,
        answer=[16, 16, 0, 16],
        width=2,
    )
    facts = {"first_error": torch.tensor([2.0, 1.0, 2.0, 2.0])}
    found = gamma(replace(steps, facts=facts), spared_gamma=0.25)
    assert found == [[0.25, 0.25], [0.25, 1], [1, 1], [0.25, 1]]


def test_the_answer_alone_is_punished_for_a_wrong_box():
    question = "Leo has 9 coins. Bob has 2 fewer than Leo. How many coins does Bob have?"
    text = "Leo has 9.\n\nBob has 9-2=7.\n\n</think>\n\nThe answer is 8."
    cuts = [0, 12, 28]
    steps = tuple(Step((a, b), (i, i + 1)) for i, (a, b) in enumerate(itertools.pairwise(cuts)))
    wrong = Rollout("p", question, "7", 0, (5, 6, 7), text, True, steps=steps, answer_tokens=(2, 3), correct=False)
    right = replace(wrong, sample=1, correct=True)
    method = build_method(BEFORE_ERROR, {"error_finder": "attnpo.tinyworld.oracle:first_error"})
    assert method.facts(wrong, Ask(question)) == {"first_error": 2.0}
    batch = pack_steps([replace(wrong, advantage=-1.0), replace(right, advantage=1.0)], [[0.5, 0.5]] * 2)
    batch = replace(batch, facts={"first_error": torch.tensor([2.0, 2.0])})
    step_index = torch.tensor([[0, 1, -1]] * 2)
    credit = method.spread(batch, method.gamma(batch), step_index)
    assert credit.tolist() == [[0, 0, -1], [1, 1, 1]]


def test_the_first_error_is_noted_by_what_is_named():
    text = "Kim has 2+2=4.\n\nLee has 4+3=8.\n\nSo 9+9=17.\n\n"
    cuts = [0, 16, 32, len(text)]
    steps = tuple(Step((a, b), (0, 0)) for a, b in itertools.pairwise(cuts))
    rollout = Rollout("p", "Kim?", "4", 0, (), text, True, steps=steps)
    method = build_method(BEFORE_ERROR, {"error_finder": "attnpo.gsmworld.oracle:first_error"})
    method.check(64, 8)
    assert method.facts(rollout, Ask("Kim?")) == {"first_error": 1.0}
    first = replace(rollout, response=text[:16], steps=steps[:1])
    assert method.facts(first, Ask("Kim?")) == {"first_error": -1.0}
    with pytest.raises(ConfigError, match="error_finder"):
        build_method(BEFORE_ERROR, {"error_finder": "nowhere:at_all"}).check(64, 8)
    with pytest.raises(ConfigError, match=r"^error_finder: .* name attnpo.tinyworld.oracle:first_error or"):
        build_method(BEFORE_ERROR).check(64, 8)
