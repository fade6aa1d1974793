from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_policy import ScriptedPolicy, ids_of, rollout, small_segmenter

from attnpo.credit import Sampled, build_method
from attnpo.credit.methods.shape import OUTCOME, SHAPING, WEIGHT, discount, segments
from attnpo.errors import ConfigError, DataError

CLOSING = "\n</think>\n\n"
TEXT = "First, Gus has 4+3=7.\n\nNext, Bob has 7-2=5.\n\nWait, 5+2=7. Yes." + CLOSING + "The answer is \\boxed{5}."
SMALL = {"num_answers": 2, "answer_tokens": 20, "reference_length": 40, "entropy_quantile": 0.5}
OPENERS = ("Next", "Wait")


def knows_five(wanted, prefix):
    return "The answer is \\boxed{5}." if "7-2=5" in prefix else "The answer is \\boxed{7}."


def at_openers(text, place):
    """The policy is uncertain where a step begins, a little where it ends, sure elsewhere."""
    return 2.0 if text in OPENERS else 0.5 if text == "." else 0.0


def probe(settings_, texts):
    script = ScriptedPolicy(knows_five, at_openers)
    rollouts = [rollout(text, "5", sample) for sample, text in enumerate(texts)]
    method = build_method("shape", settings_)
    return method.probe(Sampled(rollouts, [(1, 2)] * len(texts)), script.policy), script, rollouts


@pytest.mark.parametrize(
    ("entropies", "think", "quantile", "most", "expected"),
    [
        ([0, 1, 0, 0, 1, 0], (0, 6), 0.5, 8, [(0, 1), (1, 4), (4, 6)]),
        # the first token opens a segment anyway; tokens outside the think part open none
        ([9, 9, 0, 0, 1, 0, 9, 9], (1, 6), 0.5, 8, [(1, 4), (4, 6)]),
        # none above: one segment
        ([1, 1, 1, 1], (0, 4), 0.5, 8, [(0, 4)]),
        # thinned out evenly: of openings 1..7 two are kept
        ([0, *range(1, 8)], (0, 8), 0.0, 3, [(0, 2), (2, 6), (6, 8)]),
        ([0, 1, 0, 1], (0, 4), 0.4, 1, [(0, 4)]),
    ],
)
def test_worked_segments(entropies, think, quantile, most, expected):
    assert segments(torch.tensor(entropies, dtype=torch.float32), think, quantile, most) == expected


@settings(max_examples=80)
@given(st.lists(st.floats(0, 5, width=32), min_size=1, max_size=40), st.floats(0, 1), st.integers(1, 9), st.data())
def test_segments_tile_the_think_part(entropies, quantile, most, data):
    start = data.draw(st.integers(0, len(entropies) - 1))
    end = data.draw(st.integers(start + 1, len(entropies)))
    found = segments(torch.tensor(entropies), (start, end), quantile, most)
    assert 1 <= len(found) <= most
    assert (found[0][0], found[-1][1]) == (start, end)
    assert all(a < b for a, b in found)
    assert all(one[1] == two[0] for one, two in pairwise(found))


def test_the_discount_falls_with_length_to_its_least():
    # 1 - 0.1 * 20 / 40
    assert discount(20, 0.9, 40) == pytest.approx(0.95)
    assert discount(40, 0.9, 40) == discount(400, 0.9, 40) == 0.9
    assert discount(0, 0.9, 40) == 1


def test_worked_response():
    probed, script, (response,) = probe({**SMALL, "entropy_quantile": 0.9}, [TEXT])
    assert script.passes == [[response.response_ids]]
    (call,) = script.calls
    asked = [small_segmenter()(each.prefix_ids).text for each in call[::2]]
    # the quantile of 0.9 lies at a full stop: the two openers alone are above it
    first, second = TEXT.index("Next"), TEXT.index("Wait")
    assert asked == [
        CLOSING,
        TEXT[: first - 2] + CLOSING,
        TEXT[: second - 2] + CLOSING,
        TEXT[: TEXT.index(CLOSING)] + CLOSING,
    ]
    assert {each.max_new_tokens for each in call} == {20}
    spans = [step.tokens for step in response.steps]
    # potentials 0, 0, 1, 1
    lengths = [end - start for start, end in spans]
    gains = [0.0, 1 - 0.1 * lengths[1] / 40, (1 - 0.1 * lengths[2] / 40) - 1]
    expected = [0.0] * response.n_tokens
    for (start, end), gain in zip(spans, gains, strict=True):
        expected[start:end] = [gain] * (end - start)
    assert probed.token_values[SHAPING][0] == pytest.approx(expected)
    weights = probed.token_values[WEIGHT][0]
    assert weights[spans[-1][1] :] == [1.0] * (response.n_tokens - spans[-1][1])
    for start, end in spans:
        text = [small_segmenter()([token]).text for token in response.response_ids[start:end]]
        entropies = torch.tensor([at_openers(word, 0) for word in text], dtype=torch.float64)
        z = (entropies - entropies.mean()) / (entropies.var(correction=0).sqrt() + 1e-6)
        assert weights[start:end] == pytest.approx((1 + 0.5 * z).clamp(0.5, 1.5).tolist(), abs=1e-6)


def test_shared_beginnings_are_asked_once_and_one_pass_reads_all():
    probed, script, rollouts = probe({**SMALL, "entropy_quantile": 0.9}, [TEXT, TEXT])
    assert [len(call) for call in script.calls] == [2 * 4]
    assert script.passes == [[response.response_ids for response in rollouts]]
    assert probed.token_values[SHAPING][0] == probed.token_values[SHAPING][1]
    assert script.drawn == sum(
        len(ids_of(knows_five(each, small_segmenter()(each.prefix_ids).text))) for each in script.calls[0]
    )


@pytest.mark.parametrize("text", [TEXT[:30], "</think>\n\n\\boxed{5}."])
def test_unclosed_and_empty_thoughts_are_neither_read_nor_probed(text):
    probed, script, (response,) = probe(SMALL, [text])
    assert script.calls == []
    assert script.passes == [[]]
    assert probed.token_values == {SHAPING: [[0.0] * response.n_tokens], WEIGHT: [[1.0] * response.n_tokens]}


def spread(method, steps, shaping, weights, outcome):
    values = {SHAPING: torch.tensor(shaping), WEIGHT: torch.tensor(weights)}
    steps = replace(steps, token_values=values, facts={OUTCOME: torch.tensor(outcome)})
    index = torch.full((len(shaping), len(shaping[0])), -1)
    return method.spread(steps, method.gamma(steps), index)


def test_worked_advantages(make_steps):
    steps = make_steps([[0.0], [0.0]], advantage=[0.5, -0.5], response=[4, 3])
    shaping = [[0.9, 0.9, -0.1, 0.0], [-0.5, -0.5, 0.0, 0.0]]
    weights = [[1.5, 0.5, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0]]
    found = spread(build_method("shape"), steps, shaping, weights, [1.0, 0.0])
    expected = [[1.27 * 1.5, 1.27 * 0.5, 0.97, 1.0], [-0.15, -0.15, 0.0, 0.0]]
    torch.testing.assert_close(found, torch.tensor(expected))
    centered = spread(build_method("shape", {"outcome": "advantage"}), steps, shaping, weights, [1.0, 0.0])
    expected = [[0.77 * 1.5, 0.77 * 0.5, 0.47, 0.5], [-0.65, -0.65, -0.5, 0.0]]
    torch.testing.assert_close(centered, torch.tensor(expected))


def test_alpha_0_and_no_entropy_weight_leave_the_outcome(make_steps):
    probed, _, (response,) = probe({**SMALL, "entropy_weight": 0}, [TEXT])
    assert set(probed.token_values[WEIGHT][0]) == {1.0}
    steps = make_steps([[0.0]], advantage=0.25, response=response.n_tokens)
    method = build_method("shape", {"alpha": 0, "outcome": "advantage"})
    found = spread(method, steps, probed.token_values[SHAPING], probed.token_values[WEIGHT], [1.0])
    assert found[0].tolist() == [0.25] * response.n_tokens


@settings(max_examples=50, deadline=None)
@given(st.integers(0, 8), st.integers(0, 8), st.integers(1, 60))
def test_every_gain_is_rewarded_and_standing_still_is_taxed_where_much_is_solved(before, after, length):
    # with 8 answers and gamma of at least 0.9 a gain of one answer outweighs the tax
    gain = discount(length, 0.9, 40) * after / 8 - before / 8
    assert gain > 0 if after > before else gain <= 0
    if after == before > 0:
        assert gain < 0


def test_group_facts_are_the_rewards(make_groups):
    method = build_method("shape")
    groups = make_groups([(True, 5), (False, 6)])
    assert method.group_facts(method.rewards(groups), groups)[OUTCOME].tolist() == [[1, 0]]


def test_it_needs_what_probing_found(make_steps):
    method, steps = build_method("shape"), make_steps([[0.0]])
    with pytest.raises(DataError, match=r"^method shape: needs potentials"):
        method.spread(steps, method.gamma(steps), torch.zeros(1, 3, dtype=torch.long))


@pytest.mark.parametrize(
    ("field", "value"), [("num_segments", 0), ("least_gamma", 2), ("outcome", "both"), ("least_weight", 2.0)]
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        build_method("shape", {field: value})
