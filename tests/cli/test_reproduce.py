"""`attnpo reproduce`: the table from what is there, failures, resuming; and two real cells from start to end."""

from __future__ import annotations

import csv
import json
import shutil
import sys

import pytest
from reproduced import head_sets, measure, write_cell

from attnpo.cli.main import main
from attnpo.errors import ConfigError
from attnpo.study.arms import Command
from attnpo.study.cells import Cell, Experiment
from attnpo.study.reproducing import reproduce as reproduce_table
from attnpo.study.running import cores
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite
from attnpo.study.writing import FILES

SUITE = load_suite()
ROWS = ("--rows", "rloo", "tlmre", "attnpo", "--seeds", "1", "2")


@pytest.fixture
def folder(tmp_path):
    """The starting model, the heads, and four of six cells."""
    experiment = Experiment(tmp_path / "table", Sizes())
    head_sets(experiment.output_dir / "heads")
    measure(experiment.output_dir / "base", "base", 0)
    for name, seed, shorter in (("tlmre", 1, 20), ("tlmre", 2, 24), ("attnpo", 1, 40), ("rloo", 1, -10)):
        write_cell(experiment, Cell(SUITE[name], seed), shorter=shorter)
    return experiment.output_dir


def reproduce(folder, *arguments):
    main(["reproduce", "--output_dir", str(folder), *map(str, arguments)])


def test_the_table_names_what_is_missing(folder, capsys):
    reproduce(folder, "--table", *ROWS)
    said = " ".join(capsys.readouterr().out.split())
    assert "2 of 6 cells are not there yet: rloo/2, attnpo/2" in said
    assert {path.name for path in folder.iterdir() if path.is_file()} == {*FILES, "reproduce.settings.json"}
    markdown = (folder / "table.md").read_text()
    assert "Not there yet: rloo/2, attnpo/2." in markdown
    content = json.loads((folder / "table.json").read_text())
    assert content["missing"] == ["rloo/2", "attnpo/2"]
    assert [(name, row["seeds"]) for name, row in content["rows"].items()] == [
        ("base", []), ("rloo", [1]), ("tlmre", [1, 2]), ("attnpo", [1]),
    ]  # fmt: skip
    assert content["rows"]["tlmre"]["paper"] == "TLMRE, arXiv 2502.04463"
    with (folder / "table.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["row"] == "attnpo" and row["metric"] == "response_tokens"]
    assert {row["against"] for row in rows if not row["of"]} == {"", "base", "tlmre"}


def test_of_many_missing_cells_ten_are_named_and_the_rest_counted(folder, capsys):
    seeds = [1, *range(101, 112)]
    reproduce(folder, "--table", "--rows", "rloo", "--seeds", *seeds)
    named = ", ".join(f"rloo/{seed}" for seed in seeds[1:11]) + " and 1 more"
    assert f"11 of 12 cells are not there yet: {named}" in " ".join(capsys.readouterr().out.split())
    assert f"Not there yet: {named}." in (folder / "table.md").read_text()
    assert json.loads((folder / "table.json").read_text())["missing"] == [f"rloo/{seed}" for seed in seeds[1:]]


def test_rows_that_were_not_asked_for_count_where_they_are_there(folder):
    reproduce(folder, "--table", "--rows", "tlmre", "--seeds", "1")
    content = json.loads((folder / "table.json").read_text())
    assert content["missing"] == []
    assert list(content["rows"]) == ["base", "rloo", "tlmre", "attnpo"]
    assert content["rows"]["tlmre"]["runs"] == 2


def test_results_say_date_commit_command_machine(folder):
    reproduce(folder, "--table", *ROWS)
    text = (folder / "results.md").read_text()
    table = json.loads((folder / "table.json").read_text())
    assert f"{table['date']}, commit `abc`, machine 1; machine 2." in text
    assert f"    attnpo reproduce --output_dir {folder} --table --rows rloo tlmre attnpo --seeds 1 2\n" in text
    assert "![Accuracy against tokens](frontier.png)" in text
    assert (folder / "table.md").read_text() in text
    assert ", measured with temperature 1.0, measured with top_p 1.0.\n" in text


def test_the_table_of_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        reproduce(tmp_path, "--table")
    assert stop.value.code == 2
    assert "the starting model is not measured yet" in capsys.readouterr().err
    measure(tmp_path / "base", "base", 0)
    with pytest.raises(SystemExit):
        reproduce(tmp_path, "--table")
    assert "no finished cell" in capsys.readouterr().err


def test_a_folder_of_other_settings_is_refused_before_anything_runs(folder, capsys, monkeypatch):
    monkeypatch.setattr("attnpo.study.reproducing.run_arms", None)
    with pytest.raises(SystemExit) as stop:
        reproduce(folder, *ROWS, "--max_sampled_tokens", 5000)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert "train.max_sampled_tokens" in error
    assert len(error.splitlines()) == 1


def test_seeds_of_different_heads_make_no_table(folder, capsys):
    write_cell(Experiment(folder, Sizes()), Cell(SUITE["attnpo"], 2))
    settings = folder / "attnpo" / "seed-2" / "cell.settings.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"heads": [[1, 1]]}))
    for heads, said in ((True, "heads (there [[1, 1]], asked"), (False, "attnpo/2 with [[1, 1]]; ")):
        if not heads:
            shutil.rmtree(folder / "heads")
        with pytest.raises(SystemExit) as stop:
            reproduce(folder, "--table", *ROWS)
        assert stop.value.code == 2
        (error,) = capsys.readouterr().err.splitlines()
        assert said in error
        assert "copy base/, heads/ and *.settings.json" in error
        assert not (folder / "table.json").exists()


def test_help_says_what_machines_share(capsys):
    with pytest.raises(SystemExit):
        main(["reproduce", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    assert "copy: base/, heads/ and *.settings.json of runs/table, from machine 1 to machine 2" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rows", "nope"], "row 'nope': there is none"),
        (["--only", "rloo/9"], "--only rloo/9: no such cell"),
        (["--training", "learning_rate"], "--training learning_rate: give NAME=VALUE"),
        (["--responses", "10"], "--responses 10: give a multiple of 32"),
        (["--suite", "none"], "--suite none: there is none"),
        (["--world", "gms"], "--world gms: there is none; there are tinyworld, gsm"),
        (["--world", "gsm", "--responses", "10"], "--responses 10: give a multiple of 8, whole groups"),
        (["--world", "gsm", "--rows", "laser"], "row 'laser': there is none; there are rloo, tlmre-0.1"),
        (["--minutes", "0"], "minutes"),
    ],
)
def test_mistakes_in_the_arguments(tmp_path, capsys, arguments, message):
    with pytest.raises(SystemExit) as stop:
        reproduce(tmp_path / "out", *arguments)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_list_needs_no_folder(tmp_path, capsys):
    reproduce(tmp_path / "out", "--list", "--rows", "laser", "sgrpo")
    said = capsys.readouterr().out
    assert "2 rows x 3 seeds" in said
    assert "2505.15612" in said
    assert not (tmp_path / "out").exists()


def test_further_flags_of_training_by_name(tmp_path):
    sizes = Sizes(training=["beta=0.1", 'lr_scheduler_kwargs={"a"=1}'])
    assert sizes.further == {"beta": "0.1", "lr_scheduler_kwargs": '{"a"=1}'}
    with pytest.raises(ConfigError, match="--seeds"):
        reproduce_table(SUITE, SUITE.rows, [], sizes, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert cores() >= 1


COPY = """
import pathlib, shutil, sys
source, folder, done, fails = sys.argv[1:]
if fails == "yes":
    sys.exit("out of memory")
for path in pathlib.Path(source).iterdir():
    if path.name == done or path.suffix == ".jsonl":
        shutil.copy(path, folder)
"""


@pytest.fixture
def copied_commands(folder, tmp_path, monkeypatch):
    """Commands that copy what a finished cell left behind; training fails for the methods named in the list."""
    failing: list[str] = []
    started: list[str] = []
    shutil.copytree(folder, tmp_path / "finished")

    def argv(self: Command) -> list[str]:
        target = self.done.parent
        source = tmp_path / "finished" / ("base" if target.name == "base" else "tlmre/seed-1")
        if self.name == "train":
            started.append(f"{target.parent.name}/{target.name}")
        fails = self.name == "train" and target.parent.name in failing
        return [sys.executable, "-c", COPY, str(source), str(target), self.done.name, "yes" if fails else "no"]

    monkeypatch.setattr(Command, "argv", argv)
    monkeypatch.setattr(Command, "on_cpu", False)  # not forked: that would run the command itself
    return failing, started


def test_a_cell_that_fails_is_named_and_tried_again(folder, capsys, copied_commands):
    failing, started = copied_commands
    failing.append("attnpo")
    with pytest.raises(SystemExit) as stop:
        reproduce(folder, *ROWS, "--jobs", 2)
    assert stop.value.code == 1
    log = folder / "attnpo" / "seed-2" / "train.out"
    error = capsys.readouterr().err
    assert f"attnpo/2: train failed with exit code 1; see {log} (out of memory)" in error
    assert "1 cell failed; the same command tries it again" in error
    # Finished cells are left alone; the others went on, and the table is that of what is there.
    assert set(started) == {"rloo/seed-2", "attnpo/seed-2"}
    assert json.loads((folder / "table.json").read_text())["missing"] == ["attnpo/2"]
    failing.clear()
    started.clear()
    reproduce(folder, *ROWS, "--jobs", 2)
    assert set(started) == {"attnpo/seed-2"}
    assert json.loads((folder / "table.json").read_text())["missing"] == []
    about = json.loads((folder / "attnpo" / "seed-2" / "run.json").read_text())
    assert about["command"].startswith("attnpo reproduce --output_dir")
    assert about["machine"]


def test_only_runs_its_cells(folder, capsys, copied_commands):
    _, started = copied_commands
    reproduce(folder, *ROWS, "--only", "attnpo,rloo/1", "--jobs", 1)
    assert set(started) == {"attnpo/seed-2"}
    assert json.loads((folder / "table.json").read_text())["missing"] == ["rloo/2"]


def test_out_of_minutes(folder, capsys, copied_commands):
    _, started = copied_commands
    reproduce(folder, *ROWS, "--minutes", "0.0001")
    said = " ".join(capsys.readouterr().out.split())
    assert "0.0001 minutes are over; the same command goes on where this one stopped" in said
    assert "2 of 6 cells are not there yet: rloo/2, attnpo/2" in said
    assert started == []
    assert json.loads((folder / "table.json").read_text())["missing"] == ["rloo/2", "attnpo/2"]
    reproduce(folder, *ROWS, "--minutes", "60", "--jobs", "2")
    assert set(started) == {"rloo/seed-2", "attnpo/seed-2"}
    assert "minutes are over" not in capsys.readouterr().out


@pytest.mark.slow
def test_two_real_cells(tmp_path, capsys):
    sizes = {"max_sampled_tokens": 5000, "responses": 32, "num_eval": 10, "num_probe": 16, "schedule_steps": 1}
    flags = [part for name, value in sizes.items() for part in (f"--{name}", value)]
    flags += ["--training", "num_problems=64", "max_completion_length=128"]
    rows = ("--rows", "rloo", "attnpo", "--seeds", 1, "--jobs", 2)
    reproduce(tmp_path, *rows, *flags)
    content = json.loads((tmp_path / "table.json").read_text())
    assert content["missing"] == []
    assert list(content["rows"]) == ["base", "rloo", "attnpo"]
    for name in ("rloo", "attnpo"):
        row = content["rows"][name]
        assert row["costs"]["sampled_tokens"]["value"] >= 5000
        assert 1 <= row["costs"]["steps"]["value"] < 5
        assert row["costs"]["extra_tokens"]["value"] == row["costs"]["extra_pass_tokens"]["value"] == 0
        assert row["values"]["redundant_steps"]["value"] > 0
        assert row["values"]["count:useful_checks"] is not None
        assert row["efficiency"] is not None
    assert "attnpo" in (tmp_path / "report.html").read_text()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")}
    reproduce(tmp_path, *rows, *flags)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.jsonl")} == before
