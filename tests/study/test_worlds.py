"""Worlds: what they hold; a cell of real English with a stand-in for its model, ended, gone on with, copied, merged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from gsm_stand_in import random_llama
from safetensors.torch import load_file
from transformers import AutoConfig

from attnpo.attention import resolve_heads
from attnpo.cli.main import main
from attnpo.errors import ConfigError, OutputError
from attnpo.study.arms import Command, flags
from attnpo.study.cells import Cell, Experiment
from attnpo.study.reproducing import reproduce
from attnpo.study.sizes import GsmSizes
from attnpo.study.suite import load_suite
from attnpo.study.worlds import GSM, TINYWORLD, World, find_world

SUITE = load_suite(world=GSM)
SIZES = GsmSizes(max_steps=2, responses=8, schedule_steps=1, num_eval=3, num_unseen=2, training=["save_total_limit=2"])


def test_worlds_by_name():
    assert find_world("tinyworld") is TINYWORLD
    assert find_world("gsm") is find_world("gsmworld") is GSM
    with pytest.raises(
        ConfigError, match=r"^--world gms: there is none; there are tinyworld, gsm; did you mean gsm\?$"
    ):
        find_world("gms")


@pytest.mark.parametrize("world", [TINYWORLD, GSM])
def test_a_run_of_the_quickstart_is_as_large_as_it_is_said_to_be(world):
    rows = world.training["per_device_train_batch_size"] * world.training["gradient_accumulation_steps"]
    assert rows == {"tinyworld": 128, "gsm": GsmSizes().responses}[world.name]


def test_the_command_lines_of_the_small_world(tmp_path):
    cell = Cell(load_suite()["attnpo"], 1)
    train, evaluate = (command.argv()[3:] for command in Experiment(Path("out"), TINYWORLD.sizes).arm(cell).commands)
    assert " ".join(train) == (
        "train --model tinyworld --data tinyworld --num_problems 4096 --num_generations 8 "
        "--per_device_train_batch_size 32 --gradient_accumulation_steps 2 --max_completion_length 256 "
        "--learning_rate 0.0005 --lr_scheduler_type linear --warmup_steps 2 --adam_beta2 0.95 --max_grad_norm 1.0 "
        "--temperature 1.0 --group_sampler True --gradient_checkpointing False --bf16 False --use_cpu True "
        "--logging_steps 1 --save_strategy steps --save_steps 20 --save_total_limit 1 --report_to none "
        "--disable_tqdm True --step_labeler attnpo.tinyworld:label_steps --segmentation paragraphs --verifier exact "
        "--method attnpo --output_dir out/attnpo/seed-1 --max_steps 200 --schedule_steps 5 --seed 1 --problems_seed 1 "
        "--resume_from_checkpoint True --heads out/heads/heads.json --max_sampled_tokens 160000"
    )
    assert " ".join(evaluate) == (
        "evaluate --data tinyworld --samples_per_problem 1 --max_new_tokens 320 --temperature 1.0 --top_p 1.0 "
        "--device cpu --labeler attnpo.tinyworld:label_steps --counter attnpo.tinyworld:count_checks "
        "--segmentation paragraphs --verifier exact --model out/attnpo/seed-1 --name attnpo --num_problems 500 "
        "--output_dir out/attnpo/seed-1"
    )


def test_rows_of_real_english_can_be_trained_at_four_strengths():
    built = {row.name: row.build(GSM.limit(GSM.sizes), GSM.group_size) for row in SUITE.choose(GSM.suite)}
    for method in ("tlmre", "attnpo"):
        weights = [built[f"{method}{part}"].settings.alpha_len for part in ("-0.1", "", "-0.4", "-0.6")]
        assert weights == [0.1, 0.2, 0.4, 0.6]
    others = set(built) - {f"{method}{part}" for method in ("tlmre", "attnpo") for part in ("-0.1", "", "-0.4", "-0.6")}
    assert others == {"rloo", "lcr1", "attnpo-tuned", "attnpo-shuffled", "attnpo-mean-gamma", "attnpo-oracle"}
    # The tuned row and the controls are those of the small world.
    for name in others:
        assert SUITE[name].model_copy(update={"differs": ""}) == load_suite()[name].model_copy(update={"differs": ""})


@pytest.mark.parametrize(
    ("world", "sizes", "message"),
    [
        (TINYWORLD, replace(TINYWORLD.sizes, num_unseen=5), "--num_unseen 5: tinyworld has no templates"),
        (
            replace(GSM, packages={"no_such_module": "pip install it", "nor_this": "make that"}, model_packages={}),
            GSM.sizes,
            "not installed; pip install it; make that$",
        ),
        (replace(GSM, model="/no/such/folder"), GSM.sizes, "--model /no/such/folder: no such file or folder"),
    ],
)
def test_what_is_missing_is_said_before_anything_is_begun(tmp_path, world, sizes, message):
    with pytest.raises(ConfigError, match=message) as error:
        reproduce(load_suite(world=world), [load_suite(world=world)["rloo"]], [1], sizes, tmp_path / "out", world=world)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> World:
    pytest.importorskip("reasoning_gym", reason="the problems are reasoning-gym's")
    pytest.importorskip("peft", reason="adapters are peft's")
    return replace(
        GSM,
        model=str(random_llama(tmp_path_factory.mktemp("llama"))),
        training={
            **GSM.training,
            "verifier": "gsm_stand_in:judge",
            "num_problems": 8,
            "max_completion_length": 64,
            "save_steps": 1,
        },
        evaluation={**GSM.evaluation, "verifier": "exact", "max_new_tokens": 16},
    )


def write_heads(experiment: Experiment, heads: str) -> None:
    """Write what a machine's discovery leaves to train with."""
    config = AutoConfig.from_pretrained(experiment.world.model)
    resolve_heads(heads, config).save(experiment.output_dir / "heads" / "heads.json")


def run_here(command: Command) -> None:
    main([command.name, *flags(command.settings)])


@pytest.fixture(scope="module")
def experiment(world, tmp_path_factory) -> Experiment:
    """The starting model and one cell of two steps, made in this process."""
    made = Experiment(tmp_path_factory.mktemp("whole"), SIZES, world)
    made.claim_shared()
    write_heads(made, "1.0")
    (base,) = made.shared_arms([])
    cell = Cell(SUITE["attnpo"], 1)
    cell.folder(made.output_dir).mkdir(parents=True)
    made.claim(cell)
    for command in (*base.commands, *made.arm(cell).commands):
        run_here(command)
    return made


def test_a_cell_is_trained_with_adapters_and_measured_twice(experiment):
    cell = Cell(SUITE["attnpo"], 1)
    assert experiment.done(cell)
    folder = cell.folder(experiment.output_dir)
    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    for part, problems in ((".", 3), ("unseen", 2)):
        result = json.loads((folder / part / "evaluation.json").read_text())
        assert (result["name"], result["num_problems"]) == ("attnpo", problems)
    assert [json.loads(line)["step"] for line in (folder / "log.jsonl").read_text().splitlines()][:2] == [1, 2]


def test_a_cell_that_was_ended_goes_on_to_the_same_weights(experiment, tmp_path):
    cell = Cell(SUITE["attnpo"], 1)
    whole, ended = cell.folder(experiment.output_dir), cell.folder(tmp_path)
    ended.mkdir(parents=True)
    shutil.copytree(whole / "checkpoint-1", ended / "checkpoint-1")  # as it was left after one step
    shutil.copytree(experiment.output_dir / "heads", tmp_path / "heads")
    train, *_ = replace(experiment, output_dir=tmp_path).arm(cell).commands
    run_here(train)
    one, other = (load_file(folder / "adapter_model.safetensors") for folder in (whole, ended))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)


SMALL = shutil.ignore_patterns("checkpoint-*", "*.safetensors", "rollouts*", "trainer_state.json")


def second_machine(experiment, folder: Path, heads: str) -> Experiment:
    """Return where another machine made the same cell with another seed."""
    theirs = replace(experiment, output_dir=folder)
    write_heads(theirs, heads)
    cell = Cell(SUITE["attnpo"], 2)
    shutil.copytree(Cell(cell.row, 1).folder(experiment.output_dir), cell.folder(folder), ignore=SMALL)
    (cell.folder(folder) / "cell.settings.json").unlink()
    theirs.claim(cell)
    return theirs


def copied_together(experiment, folder: Path, heads: str, with_heads: bool) -> Path:
    """Return a folder with the small files of this machine and of one that trained with these heads."""
    theirs, merged = second_machine(experiment, folder / "theirs", heads), folder / "merged"
    shutil.copytree(theirs.output_dir / "attnpo", merged / "attnpo")
    shutil.copytree(experiment.output_dir, merged, ignore=SMALL, dirs_exist_ok=True)
    if not with_heads:
        shutil.rmtree(merged / "heads")
    return merged


@pytest.mark.parametrize("with_heads", [True, False])
def test_seeds_of_machines_that_found_other_heads_make_no_table(experiment, world, tmp_path, with_heads):
    merged = copied_together(experiment, tmp_path, "0.1", with_heads)
    said = (
        r"there \[\[0, 1\]\], asked \[\[1, 0\]\]"
        if with_heads
        else r"attnpo/1 .* \[\[1, 0\]\], attnpo/2 with \[\[0, 1\]\]"
    )
    with pytest.raises(OutputError, match=f"{said}.*; a table holds cells of one head set"):
        reproduce(SUITE, SUITE.choose("all", ["attnpo"]), [1, 2], SIZES, merged, world=world, run=False)


@pytest.mark.parametrize("with_heads", [True, False])
def test_cells_copied_without_large_files_make_one_table_with_its_seeds(experiment, world, tmp_path, with_heads):
    merged = copied_together(experiment, tmp_path, "1.0", with_heads)
    shutil.rmtree(merged / "attnpo" / "seed-2" / "unseen")  # was ended before
    rows = SUITE.choose("all", ["rloo", "attnpo"])
    done = reproduce(SUITE, rows, [1, 2], SIZES, merged, world=world, run=False)
    assert done.missing == ["rloo/1", "rloo/2", "attnpo/2"]
    for part, seeds in ((".", [1, 2]), ("unseen", [1])):
        row = json.loads((merged / part / "table.json").read_text())["rows"]["attnpo"]
        assert (row["seeds"], row["runs"]) == (seeds, len(seeds))
    text = (merged / "results.md").read_text()
    assert "Grade-school problems in English; " in text
    assert "## Templates that no training problem is of" in text
    lines = [line.split("|") for line in text.splitlines() if line.startswith("| attnpo |")]
    assert next(line[2].strip() for line in lines) == "2"
