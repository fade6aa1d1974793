from __future__ import annotations

import json

import pytest

from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, evaluate
from attnpo.rollouts import read_rollouts

SETTINGS = EvaluationSettings(samples_per_problem=3, max_new_tokens=45, resamples=100)


def run(toy, output_dir, sampler=None, settings=SETTINGS, **changes):
    arguments = {
        "problems": toy.problems(12),
        "labeler": toy.labeler,
        "model_name": "m",
        "dataset_name": "d",
        **changes,
    }
    return evaluate(
        "base",
        toy.tokenizer,
        arguments.pop("problems"),
        sampler or toy.Sampler(),
        toy.segmenter,
        toy.verifier,
        arguments.pop("labeler"),
        settings,
        output_dir,
        **arguments,
    )


def test_the_result_is_the_mean_over_the_rollouts_on_disk(toy, tmp_path):
    result = run(toy, tmp_path)
    rollouts = list(read_rollouts(tmp_path / "rollouts.jsonl"))
    assert len(rollouts) == result.overall.num_responses == 36
    assert result.overall.accuracy.value == pytest.approx(sum(r.correct for r in rollouts) / 36)
    assert result.overall.accuracy.low < result.overall.accuracy.value < result.overall.accuracy.high
    assert result.overall.response_tokens.value == pytest.approx(sum(r.n_tokens for r in rollouts) / 36)
    assert result.overall.truncated.value == pytest.approx(sum(not r.finished for r in rollouts) / 36)
    assert 0 < result.overall.truncated.value < 1
    waits = sum(r.response.count("Wait,") for r in rollouts)
    assert result.overall.confused_phrases.value == pytest.approx(waits / 36)
    redundant = sum(step.label == "redundant" for r in rollouts for step in r.steps)
    assert result.overall.redundant_steps.value == pytest.approx(redundant / 36)
    assert list(result.by_difficulty) == ["easy", "hard"]
    hard = [r for r in rollouts if r.difficulty == "hard"]
    assert result.by_difficulty["hard"].accuracy.value == pytest.approx(sum(r.correct for r in hard) / len(hard))
    assert (result.name, result.model, result.dataset, result.num_problems) == ("base", "m", "d", 12)
    assert result.sampling["temperature"] == 0.6
    assert EvaluationResult.load(tmp_path / "evaluation.json") == result


def numbers(result):
    return result.model_dump(exclude={"wall_seconds", "tokens_per_second"})


@pytest.mark.parametrize("interrupt_after", [0, 5, 11])
def test_an_interrupted_run_ends_with_the_same_numbers(toy, tmp_path, interrupt_after):
    whole = run(toy, tmp_path / "a")
    with pytest.raises(toy.Interrupted):
        run(toy, tmp_path / "b", toy.Sampler(interrupt_after))
    assert not (tmp_path / "b" / "evaluation.json").exists()
    sampler = toy.Sampler(backwards=True)
    assert numbers(run(toy, tmp_path / "b", sampler)) == numbers(whole)
    assert len(sampler.sampled) == 12 - interrupt_after
    again = toy.Sampler()
    assert numbers(run(toy, tmp_path / "b", again)) == numbers(whole)
    assert again.sampled == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"settings": EvaluationSettings(samples_per_problem=3, max_new_tokens=45, seed=1)}, "sampling"),
        ({"settings": EvaluationSettings(samples_per_problem=2, max_new_tokens=45)}, "samples"),
        ({"model_name": "other"}, "model"),
        ({"dataset_name": "other"}, "dataset"),
        ({"context": {"model_fingerprint": "1"}}, "model_fingerprint"),
    ],
)
def test_other_settings_in_the_same_folder_are_refused(toy, tmp_path, changes, name):
    run(toy, tmp_path)
    with pytest.raises(OutputError, match=rf"other settings: {name} \("):
        run(toy, tmp_path, **changes)


def test_the_settings_of_the_summary_may_change(toy, tmp_path):
    wide = run(toy, tmp_path)
    narrow = run(toy, tmp_path, settings=EvaluationSettings(3, 45, resamples=100, level=0.5))
    assert narrow.overall.accuracy.value == wide.overall.accuracy.value
    assert narrow.overall.accuracy.high - narrow.overall.accuracy.low < (
        wide.overall.accuracy.high - wide.overall.accuracy.low
    )


def test_without_a_labeler_label_metrics_are_null(toy, tmp_path):
    run(toy, tmp_path, labeler=None)
    stored = json.loads((tmp_path / "evaluation.json").read_text())["overall"]
    assert stored["steps"]["value"] > 0
    assert stored["redundant_steps"] is None


def test_user_errors_come_before_sampling(toy, tmp_path):
    sampler = toy.Sampler()
    with pytest.raises(DataError, match="there are no problems"):
        run(toy, tmp_path, sampler, problems=[])
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"):
        run(toy, tmp_path / "file", sampler)
    assert sampler.sampled == []
    for change in ({"samples_per_problem": 0}, {"level": 1.0}, {"resamples": 0}):
        with pytest.raises(ConfigError, match=next(iter(change))):
            EvaluationSettings(**change)
    with pytest.raises(DataError, match="no such file; make it with `attnpo evaluate`"):
        EvaluationResult.load(tmp_path / "evaluation.json")
    (tmp_path / "evaluation.json").write_text('{"name": "base"}')
    with pytest.raises(DataError, match=r"evaluation.json: model: Field required"):
        EvaluationResult.load(tmp_path / "evaluation.json")
