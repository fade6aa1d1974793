"""Runs of judges behind a fake server, which mostly tells the truth."""

from __future__ import annotations

import fake_server as fake
from oracle_judges import load_script, settings, true_labels, world_rollouts

from attnpo.labeling import JudgeLabeler, label_rollouts
from attnpo.labeling.judge import open_judges

ROLLOUTS = world_rollouts(4)
TRUTH = [true_labels(rollout) for rollout in ROLLOUTS]
ORACLE = load_script().OracleJudge()


def truth(request):
    return fake.Reply(ORACLE.answer(request.body))


def judge(server, cache, **changes):
    how = settings(server, cache, **changes)
    return JudgeLabeler(how, open_judges(how, first_wait=0.01))


def labels_of(rollouts):
    return [tuple(step.label for step in rollout.steps) for rollout in rollouts]


def run(server, tmp_path, rollouts=ROLLOUTS, **changes):
    with judge(server, tmp_path / "cache", **changes) as labeler:
        labelled = label_rollouts(labeler, rollouts, tmp_path / "run" / "labels.jsonl")
    return labels_of(labelled), labeler.judge_report()
