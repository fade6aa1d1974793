"""Every path that a command prints is whole, however narrow the terminal and whatever the path is called."""

from __future__ import annotations

import shutil
from contextlib import nullcontext

import card_folders
import pytest
import run_folders
from measured import evaluation, rollout, save
from probe_set import probe_set
from reproduced import head_sets, measure, write_cell
from rich.table import Table
from rich.text import Text
from transformers import AutoTokenizer

from attnpo.cli.console import Terminal, console
from attnpo.cli.main import COMMANDS, main
from attnpo.rollouts import write_rollouts
from attnpo.study.cells import Cell, Experiment
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite
from attnpo.tinyworld import checkpoint_path

ODD = "a folder [red] of :smile: with-a-very-long-name-that-no-narrow-terminal-can-hold-on-one-line"
WORLD = ("--model", "tinyworld", "--segmentation", "paragraphs", "--verifier", "exact", "--device", "cpu")
SAMPLING = ("--data", "tinyworld", "--num_problems", "2", "--samples_per_problem", "1", "--max_new_tokens", "8")


@pytest.fixture(autouse=True)
def narrow(monkeypatch):
    monkeypatch.setattr(console, "_width", 40)


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / ODD / ODD
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def printed(capsys, root):
    """Run a command; return what it printed, in which every path under the folder must be whole."""

    def run(*argv: object) -> str:
        exits = pytest.raises(SystemExit, match="0") if "--dry_run" in argv else nullcontext()
        with exits:
            main([str(word) for word in argv])
        said = capsys.readouterr()
        text = said.out + said.err
        begun, whole = text.count(str(root)[:20]), text.count(str(root))
        assert begun == whole, text
        assert not [line for line in text.splitlines() if line.endswith("…") and "━" not in line]  # bars may be cut
        return text

    return run


def write_probe_set(path):
    write_rollouts(path, probe_set(AutoTokenizer.from_pretrained(checkpoint_path())))
    return path


def test_evaluate_and_inspect(root, printed):
    text = printed("evaluate", *WORLD, *SAMPLING, "--output_dir", root / "base")
    assert f"written to {root / 'base' / 'evaluation.json'}\n" in text
    rollouts, page = root / "base" / "rollouts.jsonl", root / "trace.html"
    text = printed("inspect", rollouts, "--model", "tinyworld", "--heads", "2.0", "--device", "cpu", "--html", page)
    assert f"written to {page}\n" in text


def test_discover(root, printed):
    probe = write_probe_set(root / "probing set.jsonl")
    other = shutil.copytree(checkpoint_path(), root / "checkpoint")
    settings = ("--traces", probe, "--random_model", "false", "--resamples", "20", "--min_pass_rate", "0")
    another = write_probe_set(root / "another set.jsonl")
    text = printed("discover", *WORLD, *settings, "--transfer", another, "--output_dir", root / "out")
    assert f"written to {root / 'out'}\n" in text
    assert f" {another} " in text  # in the table
    text = printed(
        "discover", *WORLD, *settings, "--verify", "2.3", "--checkpoints", other, "--output_dir", root / "verified"
    )
    assert f"written to {root / 'verified'}\n" in text
    assert f" {other} " in text  # in the table


def test_coldstart(root, printed):
    rows = root / "rows of mine.jsonl"
    rows.write_text('{"prompt": "How many coins?", "solution": "7", "worked_solution": "Ann has 4+3=7."}\n')
    flags = ("--data", rows, "--max_steps", "1", "--eval_problems", "0", "--disable_tqdm", "true")
    text = printed("coldstart", "--model", "tinyworld", *flags, "--output_dir", root / "cold")
    assert f"written to {root / 'cold' / 'traces.jsonl'}\n" in text
    assert f"model written to {root / 'cold'}\n" in text


def test_train(root, printed):
    settings = {
        "model": "tinyworld",
        "data": "tinyworld",
        "num_problems": 4,
        "heads": "2.0",
        "num_generations": 8,
        "per_device_train_batch_size": 8,
        "max_completion_length": 256,
        "max_steps": 1,
        "use_cpu": True,
        "bf16": False,
        "report_to": "none",
        "verifier": "exact",
        "output_dir": root / "run",
    }
    flags = [part for name, value in settings.items() for part in (f"--{name}", value)]
    text = printed("train", *flags, "--dry_run")
    assert f" {root / 'run' / 'log.jsonl'} " in text
    assert f"model written to {root / 'run'}\n" in printed("train", *flags, "--group_sampler", True)


def test_card(root, printed, monkeypatch):
    monkeypatch.setattr("attnpo.reporting.card.write.draw_figures", lambda facts: {})
    run = card_folders.run_folder(root)
    assert f"written to {run / 'README.md'}\n" in printed("card", run, "--base", root / "base")


def test_report(root, printed):
    folder = run_folders.write_run(root / "run")
    assert f"written to {folder / 'report.html'}\n" in printed("report", folder)


def test_compare(root, printed):
    for name, tokens in (("base", 300), ("shorter", 200)):
        rows = [rollout(f"a{i}", i % 3 > 0, tokens + i) for i in range(20)]
        save(evaluation(name, rows, dataset="toy", settings={"verifier": name}), root / name)
    arguments = (root / "base", root / "shorter", "--allow", "verifier", "--resamples", "20")
    text = printed("compare", *arguments, "--output_dir", root / "out")
    for file in ("comparison.md", "comparison.html", "frontier.svg"):
        assert f"written to {root / 'out' / file}\n" in text
    assert "caveat: " in text


def test_reproduce(root, printed):
    experiment = Experiment(root / "table", Sizes())
    head_sets(experiment.output_dir / "heads")
    measure(experiment.output_dir / "base", "base", 0)
    write_cell(experiment, Cell(load_suite()["tlmre"], 1), shorter=20)
    text = printed("reproduce", "--table", "--rows", "tlmre", "--seeds", "1", "--output_dir", root / "table")
    assert f"written to {root / 'table' / 'table.md'}\n" in text
    assert "tlmre" in printed("reproduce", "--list")


def test_methods(printed):
    assert "attnpo-pa-only" in printed("methods")


def test_signals(printed):
    assert "flow_tracer" in printed("signals")


def test_gradients(root, printed):
    batches = ("--problems_per_batch", "1", "--samples_per_problem", "2", "--max_new_tokens", "8")
    flags = (*WORLD, "--data", "tinyworld", "--num_problems", "6", *batches, "--methods", "rloo")
    assert f"written to {root / 'out'}\n" in printed("gradients", *flags, "--output_dir", root / "out")


def test_no_command_is_left_out():
    # quickstart is run by test_whole_line.py, in a narrow terminal as well.
    names = {name.removeprefix("test_") for name in globals() if name.startswith("test_")}
    assert set(COMMANDS) <= {*names, "evaluate", "inspect", "quickstart"}


@pytest.fixture
def terminal(capsys):
    return Terminal(width=30)


def test_lines_are_what_they_say(terminal, capsys):
    path = f"/tmp/{ODD}/file.json"
    terminal.print(f"written to {path}")
    terminal.print(Text.assemble(("in bold ", "bold"), path))
    assert capsys.readouterr().out == f"written to {path}\nin bold {path}\n"


def test_a_table_breaks_no_word_and_cuts_no_cell(terminal, capsys):
    path = f"/tmp/{ODD}/file.json"
    table = Table(title="files")
    table.add_column("whole", no_wrap=True)
    table.add_column("words")
    table.add_row(path, "some words and/one/long/path/that/is/longer/than/the/terminal.json here")
    terminal.print(table)
    said = capsys.readouterr().out
    assert path in said
    assert "and/one/long/path/that/is/longer/than/the/terminal.json" in said
    assert "some words and/one" not in said  # words of a column that may wrap still do


def test_a_table_that_fits_stays_as_wide_as_it_was(terminal, capsys):
    table = Table("a", "b")
    table.add_row("1", "2")
    terminal.print(table)
    assert max(map(len, capsys.readouterr().out.splitlines())) == 9
