from __future__ import annotations

import sys

import pytest

from attnpo.errors import ConfigError, DataError
from attnpo.labeling import FileLabeler, FunctionLabeler, StepLabels, build_labeler, label_steps, load_labeler
from attnpo.rollouts import Rollout, Step

ROLLOUT = Rollout(
    problem_id="p",
    prompt=[{"role": "system", "content": "Think."}, {"role": "user", "content": "Why?"}],
    solution="1",
    sample=2,
    response_ids=(1, 2),
    response="ab cd",
    finished=True,
    steps=(Step((0, 3), (0, 1)), Step((3, 5), (1, 2))),
)


def test_the_labeler_sees_question_response_and_character_spans():
    seen = []

    def labeler(question, response, steps):
        seen.append((question, response, steps))
        return ["essential", "redundant"]

    labelled = label_steps(labeler, ROLLOUT)
    assert seen == [("Think.\n\nWhy?", "ab cd", [(0, 3), (3, 5)])]
    assert [step.label for step in labelled.steps] == ["essential", "redundant"]
    assert [step.label for step in ROLLOUT.steps] == [None, None]


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["essential"], "problem 'p', sample 2: 1 labels for 2 steps"),
        (["essential", "vital"], "sample 2, step 1: label 'vital' is not one of essential, redundant, undecided"),
    ],
)
def test_a_wrong_answer_names_the_response(labels, message):
    with pytest.raises(DataError, match=message):
        label_steps(lambda *_: labels, ROLLOUT)


def test_labelers_load_by_name():
    assert load_labeler("attnpo.tinyworld:label_steps").__name__ == "label_steps"
    for spec, message in (
        ("json", "expected module:function"),
        ("json:", "expected module:function"),
        ("json:nothing", "module 'json' has no function 'nothing'"),
        ("json:not a name", "expected module:function"),
        ("json.nothing:x", "module 'json.nothing' cannot be imported \\(ModuleNotFoundError: No module named"),
    ):
        with pytest.raises(ConfigError, match=message):
            load_labeler(spec)


def test_a_labeler_module_that_fails_on_import_is_one_line(tmp_path, monkeypatch):
    (tmp_path / "broken_labels.py").write_text("def f(:\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    with pytest.raises(ConfigError, match=r"cannot be imported \(SyntaxError") as caught:
        load_labeler("broken_labels:f")
    assert "\n" not in str(caught.value)


def test_the_function_labeler_labels_in_order_and_names_a_wrong_response():
    labeler = FunctionLabeler(lambda question, response, steps: ["essential"] * len(steps), "rule:all")
    assert (labeler.name, labeler.settings, labeler.report()) == ("rule:all", {"labeler": "rule:all"}, {})
    both = StepLabels(("essential", "essential"))
    assert list(labeler.label([ROLLOUT, ROLLOUT])) == [(0, both), (1, both)]
    with pytest.raises(DataError, match="problem 'p', sample 2: 0 labels for 2 steps"):
        list(FunctionLabeler(lambda *_: [], "none").label([ROLLOUT]))


def test_a_spec_names_a_labeler(tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"problem_id": "p", "sample": 2, "labels": ["essential", "redundant"]}\n')
    assert isinstance(build_labeler(f"file:{tmp_path / 'labels.jsonl'}"), FileLabeler)
    oracle = build_labeler("attnpo.tinyworld:label_steps")
    assert isinstance(oracle, FunctionLabeler)
    assert oracle.name == "attnpo.tinyworld:label_steps"
    with pytest.raises(ConfigError, match="judge_models: name at least one"):
        build_labeler("judge")
    with pytest.raises(ConfigError, match=r"labeler 'jugde': name judge, causal, file:labels.jsonl or module:function"):
        build_labeler("jugde")
