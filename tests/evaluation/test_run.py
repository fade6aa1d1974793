from __future__ import annotations

import json
from dataclasses import replace

import pytest

from attnpo.errors import ConfigError, DataError, EngineError, OutputError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, evaluate
from attnpo.reporting.result_tables import cost_line
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SampledResponse

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


def test_responses_of_another_command_are_neither_counted_nor_removed(toy, tmp_path):
    run(toy, tmp_path / "other")
    there, path = (tmp_path / "other" / "rollouts.jsonl").read_bytes(), tmp_path / "mine" / "rollouts.jsonl"
    path.parent.mkdir()
    path.write_bytes(there)
    for samples in (3, 2):
        with pytest.raises(
            OutputError, match=r"mine/rollouts\.jsonl: there, and rollouts\.settings\.json, .* is not; move"
        ):
            run(toy, path.parent, settings=replace(SETTINGS, samples_per_problem=samples))
        assert path.read_bytes() == there


def test_what_several_samples_say(toy, tmp_path):
    result = run(toy, tmp_path)
    groups = {}
    for r in read_rollouts(tmp_path / "rollouts.jsonl"):
        groups.setdefault(r.problem_id, []).append(r)
    overall = result.overall
    assert overall.num_problems == 12
    # k = 2 of 3: all pairs of a problem's responses.
    pairs = [[group[i].correct or group[j].correct for i, j in ((0, 1), (0, 2), (1, 2))] for group in groups.values()]
    assert overall.pass_at_k[2].value == pytest.approx(sum(map(sum, pairs)) / 36)
    assert list(overall.pass_at_k) == [1, 2]
    assert list(overall.majority_at_k) == [1, 2, 3]
    right = sum(sum(r.answer == r.solution for r in group) >= 2 for group in groups.values())
    assert overall.majority_at_k[3].value >= right / 12
    lengths = [(r.correct, r.n_tokens) for group in groups.values() for r in group]
    assert list(overall.budgets) == [1, 2, 4, 8, 16, 32]
    assert overall.budgets[32].accuracy.value == pytest.approx(sum(c and n <= 32 for c, n in lengths) / 36)
    assert overall.budgets[32].tokens.value == pytest.approx(sum(min(n, 32) for _, n in lengths) / 36)
    assert overall.tails["response_tokens"].max == max(n for _, n in lengths) == 45
    assert result.problems.columns["responses"] == [3] * 12


def test_where_the_numbers_come_from(toy, tmp_path):
    context = {"engine": {"name": "toy", "batch": 2}, "benchmark": {"benchmark": "b"}, "model_fingerprint": "f"}
    result = run(toy, tmp_path, context=context)
    assert (result.engine, result.benchmark, result.model_fingerprint) == tuple(context.values())
    assert result.complete
    assert result.num_problems_asked == 12
    assert result.exact_token_counts
    assert 0 <= result.overhead_share <= 1
    assert result.overhead_share == pytest.approx(1 - result.engine_seconds / result.wall_seconds)
    assert {"problems", "prompts", "samples", "sampling", "engine"} <= set(result.settings)


def test_responses_that_a_server_refused_are_wrong_but_neither_cut_off_nor_inexact(toy, tmp_path):
    class Refusing(toy.Sampler):
        def sample(self, requests, params):
            for index, response in super().sample(requests, params):
                refused = SampledResponse([1], False, failure="refused: status 400")
                yield index, refused if requests[index].sample == 0 else response

    result = run(toy, tmp_path, sampler=Refusing())
    rows = list(read_rollouts(tmp_path / "rollouts.jsonl"))
    cut = sum(not row.finished for row in rows if row.sample)
    assert 0 < cut < 24
    assert result.overall.truncated.value == pytest.approx(cut / 36)
    assert result.overall.accuracy.value == pytest.approx(sum(row.correct for row in rows if row.sample) / 36)
    assert (result.failures, result.exact_token_counts) == (12, True)
    assert "12 of 36 responses were refused by the server" in cost_line(result)
    assert EvaluationResult.load(tmp_path / "evaluation.json") == result
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    del stored["failures"]
    (tmp_path / "earlier.json").write_text(json.dumps(stored))
    earlier = EvaluationResult.load(tmp_path / "earlier.json")
    assert earlier.failures == 0
    assert "refused" not in cost_line(earlier)


def test_a_column_of_the_data_called_failure_is_none(toy, tmp_path):
    problems = [replace(problem, extra={"failure": "brittle"}) for problem in toy.problems(12)]
    result = run(toy, tmp_path, problems=problems)
    rows = list(read_rollouts(tmp_path / "rollouts.jsonl"))
    assert all(row.extra == {"failure_column": "brittle"} for row in rows)
    assert result.failures == 0
    assert result.overall.truncated.value > 0


def test_without_a_labeler_nothing_is_said_of_labels_even_where_there_are_no_steps(toy, tmp_path):
    class Answering(toy.Sampler):
        def _draw(self, question, rng, params):
            return SampledResponse([*map(ord, f"</think>{rng.randrange(9)}"), 1], True)

    bare = run(toy, tmp_path / "bare", sampler=Answering(), labeler=None)
    assert bare.overall.steps.value == 0
    assert bare.overall.essential_steps is bare.overall.redundant_steps is bare.overall.undecided_steps is None
    assert not bare.problems.labelled
    labelled = run(toy, tmp_path / "labelled", sampler=Answering())
    assert labelled.overall.redundant_steps.value == 0
    assert labelled.problems.labelled


def test_subjects(toy, tmp_path):
    problems = [replace(p, subject="algebra" if i < 4 else None) for i, p in enumerate(toy.problems(12))]
    result = run(toy, tmp_path, problems=problems)
    assert list(result.by_subject) == ["algebra"]
    assert result.by_subject["algebra"].num_problems == 4


@pytest.mark.parametrize("finished", [0, 5, 17])
def test_an_engine_that_goes_away_leaves_what_is_known(toy, tmp_path, finished):
    sampler = toy.Sampler(interrupt_after=finished, error=EngineError("gone"))
    with pytest.raises(EngineError, match="gone"):
        run(toy, tmp_path, sampler)
    path = tmp_path / "evaluation.json"
    if finished < 3:
        assert not path.exists()
    else:
        known = EvaluationResult.load(path)
        assert not known.complete
        assert (known.num_problems, known.num_problems_asked) == (finished // 3, 12)
        rollouts = list(read_rollouts(tmp_path / "rollouts.jsonl"))
        assert known.overall.num_responses == len(rollouts) == finished // 3 * 3
        assert known.overall.accuracy.value == pytest.approx(sum(r.correct for r in rollouts) / len(rollouts))
    # The same command goes on, and ends with the numbers of an undisturbed run.
    again = toy.Sampler()
    assert numbers(run(toy, tmp_path, again)) == numbers(run(toy, tmp_path / "whole"))
    assert len(again.sampled) == 36 - finished


def test_another_prompt_template_is_refused(toy, tmp_path):
    run(toy, tmp_path)
    tokenizer = toy.tokenizer

    class Polite:
        pad_token_id, eos_token_id = 0, 1

        def __call__(self, text):
            return tokenizer(f"Please: {text}")

    with pytest.raises(OutputError, match="prompts"):
        evaluate(
            "base",
            Polite(),
            toy.problems(12),
            toy.Sampler(),
            toy.segmenter,
            toy.verifier,
            None,
            SETTINGS,
            tmp_path,
            model_name="m",
            dataset_name="d",
        )


def test_a_file_of_version_1_can_be_read(toy, tmp_path):
    new = run(toy, tmp_path)
    kept = ("name", "model", "dataset", "num_problems", "samples_per_problem", "seed", "sampling", "wall_seconds")
    stored = json.loads((tmp_path / "evaluation.json").read_text())
    gone = {"num_problems", "tails", "pass_at_k", "majority_at_k", "budgets"}
    gone |= {f"{family}_per_1k_tokens" for family in ("confused", "progression", "summary")}
    old = {name: stored[name] for name in (*kept, "tokens_per_second")} | {"schema_version": 1}
    old["overall"] = {name: value for name, value in stored["overall"].items() if name not in gone}
    old["by_difficulty"] = {"easy": old["overall"]}
    (tmp_path / "old.json").write_text(json.dumps(old))
    result = EvaluationResult.load(tmp_path / "old.json")
    assert result.overall.accuracy == new.overall.accuracy
    assert result.problems is None
    assert result.overall.pass_at_k == {}


def numbers(result):
    return result.model_dump(exclude={"wall_seconds", "engine_seconds", "overhead_share", "tokens_per_second"})


@pytest.mark.parametrize("interrupt_after", [0, 5, 11])
def test_an_interrupted_run_ends_with_the_same_numbers(toy, tmp_path, interrupt_after):
    whole = run(toy, tmp_path / "a")
    with pytest.raises(toy.Interrupted):
        run(toy, tmp_path / "b", toy.Sampler(interrupt_after))
    assert not (tmp_path / "b" / "evaluation.json").exists()
    sampler = toy.Sampler(backwards=True)
    assert numbers(run(toy, tmp_path / "b", sampler)) == numbers(whole)
    assert len(sampler.sampled) == 36 - interrupt_after
    again = toy.Sampler()
    assert numbers(run(toy, tmp_path / "b", again)) == numbers(whole)
    assert again.sampled == []


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"settings": EvaluationSettings(samples_per_problem=3, max_new_tokens=45, seed=1)}, r"sampling\.seed"),
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
    with pytest.raises(DataError, match=r"evaluation.json: field model: Field required"):
        EvaluationResult.load(tmp_path / "evaluation.json")
    (tmp_path / "evaluation.json").write_text("{")
    with pytest.raises(DataError, match=r"evaluation.json: not valid JSON"):
        EvaluationResult.load(tmp_path / "evaluation.json")
