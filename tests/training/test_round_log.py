"""What a process writes down of its responses, without TRL."""

from __future__ import annotations

import json
import logging

import pytest
import torch

from attnpo.rollouts import Rollout, read_rollouts
from attnpo.segmentation import PhraseFamilies
from attnpo.training.dropped import DroppedLog
from attnpo.training.reward_guard import RewardFailure
from attnpo.training.round_log import RoundLog, own_file
from attnpo.training.run_meter import RunMeter


def rollout(name: str, sample: int) -> Rollout:
    return Rollout(
        problem_id=name, prompt=f"how many {name}?", solution="3", sample=sample, response_ids=(1, 2),
        response="3", finished=True, steps=(), answer_tokens=(0, 1),
    )  # fmt: skip


@pytest.fixture
def make_log(tmp_path):
    def make(process: int = 0) -> tuple[RoundLog, list[str | None]]:
        reasons: list[str | None] = []
        dropped = DroppedLog(tmp_path / f"dropped-{process}.jsonl")
        kept = tmp_path / "training_rollouts.jsonl"
        return RoundLog(RunMeter(PhraseFamilies.load()), dropped, kept, process, reasons.extend), reasons

    return make


def rows(log: RoundLog) -> list[dict]:
    path = log.dropped.path
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_one_process_writes_files_of_plain_names(tmp_path):
    assert own_file(tmp_path, "dropped.jsonl", 0, 1) == tmp_path / "dropped.jsonl"
    assert own_file(tmp_path, "dropped.jsonl", 3, 4) == tmp_path / "dropped-00003.jsonl"


def test_a_group_of_two_processes_is_counted_once_and_named_where_it_begins(make_log):
    """Three responses of two processes each, groups of two: the second group lies on both."""
    correct_PG = torch.tensor([[1, 1], [0, 0], [1, 0]]).bool()
    advantages_PG = torch.tensor([[0.0, 0.0], [0.0, 0.0], [0.0, 0.0]])
    seen = []
    for process, names in enumerate((("a", "a", "b"), ("b", "c", "c"))):
        log, reasons = make_log(process)
        log.add_groups(7, [rollout(name, i) for i, name in enumerate(names)], correct_PG, advantages_PG)
        assert reasons == ["all_right", "all_wrong", "equal_rewards"]
        seen.append([(row["train_step"], row["reason"], row["problem_id"]) for row in rows(log)])
        total, count = log.meter._totals["dropped_groups"].tolist()
        assert (total, count) == ((3.0, 3.0) if process == 0 else (0.0, 0.0))
    # The group that spans both processes is named by the first, which holds its first response.
    assert seen == [[(7, "all_right", "a"), (7, "all_wrong", "b")], [(7, "equal_rewards", "c")]]


def test_a_group_with_advantage_is_not_dropped(make_log):
    log, reasons = make_log()
    group = [rollout("a", i) for i in range(2)]
    log.add_groups(0, group, torch.tensor([[True, False]]), torch.tensor([[0.5, -0.5]]))
    assert (reasons, rows(log)) == ([None], [])


def test_a_failure_names_its_prompt_but_not_in_an_evaluation(make_log):
    log, _ = make_log()
    failures = [RewardFailure(1, "verdicts", "ValueError: no")]
    log.add_failures(4, [rollout("a", 0), rollout("a", 1)], 2, failures)
    log.add_failures(4, [], 6, failures)
    (row,) = rows(log)
    assert row == {
        "train_step": 4, "reason": "reward_failed", "problem_id": "a", "prompt": "how many a?",
        "sample": 1, "function": "verdicts", "error": "ValueError: no",
    }  # fmt: skip
    assert log.meter.flush(lambda totals: totals)["reward_failures"] == 2 / 8


def test_what_was_interrupted_is_counted(make_log):
    log, _ = make_log()
    verdicts = log.counted(lambda texts, solutions: ([1.0, 0.0, 0.0], 2))
    assert verdicts(completions=["a", "b", "c"], solutions=["a"] * 3) == [1.0, 0.0, 0.0]
    assert log.meter.flush(lambda totals: totals)["verifier_interrupted"] == pytest.approx(2 / 3)


def test_responses_are_kept_with_their_pass_rate_where_asked(make_log):
    log, _ = make_log()
    log.keep([rollout("a", 0)], [0.25])
    log.keep([rollout("b", 0)], [0.5])
    assert [(r.problem_id, r.pass_rate) for r in read_rollouts(log.rollouts_path)] == [("a", 0.25), ("b", 0.5)]
    path, log.rollouts_path = log.rollouts_path, None
    log.keep([rollout("c", 0)], [0.5])
    assert len(list(read_rollouts(path))) == 2


def test_the_first_process_says_once_that_nothing_thinks(make_log, caplog):
    first, other = make_log()[0], make_log(1)[0]
    with caplog.at_level(logging.WARNING):
        other.add_first([rollout("a", 0)])
        assert not caplog.records
        first.add_first([rollout("a", 0)])
        said = len(caplog.records)
        assert said
        first.add_first([rollout("a", 1)])
    assert len(caplog.records) == said
