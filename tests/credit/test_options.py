from __future__ import annotations

from dataclasses import asdict, replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from step_batches import step_batches

from attnpo.credit import CreditSettings, build_method, credit_counts
from attnpo.credit.batches import StepBatch
from attnpo.credit.methods.attnpo_extended import AttnPOExtended
from attnpo.credit.options import OptionSettings, relative_scores
from attnpo.errors import ConfigError

SWITCHES = ("positive_attenuation", "negative_attenuation", "difficulty_baseline", "magnitude_modulation", "schedule")


def gamma(steps: StepBatch, **settings) -> list[list[float]]:
    return build_method("attnpo_extended", settings).gamma(steps).tolist()


@given(st.data(), st.booleans(), st.sampled_from([0.0, 0.3]))
def test_without_options_every_bit_is_the_papers(make_steps, data, prompts, floor):
    steps = data.draw(step_batches(make_steps))
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
    steps = data.draw(step_batches(make_steps))
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


@given(st.data(), st.sampled_from(["uniform", "spare", "blame"]), st.sampled_from(["answer_share", "mean_score"]))
def test_factors_stay_within_their_bounds(make_steps, data, incorrect, bar):
    steps = data.draw(step_batches(make_steps))
    options = {"attenuation_strength": 3.0, "attenuation_floor": -0.5, "redistribute": True, "gamma_ceiling": 1.5}
    method = build_method("attnpo_extended", {"schedule": False, "incorrect_credit": incorrect, "bar": bar, **options})
    found = method.gamma(steps)
    assert ((found >= -0.5) & (found <= 1.5)).all()
    assert (found[~steps.owned_BK] == 1).all()
    assert all(value.isfinite() for value in credit_counts(steps, found).values())


@pytest.mark.parametrize("bar", ["answer_share", "mean_score"])
@given(data=st.data())
def test_a_row_does_not_see_the_others(make_steps, data, bar):
    steps = data.draw(step_batches(make_steps))
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
