"""Deletion effects as step scores, with a policy that says how probable an answer is behind which steps."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_policy import policy_of, rollout_of

from attnpo.credit import Sampled, TokenStats, build_method
from attnpo.credit.replay import replay
from attnpo.errors import ConfigError, DataError

CAUSAL = "benchmarks.hypotheses.causal:Causal"
SPLIT = "benchmarks.hypotheses.causal:SplitCausal"
QUESTION = "Kim has 3 coins. Lee has 1 more than Kim. How many coins does Lee have?"
NONE = torch.zeros(0)
TEXTS = ["Kim has 3.\n\nLee has 3+1=4.\n\nLet me verify.</think>\n\n4", "Lee has 4.</think>\n\n4"]


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    from attnpo.tinyworld import checkpoint_path

    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.fixture
def policy(tokenizer):
    """An answer's first token loses 2 nats without the equation and a quarter of one without the check."""

    def token_stats(contexts, answers):
        texts = [tokenizer.decode(context) for context in contexts]
        policy.asked.extend(zip(texts, map(tokenizer.decode, answers), strict=True))
        first = [-1 - 2 * ("3+1=4" not in t.replace(" ", "")) - 0.25 * ("verify" not in t) for t in texts]
        return [
            TokenStats(torch.tensor([value] + [0.0] * (len(answer) - 1)), NONE, NONE)
            for value, answer in zip(first, answers, strict=True)
        ]

    policy = replace(policy_of(tokenizer), token_stats=token_stats)
    object.__setattr__(policy, "asked", [])
    return policy


def probed(method, policy, rollouts, step=0):
    prompt = tuple(policy.encode(QUESTION))
    return method.probe(Sampled(rollouts, [prompt] * len(rollouts), step), policy)


def test_effects_by_hand(tokenizer, policy):
    rollouts = [rollout_of(tokenizer, QUESTION, "4", text) for text in TEXTS]
    found = probed(build_method(CAUSAL, {"measured_share": 1.0}), policy, rollouts)
    assert found.step_values["deletion_effect"] == [pytest.approx([0, 2, 0.25]), [0]]
    assert found.facts["measured"] == [1, 0]  # one step cannot be told from another
    assert len(policy.asked) == 4  # the whole response, and without each of its steps
    whole = policy.asked[0][0].replace(" ", "")
    assert "Kimhas3." in whole
    assert "4" in policy.asked[0][1]


def test_scores_lie_on_the_bar_where_the_effect_does(make_steps):
    steps = make_steps([[0.0, 0.0, 0.0]] * 2, pass_rate=1.0)
    effects = torch.tensor([[0.5, 3.0, -1.0]] * 2)
    steps = replace(steps, step_values={"deletion_effect": effects}, facts={"measured": torch.tensor([1.0, 0.0])})
    # Bar 16 / 128 at an effect of 2 nats; nothing is known of the second response.
    method = build_method(CAUSAL, {"effect_bar": 2.0})
    assert method.step_scores(steps).tolist() == [[0.125 / 4, 0.1875, 0.0], [0.125] * 3]
    assert method.gamma(steps).tolist() == [[0.25, 1, 0], [1, 1, 1]]
    assert build_method(SPLIT, {"effect_bar": 2.0}).gamma(steps).tolist() == [[0.25, 1, 0], [1, 1, 1]]


def test_a_share_is_measured_and_which_does_not_hang_on_the_others(tokenizer, policy):
    rollouts = [replace(rollout_of(tokenizer, QUESTION, "4", TEXTS[0]), sample=i) for i in range(40)]
    method = build_method(SPLIT, {"measured_share": 0.5})
    measured = probed(method, policy, rollouts).facts["measured"]
    assert 8 < sum(measured) < 32
    assert probed(method, policy, rollouts[7:]).facts["measured"] == measured[7:]
    assert probed(method, policy, rollouts, step=1).facts["measured"] != measured
    assert not any(probed(build_method(CAUSAL, {"measured_share": 0.0}), policy, rollouts).facts["measured"])
    for name in (CAUSAL, SPLIT):
        whole = probed(build_method(name, {"measured_share": 1.0}), policy, rollouts)
        assert whole.facts["measured"] == [1.0] * 40
        assert whole.step_values["deletion_effect"] == [pytest.approx([0, 2, 0.25])] * 40


def test_replay_gives_credit_by_effect(tokenizer, policy):
    group = [replace(rollout_of(tokenizer, QUESTION, "4", text), sample=i) for i, text in enumerate(TEXTS)]
    group[1] = replace(group[1], correct=False)
    settings = {"measured_share": 1.0, "alpha_len": 0.0}
    method = build_method(SPLIT, settings)
    prompts = [tuple(policy.encode(QUESTION))] * 2
    found = replay(method, group, 2, policy=policy, prompt_ids=prompts)
    expected = [0.0, 1.0, 0.25]  # RLOO of 1 and 0 is 1 and -1
    spans = [step.tokens for step in group[0].steps]
    for (start, end), advantage in zip(spans, expected, strict=True):
        assert found.advantages_BT[0, start:end].tolist() == pytest.approx([advantage] * (end - start), abs=1e-6)
    assert (found.advantages_BT[1, : group[1].n_tokens] == -1).all()


def test_pressure_on_what_is_redundant_by_effect(tokenizer, policy):
    group = [replace(rollout_of(tokenizer, QUESTION, "4", TEXTS[0]), sample=i) for i in range(2)]
    group.append(replace(rollout_of(tokenizer, QUESTION, "4", TEXTS[1]), sample=2, correct=False))
    settings = {"measured_share": 1.0, "pressure": "redundant", "alpha_len": 0.0, "token_price": 0.01}
    prompts = [tuple(policy.encode(QUESTION))] * 3
    found = replay(build_method(SPLIT, settings), group, 3, policy=policy, prompt_ids=prompts)
    first, _, check = (step.tokens[1] - step.tokens[0] for step in group[0].steps)  # effects 0, 2 and a quarter
    paid = 0.01 * (first + 0.75 * check)
    assert found.rewards_PG[0].tolist() == pytest.approx([1 - paid, 1 - paid, 0])
    with pytest.raises(ConfigError, match=r"^measured_share: 0.25 of the responses would pay for what is redundant"):
        build_method(SPLIT, {"pressure": "redundant"})


def test_what_is_wrong_is_named(make_steps):
    with pytest.raises(ConfigError, match=r"^measured_share"):
        build_method(CAUSAL, {"measured_share": 1.5})
    with pytest.raises(ConfigError, match=r"^effect_bar"):
        build_method(CAUSAL, {"effect_bar": 0})
    with pytest.raises(DataError, match=r"^method causal: needs effects of deletions"):
        build_method(CAUSAL).gamma(make_steps([[0.1]]))
