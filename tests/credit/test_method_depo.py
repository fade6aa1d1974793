from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_policy import policy_of, rollout_of
from transformers import AutoTokenizer

from attnpo.credit import GroupBatch, Sampled, build_method
from attnpo.credit.methods.depo import REFLECTIONS
from attnpo.credit.methods.with_detector import REDUNDANT_FROM, REDUNDANT_TO
from attnpo.errors import ConfigError, DataError
from attnpo.tinyworld import checkpoint_path

QUESTION = "Suppose Gus has 8 shells. Kim has 5 more than Gus. How many shells does Kim have?"


def brute_force(correct, lengths, alpha):
    """The definition, one response at a time, in float64."""
    size, right = len(correct), [i for i, ok in enumerate(correct) if ok]
    mean = len(right) / size
    std = math.sqrt(sum((ok - mean) ** 2 for ok in correct) / (size - 1))
    base = [(ok - mean) / (std + 1e-4) for ok in correct]
    if not right:
        return base
    middle = sum(lengths[i] for i in right) / len(right)
    width = math.sqrt(sum((lengths[i] - middle) ** 2 for i in right) / len(right))
    z = {i: (lengths[i] - middle) / width if width > 0 else 0.0 for i in right}
    moved = {i: base[i] - alpha * (1 - math.exp(-alpha * len(right))) * z[i] for i in right}
    least = min([value for value in moved.values() if value > 1e-9], default=0.0)
    return [max(moved[i], least) if i in moved else base[i] for i in range(size)]


def test_worked_example(make_groups):
    # d = 2, z = -1, 1: the penalty is 1 (1 - e^-2) = 0.8647; GRPO's advantages are +-1 / sqrt(4/3) = 0.8660
    groups = make_groups([(True, 10), (True, 30), (False, 10), (False, 99)])
    depo = build_method("depo", {"alpha": 1.0})
    got = depo.advantages(depo.rewards(groups), groups)[0]
    assert got.tolist() == pytest.approx([1.7306, 0.0013, -0.8658, -0.8658], abs=2e-4)
    # d = 4, all correct: GRPO gives 0; the long ones fall below 0 and get the least positive one
    groups = make_groups([(True, 10), (True, 20), (True, 30), (True, 40)])
    got = depo.advantages(depo.rewards(groups), groups)[0]
    strength, width = 1 - math.exp(-4), math.sqrt(125)
    assert got.tolist() == pytest.approx([15 / width * strength, *[5 / width * strength] * 3], abs=1e-5)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=8), st.floats(0, 3))
def test_against_the_definition(responses, alpha):
    correct, lengths = zip(*responses, strict=True)
    groups = GroupBatch(torch.tensor([correct]), torch.tensor([lengths]), torch.ones(1, len(correct)).bool())
    depo = build_method("depo", {"alpha": alpha})
    got = depo.advantages(depo.rewards(groups), groups)[0]
    expected = torch.tensor(brute_force(correct, lengths, alpha))
    # where a penalty comes within rounding of the advantage, which side of 0 it falls on is a matter of rounding
    torch.testing.assert_close(got, expected, atol=2e-5, rtol=0)
    assert all(value >= 0 for value, ok in zip(got.tolist(), correct, strict=True) if ok)


def test_the_redundant_part_of_a_correct_response_gets_less(make_steps):
    steps = make_steps([[1.0]] * 4, advantage=[1.0, 1.0, 1.0, -1.0], correct=[True, True, True, False])
    facts = {REDUNDANT_FROM: [1.0, 1, 0, 1], REDUNDANT_TO: [3.0, 3, 0, 3], REFLECTIONS: [2.0, 0, 0, 2]}
    steps = replace(steps, facts={name: torch.tensor(values) for name, values in facts.items()})
    depo = build_method("depo", {"beta": 0.5})
    got = depo.spread(steps, depo.gamma(steps), torch.full((4, 4), -1))
    less = 1 - 0.5 * (1 - math.exp(-1))
    expected = torch.tensor([[1, less, less, 1], [1] * 4, [1] * 4, [-1] * 4])
    torch.testing.assert_close(got, expected.float())
    with pytest.raises(DataError, match=r"^method depo: needs redundant parts"):
        depo.spread(replace(steps, facts={}), depo.gamma(steps), torch.full((4, 4), -1))


def test_probing(tmp_path):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    think = "Hmm, Kim has 8+5=13. Wait, is it?\n\nLet me verify. 13-5=8.\n\nSo Kim has 13.\n"
    answer = "</think>\n\nSo Kim has 13. The answer is \\boxed{13}."
    right = rollout_of(tokenizer, QUESTION, "13", think + answer)
    rollouts = [replace(right, correct=False), right, rollout_of(tokenizer, QUESTION, "13", "Kim sold it.\n" + answer)]
    probed = build_method("depo").probe(Sampled(rollouts, [()] * 3), policy_of(tokenizer))
    start = len(tokenizer("Hmm, Kim has 8+5=13.", add_special_tokens=False)["input_ids"])
    close = right.response_ids.index(tokenizer.convert_tokens_to_ids("</think>"))
    assert probed.facts == {REDUNDANT_FROM: [0, start, 0], REDUNDANT_TO: [0, close, 0], REFLECTIONS: [0, 2, 0]}
    phrases = tmp_path / "phrases.yaml"
    phrases.write_text("families: {confused: {cut: anywhere, phrases: [Wait]}}")
    own = build_method("depo", {"phrases_file": str(phrases)})
    own.check(100, 8)
    assert own.probe(Sampled(rollouts, [()] * 3), policy_of(tokenizer)).facts[REFLECTIONS] == [0, 1, 0]
    with pytest.raises(ConfigError, match=r"no such phrases file"):
        build_method("depo", {"phrases_file": "none.yaml"}).check(100, 8)
