from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_policy import ScriptedPolicy, ids_of, rollout, small_segmenter

from attnpo.credit import GroupBatch, Sampled, build_method
from attnpo.credit.methods.vsrm import SQUARES, STEP_REWARD, SUM, step_returns, step_rewards
from attnpo.errors import ConfigError, DataError
from attnpo.segmentation import step_index

CLOSING = "\n</think>\n\n"
STEPS = ["First, Gus has 4+3=7.", "Wait, 7-3=4. Yes.", "Next, Bob has 7-2=5.", "Wait, 5+2=7. Yes."]
TEXT = "\n\n".join(STEPS) + CLOSING + "The answer is \\boxed{5}."
SMALL = {"closing": CLOSING, "num_answers": 2, "answer_tokens": 20}


def knows_five(wanted, prefix):
    return "The answer is \\boxed{5}." if "7-2=5" in prefix else "The answer is \\boxed{7}."


def probe(method, texts, writes=knows_five, solution="5"):
    script = ScriptedPolicy(writes)
    rollouts = [rollout(text, solution, sample) for sample, text in enumerate(texts)]
    return method.probe(Sampled(rollouts, [(1, 2)] * len(texts)), script.policy), script, rollouts


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([], []),
        ([0.4], []),
        ([0.2, 0.6, 0.4], [0.4, -0.2]),
        # no change: the next one, 0.7 per step of distance
        ([0.2, 0.2, 0.2, 1.0], [0.49 * 0.8, 0.7 * 0.8, 0.8]),
        ([0.5, 0.5, 0.1], [-0.7 * 0.4, -0.4]),
        # four steps on counts, five do not
        ([0, 0, 0, 0, 0, 0, 1], [0, 0.7**4, 0.7**3, 0.7**2, 0.7, 1]),
        # nothing follows
        ([0.3, 0.6, 0.6, 0.6], [0.3, 0, 0]),
    ],
)
def test_worked_step_rewards(shares, expected):
    assert step_rewards(shares, 4, 0.7) == pytest.approx(expected)


def official(shares, decay=0.7, most=4):
    """The published loop, told in its own order: walk on while nothing changes."""
    rewards = []
    for j in range(len(shares) - 1):
        k, walked = j, 0
        while k < len(shares) - 2 and abs(shares[k + 1] - shares[k]) < 1e-5 and walked < most:
            k, walked = k + 1, walked + 1
        change = shares[k + 1] - shares[k]
        rewards.append(0.0 if abs(change) < 1e-5 else change * decay ** (k - j))
    return rewards


@given(st.lists(st.integers(0, 5).map(lambda right: right / 5), max_size=14))
def test_step_rewards_are_the_published_loops(shares):
    assert step_rewards(shares, 4, 0.7) == pytest.approx(official(shares))
    # without looking ahead they telescope
    assert sum(step_rewards(shares, 0, 0.7)) == pytest.approx(shares[-1] - shares[0] if shares else 0)


def test_every_border_is_asked_and_steps_earn_what_they_change():
    probed, script, (response,) = probe(build_method("vsrm", SMALL), [TEXT])
    (call,) = script.calls
    asked = [small_segmenter()(each.prefix_ids).text for each in call[::2]]
    assert asked == ["\n\n".join(STEPS[: count + 1]) + CLOSING for count in range(4)]
    assert [each.sample for each in call] == [0, 1] * 4
    assert {each.max_new_tokens for each in call} == {20}
    # accuracies 0, 0, 1, 1 after the steps: none measured before the first
    assert probed.step_values[STEP_REWARD] == [[0.0, 0.7, 1.0, 0.0]]
    returns = step_returns(
        torch.tensor([[0.0, 0.7, 1.0, 0.0]]), torch.tensor([step_index(response, response.n_tokens)]), "start"
    )[0]
    assert probed.facts[SUM] == pytest.approx([float(returns.sum())])
    assert probed.facts[SQUARES] == pytest.approx([float(returns.square().sum())])
    assert script.drawn == sum(len(ids_of(knows_five(each, small_segmenter()(each.prefix_ids).text))) for each in call)


def test_the_first_step_may_be_measured_too():
    probed, script, _ = probe(build_method("vsrm", {**SMALL, "first_step": True}), [TEXT])
    assert small_segmenter()(script.calls[0][0].prefix_ids).text == CLOSING
    assert probed.step_values[STEP_REWARD][0] == pytest.approx([0.49, 0.7, 1.0, 0.0])


def test_shared_beginnings_are_asked_once():
    other = TEXT.replace(STEPS[3], "So Bob has 5.")
    probed, script, _ = probe(build_method("vsrm", SMALL), [TEXT, other, TEXT])
    # three borders in common, two endings
    assert [len(call) for call in script.calls] == [2 * (3 + 2)]
    assert probed.step_values[STEP_REWARD] == [[0.0, 0.7, 1.0, 0.0]] * 3


@pytest.mark.parametrize(
    "text", ["\n\n".join(STEPS), CLOSING + "The answer is \\boxed{5}.", STEPS[0] + CLOSING + "\\boxed{7}."]
)
def test_unclosed_thoughts_and_those_of_one_step_are_not_probed(text):
    probed, script, (response,) = probe(build_method("vsrm", SMALL), [text])
    assert script.calls == []
    assert probed.step_values[STEP_REWARD] == [[0.0] * len(response.steps)]
    assert probed.facts == {SUM: [0.0], SQUARES: [0.0]}


def test_where_a_steps_reward_is_earned():
    index = torch.tensor([[-1, 0, 0, 1, 1, 1, -1, -1], [0, 2, 2, -1, -1, -1, -1, -1]])
    earned = torch.tensor([[0.25, 1.0, 0.0], [0.5, 9.0, -1.0]])  # the second's step 1 owns no token
    at_start = [[1.25, 1.25, 1, 1, 0, 0, 0, 0], [-0.5, -1, 0, 0, 0, 0, 0, 0]]
    at_end = [[1.25, 1.25, 1.25, 1, 1, 1, 0, 0], [-0.5, -1, -1, 0, 0, 0, 0, 0]]
    assert step_returns(earned, index, "start").tolist() == at_start
    assert step_returns(earned, index, "end").tolist() == at_end
    assert step_returns(torch.zeros(2, 0), torch.full((2, 3), -1), "end").tolist() == [[0] * 3] * 2


def whitened(method, texts, correct, make_steps):
    """Group facts and spread for one group of scripted responses, as the trainer calls them; rows cut to length."""
    probed, _, rollouts = probe(method, texts)
    lengths = [response.n_tokens for response in rollouts]
    width = max(lengths) + 2
    groups = GroupBatch(
        correct_PG=torch.tensor([correct]),
        lengths_PG=torch.tensor([lengths]),
        finished_PG=torch.ones(1, len(texts), dtype=torch.bool),
        facts={name: torch.tensor([values]) for name, values in probed.facts.items()},
    )
    rewards = method.rewards(groups)
    facts = {name: fact[0] for name, fact in method.group_facts(rewards, groups).items()}
    values = probed.step_values[STEP_REWARD]
    num_steps = max(map(len, values))
    steps = make_steps(
        [[0.0] * len(row) for row in values],
        response=lengths,
        advantage=method.advantages(rewards, groups)[0].tolist(),
    )
    padded = torch.tensor([[*row, *[0.0] * (num_steps - len(row))] for row in values])
    steps = replace(steps, facts=facts, step_values={STEP_REWARD: padded})
    index = torch.tensor([step_index(response, width) for response in rollouts])
    found = method.spread(steps, method.gamma(steps), index)
    assert found.shape == (len(texts), width)
    return [found[row, :length] for row, length in enumerate(lengths)], values, rollouts


WRONG = STEPS[0] + "\n\n" + STEPS[1] + CLOSING + "The answer is \\boxed{7}."


def test_advantages_are_whitened_over_all_tokens_of_the_batch(make_steps):
    found, values, rollouts = whitened(build_method("vsrm", SMALL), [TEXT, WRONG], [True, False], make_steps)
    returns = []
    for response, earned, reward in zip(rollouts, values, (1.0, 0.0), strict=True):
        starts = [step.tokens[0] for step in response.steps]
        for place in range(response.n_tokens):
            ahead = sum(value for value, start in zip(earned, starts, strict=True) if start >= place)
            returns.append(reward + ahead)
    returns = torch.tensor(returns, dtype=torch.float64)
    expected = (returns - returns.mean()) / (returns.var() + 1e-8).sqrt()
    torch.testing.assert_close(torch.cat(found).double(), expected, atol=1e-5, rtol=1e-5)


def test_without_whitening_the_groups_advantage_and_the_step_rewards_ahead(make_steps):
    method = build_method("vsrm", {**SMALL, "whiten": False, "reward_at": "end"})
    (right, wrong), _, (first, _) = whitened(method, [TEXT, WRONG], [True, False], make_steps)
    # leave-one-out advantages 1 and -1; steps earn 0, 0.7, 1, 0
    borders = [step.tokens[1] for step in first.steps]
    expected = [1 + (1.7 if place < borders[1] else 1.0 if place < borders[2] else 0.0) for place in range(len(right))]
    assert right.tolist() == pytest.approx(expected)
    assert wrong.tolist() == [-1.0] * len(wrong)


def test_equal_responses_learn_from_their_steps_alone(make_steps):
    (one, two), _, _ = whitened(build_method("vsrm", SMALL), [TEXT, TEXT], [True, True], make_steps)
    assert one.tolist() == two.tolist()
    assert one[0] > 0 > one[-1]
    flat = WRONG.replace("7}", "5}")
    (one, two), _, _ = whitened(build_method("vsrm", SMALL), [flat, flat], [True, True], make_steps)
    assert one.abs().max() == 0


def test_rewards_of_whole_responses(make_groups):
    method = build_method("vsrm")
    groups = make_groups([(True, 9), (False, 9), (False, 9), (True, 9)], unanswered=[2, 3])
    assert method.rewards(groups).tolist() == [[1, 0, -10, -10]]
    assert build_method("vsrm", {"unanswered_reward": 0}).rewards(groups).tolist() == [[1, 0, 0, 0]]


@settings(max_examples=40)
@given(st.data())
def test_whitened_returns_have_mean_0_and_variance_1(data):
    method = build_method("vsrm")
    shape = data.draw(st.integers(1, 3)), data.draw(st.integers(1, 4))
    size = shape[0] * shape[1]
    lengths = data.draw(st.lists(st.integers(1, 9), min_size=size, max_size=size))
    returns = [
        data.draw(st.lists(st.sampled_from([0.0, 0.25, 1.0, -0.5]), min_size=length, max_size=length))
        for length in lengths
    ]
    correct = data.draw(st.lists(st.booleans(), min_size=size, max_size=size))
    groups = GroupBatch(
        correct_PG=torch.tensor(correct).reshape(shape),
        lengths_PG=torch.tensor(lengths).reshape(shape),
        finished_PG=torch.ones(shape, dtype=torch.bool),
        facts={
            SUM: torch.tensor([sum(row) for row in returns]).reshape(shape),
            SQUARES: torch.tensor([sum(value**2 for value in row) for row in returns]).reshape(shape),
        },
    )
    facts = method.group_facts(method.rewards(groups), groups)
    mean, scale = (float(facts[name].flatten()[0]) for name in ("return_mean", "return_scale"))
    assert all(fact.shape == shape for fact in facts.values())
    total = torch.tensor(
        [right + value for row, right in zip(returns, correct, strict=True) for value in row], dtype=torch.float64
    )
    assert mean == pytest.approx(float(total.mean()), abs=1e-5)
    if float(total.var() if len(total) > 1 else 0) > 1e-6:
        assert scale == pytest.approx(float(total.var()) ** -0.5, rel=1e-3)


def test_it_needs_what_probing_found(make_groups, make_steps):
    method = build_method("vsrm")
    groups = make_groups([(True, 9)])
    with pytest.raises(DataError, match=r"^method vsrm: needs step rewards"):
        method.group_facts(method.rewards(groups), groups)
    steps = make_steps([[0.0]])
    with pytest.raises(DataError, match=r"^method vsrm: needs step rewards"):
        method.spread(steps, method.gamma(steps), torch.zeros(1, 3, dtype=torch.long))


@pytest.mark.parametrize(
    ("field", "value"), [("num_answers", 0), ("decay", 1.5), ("reward_at", "middle"), ("look_ahead", -1)]
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        build_method("vsrm", {field: value})
