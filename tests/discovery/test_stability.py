from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import Head, resolve_heads
from attnpo.discovery.evidence import StabilityPoint, StabilityResult
from attnpo.discovery.halves import selecting_problems
from attnpo.discovery.ranking import pair_table, sra
from attnpo.discovery.stability import (
    Intervals,
    crossings,
    measure_stability,
    pearson,
    select_again,
    stability_point,
)
from attnpo.errors import DataError, HeadSetError
from attnpo.labeling import label_steps
from attnpo.rollouts import Rollout, Step
from attnpo.signals import score_steps
from attnpo.statistics import Interval

QUICK = Intervals(resamples=200)
HEADS = [Head(0, 0), Head(1, 1)]


def responses(n=30, seed=0, per_problem=2, empty_step=False):
    """Steps alternate essential and redundant; each response has a level of its own."""
    rng = np.random.default_rng(seed)
    rollouts = []
    for i in range(n):
        steps, start = [], 0
        for k in range(int(rng.integers(2, 6))):
            length = 0 if empty_step and k == 1 else int(rng.integers(1, 9))
            label = ("essential", "redundant")[k % 2]
            steps.append(Step((k, k + 1), (start, start + length), label=label))
            start += length
        ids = tuple(range(start + 3))
        rollouts.append(
            Rollout(f"p{i // per_problem}", "q", "1", i, ids, "", True, True, tuple(steps), (start, start + 3))
        )
    return rollouts


def noise(rollouts, seed, n_heads=2):
    rng = np.random.default_rng(seed)
    return [rng.random((len(r.steps), n_heads)).astype(np.float32) for r in rollouts]


def flat(rollouts, scores):
    return np.concatenate(
        [[s[k] for k, step in enumerate(r.steps) if step.tokens[1] > step.tokens[0]]
         for r, s in zip(rollouts, scores, strict=True)]
    ).astype(np.float64)  # fmt: skip


@pytest.mark.parametrize("empty_step", [False, True])
def test_pearson_over_all_steps_is_numpys(empty_step):
    rollouts = responses(empty_step=empty_step)
    now = [s[:, 0] for s in noise(rollouts, 1)]
    then = [0.3 * a + 0.7 * b[:, 0] + 1000 for a, b in zip(now, noise(rollouts, 2), strict=True)]
    found = pearson(rollouts, now, then, intervals=QUICK)
    assert found.value == pytest.approx(np.corrcoef(flat(rollouts, now), flat(rollouts, then))[0, 1])
    assert found.low < found.value < found.high


def test_the_interval_draws_whole_problems():
    rollouts = responses(n=20, per_problem=2)
    now, then = ([s[:, 0] for s in noise(rollouts, seed)] for seed in (1, 2))
    found = pearson(rollouts, now, then, intervals=Intervals(0.9, 500, 3))
    rng = np.random.default_rng(3)
    draws = []
    for drawn in rng.integers(0, 10, size=(500, 10)):  # ten problems of two responses each
        index = [i for problem in drawn for i in (2 * problem, 2 * problem + 1)]
        x, y = (flat([rollouts[i] for i in index], [s[i] for i in index]) for s in (now, then))
        draws.append(np.corrcoef(x, y)[0, 1])
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(draws, [0.05, 0.95])))


def test_within_responses_what_is_common_to_a_response_counts_for_nothing():
    rollouts = responses(n=40)
    now, then = ([s[:, 0] for s in noise(rollouts, seed)] for seed in (1, 2))
    level = [10.0 * i for i in range(40)]
    a = [x + z for x, z in zip(now, level, strict=True)]
    b = [x + z for x, z in zip(then, level, strict=True)]
    assert pearson(rollouts, a, b, intervals=QUICK).value > 0.99
    x, y = (np.concatenate([s - s.mean() for s in scores]) for scores in (a, b))
    assert pearson(rollouts, a, b, within=True, intervals=QUICK).value == pytest.approx(np.corrcoef(x, y)[0, 1])


def test_scores_that_do_not_vary():
    rollouts = responses(n=4)
    ones = [np.ones(len(r.steps)) for r in rollouts]
    other = [s[:, 0] for s in noise(rollouts, 1)]
    assert pearson(rollouts, ones, ones) == Interval(value=1.0, low=1.0, high=1.0)
    assert pearson(rollouts, other, ones) == Interval(value=0.0, low=0.0, high=0.0)


def test_a_point_by_hand():
    rollouts = responses()
    start, now = noise(rollouts, 1), noise(rollouts, 2)
    point = stability_point(rollouts, now, start, HEADS, name="step 4", step=4, intervals=QUICK)
    pairs = pair_table(rollouts, now)
    assert point.sra.value == pytest.approx(float(sra(pairs.ensemble([0, 1])[:, None])[0]))
    assert [h.sra for h in point.per_head] == pytest.approx(sra(pairs.differences_MN).tolist())
    matched = pairs.ensemble([0, 1])[pairs.length_matched_M]
    assert point.sra_length_matched.value == pytest.approx(float(sra(matched[:, None])[0]))
    for n in range(2):
        x, y = (flat(rollouts, [s[:, n] for s in scores]) for scores in (now, start))
        assert point.per_head[n].pearson == pytest.approx(np.corrcoef(x, y)[0, 1])
    x, y = (flat(rollouts, [s.mean(axis=1, dtype=np.float64) for s in scores]) for scores in (now, start))
    assert point.pearson.value == pytest.approx(np.corrcoef(x, y)[0, 1])
    assert [h.head for h in point.per_head] == point.heads == [(0, 0), (1, 1)]
    itself = stability_point(rollouts, start, start, HEADS, name="start", intervals=QUICK)
    assert itself.pearson.value == itself.pearson_within.value == pytest.approx(1.0)
    assert itself.pearson.low == pytest.approx(1.0)


def test_no_pair_is_an_error():
    (rollout,) = responses(n=1)
    bare = Rollout("p", "q", "1", 0, (1, 2), "", True, True, rollout.steps[:1], (1, 2))
    with pytest.raises(DataError, match="none has both an essential and a redundant step"):
        stability_point([bare], noise([bare], 1), noise([bare], 1), HEADS, name="x")


def points(sra_values, pearson_values):
    def exact(value):
        return Interval(value=value, low=value, high=value)

    return [
        StabilityPoint(step=k, name=f"step {k}", sra=exact(a), pearson=exact(b), heads=[(0, 0)])
        for k, (a, b) in enumerate(zip(sra_values, pearson_values, strict=True))
    ]


def test_one_warning_a_crossing():
    made = points([0.95, 0.8, 0.7, 0.95, 0.85, 0.9], [1.0, 0.9, 0.8, 0.85, 0.9, 0.7])
    assert crossings(made, 0.9, 0.85) == [
        "step 1: SRA 0.800 is under 0.9",
        "step 2: correlation with the start 0.800 is under 0.85",
        "step 4: SRA 0.850 is under 0.9",
        "step 5: correlation with the start 0.700 is under 0.85",
    ]
    assert crossings(made, None, 0.75) == ["step 5: correlation with the start 0.700 is under 0.75"]
    assert crossings(made, None, None) == []


def knowing(rollouts, column, n_heads=4, where=lambda rollout: True):
    scores = noise(rollouts, 5, n_heads)
    for rollout, rows in zip(rollouts, scores, strict=True):
        if where(rollout):
            rows[:, column] = [float(step.label == "essential") for step in rollout.steps]
    return scores


def test_heads_are_chosen_anew_on_one_half_and_proven_on_the_other():
    rollouts = responses(n=60)
    found = select_again(rollouts, knowing(rollouts, 2), [0], num_heads=1)
    assert found.columns == (2,)
    assert found.sra_new == 1.0
    assert 0.3 < found.sra_old < 0.7


def test_heads_that_do_better_on_the_half_they_were_chosen_on_alone_are_not_taken():
    rollouts = responses(n=60)
    chosen_on = selecting_problems(r.problem_id for r in rollouts)
    scores = knowing(rollouts, 2, where=lambda r: r.problem_id in chosen_on)
    for rollout, rows in zip(rollouts, scores, strict=True):
        if rollout.problem_id not in chosen_on:
            rows[:, 2] = [float(step.label == "redundant") for step in rollout.steps]
    found = select_again(rollouts, scores, [0], num_heads=1)
    assert found.columns == (0,)
    assert found.sra_new == 0.0


def test_any_checkpoints_after_the_fact(toy, model, tmp_path):
    rollouts = [
        r for r in (label_steps(toy.labeler, r) for r in toy.rollouts(tmp_path, 16, 4))
        if {"essential", "redundant"} <= {s.label for s in r.steps}
    ]  # fmt: skip
    head_set = resolve_heads("0.1,1.0", model.config)
    other = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.05)
    loaded = []

    def checkpoints():
        for name, checkpoint in (("base", model), ("runs/x/checkpoint-20", other), ("again", model)):
            loaded.append(name)
            yield name, checkpoint

    result = measure_stability(checkpoints(), toy.tokenizer, rollouts, head_set, min_pearson=0.999, intervals=QUICK)
    assert loaded == ["base", "runs/x/checkpoint-20", "again"]
    assert [(p.name, p.step) for p in result.points] == [("base", None), ("runs/x/checkpoint-20", 20), ("again", None)]
    first, second, third = result.points
    assert first.pearson.value == third.pearson.value == pytest.approx(1.0)
    assert second.pearson.value < 0.999
    assert first.sra == third.sra
    truth = score_steps(other, toy.tokenizer, rollouts, head_set.heads)
    assert second.sra.value == pytest.approx(float(sra(pair_table(rollouts, truth).ensemble([0, 1])[:, None])[0]))
    assert result.heads == [(0, 1), (1, 0)]
    assert len(result.warnings) == 1
    assert result.warnings[0].startswith("runs/x/checkpoint-20: correlation with the start")
    result.save(tmp_path / "stability.json")
    assert StabilityResult.load(tmp_path / "stability.json") == result


def test_a_checkpoint_of_another_architecture_is_named(toy, model, tmp_path):
    wider = Qwen2ForCausalLM(Qwen2Config(**{**model.config.to_dict(), "intermediate_size": 24}))
    with pytest.raises(HeadSetError, match=r"^late: the heads were found on"):
        measure_stability([("late", wider)], toy.tokenizer, responses(4), resolve_heads("0.1", model.config))
