from __future__ import annotations

from dataclasses import replace

import pytest

from attnpo.discovery.traces import read_traces
from attnpo.errors import DataError
from attnpo.labeling.given import GivenLabeler
from attnpo.rollouts import Step, write_rollouts


def test_traces_are_cut_anew_and_keep_verdicts_and_rates(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 6, 3)
    coarse = [replace(r, steps=(Step((0, 5), (0, 5)),)) for r in rollouts]
    path = tmp_path / "traces.jsonl"
    write_rollouts(path, coarse)
    assert read_traces(path, toy.segmenter) == rollouts


def test_labels_stay_where_the_steps_come_out_the_same(toy, tmp_path):
    first, second = toy.rollouts(tmp_path, 2, 1)
    labelled = replace(first, steps=tuple(replace(step, label="redundant") for step in first.steps))
    moved = replace(second, steps=(Step((0, 5), (0, 5), label="essential"),))
    write_rollouts(tmp_path / "t.jsonl", [labelled, moved])
    found = read_traces(tmp_path / "t.jsonl", toy.segmenter)
    assert found[0] == labelled
    assert found[1] == second
    given = dict(GivenLabeler().label(found))
    assert given[0].labels == ("redundant",) * len(first.steps)
    assert (given[1].labels, given[1].reason) == ((), "the response carries no labels for its steps")


def test_what_training_wrote_is_judged_rated_and_numbered_through(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 2, 4)
    # Two training steps met each problem with two samples each; no verdicts, no pass rates.
    bare = [
        replace(r, correct=None, pass_rate=None, sample=r.sample % 2, extra={"train_step": r.sample // 2})
        for r in rollouts
    ]
    write_rollouts(tmp_path / "t.jsonl", bare)
    found = read_traces(tmp_path / "t.jsonl", toy.segmenter, toy.verifier)
    assert [(r.problem_id, r.sample, r.correct, r.pass_rate) for r in found] == [
        (r.problem_id, r.sample, r.correct, r.pass_rate) for r in rollouts
    ]
    with pytest.raises(DataError, match=r"t.jsonl, row 1: no verdict; name a verifier"):
        read_traces(tmp_path / "t.jsonl", toy.segmenter)


def test_a_part_of_a_file_keeps_the_numbers_that_labels_name(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 2, 4)
    part = [rollout for rollout in rollouts if (rollout.problem_id, rollout.sample) != (rollouts[0].problem_id, 0)]
    write_rollouts(tmp_path / "t.jsonl", part)
    assert [r.sample for r in read_traces(tmp_path / "t.jsonl", toy.segmenter)] == [1, 2, 3, 0, 1, 2, 3]


def test_another_tokenizers_ids_are_named(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 2, 1)
    shifted = replace(rollouts[1], response_ids=tuple(i + 1 if i > 40 else i for i in rollouts[1].response_ids))
    write_rollouts(tmp_path / "t.jsonl", [rollouts[0], shifted])
    with pytest.raises(DataError, match=r"t.jsonl, row 2: its token ids mean another text"):
        read_traces(tmp_path / "t.jsonl", toy.segmenter)


def test_a_row_is_named_by_its_line(toy, tmp_path):
    rollouts = [replace(rollout, correct=None, pass_rate=None) for rollout in toy.rollouts(tmp_path, 1, 1)]
    write_rollouts(tmp_path / "t.jsonl", rollouts)
    (tmp_path / "t.jsonl").write_text("\n\n" + (tmp_path / "t.jsonl").read_text())
    with pytest.raises(DataError, match=r"t.jsonl, row 3: no verdict"):
        read_traces(tmp_path / "t.jsonl", toy.segmenter)


def test_a_response_given_twice_is_refused(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 1, 2)
    write_rollouts(tmp_path / "t.jsonl", [*rollouts, rollouts[1]])
    with pytest.raises(DataError, match=r"t.jsonl, row 3: .* are those of row 2"):
        read_traces(tmp_path / "t.jsonl", toy.segmenter)


def test_no_traces_is_said(toy, tmp_path):
    (tmp_path / "t.jsonl").write_text("")
    with pytest.raises(DataError, match=r"t.jsonl: no rows"):
        read_traces(tmp_path / "t.jsonl", toy.segmenter)
    with pytest.raises(DataError, match="no such rollouts file"):
        read_traces(tmp_path / "none.jsonl", toy.segmenter)
