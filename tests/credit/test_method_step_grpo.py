from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from fake_policy import FakePolicy, make_requests, world_tokenizer
from hypothesis import given
from hypothesis import strategies as st
from small_policy import rollout_of

from attnpo.credit import Ask, TokenStats, build_method
from attnpo.credit.methods.step_grpo import BOXED, SEMANTIC_STEPS

PATH = "So 3. Wait, is it 3? Yes. Wait, let me verify. 3 is right.\n</think>\n\nThe answer is \\boxed{3}."
ANSWER = "The answer is \\boxed{3}."


def text_of(ids):
    return world_tokenizer().decode(ids, skip_special_tokens=True)


def sample(sure, path=PATH, opened=True, **settings):
    """Draw one path; `sure` says of the number of an answer how sure the policy is of each of its tokens."""
    asked = []

    def think(response):
        asked.append(text_of(response))
        return TokenStats(*[torch.full((len(response),), math.log(sure(len(asked))))] * 3)

    fake = FakePolicy(write=lambda item: ANSWER if item.prefix_ids else path, think=think)
    method = build_method("step_grpo", {"answer_tokens": 12, **settings})
    drawn = method.sample(make_requests(size=1, opened=opened), fake.policy)
    return drawn, fake, asked


def test_a_path_is_left_at_the_first_sure_wait():
    drawn, fake, asked = sample(lambda number: 0.96)
    assert asked == [ANSWER] * 2
    assert text_of(drawn.responses[0].ids) == "So 3.\n</think>\n\n" + ANSWER
    start, end = (int(drawn.facts[name][0]) for name in ("forced_start", "forced_end"))
    assert text_of(drawn.responses[0].ids[start:end]) == "\n</think>\n\n"
    assert [item.max_new_tokens for item in fake.drawn[1:]] == [12, 12]


def test_only_sure_answers_end_it():
    assert text_of(sample(lambda number: 0.94)[0].responses[0].ids) == PATH
    second = sample(lambda number: 0.96 if number == 2 else 0.5)[0]
    assert text_of(second.responses[0].ids) == "So 3. Wait, is it 3? Yes.\n</think>\n\n" + ANSWER
    # an answer as long as what follows would save nothing
    assert len(sample(lambda number: 1.0, answer_tokens=200)[1].drawn) == 1


def test_a_path_that_the_limit_cut_in_its_thought_is_probed_too():
    path = "So 3. Wait, is it 3? Yes. Wait, let me verify. 3 is right. Hmm. Let me verify this once more. 3 is right."
    drawn, _, asked = sample(lambda number: 0.96, path=path)
    assert asked == [ANSWER] * 2
    assert text_of(drawn.responses[0].ids) == "So 3.\n</think>\n\n" + ANSWER
    # what never was a thought has none to leave
    assert sample(lambda number: 0.96, path=path, opened=False)[2] == []


def test_a_box_inside_a_thought_is_no_answer():
    method, rollout = build_method("step_grpo"), rollout_of(world_tokenizer(), "Sum?", "3", "So \\boxed{3}. Wait")
    assert method.facts(replace(rollout, in_think=True), Ask(rollout.prompt))[BOXED] == 0
    assert method.facts(replace(rollout, response="<think>So \\boxed{3}"), Ask(rollout.prompt))[BOXED] == 0
    assert method.facts(replace(rollout, in_think=False), Ask(rollout.prompt))[BOXED] == 1  # nobody opened a think part


def test_semantic_steps_and_boxes_are_counted():
    method, rollout = build_method("step_grpo"), rollout_of(world_tokenizer(), "Sum?", "3", PATH)
    assert method.facts(rollout, Ask(rollout.prompt)) == {SEMANTIC_STEPS: 3, BOXED: 1}
    plain = replace(rollout, response="Waiting. \\boxed{3}\n</think>\n\n3")
    assert method.facts(plain, Ask(plain.prompt)) == {SEMANTIC_STEPS: 1, BOXED: 0}


def rewards(make_groups, responses, **settings):
    correct, steps, boxed = zip(*responses, strict=True)
    groups = make_groups([(ok, 9) for ok in correct])
    facts = {SEMANTIC_STEPS: torch.tensor([steps]).float(), BOXED: torch.tensor([boxed]).float()}
    return build_method("step_grpo", settings).rewards(replace(groups, facts=facts))[0].tolist()


def test_worked_example(make_groups):
    # right ones with k = 1 and 3, m = 2
    got = rewards(make_groups, [(True, 1, 1), (True, 3, 1), (False, 9, 1), (False, 1, 0)])
    half = 0.5 * math.tanh(0.5)
    assert got == pytest.approx([0.9 * (1 + half) + 0.1, 0.9 * (1 - half) + 0.1, 0.1, 0], rel=1e-6)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 9), st.integers(0, 1)), min_size=2, max_size=6))
def test_fewer_steps_are_never_worse_and_wrong_ones_earn_their_box_alone(make_groups, group):
    got = rewards(make_groups, group)
    for (right, steps, boxed), reward in zip(group, got, strict=True):
        if right:
            assert 0.45 - 1e-6 <= reward - 0.1 * boxed <= 1.35 + 1e-6
            others = [r - 0.1 * b for (ok, k, b), r in zip(group, got, strict=True) if ok and k >= steps]
            assert all(reward - 0.1 * boxed >= other - 1e-6 for other in others)
        else:
            assert reward == pytest.approx(0.1 * boxed)


def test_the_closing_may_go_without_credit(make_steps):
    steps = make_steps([[1.0]], advantage=2.0)
    steps = replace(steps, facts={"forced_start": torch.tensor([1.0]), "forced_end": torch.tensor([3.0])})
    index = torch.full((1, 4), -1)
    with_credit, without = (build_method("step_grpo", {"credit_closing": credit}) for credit in (True, False))
    assert with_credit.spread(steps, with_credit.gamma(steps), index).tolist() == [[2, 2, 2, 2]]
    assert without.spread(steps, without.gamma(steps), index).tolist() == [[2, 0, 0, 2]]
