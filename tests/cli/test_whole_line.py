"""The whole line at a small size, through the command line: discover, evaluate, train, report, inspect."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from attnpo.attention import HeadSet
from attnpo.cli.console import console
from attnpo.cli.main import main
from attnpo.discovery import DiscoveryResult
from attnpo.evaluation import EvaluationResult
from attnpo.rollouts import read_rollouts
from attnpo.study.worlds import TINYWORLD, WORLDS

# One thread, for matrices are small and other tests run beside this one.
SIZES = ("--max_steps", "2", "--num_probe", "16", "--num_eval", "10", "--num_traces", "2", "--jobs", "1")
TRAINING = {**TINYWORLD.training, "num_problems": 64, "gradient_accumulation_steps": 1}


def quickstart(folder: Path) -> None:
    """Run the whole line, with a quarter of the responses a step."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WORLDS, "tinyworld", replace(TINYWORLD, training=TRAINING))
        main(["quickstart", "--output_dir", str(folder), *SIZES])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("quickstart")
    quickstart(path)
    return path


def test_quickstart_leaves_everything_behind(folder):
    discovery = DiscoveryResult.load(folder / "discovery.json")
    heads = HeadSet.load(folder / "heads.json")
    assert [tuple(h) for h in heads.heads] == [tuple(h) for h in discovery.chosen]
    assert (folder / "sra.png").stat().st_size > 10_000
    for arm in ("base", "tlmre", "attnpo"):
        result = EvaluationResult.load(folder / arm / "evaluation.json")
        assert result.num_problems == 10
        assert result.overall.redundant_steps is not None
        assert set(result.by_difficulty) == {"1", "2", "3", "4", "5"}
        traces = list(read_rollouts(folder / arm / "annotated.jsonl"))
        assert len(traces) == 16
        assert all(step.score is not None and step.gamma is not None for t in traces for step in t.steps)
    for arm in ("tlmre", "attnpo"):
        state = json.loads((folder / arm / "trainer_state.json").read_text())
        assert state["global_step"] == 2
        assert (folder / arm / "train.command.txt").read_text().startswith("attnpo train ")
    html = (folder / "report.html").read_text()
    assert "AttnPO" in html
    assert "attnpo quickstart" in html


def test_quickstart_again_makes_nothing_twice_and_prints_whole_paths(folder, capsys, monkeypatch):
    monkeypatch.setattr(console, "_width", 40)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")}
    quickstart(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*.jsonl")} == before
    assert f"Open {folder / 'report.html'} in a browser" in capsys.readouterr().out


def test_report_on_the_folder(folder, tmp_path, capsys):
    main(["report", "--run_dir", str(folder), "--output", str(tmp_path / "page.html"), "--title", "Our run"])
    assert "Our run" in (tmp_path / "page.html").read_text()


def test_inspect_an_annotated_trace(folder, tmp_path, capsys):
    rollouts = folder / "attnpo" / "annotated.jsonl"
    main(["inspect", "--rollouts", str(rollouts), "--html", str(tmp_path / "trace.html")])
    text = capsys.readouterr().out
    first = next(iter(read_rollouts(rollouts)))
    assert first.steps[0].family in text
    assert "<html" in (tmp_path / "trace.html").read_text()


def test_inspect_scores_plain_rollouts(folder, capsys):
    rollouts = folder / "base" / "rollouts.jsonl"
    problem = list(read_rollouts(rollouts))[3].problem_id
    heads = str(folder / "heads.json")
    main(["inspect", "--rollouts", str(rollouts), "--model", "tinyworld", "--heads", heads, "--problem", problem])
    assert problem in capsys.readouterr().out


def test_inspect_without_heads_says_how_to_name_them(folder, capsys):
    with pytest.raises(SystemExit):
        main(["inspect", str(folder / "base" / "rollouts.jsonl"), "--model", "tinyworld"])
    (line,) = capsys.readouterr().err.splitlines()
    assert "--heads: these responses carry no step scores" in line
    assert line.endswith("or name a head set that ships: deepseek-r1-distill-qwen-1.5b")


def test_heads_found_on_another_model_are_read_and_said(folder, tmp_path, capsys, caplog):
    heads = HeadSet.load(folder / "heads.json")
    heads.model_copy(update={"model_id": "owner/other"}).save(tmp_path / "heads.json")
    rollouts = ["--rollouts", str(folder / "base" / "rollouts.jsonl"), "--model", "tinyworld"]
    for file, said in ((folder / "heads.json", 0), (tmp_path / "heads.json", 1)):
        caplog.clear()
        main(["inspect", *rollouts, "--heads", str(file)])
        assert "γ" in capsys.readouterr().out
        assert caplog.text.count("heads: found on owner/other; --model tinyworld is neither that model nor") == said


def test_inspect_samples_from_a_model(folder, capsys):
    flags = {
        "model": "tinyworld",
        "data": "tinyworld",
        "heads": folder / "heads.json",
        "segmentation": "paragraphs",
        "verifier": "exact",
        "max_new_tokens": 200,
        "samples_per_problem": 2,
        "sample": 1,
    }
    main(["inspect", *(part for name, value in flags.items() for part in (f"--{name}", str(value)))])
    assert "γ" in capsys.readouterr().out
