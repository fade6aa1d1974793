"""Cells: what they run, which are chosen, and that results of other settings are refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest
from reproduced import HEADS, head_sets, write_cell

from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.study.cells import (
    CELL_FILE,
    ONE_HEAD_SET,
    Cell,
    Experiment,
    cells_of,
    cells_on_disk,
    choose_cells,
)
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite
from attnpo.study.worlds import TINYWORLD
from attnpo.tinyworld import checkpoint_path

SUITE = load_suite()
SIZES = Sizes(
    max_sampled_tokens=90_000,
    max_steps=50,
    responses=64,
    schedule_steps=6,
    learning_rate=1e-4,
    num_eval=70,
    num_probe=30,
)
ROWS = SUITE.choose("main", ["rloo", "tlmre", "attnpo"])


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    head_sets(tmp_path / "runs" / "heads")
    return Experiment(tmp_path / "runs", SIZES)


def names(cells):
    return [cell.name for cell in cells]


def test_all_rows_of_a_seed_come_before_the_next_seed():
    assert names(cells_of(ROWS[:2], [2, 1])) == ["rloo/2", "tlmre/2", "rloo/1", "tlmre/1"]


@pytest.mark.parametrize(
    ("only", "chosen"),
    [
        ([], ["rloo/1", "tlmre/1", "attnpo/1", "rloo/2", "tlmre/2", "attnpo/2"]),
        (["attnpo"], ["attnpo/1", "attnpo/2"]),
        (["attnpo/2", "seed=1"], ["rloo/1", "tlmre/1", "attnpo/1", "attnpo/2"]),
    ],
)
def test_only(only, chosen):
    assert names(choose_cells(cells_of(ROWS, [1, 2]), only)) == chosen


@pytest.mark.parametrize("wrong", ["attnp", "attnpo/3", "seed=3", "seed=", "2"])
def test_only_without_a_cell(wrong):
    with pytest.raises(ConfigError) as error:
        choose_cells(cells_of(ROWS, [1, 2]), [wrong])
    assert str(error.value).startswith(f"--only {wrong}: no such cell")
    assert "rows and curves are rloo, tlmre, attnpo, seeds 1, 2" in str(error.value)


def test_only_names_what_was_meant():
    with pytest.raises(ConfigError, match="attnpo/2"):
        choose_cells(cells_of(ROWS, [1, 2]), ["atnpo/2"])


def test_what_a_cell_runs(experiment):
    train, evaluate = (command.settings for command in experiment.arm(Cell(SUITE["thinkprune"], 2)).commands)
    assert train["output_dir"] == experiment.output_dir / "thinkprune" / "seed-2"
    assert (train["method"], train["method_settings"]) == ("thinkprune", SUITE["thinkprune"].settings)
    assert (train["seed"], train["problems_seed"], train["max_sampled_tokens"]) == (2, 2, 90_000)
    assert train["per_device_train_batch_size"] * train["gradient_accumulation_steps"] == 64
    assert (train["schedule_steps"], train["max_steps"], train["learning_rate"]) == (6, 50, 1e-4)
    assert "heads" not in train
    assert (evaluate["model"], evaluate["name"], evaluate["num_problems"]) == (train["output_dir"], "thinkprune", 70)


@pytest.mark.parametrize(
    ("row", "file"),
    [("attnpo", "heads.json"), ("attnpo-wrong-heads", "wrong_head.json"), ("attnpo-2-heads", "best_heads.json")],
)
def test_the_heads_of_a_row(experiment, row, file):
    (train, _) = experiment.arm(Cell(SUITE[row], 1)).commands
    assert train.settings["heads"] == experiment.output_dir / "heads" / file
    assert experiment.settings(Cell(SUITE[row], 1))["heads"] == HEADS[file]


def test_heads_are_looked_for_only_where_a_cell_reads_attention(experiment):
    assert [arm.name for arm in experiment.shared_arms([Cell(SUITE["rloo"], 1)])] == ["base"]
    assert [arm.name for arm in experiment.shared_arms(cells_of(ROWS, [1]))] == ["base", "heads"]


def test_flags_of_every_cell_and_of_one_row(experiment):
    row = SUITE["rloo"].model_copy(update={"training": {"learning_rate": 1e-4}, "evaluation": {"opening": "<think>"}})
    sizes = Sizes(max_sampled_tokens=0, responses=128, training=["learning_rate=3e-4", "beta=0.01"])
    train, evaluate = (c.settings for c in Experiment(experiment.output_dir, sizes).arm(Cell(row, 1)).commands)
    assert "max_sampled_tokens" not in train
    assert (train["learning_rate"], train["beta"], train["gradient_accumulation_steps"]) == (1e-4, "0.01", 4)
    assert evaluate["opening"] == "<think>"


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"max_sampled_tokens": 100_000}, r"train\.max_sampled_tokens \(there 90000, asked 100000\)"),
        ({"num_eval": 100}, r"evaluate\.num_problems \(there 70, asked 100\)"),
        ({"training": ["beta=0.1"]}, r"train\.beta \(there None, asked '0\.1'\)"),
    ],
)
def test_a_cell_made_with_other_settings_is_refused_by_name(experiment, change, word):
    cell = Cell(SUITE["rloo"], 1)
    write_cell(experiment, cell)
    experiment.check([cell])
    with pytest.raises(OutputError, match=word) as error:
        Experiment(experiment.output_dir, replace(SIZES, **change)).check([cell])
    assert str(cell.folder(experiment.output_dir)) in str(error.value)


def test_a_row_whose_settings_changed_and_other_heads_are_refused(experiment):
    cell = Cell(SUITE["attnpo"], 1)
    write_cell(experiment, cell)
    tuned = Cell(cell.row.model_copy(update={"settings": {"alpha_len": 0.3}}), 1)
    with pytest.raises(OutputError, match=r"train\.method_settings"):
        experiment.check([tuned])
    head_sets(experiment.output_dir / "heads", {"heads.json": [[1, 1]]})
    with pytest.raises(OutputError, match=r"heads \(there \[\[2, 3\], \[2, 1\]\], asked \[\[1, 1\]\]\)") as error:
        experiment.check([cell])
    assert str(error.value).startswith(f"{cell.folder(experiment.output_dir)}: ")
    assert str(error.value).endswith(ONE_HEAD_SET)
    with pytest.raises(OutputError, match=r"train\.method_settings"):  # the fix for heads would not mend it
        experiment.check([tuned])


def test_where_a_run_is_saved_is_no_other_setting(experiment):
    cell = Cell(SUITE["rloo"], 1)
    write_cell(experiment, cell)
    Experiment(experiment.output_dir, replace(SIZES, training=["save_steps=5", "logging_steps=2"])).check([cell])


def test_what_all_cells_share_is_claimed_once(experiment):
    experiment.claim_shared()
    experiment.claim_shared()
    with pytest.raises(OutputError, match=r"discovery\.num_problems \(there 30, asked 40\)"):
        Experiment(experiment.output_dir, replace(SIZES, num_probe=40)).claim_shared()


def test_cells_of_other_weights_under_the_same_name_are_no_one_table(tmp_path):
    model = tmp_path / "model"
    shutil.copytree(checkpoint_path(), model)
    experiment = Experiment(tmp_path / "cells", SIZES, replace(TINYWORLD, model=str(model)))
    experiment.output_dir.mkdir()
    experiment.claim_model()
    experiment.claim_model()
    config = json.loads((model / "config.json").read_text())
    (model / "config.json").write_text(json.dumps({**config, "rope_theta": 1.0}))
    with pytest.raises(OutputError, match=r"other settings: weights \(there '\w+', asked '\w+'\)"):
        experiment.claim_model()


def test_cells_of_two_machines_copied_together(experiment, tmp_path):
    other = Experiment(tmp_path / "other", SIZES)
    head_sets(other.output_dir / "heads")
    write_cell(experiment, Cell(SUITE["rloo"], 1))
    write_cell(other, Cell(SUITE["attnpo"], 2))
    write_cell(other, Cell(SUITE["rloo"], 11))
    shutil.copytree(other.output_dir, experiment.output_dir, dirs_exist_ok=True)
    found = cells_on_disk(SUITE.rows, experiment.output_dir)
    assert names(found) == ["rloo/1", "rloo/11", "attnpo/2"]
    experiment.check(found)


@pytest.fixture
def two_machines(experiment, tmp_path) -> Experiment:
    """Cells of this machine's heads and of another's, copied together without either."""
    other = Experiment(tmp_path / "other", SIZES)
    head_sets(other.output_dir / "heads", {"heads.json": [[1, 1]], "wrong_head.json": HEADS["wrong_head.json"]})
    for name, seed in (("rloo", 1), ("attnpo", 1), ("attnpo-wrong-heads", 1)):
        write_cell(experiment, Cell(SUITE[name], seed))
    for name, seed in (("rloo", 2), ("attnpo", 2), ("attnpo-tuned", 2), ("attnpo-wrong-heads", 2)):
        write_cell(other, Cell(SUITE[name], seed))
    for run in (experiment, other):
        shutil.rmtree(run.output_dir / "heads")
    shutil.copytree(other.output_dir, experiment.output_dir, dirs_exist_ok=True)
    return experiment


@pytest.mark.parametrize("row", ["attnpo", "attnpo-tuned"])
def test_cells_of_different_heads_are_refused_without_a_heads_folder(two_machines, row):
    with pytest.raises(OutputError) as error:
        two_machines.check([Cell(SUITE["attnpo"], 1), Cell(SUITE[row], 2)])
    assert str(error.value) == (
        f"{two_machines.output_dir}: attnpo/1 was trained with heads [[2, 3], [2, 1]], {row}/2 with [[1, 1]]; "
        f"{ONE_HEAD_SET}"
    )
    with pytest.raises(OutputError, match="was trained with heads"):
        two_machines.check(cells_on_disk(SUITE.rows, two_machines.output_dir))


def test_rows_without_heads_and_rows_of_other_head_sets_are_not_held_against_each_other(two_machines):
    two_machines.check([Cell(SUITE[name], seed) for name in ("rloo", "attnpo-wrong-heads") for seed in (1, 2)])
    two_machines.check([Cell(SUITE["attnpo"], 1), Cell(SUITE["attnpo-wrong-heads"], 2)])
    two_machines.check([Cell(SUITE["attnpo"], 2), Cell(SUITE["attnpo-tuned"], 2)])


def test_heads_that_a_flag_names_are_a_setting(experiment):
    cells = [Cell(SUITE[name], 1) for name in ("attnpo", "rloo")]
    given = Experiment(experiment.output_dir, replace(SIZES, training=["heads=1.0"]))
    assert given.settings(cells[0])["heads"] is None
    for cell in cells:
        write_cell(given, cell)
    given.check(cells)
    other = Experiment(experiment.output_dir, replace(SIZES, training=["heads=1.1"]))
    other.check(cells[1:])
    with pytest.raises(OutputError, match=r"train\.heads \(there '1\.0', asked '1\.1'\)"):
        other.check(cells)
    with pytest.raises(OutputError, match=r"train\.heads \(there '1\.0', asked None\)"):
        experiment.check(cells)


@pytest.mark.parametrize("text", ["{", "[]"])
def test_a_copied_cell_whose_settings_are_broken(experiment, text):
    cell = Cell(SUITE["attnpo"], 1)
    folder = write_cell(experiment, cell)
    shutil.rmtree(experiment.output_dir / "heads")
    (folder / CELL_FILE).write_text(text)
    with pytest.raises(OutputError, match=r"cell\.settings\.json: not a settings file"):
        experiment.check([cell])


def test_a_copied_cell_without_heads_or_settings(experiment):
    cell = Cell(SUITE["attnpo"], 1)
    folder = write_cell(experiment, cell)
    shutil.rmtree(experiment.output_dir / "heads")
    experiment.check([cell])
    (folder / CELL_FILE).unlink()
    with pytest.raises(DataError, match=r"cell\.settings\.json: not there, so it is not known how attnpo/1 was made"):
        experiment.check([cell])


def test_a_cell_that_is_only_begun_is_not_done(experiment):
    cell = Cell(SUITE["rloo"], 1)
    folder = write_cell(experiment, cell)
    (folder / "evaluation.json").unlink()
    assert not experiment.done(cell)
    assert cells_on_disk(SUITE.rows, experiment.output_dir) == []
    experiment.check([cell])


@pytest.mark.parametrize(
    "sizes",
    [{"responses": 48}, {"responses": 0}, {"num_eval": 0}, {"max_steps": 0}, {"max_sampled_tokens": -1}],
)
def test_sizes_that_make_no_sense(sizes):
    (name,) = sizes
    with pytest.raises(ConfigError, match=rf"^(--)?{name}\b"):
        Sizes(**sizes)


def test_settings_are_json(experiment):
    for row in SUITE.rows:
        settings = experiment.settings(Cell(row, 1))
        assert json.loads(json.dumps(settings)) == settings
