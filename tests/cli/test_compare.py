from __future__ import annotations

import csv
import json
import re

import numpy as np
import pytest
from measured import evaluation, rollout, save

from attnpo.cli import compare
from attnpo.cli.main import main
from attnpo.errors import ConfigError, DataError


def write(folder, name, seed, shorter=0, benchmark=None, better=0.0, **changes):
    rng = np.random.default_rng(seed)
    rows = [
        rollout(
            f"{'ab'[i % 2]}{i:02}",
            bool(rng.random() < 0.4 + better),
            300 + 10 * i - shorter,
            sample=j,
            answer=str(rng.integers(3)),
            subject=("algebra", "geometry")[i % 3 == 0],
        )
        for i in range(20)
        for j in range(4)
    ]
    about = None if benchmark is None else {"benchmark": benchmark}
    result = evaluation(name, rows, (128, 256, 512), benchmark=about, dataset=benchmark or "toy", **changes)
    return save(result, folder)


@pytest.fixture
def runs(tmp_path):
    write(tmp_path / "base", "base", 0)
    write(tmp_path / "attnpo", "attnpo", 1, shorter=150, better=0.4)
    return tmp_path


def run(capsys, *arguments):
    compare.run([str(argument) for argument in arguments])
    return capsys.readouterr().out


def test_the_terminal_shows_the_differences(runs, capsys):
    text = run(capsys, runs / "base" / "evaluation.json", runs / "attnpo" / "evaluation.json")
    assert "toy: 20 problems, 4 responses each" in text
    assert "+38." in text  # 150 of 395 tokens saved
    for title in ("pass@k, %", "majority vote of k, %", "accuracy within a token budget, %"):
        assert title in text
    assert "caveat" not in text
    assert sorted(path.name for path in runs.iterdir()) == ["attnpo", "base"]


def test_the_files_hold_what_the_terminal_says(runs, capsys):
    out = runs / "out"
    text = run(capsys, runs / "base", runs / "attnpo", "--output_dir", out, "--title", "Our <runs>")
    names = [f"comparison.{suffix}" for suffix in ("csv", "html", "json", "md")]
    assert sorted(path.name for path in out.iterdir()) == [*names, "frontier.png", "frontier.svg"]
    assert text.count("written to") == 6
    row = json.loads((out / "comparison.json").read_text())["benchmarks"]["toy"]["arms"]["attnpo"]
    saved = row["response_tokens_saved"]
    assert saved["value"] == pytest.approx(150 / 395)
    markdown = (out / "comparison.md").read_text()
    assert f"{100 * saved['value']:.1f} [{100 * saved['low']:.1f}, {100 * saved['high']:.1f}]" in markdown
    with (out / "comparison.csv").open() as file:
        cells = {(c["arm"], c["metric"]): c for c in csv.DictReader(file) if not c["group"]}
    assert float(cells["attnpo", "pass@4"]["difference"]) == row["differences"]["pass@4"]["value"]
    assert (out / "frontier.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (out / "frontier.svg").read_text()


def test_the_page_is_one_file_that_loads_nothing(runs, capsys):
    out = runs / "out"
    run(capsys, runs / "base", runs / "attnpo", "--output_dir", out, "--title", "Our <runs>")
    page = (out / "comparison.html").read_text()
    assert "Our &lt;runs&gt;" in page
    assert "<runs>" not in page
    assert re.search(r"AttnPO against Starting model: \+\d+\.\d points of accuracy, 38\xa0% fewer tokens\.", page)
    assert "By difficulty" in page
    assert "By subject" in page
    assert "Accuracy within a token budget" in page
    assert "attnpo compare" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)""", page)
    assert "nan" not in re.sub(r"<script>.*</script>", "", page, flags=re.DOTALL).lower().split()


def test_seeds_are_grouped_by_name_or_by_flag(runs, capsys):
    write(runs / "seed-2" / "attnpo", "attnpo", 2, shorter=130)
    text = run(capsys, runs / "base", runs / "attnpo", runs / "seed-2" / "attnpo")
    assert text.count("2 runs") == 1
    flag = f"ours={runs / 'attnpo'},{runs / 'seed-2' / 'attnpo'}"
    assert "2 runs" in run(capsys, runs / "base", "--runs", flag)
    text = run(capsys, "--runs", f"start={runs / 'base'}", "--runs", flag)
    assert 0 < text.index("start") < text.index("ours") < text.index("2 runs")


def test_several_benchmarks_and_their_average(tmp_path, capsys):
    for name, shorter in (("base", 0), ("attnpo", 100)):
        for seed, benchmark in enumerate(("gsm8k", "aime24")):
            write(tmp_path / name / benchmark, name, seed, shorter, benchmark)
    text = run(capsys, tmp_path / "base", tmp_path / "attnpo", "--output_dir", tmp_path / "out")
    assert "average over 2 benchmarks" in text
    page = (tmp_path / "out" / "comparison.html").read_text()
    for title in ("Average", "gsm8k", "aime24"):
        assert f"<h2>{title}</h2>" in page


def test_runs_that_are_not_comparable(runs, capsys):
    write(runs / "other", "other", 1, settings={"verifier": "math", "engine": {"name": "vllm"}})
    with pytest.raises(DataError) as error:
        run(capsys, runs / "base", runs / "other")
    assert 'verifier is "exact" in' in str(error.value)
    assert "--allow engine.batch,engine.name,verifier" in str(error.value)
    text = run(capsys, runs / "base", runs / "other", "--allow", "engine,verifier", "--output_dir", runs / "out")
    assert text.count("caveat:") == 3
    for file in ("comparison.md", "comparison.html", "comparison.json"):
        assert "verifier is " in (runs / "out" / file).read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["base"], "nothing to compare"),
        (["base", "attnpo", "--level", "1.5"], "level: 1.5 is not allowed"),
        (["base", "attnpo", "--resamples", "0"], "resamples: 0 is not allowed; use an integer of at least 1"),
        (["base", "--runs", "attnpo"], "--runs attnpo: give an arm and its runs as ARM=RUN,RUN"),
        (["base", "attnpo", "--allow", "verifierr"], "--allow verifierr: no run has such a setting"),
    ],
)
def test_mistakes_in_the_arguments(runs, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(runs)
    with pytest.raises(ConfigError, match=re.escape(message)):
        run(capsys, *arguments)


def test_through_the_command_line(runs, capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["compare", "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert "attnpo compare runs/base" in text
    with pytest.raises(SystemExit) as exit_:
        main(["compare", str(runs / "base"), str(runs / "gone")])
    assert exit_.value.code == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith(f"attnpo compare: error: {runs / 'gone'}: no evaluation.json there")
