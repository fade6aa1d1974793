from __future__ import annotations

import json
import logging

import pytest

from attnpo.errors import DataError, OutputError
from attnpo.labeling import StepLabels, label_rollouts, no_labels, read_labels
from attnpo.labeling.base import with_labels
from attnpo.labeling.given import GivenLabeler
from attnpo.ledger import settings_path
from attnpo.rollouts import Rollout, Step


class Interrupted(Exception):
    """Stands for a kill."""


class Scripted:
    """Labels step k of sample s essential where k + s is even; may break off, or have nothing to say of a sample."""

    name = "scripted"

    def __init__(self, stop_after=None, silent=(), backwards=False, settings=None):
        self.settings = settings or {"version": 1}
        self.stop_after, self.silent, self.backwards = stop_after, silent, backwards
        self.asked, self.recalled = [], []

    def label(self, rollouts):
        order = range(len(rollouts))
        for done, index in enumerate(reversed(order) if self.backwards else order):
            if done == self.stop_after:
                raise Interrupted
            rollout = rollouts[index]
            self.asked.append((rollout.problem_id, rollout.sample))
            if rollout.sample in self.silent:
                yield index, no_labels("nothing to say", {"tried": 3})
            else:
                yield index, StepLabels(expected(rollout), {"sure": True})

    def recall(self, rollout, labels):
        self.recalled.append((rollout.problem_id, rollout.sample, labels))

    def report(self):
        return {}


def expected(rollout):
    return tuple("redundant" if (k + rollout.sample) % 2 else "essential" for k in range(len(rollout.steps)))


def rollout(problem_id, sample, n_steps=3):
    text = "".join(f"ä{k}." for k in range(n_steps)) + "</think>7"
    steps = tuple(Step((3 * k, 3 * k + 3), (k, k + 1)) for k in range(n_steps))
    return Rollout(problem_id, "q", "7", sample, tuple(range(9)), text, True, True, steps)


ROLLOUTS = [rollout(p, s) for p in ("a", "b") for s in range(3)]
KEYS = [(r.problem_id, r.sample) for r in ROLLOUTS]


def labels_of(rollouts):
    return [tuple(step.label for step in r.steps) for r in rollouts]


def test_labels_come_back_in_the_order_of_the_rollouts_and_stand_in_the_file(tmp_path):
    path = tmp_path / "new" / "labels.jsonl"
    labelled = label_rollouts(Scripted(backwards=True), ROLLOUTS, path)
    assert labels_of(labelled) == [expected(r) for r in ROLLOUTS]
    assert [r.steps[0].label for r in ROLLOUTS] == [None] * 6
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [(row["problem_id"], row["sample"]) for row in rows] == KEYS[::-1]
    assert rows[0]["labels"] == ["essential", "redundant", "essential"]
    assert rows[0]["evidence"] == {"sure": True}
    settings = json.loads((path.parent / "labels.settings.json").read_text())
    assert settings == {"labeler": "scripted", "version": 1}


def test_a_row_is_on_disk_before_the_next_response_is_labelled(tmp_path):
    path = tmp_path / "labels.jsonl"
    on_disk = []

    class Watching(Scripted):
        def label(self, rollouts):
            for item in super().label(rollouts):
                on_disk.append(len(path.read_text().splitlines()))
                yield item

    label_rollouts(Watching(), ROLLOUTS, path)
    assert on_disk == [0, 1, 2, 3, 4, 5]


def test_an_interrupted_run_labels_only_what_is_missing(tmp_path):
    path = tmp_path / "labels.jsonl"
    with pytest.raises(Interrupted):
        label_rollouts(Scripted(stop_after=4), ROLLOUTS, path)
    again = Scripted(backwards=True)
    labelled = label_rollouts(again, ROLLOUTS, path)
    assert again.asked == KEYS[:3:-1]
    assert [(p, s) for p, s, _ in again.recalled] == KEYS[:4]
    assert again.recalled[0][2] == StepLabels(expected(ROLLOUTS[0]), {"sure": True})
    assert labels_of(labelled) == [expected(r) for r in ROLLOUTS]
    idle = Scripted()
    label_rollouts(idle, ROLLOUTS, path)
    assert idle.asked == []


def test_wherever_a_kill_cut_the_file_the_rest_is_labelled_once(tmp_path):
    whole = tmp_path / "whole.jsonl"
    label_rollouts(Scripted(), ROLLOUTS, whole)
    data = whole.read_bytes()
    ends = [i + 1 for i, byte in enumerate(data) if byte == ord("\n")]
    path = tmp_path / "cut.jsonl"
    settings_path(whole).rename(settings_path(path))  # a kill leaves the settings, which are written first
    for cut in range(0, len(data) + 1, 7):
        path.write_bytes(data[:cut])
        labeler = Scripted()
        assert labels_of(label_rollouts(labeler, ROLLOUTS, path)) == [expected(r) for r in ROLLOUTS]
        assert len(labeler.asked) == 6 - sum(end <= cut for end in ends)
        assert path.read_bytes() == data


def test_more_rollouts_and_fewer_may_follow_on_the_same_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    label_rollouts(Scripted(), ROLLOUTS[:2], path)
    more = Scripted()
    label_rollouts(more, ROLLOUTS, path)
    assert more.asked == KEYS[2:]
    fewer = Scripted()
    assert labels_of(label_rollouts(fewer, ROLLOUTS[3:4], path)) == [expected(ROLLOUTS[3])]
    assert (fewer.asked, len(fewer.recalled)) == ([], 1)


def test_responses_without_labels_are_kept_counted_and_not_asked_again(tmp_path, caplog):
    path = tmp_path / "labels.jsonl"
    with caplog.at_level(logging.WARNING):
        labelled = label_rollouts(Scripted(silent=[1]), ROLLOUTS, path)
    assert "scripted: 2 of 6 responses have no labels (2: nothing to say)" in caplog.text
    assert labels_of(labelled)[1] == (None, None, None)
    assert labels_of(labelled)[0] == expected(ROLLOUTS[0])
    again = Scripted()
    assert labels_of(label_rollouts(again, ROLLOUTS, path))[4] == (None, None, None)
    assert again.asked == []
    with pytest.raises(DataError, match=r"none of the 6 responses could be labelled \(6: nothing to say\)"):
        label_rollouts(Scripted(silent=[0, 1, 2]), ROLLOUTS, tmp_path / "other.jsonl")


def test_responses_without_steps_are_left_as_they_are(tmp_path):
    stepless = rollout("c", 0, n_steps=0)
    labeler = Scripted()
    assert label_rollouts(labeler, [stepless, ROLLOUTS[0]], tmp_path / "labels.jsonl")[0] is stepless
    assert labeler.asked == [("a", 0)]
    assert label_rollouts(labeler, [], tmp_path / "none.jsonl") == []


def test_a_wrong_answer_names_labeler_and_response_and_what_came_before_is_kept(tmp_path):
    class Wrong(Scripted):
        def label(self, rollouts):
            yield 0, StepLabels(expected(rollouts[0]))
            yield 1, StepLabels(("essential",))

    path = tmp_path / "labels.jsonl"
    with pytest.raises(DataError, match="labeler scripted, problem 'a', sample 1: 1 labels for 3 steps"):
        label_rollouts(Wrong(), ROLLOUTS, path)
    assert [key for key, _, _ in read_labels(path)] == [("a", 0)]

    class Forgetful(Scripted):
        def label(self, rollouts):
            yield 0, StepLabels(expected(rollouts[0]))

    with pytest.raises(DataError, match="said nothing of 4 responses, first \\('a', 2\\)"):
        label_rollouts(Forgetful(), ROLLOUTS, path)


def test_files_of_other_settings_or_responses_are_refused(tmp_path):
    path = tmp_path / "labels.jsonl"
    label_rollouts(Scripted(), ROLLOUTS, path)
    with pytest.raises(OutputError, match=r"version \(there 1, asked 2\).*remove .*labels.jsonl and .*settings.json"):
        label_rollouts(Scripted(settings={"version": 2}), ROLLOUTS, path)
    moved = rollout("a", 0, n_steps=2)
    with pytest.raises(OutputError, match="row 1: labels another response, or other steps, of problem 'a', sample 0"):
        label_rollouts(Scripted(), [moved], path)
    with pytest.raises(DataError, match="problem 'a', sample 0 appears twice"):
        label_rollouts(Scripted(), [ROLLOUTS[0], rollout("a", 0)], path)


@pytest.mark.parametrize("row", ["[]", "{", '{"problem_id": "a", "sample": 0, "fingerprint": "x"}'])
def test_a_malformed_row_is_named(tmp_path, row):
    path = tmp_path / "labels.jsonl"
    label_rollouts(Scripted(), ROLLOUTS, path)
    path.write_text(row + "\n")
    with pytest.raises(DataError, match=r"labels.jsonl, row 1: not a row of labels"):
        label_rollouts(Scripted(), ROLLOUTS, path)


def test_a_label_changed_by_hand_to_an_unknown_one_is_named(tmp_path):
    path = tmp_path / "labels.jsonl"
    label_rollouts(Scripted(), ROLLOUTS, path)
    path.write_text(path.read_text().replace('"essential"', '"vital"', 1))
    with pytest.raises(DataError, match="row 1, problem 'a', sample 0, step 0: label 'vital'"):
        label_rollouts(Scripted(), ROLLOUTS, path)


def test_labels_that_were_corrected_in_the_responses_file_count(tmp_path):
    path = tmp_path / "labels.jsonl"
    first = [with_labels(ROLLOUTS[0], ["essential"] * 3), *ROLLOUTS[1:3]]
    corrected = [with_labels(ROLLOUTS[0], ["redundant"] * 3), with_labels(ROLLOUTS[1], ["essential"] * 3), ROLLOUTS[2]]
    assert label_rollouts(GivenLabeler(), first, path) == first
    assert label_rollouts(GivenLabeler(), corrected, path) == corrected
    rows = path.read_text()
    assert label_rollouts(GivenLabeler(), corrected, path) == corrected
    assert path.read_text() == rows  # what is known is not written again
