from __future__ import annotations

import copy

import pytest
import torch

from attnpo.collecting import collect_rollouts, model_fingerprint, problem_key, read_groups
from attnpo.errors import DataError, OutputError
from attnpo.sampling import SamplingParams

PARAMS = SamplingParams(max_new_tokens=45, seed=3)


def collect(toy, path, problems, sampler, **changes):
    arguments = {
        "tokenizer": toy.tokenizer,
        "segmenter": toy.segmenter,
        "verifier": toy.verifier,
        "samples": 3,
        "params": PARAMS,
        "settings": {"model": "toy"},
        "labeler": toy.labeler,
        **changes,
    }
    return collect_rollouts(path, problems, sampler=sampler, **arguments)


def test_rows_carry_verdict_steps_labels_and_pass_rate(toy, tmp_path):
    problems = toy.problems(8)
    collected = collect(toy, tmp_path / "r.jsonl", problems, toy.Sampler())
    rollouts = read_groups(collected.path, problems)
    assert [(r.problem_id, r.sample) for r in rollouts] == [(f"p{i}", j) for i in range(8) for j in range(3)]
    assert toy.verifier.calls == 8  # once a group
    assert collected.sampled_tokens == sum(r.n_tokens for r in rollouts)
    assert any(not r.finished for r in rollouts)
    for rollout in rollouts:
        assert rollout.correct == rollout.response.endswith(f"</think>{rollout.solution}")
        assert rollout.pass_rate == sum(r.correct for r in rollouts if r.problem_id == rollout.problem_id) / 3
        assert (
            "".join(rollout.response[a:b] for a, b in (s.chars for s in rollout.steps))
            == (rollout.response.split("</think>")[0])
        )
        assert None not in [step.label for step in rollout.steps]


@pytest.mark.parametrize("interrupt_after", [0, 3, 7])
def test_an_interrupted_run_samples_nothing_twice_and_ends_alike(toy, tmp_path, interrupt_after):
    problems = toy.problems(8)
    whole = read_groups(collect(toy, tmp_path / "a.jsonl", problems, toy.Sampler()).path, problems)
    first, second = toy.Sampler(interrupt_after), toy.Sampler(backwards=True)
    with pytest.raises(toy.Interrupted):
        collect(toy, tmp_path / "b.jsonl", problems, first)
    resumed = collect(toy, tmp_path / "b.jsonl", problems, second)
    assert sorted(first.sampled + second.sampled) == sorted(p.prompt for p in problems)
    assert read_groups(resumed.path, problems) == whole
    assert resumed.sampled_tokens == sum(r.n_tokens for r in whole)
    third = toy.Sampler()
    assert read_groups(collect(toy, tmp_path / "b.jsonl", problems, third).path, problems) == whole
    assert third.sampled == []


@pytest.mark.parametrize("cut", ["within a line", "within a group"])
def test_what_a_kill_left_half_written_is_sampled_again(toy, tmp_path, cut):
    problems, path = toy.problems(4), tmp_path / "r.jsonl"
    whole = read_groups(collect(toy, path, problems, toy.Sampler()).path, problems)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = lines[:7] if cut == "within a group" else [*lines[:7], lines[7][:40]]
    path.write_bytes(b"".join(kept))
    sampler = toy.Sampler()
    assert read_groups(collect(toy, path, problems, sampler).path, problems) == whole
    assert sampler.sampled == [problems[2].prompt, problems[3].prompt]


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"samples": 4}, "samples"),
        ({"params": SamplingParams(max_new_tokens=45, seed=4)}, "sampling"),
        ({"settings": {"model": "other"}}, "model"),
    ],
)
def test_other_settings_are_refused_before_sampling(toy, tmp_path, changes, name):
    problems = toy.problems(2)
    collect(toy, tmp_path / "r.jsonl", problems, toy.Sampler())
    sampler = toy.Sampler()
    with pytest.raises(OutputError, match=rf"holds results of other settings: {name} \(there"):
        collect(toy, tmp_path / "r.jsonl", problems, sampler, **changes)
    with pytest.raises(OutputError, match="other settings: problems"):
        collect(toy, tmp_path / "r.jsonl", toy.problems(3), sampler)
    assert sampler.sampled == []


def test_a_damaged_file_is_named(toy, tmp_path):
    problems, path = toy.problems(2), tmp_path / "r.jsonl"
    collect(toy, path, problems, toy.Sampler())
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join([lines[0], "{}\n", *lines[1:]]))
    with pytest.raises(DataError, match=r"r.jsonl, row 2: not a rollout row"):
        collect(toy, path, problems, toy.Sampler())
    path.write_text("".join([*lines, lines[0]]))
    with pytest.raises(OutputError, match="problem 'p0' appears more than once"):
        collect(toy, path, problems, toy.Sampler())


def test_only_the_responses_asked_for_are_labelled(toy, tmp_path):
    problems = toy.problems(4)
    collected = collect(toy, tmp_path / "r.jsonl", problems, toy.Sampler(), needs_labels=lambda r: bool(r.correct))
    rollouts = read_groups(collected.path, problems)
    assert {r.correct for r in rollouts} == {True, False}
    assert all((step.label is not None) == r.correct for r in rollouts for step in r.steps)


def test_a_retrained_model_has_another_fingerprint():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 2, dtype=torch.bfloat16))
    same, other = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(1.001)
    assert model_fingerprint(model) == model_fingerprint(same) != model_fingerprint(other)


def test_problem_keys_are_stable_and_fit_63_bits():
    keys = [problem_key(f"p{i}") for i in range(1000)]
    assert len(set(keys)) == 1000
    assert max(keys) < 2**63
    assert problem_key("p0") == keys[0]
