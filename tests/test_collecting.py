from __future__ import annotations

import base64
import copy
import io
import itertools
import json
import subprocess
import sys
import time
import zlib
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from rich.console import Console

from attnpo.collecting import (
    collect_rollouts,
    counted_tokens,
    model_fingerprint,
    problems_fingerprint,
    read_groups,
    run,
)
from attnpo.datasets import ProblemRow
from attnpo.errors import DataError, EngineError, OutputError
from attnpo.progress import console_progress
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SamplingParams, request_key
from attnpo.verification.code.tests import CodeTest, CodeTests

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


def everything(problems, samples=3):
    return sorted((p.prompt, j) for p in problems for j in range(samples))


@pytest.mark.parametrize("interrupt_after", [0, 1, 3, 10, 23])
def test_an_interrupted_run_samples_nothing_twice_and_ends_alike(toy, tmp_path, interrupt_after):
    problems = toy.problems(8)
    whole = read_groups(collect(toy, tmp_path / "a.jsonl", problems, toy.Sampler()).path, problems)
    first, second = toy.Sampler(interrupt_after), toy.Sampler(backwards=True)
    with pytest.raises(toy.Interrupted):
        collect(toy, tmp_path / "b.jsonl", problems, first)
    resumed = collect(toy, tmp_path / "b.jsonl", problems, second)
    assert sorted(first.sampled + second.sampled) == everything(problems)
    assert read_groups(resumed.path, problems) == whole
    assert resumed.sampled_tokens == sum(r.n_tokens for r in whole)
    assert not (tmp_path / "b.samples.jsonl").exists()
    third = toy.Sampler()
    assert read_groups(collect(toy, tmp_path / "b.jsonl", problems, third).path, problems) == whole
    assert third.sampled == []


def test_every_response_is_on_disk_before_the_next_one_is_asked_for(toy, tmp_path):
    journal, lines = tmp_path / "r.samples.jsonl", []

    class Watching(toy.Sampler):
        def sample(self, requests, params):
            for item in super().sample(requests, params):
                lines.append(len(journal.read_bytes().splitlines()))
                yield item

    collect(toy, tmp_path / "r.jsonl", toy.problems(4), Watching())
    assert lines == list(range(12))


def test_a_dead_engine_leaves_complete_groups_verified(toy, tmp_path):
    problems, path = toy.problems(4), tmp_path / "r.jsonl"
    whole = read_groups(collect(toy, tmp_path / "a.jsonl", problems, toy.Sampler()).path, problems)
    with pytest.raises(EngineError, match="gone"):
        collect(toy, path, problems, toy.Sampler(8, error=EngineError("gone")))
    assert read_groups(path, problems) == whole[:6]  # two groups of three; two more responses wait in the journal
    sampler = toy.Sampler()
    assert read_groups(collect(toy, path, problems, sampler).path, problems) == whole
    assert len(sampler.sampled) == 4


@pytest.mark.parametrize("cut", ["within a line", "within a group"])
def test_what_a_kill_left_half_written_is_sampled_again(toy, tmp_path, cut):
    problems, path = toy.problems(4), tmp_path / "r.jsonl"
    whole = read_groups(collect(toy, path, problems, toy.Sampler()).path, problems)
    lines = path.read_bytes().splitlines(keepends=True)
    kept = lines[:7] if cut == "within a group" else [*lines[:7], lines[7][:40]]
    path.write_bytes(b"".join(kept))
    sampler = toy.Sampler()
    assert read_groups(collect(toy, path, problems, sampler).path, problems) == whole
    assert sorted(sampler.sampled) == everything(problems[2:])


@pytest.mark.parametrize("cut_bytes", [1, 30, 200])
def test_a_journal_cut_anywhere_costs_the_cut_response_alone(toy, tmp_path, cut_bytes):
    problems, path = toy.problems(4), tmp_path / "r.jsonl"
    whole = read_groups(collect(toy, tmp_path / "a.jsonl", problems, toy.Sampler()).path, problems)
    with pytest.raises(toy.Interrupted):
        collect(toy, path, problems, toy.Sampler(8))
    path.unlink(missing_ok=True)  # killed before any group was written
    journal = tmp_path / "r.samples.jsonl"
    data = journal.read_bytes()
    last = len(data.splitlines(keepends=True)[-1])
    journal.write_bytes(data[: -min(cut_bytes, last)])
    sampler = toy.Sampler()
    assert read_groups(collect(toy, path, problems, sampler).path, problems) == whole
    assert len(sampler.sampled) == 12 - 7


def test_a_run_killed_at_any_moment_ends_with_the_same_rows(toy, tmp_path):
    whole = read_groups(collect(toy, tmp_path / "a.jsonl", toy.problems(30), toy.Sampler()).path, toy.problems(30))
    script = tmp_path / "run.py"
    script.write_text(KILLED, encoding="utf-8")
    path = tmp_path / "b.jsonl"
    for _ in range(3):
        process = subprocess.Popen([sys.executable, script, Path(__file__).parent, path])
        deadline = time.monotonic() + 60
        before = written(path)
        while written(path) < before + 15 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.005)
        process.kill()
        process.wait()
    collected = collect(toy, path, toy.problems(30), toy.Sampler())
    assert read_groups(collected.path, toy.problems(30)) == whole
    # Nothing was sampled twice, so a killed part's tokens are those of its responses.
    assert collected.sampled_tokens == sum(rollout.n_tokens for rollout in whole)


def test_the_clock_of_a_killed_part_goes_on_counting(toy, tmp_path):
    script, path = tmp_path / "run.py", tmp_path / "r.jsonl"
    # A second response that takes for ever: only what is saved while the engine is waited for can be known of it.
    script.write_text(KILLED.replace("time.sleep(0.01)", "time.sleep(0 if item[0] < 1 else 999)"), encoding="utf-8")
    process = subprocess.Popen([sys.executable, script, Path(__file__).parent, path])
    clock = {"seconds": 0.0}
    deadline = time.monotonic() + 60
    while clock["seconds"] < 0.5 and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.02)
        clock = (
            json.loads(path.with_name("r.clock.json").read_text()) if path.with_name("r.clock.json").exists() else clock
        )
    process.kill()
    process.wait()
    assert clock["seconds"] >= 0.5
    assert 0 < clock["engine_seconds"] <= clock["seconds"]
    assert clock["sampled_tokens"] > 0
    collected = collect(toy, path, toy.problems(30), toy.Sampler())
    assert collected.seconds > clock["seconds"]
    assert collected.engine_seconds > clock["engine_seconds"]
    assert collected.sampled_tokens == sum(r.n_tokens for r in read_groups(path, toy.problems(30)))


def test_a_part_never_waits_for_the_engine_longer_than_it_runs(monkeypatch):
    ticks = itertools.count()
    monkeypatch.setattr(run.time, "perf_counter", lambda: float(next(ticks)))  # time passes between any two readings
    clock = SimpleNamespace(seconds=0.0, engine_seconds=0.0, save=lambda: None)
    part = run._Run(clock, lambda *_: None, 0, 0)
    part._asked = part._start
    for _ in range(3):
        part.save()
        assert 0 < clock.engine_seconds <= clock.seconds


KILLED = """
import sys, time, importlib.util
from pathlib import Path
spec = importlib.util.spec_from_file_location("toyworld", Path(sys.argv[1]) / "conftest.py")
toy = importlib.util.module_from_spec(spec); sys.modules["toyworld"] = toy; spec.loader.exec_module(toy)
from attnpo.collecting import collect_rollouts
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SamplingParams

class Slow(toy.ToySampler):
    def sample(self, requests, params):
        for item in super().sample(requests, params):
            time.sleep(0.01)
            yield item

collect_rollouts(Path(sys.argv[2]), toy.toy_problems(30), tokenizer=toy.ToyTokenizer(), sampler=Slow(),
    segmenter=toy.toy_segmenter, verifier=toy.ToyVerifier(), samples=3,
    params=SamplingParams(max_new_tokens=45, seed=3), settings={"model": "toy"}, labeler=toy.toy_labeler)
"""


def test_a_kill_does_not_forget_that_ids_were_made_from_text(toy, tmp_path):
    class TextSampler(toy.Sampler):
        def sample(self, requests, params):
            for index, response in super().sample(requests, params):
                yield index, replace(response, exact_ids=False)

    path = tmp_path / "r.jsonl"
    with pytest.raises(toy.Interrupted):
        collect(toy, path, toy.problems(4), TextSampler(interrupt_after=5))
    path.with_name("r.clock.json").unlink()  # a kill leaves none, or an older one
    assert not collect(toy, path, toy.problems(4), toy.Sampler()).exact_ids


def test_what_the_server_counts_outlives_a_kill(toy, tmp_path):
    problems = toy.problems(2)

    class Counted(toy.Sampler):
        def sample(self, requests, params):
            for index, response in super().sample(requests, params):
                yield index, replace(response, exact_ids=False, tokens=1000 + len(response.ids))

    with pytest.raises(toy.Interrupted):
        collect(toy, tmp_path / "r.jsonl", problems, Counted(interrupt_after=4))
    collected = collect(toy, tmp_path / "r.jsonl", problems, Counted())
    rows = list(read_rollouts(collected.path))
    assert [counted_tokens(row) for row in rows] == [1000 + row.n_tokens for row in rows]
    assert collected.sampled_tokens == sum(map(counted_tokens, rows))


def test_the_last_note_is_the_accuracy_of_all(toy, tmp_path):
    with pytest.raises(toy.Interrupted):
        collect(toy, tmp_path / "r.jsonl", toy.problems(8), toy.Sampler(interrupt_after=13))
    progress = console_progress(Console(file=io.StringIO()))
    path = collect(toy, tmp_path / "r.jsonl", toy.problems(8), toy.Sampler(), progress=progress).path
    rollouts = read_groups(path, toy.problems(8))
    (task,) = progress.tasks
    assert task.completed == task.total == 24
    assert task.fields["note"].startswith(f"{sum(r.correct for r in rollouts) / 24:.0%} correct, ")


def written(path):
    files = [path, path.with_name(f"{path.stem}.samples.jsonl")]
    return max((len(file.read_bytes().splitlines()) for file in files if file.exists()), default=0)


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"samples": 4}, "samples"),
        ({"params": SamplingParams(max_new_tokens=45, seed=4)}, r"sampling\.seed"),
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


def test_a_retrained_model_has_another_fingerprint():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(64, 64), torch.nn.Linear(64, 2, dtype=torch.bfloat16))
    same, other = copy.deepcopy(model), copy.deepcopy(model)
    with torch.no_grad():
        other[0].weight.mul_(1.001)
    assert model_fingerprint(model) == model_fingerprint(same) != model_fingerprint(other)


def test_problems_are_the_same_however_their_tests_are_packed():
    tests = CodeTests(kind="stdin", tests=[CodeTest(input="1 " * 500, output="2")])
    plain = tests.model_dump_json()
    light = "zlib:" + base64.b64encode(zlib.compress(plain.encode(), level=1)).decode()
    assert len({plain, tests.pack(), light}) == 3
    prints = {problems_fingerprint([ProblemRow("p", "q", s)]) for s in (plain, tests.pack(), light)}
    assert len(prints) == 1
    others = {problems_fingerprint([ProblemRow("p", "q", s)]) for s in ("zlib:no", "zlib:bm8=", plain + " ")}
    assert len(prints | others) == 4


def test_request_keys_are_stable_and_fit_63_bits():
    keys = [request_key(f"p{i}") for i in range(1000)]
    assert len(set(keys)) == 1000
    assert max(keys) < 2**63
    assert request_key("p0") == keys[0]
