from __future__ import annotations

import itertools
from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import Ask, CreditSettings, build_method, credit_counts
from attnpo.credit.batches import StepBatch
from attnpo.credit.layout import pack_steps
from attnpo.credit.methods.attnpo_extended import AttnPOExtended
from attnpo.credit.options import OptionSettings, relative_scores
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout, Step

SWITCHES = ("positive_attenuation", "negative_attenuation", "difficulty_baseline", "magnitude_modulation", "schedule")


def gamma(steps: StepBatch, **settings) -> list[list[float]]:
    return build_method("attnpo_extended", settings).gamma(steps).tolist()


@st.composite
def batches(draw, make):
    rows = draw(st.lists(st.lists(st.floats(0, 1, width=32), max_size=6), min_size=1, max_size=4))
    size = len(rows)

    def column(values):
        return draw(st.lists(values, min_size=size, max_size=size))

    return make(
        rows,
        step_lengths=[draw(st.lists(st.integers(0, 9), min_size=len(row), max_size=len(row))) for row in rows],
        answer=column(st.integers(0, 30)),
        response=column(st.integers(1, 90)),
        advantage=column(st.floats(-1, 1, width=32)),
        correct=column(st.booleans()),
        pass_rate=column(st.sampled_from([0.0, 0.125, 0.5, 0.875, 1.0])),
        t=draw(st.integers(0, 40)),
    )


@given(st.data(), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_without_options_every_bit_is_the_papers(make_steps, data, prompts, floor):
    steps = data.draw(batches(make_steps))
    settings = {name: data.draw(st.booleans()) for name in SWITCHES}
    settings |= {"schedule_steps": 30, "gamma_floor": floor}
    settings["baseline_denominator"] = "prompt+response" if prompts else "response"
    expected, found = (build_method(name, settings).gamma(steps) for name in ("attnpo", "attnpo_extended"))
    assert torch.equal(expected, found)


def test_the_defaults_are_the_papers():
    own = asdict(OptionSettings())
    assert {name: own[name] for name in asdict(CreditSettings())} == asdict(CreditSettings())
    assert AttnPOExtended().settings == OptionSettings()


def test_mean_score_as_the_bar(make_steps):
    # Scores 0.4, 0.1 over 2 and 6 tokens: mean 0.175. Eq. 6 without pass rate: 16 / 128 = 0.125; bar at p = 0.5: 1/4.
    steps = make_steps([[0.4, 0.1]], step_lengths=[[2, 6]], pass_rate=0.5, advantage=1.0)
    scaled = relative_scores(steps.scores_BK, steps, OptionSettings(bar="mean_score"))
    assert scaled[0].tolist() == pytest.approx([0.4 * 0.125 / 0.175, 0.1 * 0.125 / 0.175])
    # 0.1 / 0.175 = 0.571 of the mean is above the bar of a quarter; at p = 1 it is below 1: delta = 0, gamma = 0.571.
    assert gamma(steps, bar="mean_score") == [[1, 1]]
    solved = replace(steps, pass_rate_B=torch.ones(1))
    assert gamma(solved, bar="mean_score")[0] == pytest.approx([1, 0.1 / 0.175])
    assert gamma(solved)[0] == pytest.approx([1, 0.1 / 0.125])


def test_the_mean_score_bar_does_not_see_the_mass_of_the_heads(make_steps):
    # Heads of a tenth of the mass damp everything by Eq. 6 and nothing more by their own mean.
    steps = make_steps([[0.4, 0.3, 0.1]], pass_rate=1.0)
    faint = replace(steps, scores_BK=steps.scores_BK / 10)
    assert gamma(faint, bar="mean_score")[0] == pytest.approx(gamma(steps, bar="mean_score")[0], rel=1e-5)
    assert gamma(faint)[0] != gamma(steps)[0]


def test_no_attention_on_any_step(make_steps):
    steps = make_steps([[0.0, 0.0]], pass_rate=1.0)
    assert gamma(steps, bar="mean_score") == gamma(steps) == [[0, 0]]


def test_a_stronger_attenuation(make_steps):
    # p = 1: gamma = S / S_base = 1/2 and 0. Twice as strong: 0 and -1; the floor holds it.
    steps = make_steps([[0.0625, 0.0, 0.5]] * 2, pass_rate=1.0, advantage=[1.0, -1.0])
    assert gamma(steps) == [[0.5, 0, 1], [1, 1, 0]]
    assert gamma(steps, attenuation_strength=2.0, attenuation_floor=-1.0) == [[0, -1, 1], [1, 1, 0]]
    assert gamma(steps, attenuation_strength=2.0, attenuation_floor=-0.5) == [[0, -0.5, 1], [1, 1, 0]]
    assert gamma(steps, attenuation_strength=2.0) == [[0, 0, 1], [1, 1, 0]]
    assert gamma(steps, attenuation_strength=0.5) == [[0.75, 0.5, 1], [1, 1, 0]]


def test_incorrect_responses(make_steps):
    # Bar 0.125, whatever the pass rate. Rows: wrong, wrong but rewarded, wrong with one step, right.
    steps = make_steps(
        [[0.5, 0.0], [0.5, 0.0], [0.5], [0.5, 0.0]],
        correct=[False, False, False, True],
        advantage=[-1.0, 1.0, -1.0, -1.0],
        pass_rate=0.25,
        width=2,
    )
    assert gamma(steps) == [[1, 1], [1, 1], [1, 1], [0, 1]]
    assert gamma(steps, incorrect_credit="spare") == [[0.5, 1], [1, 1], [1, 1], [0, 1]]
    assert gamma(steps, incorrect_credit="blame", incorrect_gamma=0.25) == [[1, 0.25], [1, 1], [1, 1], [0, 1]]
    unanswered = replace(steps, answer_lengths_B=torch.zeros(4, dtype=torch.long))
    assert gamma(unanswered, incorrect_credit="spare") == [[1, 1]] * 4


def test_redistribution_keeps_the_sum(make_steps):
    # Row 0: 6 tokens give 1/2 away and 2 tokens take it. Row 1 (NA): 2 spared tokens, 6 take. Row 2: nobody is left.
    steps = make_steps(
        [[0.0625, 0.5], [0.0, 0.5], [0.0, 0.0]],
        step_lengths=[[6, 2], [6, 2], [6, 2]],
        pass_rate=1.0,
        advantage=[1.0, -1.0, 1.0],
    )
    found = gamma(steps, redistribute=True, gamma_ceiling=10.0)
    assert found[0] == [0.5, 2.5]
    assert found[1] == pytest.approx([1 + 2 / 6, 0])
    assert found[2] == [0, 0]
    assert gamma(steps, redistribute=True)[0] == [0.5, 2.0]


@given(st.data())
def test_redistribution_by_brute_force(make_steps, data):
    steps = data.draw(batches(make_steps))
    before = build_method("attnpo", {"schedule": False}).gamma(steps)
    after = build_method("attnpo_extended", {"schedule": False, "redistribute": True, "gamma_ceiling": 1e9}).gamma(
        steps
    )
    tokens = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
    for row in range(len(before)):
        takes = [k for k in range(before.shape[1]) if steps.owned_BK[row, k] and before[row, k] >= 1]
        total = tokens[row].sum().item() if takes else (before[row] * tokens[row]).sum().item()
        assert (after[row] * tokens[row]).sum().item() == pytest.approx(total, rel=1e-4, abs=1e-4)
        assert all(after[row, k] == before[row, k] for k in range(before.shape[1]) if k not in takes)


def test_the_sum_is_kept_whatever_the_ceiling(make_steps):
    # p = 1, bar 0.125: 6 tokens would give 6 halves away, but 2 tokens at the ceiling of 2 hold 2.
    # Row 1: nobody lies above the bar. Row 2: the step on the bar gets nothing, the one above it all.
    steps = make_steps(
        [[0.0625, 0.5, 0.125], [0.0625, 0.125, 0.125], [0.0625, 0.125, 0.5]],
        step_lengths=[[6, 2, 0], [6, 2, 1], [2, 6, 4]],
        pass_rate=1.0,
    )
    found = gamma(steps, redistribute=True, receivers="essential", keep_sum=True)
    assert found[0] == pytest.approx([1 - 0.5 * 2 / 3, 2, 1])
    assert found[1] == [1, 1, 1]
    assert found[2] == [0.5, 1, 1.25]
    assert gamma(steps, redistribute=True, receivers="essential")[1] == [0.5, 1, 1]


@given(st.data(), st.sampled_from(["untouched", "essential"]), st.sampled_from([1.0, 1.5, 50.0]))
def test_a_kept_sum_by_brute_force(make_steps, data, receivers, ceiling):
    steps = data.draw(batches(make_steps))
    settings = {"schedule": False, "receivers": receivers, "gamma_ceiling": ceiling}
    found = build_method("attnpo_extended", settings | {"redistribute": True, "keep_sum": True}).gamma(steps)
    before = build_method("attnpo", {"schedule": False}).gamma(steps)
    tokens = torch.where(steps.owned_BK, steps.step_lengths_BK, 0).float()
    torch.testing.assert_close((found * tokens).sum(dim=1), tokens.sum(dim=1), atol=1e-3, rtol=1e-4)
    assert (found <= ceiling + 1e-6).all()
    assert (found >= before - 1e-6).all()


def test_what_stands_before_the_first_error_is_not_punished(make_steps):
    steps = make_steps(
        [[0.5, 0.0, 0.5]] * 5,
        correct=[False, False, False, True, False],
        advantage=[-1.0, -1.0, -1.0, -1.0, 1.0],
        pass_rate=0.25,
    )
    first = torch.tensor([2.0, 0.0, -1.0, 1.0, 2.0])
    settings = {"incorrect_credit": "before_error", "incorrect_gamma": 0.0}
    found = gamma(replace(steps, facts={"first_error": first}), **settings)
    assert found == [[0, 0, 1], [1, 1, 1], [1, 1, 1], [0, 1, 0], [1, 1, 1]]
    # Row 0: before the error, answered or not.
    unanswered = replace(steps, answer_lengths_B=torch.zeros(5, dtype=torch.long), facts={"first_error": first})
    assert gamma(unanswered, **settings) == [[0, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]]
    with pytest.raises(DataError, match=r"^incorrect_credit: before_error needs the fact first_error"):
        gamma(steps, **settings)


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
    settings = {"incorrect_credit": "before_error", "incorrect_gamma": 0.25}
    found = gamma(replace(steps, facts=facts), **settings)
    assert found == [[0.25, 0.25], [0.25, 1], [1, 1], [0.25, 1]]


def test_the_answer_alone_is_punished_for_a_wrong_box():
    question = "Leo has 9 coins. Bob has 2 fewer than Leo. How many coins does Bob have?"
    text = "Leo has 9.\n\nBob has 9-2=7.\n\n</think>\n\nThe answer is 8."
    cuts = [0, 12, 28]
    steps = tuple(Step((a, b), (i, i + 1)) for i, (a, b) in enumerate(itertools.pairwise(cuts)))
    wrong = Rollout("p", question, "7", 0, (5, 6, 7), text, True, steps=steps, answer_tokens=(2, 3), correct=False)
    right = replace(wrong, sample=1, correct=True)
    method = build_method("attnpo-before-error", {"error_finder": "attnpo.tinyworld.oracle:first_error"})
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
    method = build_method("attnpo-before-error", {"error_finder": "attnpo.gsmworld.oracle:first_error"})
    method.check(64, 8)
    assert method.facts(rollout, Ask("Kim?")) == {"first_error": 1.0}
    first = replace(rollout, response=text[:16], steps=steps[:1])
    assert method.facts(first, Ask("Kim?")) == {"first_error": -1.0}
    assert build_method("attnpo_extended").facts(rollout, Ask("Kim?")) == {}
    with pytest.raises(ConfigError, match="error_finder"):
        build_method("attnpo-before-error", {"error_finder": "nowhere:at_all"}).check(64, 8)
    with pytest.raises(ConfigError, match=r"^error_finder: .* name attnpo.tinyworld.oracle:first_error or"):
        build_method("attnpo-before-error").check(64, 8)


@pytest.mark.parametrize("name", ["attnpo", "attnpo_extended"])
def test_labels_stand_in_for_scores(make_steps, name):
    steps = make_steps([[0.0, 0.0, 0.0]], labels=[[1, 2, 0]], pass_rate=1.0, step_lengths=[[4, 4, 4]])
    oracle = build_method("oracle" if name == "attnpo" else "oracle_extended")
    assert oracle.gamma(steps).tolist() == [[1, 0, 1]]
    assert build_method("oracle-keep-sum").gamma(steps).tolist() == [[2, 0, 1]]


@given(st.data(), st.sampled_from(["uniform", "spare", "blame"]), st.sampled_from(["answer_share", "mean_score"]))
def test_factors_stay_within_their_bounds(make_steps, data, incorrect, bar):
    steps = data.draw(batches(make_steps))
    options = {"attenuation_strength": 3.0, "attenuation_floor": -0.5, "redistribute": True, "gamma_ceiling": 1.5}
    method = build_method("attnpo_extended", {"schedule": False, "incorrect_credit": incorrect, "bar": bar, **options})
    found = method.gamma(steps)
    assert ((found >= -0.5) & (found <= 1.5)).all()
    assert (found[~steps.owned_BK] == 1).all()
    assert all(value.isfinite() for value in credit_counts(steps, found).values())


@pytest.mark.parametrize("bar", ["answer_share", "mean_score"])
@given(data=st.data())
def test_a_row_does_not_see_the_others(make_steps, data, bar):
    steps = data.draw(batches(make_steps))
    method = build_method("attnpo_extended", {"bar": bar, "redistribute": True, "incorrect_credit": "spare"})
    whole = method.gamma(steps)
    for row in range(len(whole)):
        names = ("facts", "step_values", "token_values", "progress_step", "labels_BK", "step_starts_BK")
        alone = replace(steps, **{n: v[row : row + 1] for n, v in vars(steps).items() if n not in names})
        assert torch.equal(method.gamma(alone)[0], whole[row])


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("bar", "median"),
        ("attenuation_strength", -1),
        ("attenuation_floor", -1.5),
        ("incorrect_credit", "all"),
        ("incorrect_gamma", 1.5),
        ("redistribute", 1),
        ("gamma_ceiling", 0.5),
        ("receivers", "all"),
        ("keep_sum", 1),
    ],
)
def test_a_value_out_of_range_is_named(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: "):
        OptionSettings(**{field: value})


def test_presets_differ_from_the_paper_in_their_option_alone():
    names = ("mean-bar", "signed", "spare", "blame", "redistribute")
    for method in (build_method(f"attnpo-{name}") for name in names):
        changed = {k: v for k, v in asdict(method.settings).items() if v != asdict(OptionSettings())[k]}
        assert 1 <= len(changed) <= 2
        assert method.needs_scores
