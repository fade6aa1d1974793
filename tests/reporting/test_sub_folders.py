"""One page of a run folder whose sub-folders hold a discovery, a training run and evaluations."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from html_pages import Page
from run_folders import discovery, evaluation, log_history, stability, write_discovery, write_json

from attnpo.errors import DataError
from attnpo.reporting import write_report
from attnpo.reporting.run_folder import load_run_folder

MODEL = "attnpo/tinyworld-1m"
HEADS = [[2, 0], [2, 3], [3, 1]]


def page_of(folder: Path) -> Page:
    return Page(write_report(folder).read_text())


def write_training(folder: Path, **more: Any) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "trainer_state.json", {"log_history": log_history("attnpo")})
    write_json(folder / "training.json", {"model": MODEL, "method": "attnpo", "head_set": {"heads": HEADS}} | more)


def write_evaluation(folder: Path, arm: str, model: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "evaluation.json", evaluation(arm) | {"model": model})


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    """Heads, a training run, and what its model and the starting one did, each in a folder of its own."""
    folder = tmp_path / "runs" / "mine"
    (folder / "heads").mkdir(parents=True)
    write_discovery(folder / "heads")
    write_training(folder / "train")
    write_evaluation(folder / "eval", "base", MODEL)
    write_evaluation(folder / "eval-after", "attnpo", "runs/mine/train")
    write_json(folder / "heads" / "run.json", {"command": "attnpo discover --output_dir runs/mine/heads"})
    return folder


def test_heads_training_and_evaluations_make_one_page(mine: Path) -> None:
    run = load_run_folder(mine)
    assert [(arm.name, arm.folder, arm.starts) for arm in run.arms] == [
        ("base", "eval", True),
        ("attnpo", "train", False),
    ]
    assert run.arms[1].evaluation is not None
    assert run.arms[1].log
    page = page_of(mine)
    assert page.sections == ["frontier", "difficulty", "training", "heads", "labels", "proof", "traces", "how"]
    assert "AttnPO answers 93.5 % of 400 held-out problems right" in page.words
    assert "where the model it started from needed 129 for 56.0 %" in page.words
    assert f"Read in {MODEL}, the model that AttnPO started from. AttnPO was trained with these heads." in page.words
    assert "attnpo discover --output_dir runs/mine/heads" in page.words


def test_an_evaluation_beside_heads_needs_no_training(mine: Path) -> None:
    shutil.rmtree(mine / "train")
    shutil.rmtree(mine / "eval-after")
    page = page_of(mine)
    assert "The starting model answers 56.0 %" in page.words
    assert "Nothing has been trained yet." in page.words
    assert f"Read in {MODEL}, the starting model that was measured here." in page.words


def test_heads_of_another_model_are_told_apart(mine: Path) -> None:
    write_training(mine / "train", model="org/other")
    page = page_of(mine)
    assert f"⚠ Read in {MODEL}; AttnPO started from org/other: these heads are not of that model." in page.words
    assert "AttnPO was trained with these heads" not in page.words


def test_other_heads_of_the_same_model_are_told_apart(mine: Path) -> None:
    write_training(mine / "train", head_set={"heads": [[0, 1]]})
    assert "AttnPO was trained with others: 0.1." in page_of(mine).words


def test_an_evaluation_of_a_model_from_elsewhere_is_no_result_of_the_run(mine: Path) -> None:
    write_evaluation(mine / "eval-after", "attnpo", "runs/yours/train")
    assert {arm.name for arm in load_run_folder(mine).arms} == {"base", "attnpo", "eval-after"}
    page = page_of(mine)
    assert "eval-after answers 93.5 %" in page.words
    assert "No file here says what it was trained from." in page.words
    assert "where the model it started from" not in page.words


def test_several_of_one_kind_are_named_by_their_folders(mine: Path) -> None:
    shutil.copytree(mine / "heads", mine / "more-heads")
    write_json(mine / "more-heads" / "discovery.json", discovery() | {"model": "org/other"})
    write_training(mine / "train-long")
    assert [arm.name for arm in load_run_folder(mine).arms] == ["base", "train", "train-long"]
    page = page_of(mine)
    assert [name for name in page.sections if name.startswith("heads")] == ["heads", "heads-2"]
    assert "Key-Focus Heads: heads" in page.words
    assert "Key-Focus Heads: more-heads" in page.words
    assert "⚠ Read in org/other; train, train-long started from" in page.words


def test_a_checkpoint_of_the_run_is_measured(mine: Path) -> None:
    write_evaluation(mine / "eval-after", "attnpo", str(mine / "train" / "checkpoint-40"))
    assert [arm.name for arm in load_run_folder(mine).arms] == ["base", "attnpo"]


def test_stability_of_training_stands_with_the_heads_it_followed(mine: Path) -> None:
    (mine / "heads" / "stability.json").unlink()
    write_json(mine / "train" / "stability.json", stability())
    assert "Stability: AttnPO" in page_of(mine).words


def test_the_folder_of_one_command_makes_a_page(mine: Path) -> None:
    assert "eval answers 56.0 %" in page_of(mine / "eval").words
    run = load_run_folder(mine / "train")
    assert [(arm.name, arm.folder) for arm in run.arms] == [("attnpo", "")]
    assert page_of(mine / "train").sections[:2] == ["frontier", "training"]


def test_checkpoints_of_a_training_run_are_no_arms_of_their_own(mine: Path) -> None:
    for step in (2, 4):
        (mine / "train" / f"checkpoint-{step}").mkdir()
        write_json(
            mine / "train" / f"checkpoint-{step}" / "trainer_state.json", {"log_history": log_history("attnpo")[:step]}
        )
    assert [arm.folder for arm in load_run_folder(mine / "train").arms] == [""]
    (mine / "train" / "trainer_state.json").unlink()
    (mine / "train" / "log.jsonl").unlink(missing_ok=True)
    assert [arm.folder for arm in load_run_folder(mine / "train").arms] == [""]
    write_evaluation(mine / "train" / "checkpoint-4", "attnpo", str(mine / "train" / "checkpoint-4"))
    assert {arm.folder for arm in load_run_folder(mine / "train").arms} == {"", "checkpoint-4"}


def test_a_training_that_still_runs_shows_its_log(mine: Path) -> None:
    (mine / "train" / "trainer_state.json").unlink()
    rows = [json.dumps(row) + "\n" for row in log_history("attnpo")]
    (mine / "train" / "log.jsonl").write_text("".join(rows) + '{"step": 6')
    assert len(load_run_folder(mine).arms[1].log) == len(rows)


@pytest.mark.parametrize("content", ["[]", "{}", '{"model": "m", "method": "attnpo", "head_set": {"heads": [3]}}'])
def test_a_malformed_training_record_is_named(mine: Path, content: str) -> None:
    (mine / "train" / "training.json").write_text(content)
    with pytest.raises(DataError, match=r"train/training\.json: "):
        write_report(mine)


def test_nothing_to_show_says_what_was_looked_for_where(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    write_evaluation(tmp_path / "a" / "b" / "c", "base", MODEL)
    with pytest.raises(DataError) as raised:
        write_report(tmp_path)
    line = str(raised.value)
    assert "\n" not in line
    assert f"{tmp_path}: nothing to report (looked in it and in 1 folder below it for discovery.json" in line
    assert "evaluation.json" in line
    assert "trainer_state.json" in line
