from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

import attnpo.segmentation
from attnpo.cli import compare
from attnpo.cli import evaluate as evaluate_command
from attnpo.cli.parsing import parse
from attnpo.errors import ConfigError, EngineError, OutputError
from attnpo.evaluation import EvaluationResult, EvaluationSettings
from attnpo.rollouts import read_rollouts
from attnpo.sampling import TransformersSampler
from attnpo.signals import rivals
from attnpo.workbench.arguments import DataArguments, EvaluateArguments, StepArguments
from attnpo.workbench.targets import benchmark_targets, stand_ins

SMALL = {
    "model": "tinyworld",
    "device": "cpu",
    "max_new_tokens": 8,
    "verifier": "exact",
    "samples_per_problem": 2,
    "segmentation": "paragraphs",
    "resamples": 50,
}
PROBLEMS = [
    {"question": f"What is {i} + {i}?", "answer": f"Twice {i}.\n#### {2 * i}", "subject": ("sum", "double")[i % 2]}
    for i in range(4)
]


@pytest.fixture
def data(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in PROBLEMS))
    return path


def flags(**settings) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def run(capsys, **settings) -> str:
    evaluate_command.run(flags(**{**SMALL, **settings}))
    return capsys.readouterr().out


def test_a_benchmark_brings_its_verifier_and_samples_unless_flags_say_otherwise(data, tmp_path):
    arguments = EvaluateArguments(benchmark="gsm8k", output_dir=str(tmp_path / "out"))
    own = (arguments, DataArguments(data=str(data)), StepArguments(verifier="exact"), EvaluationSettings(7))
    (target,) = benchmark_targets(*own, given=set())
    assert target.settings.samples_per_problem == 4
    assert target.steps.verifier == "math"
    assert target.folder == tmp_path / "out"
    assert [p.solution for p in target.problems] == ["0", "2", "4", "6"]
    assert target.benchmark["benchmark"] == "gsm8k"
    (target,) = benchmark_targets(*own, given={"samples_per_problem", "verifier"})
    assert target.settings.samples_per_problem == 7
    assert target.steps.verifier == "exact"


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("gsm8k,gsm8k", "--benchmark: gsm8k is named twice"),
        (" , ", "--benchmark: name at least one"),
        ("gsm9k", "gsm8k"),
    ],
)
def test_benchmarks_that_are_not_there(names, message, tmp_path):
    arguments = EvaluateArguments(benchmark=names, output_dir=str(tmp_path))
    with pytest.raises(ConfigError, match=re.escape(message)):
        benchmark_targets(arguments, DataArguments(), StepArguments(), EvaluationSettings(), set())


@pytest.mark.parametrize("flag", ["prompt_template", "solution_after", "split"])
def test_what_a_benchmarks_entry_decides_is_no_flag(flag, data, tmp_path):
    settings = {**SMALL, "benchmark": "gsm8k", "data": data, "output_dir": tmp_path / "out", flag: "test"}
    with pytest.raises(ConfigError, match=rf"^--{flag}: a benchmark's own entry decides that; .*\.yaml file"):
        evaluate_command.run(flags(**settings))


def test_the_terminal_shows_parts_and_phrases_as_the_file_has_them(data, tmp_path, capsys):
    text = run(capsys, benchmark="gsm8k", data=data, num_problems=2, output_dir=tmp_path / "out", max_new_tokens=40)
    overall = EvaluationResult.load(tmp_path / "out" / "evaluation.json").overall
    for part in ("response", "think", "answer"):
        tail = overall.tails[f"{part}_tokens"]
        cells = next(line for line in text.splitlines() if re.search(rf" {part} +│", line)).split("│")
        assert float(cells[3].split("±")[0]) == pytest.approx(getattr(overall, f"{part}_tokens").value, abs=0.051)
        assert [float(cell) for cell in (cells[4], cells[-2])] == pytest.approx([tail.median, tail.max], abs=0.51)
    phrases = text[text.index("phrases a response") :].splitlines()[4].split("│")
    assert float(phrases[2].split("±")[0]) == pytest.approx(overall.confused_phrases.value, abs=0.0051)


def test_which_file_stands_in_for_which_benchmark():
    assert stand_ins(None, ["gsm8k"]) == {}
    assert stand_ins("a.jsonl", ["gsm8k"]) == {"gsm8k": "a.jsonl"}
    assert stand_ins("gsm8k=a.jsonl, aime24=b.parquet", ["gsm8k", "aime24"]) == {
        "gsm8k": "a.jsonl",
        "aime24": "b.parquet",
    }
    for data in ("a.jsonl", "gsm8k=a.jsonl,amc=b"):
        with pytest.raises(ConfigError, match="several benchmarks need NAME=FILE,NAME=FILE"):
            stand_ins(data, ["gsm8k", "aime24"])


def test_a_file_stands_in_for_the_data_of_an_entry_of_ones_own(tmp_path):
    (tmp_path / "local.jsonl").write_text('{"q": "1+1?", "a": "2"}\n')
    (tmp_path / "mine.yaml").write_text(
        "name: own\ntitle: My problems\ndataset: gone.jsonl\ncolumns: {question: q, solution: a}\n"
        "template: '{{ question }}'\nverifier: exact\n"
    )
    asked = EvaluateArguments(benchmark=str(tmp_path / "mine.yaml"), output_dir=str(tmp_path / "out"))
    data = DataArguments(data=str(tmp_path / "local.jsonl"))
    (target,) = benchmark_targets(asked, data, StepArguments(), EvaluationSettings(), set())
    assert [problem.solution for problem in target.problems] == ["2"]


def test_given_settings_are_those_of_flags_and_file(tmp_path):
    config = tmp_path / "config.yaml"
    config.write_text("verifier: exact\n")
    types = (EvaluateArguments, StepArguments, EvaluationSettings)

    def given(*argv: str) -> set[str]:
        return parse("evaluate", types, argv, "", "").given

    assert given("--samples_per_problem", "4", "--config", str(config)) == {"samples_per_problem", "verifier"}
    assert given("--samples-per-problem=4", "--list") == {"samples_per_problem", "list"}
    assert given() == set()


def test_the_list_of_benchmarks(capsys):
    evaluate_command.run(["--list"])
    text = capsys.readouterr().out
    for name in ("gsm8k", "aime24", "mmlu"):
        assert name in text


def test_benchmarks_end_to_end(data, tmp_path, capsys):
    out = tmp_path / "runs" / "base"
    both = {"benchmark": "gsm8k,math500", "data": f"gsm8k={data},math500={_math(tmp_path)}", "num_problems": 2}
    text = run(capsys, **both, output_dir=out)
    assert "all benchmarks" in text
    assert "average" in text
    assert "of the time outside the engine" in text
    for name in ("gsm8k", "math500"):
        result = EvaluationResult.load(out / name / "evaluation.json")
        assert (result.name, result.dataset, result.num_problems) == ("base", name, 2)
        assert result.benchmark["benchmark"] == name
        assert result.engine["engine"] == "transformers"
        assert result.overall.num_responses == 4
        assert len(list(read_rollouts(out / name / "rollouts.jsonl"))) == 4
    other = tmp_path / "runs" / "other"
    run(capsys, **both, output_dir=other, seed=5)
    compare.run([str(out), str(other)])
    assert "average over 2 benchmarks" in capsys.readouterr().out


def _math(folder: Path) -> Path:
    path = folder / "math.jsonl"
    rows = [
        {"problem": f"Solve ${i}x = {i}$.", "answer": "1", "subject": "Algebra", "level": 1 + i, "unique_id": f"t/{i}"}
        for i in range(1, 5)
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_an_engine_that_goes_away_shows_what_is_known(data, tmp_path, capsys, monkeypatch):
    whole = TransformersSampler.sample

    def broken(self, requests, params):
        for done, item in enumerate(whole(self, requests, params)):
            if done == 6:
                raise EngineError("http://127.0.0.1:1: gone for 300 s")
            yield item

    monkeypatch.setattr(TransformersSampler, "sample", broken)
    settings = {"benchmark": "gsm8k", "data": data, "rows": 1, "output_dir": tmp_path / "out"}
    with pytest.raises(EngineError, match="gone for 300 s"):
        run(capsys, **settings)
    text = capsys.readouterr().out
    known = EvaluationResult.load(tmp_path / "out" / "evaluation.json")
    assert not known.complete
    assert 0 < known.num_problems < 4
    assert f"known so far: {known.num_problems} of 4 problems" in text
    monkeypatch.setattr(TransformersSampler, "sample", whole)
    run(capsys, **settings)
    assert EvaluationResult.load(tmp_path / "out" / "evaluation.json").complete


def test_other_phrases_under_the_same_folder_are_refused(data, tmp_path, capsys):
    settings = {"benchmark": "gsm8k", "data": data, "num_problems": 1, "output_dir": tmp_path / "out"}
    run(capsys, **settings)
    families = tmp_path / "phrases.yaml"
    shutil.copy(Path(attnpo.segmentation.__file__).with_name("phrases.yaml"), families)
    with pytest.raises(OutputError, match=r"holds results of other settings: phrases \(there None, asked '"):
        run(capsys, **settings, phrases_file=families)


def test_a_folder_of_other_settings_is_refused_before_any_benchmark_is_sampled(data, tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text(
        f"name: own\ntitle: My problems\ndataset: {data}\ncolumns: {{question: question, solution: answer}}\n"
        "template: '{{ question }}'\nverifier: exact\nsolution_after: '#### '\n"
    )
    both = f"gsm8k,{tmp_path / 'mine.yaml'}"
    settings = {"num_problems": 1, "output_dir": tmp_path / "out", "data": f"gsm8k={data},own={data}"}
    run(capsys, benchmark=both, **settings)
    shutil.rmtree(tmp_path / "out" / "gsm8k")
    with pytest.raises(OutputError, match=r"out/own: holds results of other settings: sampling\.max_new_tokens"):
        run(capsys, benchmark=both, **settings, max_new_tokens=9)
    assert not (tmp_path / "out" / "gsm8k" / "rollouts.jsonl").exists()
    run(capsys, benchmark="gsm8k", **{**settings, "data": data, "output_dir": tmp_path / "out" / "gsm8k"})


def test_what_responses_depend_on_is_recorded_where_it_is_not_the_usual(data, tmp_path, capsys):
    settings = {"benchmark": "gsm8k", "data": data, "num_problems": 1, "verifier_timeout": 7}
    run(capsys, **settings, dtype="float32", attn_implementation="eager", output_dir=tmp_path / "out")
    recorded = EvaluationResult.load(tmp_path / "out" / "evaluation.json").settings
    assert {name: recorded.get(name) for name in ("verifier_timeout", "dtype", "attn_implementation", "phrases")} == {
        "verifier_timeout": 7.0,
        "dtype": "float32",
        "attn_implementation": "eager",
        "phrases": None,
    }


def test_rows_without_the_type_that_their_model_was_computed_in_are_gone_on_with(data, tmp_path, capsys):
    settings = {"benchmark": "gsm8k", "data": data, "num_problems": 1, "output_dir": tmp_path / "out"}
    run(capsys, **settings)
    (file,) = (tmp_path / "out").rglob("rollouts.settings.json")
    stored = json.loads(file.read_text())
    assert stored.pop("dtype") == "float32"  # as the small world's model is saved
    file.write_text(json.dumps(stored))
    run(capsys, **settings)
    assert "dtype" not in json.loads(file.read_text())


def test_heads_need_a_transformers_model(tmp_path):
    settings = {"engine": "server", "base_url": "http://127.0.0.1:1/v1", "heads": "2.0", "output_dir": tmp_path}
    with pytest.raises(ConfigError, match=r"--heads: .*not with --engine server"):
        evaluate_command.run(flags(**{**SMALL, **settings, "data": "tinyworld"}))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"annotate_signals": "log_prob"},
            r"^--annotate_signals: scores the traces that --heads annotates; add --heads",
        ),
        ({"heads": "2.0", "annotate_signals": "logprob"}, r"^signal: 'logprob' is unknown"),
        ({"heads": "2.0", "annotate_signals": "oracle"}, r"^--annotate_signals: oracle reads step labels, and nothing"),
        ({"heads": "2.0", "annotate_signals": "probe"}, r"^--annotate_signals: probe has weights of its own; give its"),
    ],
)
def test_signals_that_cannot_be_read_are_refused_before_anything_is_loaded(settings, said, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.workbench.evaluating.open_session", None)
    with pytest.raises(ConfigError, match=said):
        evaluate_command.run(flags(**{**SMALL, **settings, "data": "tinyworld", "output_dir": tmp_path}))


def test_all_signals_but_what_reads_labels_stand_beside_the_heads(data, tmp_path, capsys):
    settings = {"data": data, "prompt_column": "question", "solution_column": "answer", "heads": "2.0"}
    settings |= {"max_new_tokens": 48, "num_problems": 2, "temperature": 0.5}
    run(capsys, **settings, annotate_signals="all", output_dir=tmp_path / "out")
    names = {name for r in read_rollouts(tmp_path / "out" / "annotated.jsonl") for s in r.steps for name in s.signals}
    assert names == {signal.name for signal in rivals(labelled=False)}
