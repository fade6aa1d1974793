"""The quickstart without training: heads by the truth and by causal labels, proven, on one page."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from attnpo.attention import HeadSet
from attnpo.cli.main import main
from attnpo.errors import ConfigError, OutputError
from attnpo.reporting.run_folder import load_run_folder
from attnpo.study.causal_heads import split
from attnpo.study.quickstart import Quickstart
from attnpo.study.sizes import GsmQuickstartSizes, QuickstartSizes
from attnpo.study.worlds import GSM, TINYWORLD
from attnpo.tinyworld import checkpoint_path

PROOFS = {"intervene": True, "intervention_traces": 4, "intervention_samples": 1, "intervention_max_new_tokens": 64}


@pytest.fixture(scope="module")
def line(tmp_path_factory) -> Quickstart:
    """The line on the small world with what real English asks for."""
    folder = tmp_path_factory.mktemp("quickstart")
    sizes = QuickstartSizes(str(folder), max_steps=0, num_probe=12, num_eval=4, num_causal=24, num_traces=1, jobs=1)
    made = Quickstart(sizes, replace(TINYWORLD, proofs=PROOFS))
    found = made.find_heads()
    assert found is not None
    assert found.intervention is not None
    assert any("random" in rule for rule in found.result.trivial)
    made.find_heads_causally()
    made.measure_start()
    return made


def test_causal_labels_are_held_against_the_truth(line):
    causal = line.find_heads_causally()
    labelled = [row for row in (line.causal / "traces.jsonl").read_text().splitlines() if row]
    assert causal.responses == len(labelled) >= 24
    assert causal.auc.value > 0.7
    assert 0.5 < causal.agreement <= 1
    assert causal.sra.value > 0.6
    assert causal.sentence().startswith(f"Causal labels of {causal.responses} responses to {causal.problems} problems")


def test_the_command_that_is_told_makes_the_same_line(line, tmp_path):
    told = json.loads((line.folder / "run.json").read_text())["command"]
    assert "--num_probe 12" in told
    assert "--world" not in told
    sizes = GsmQuickstartSizes(str(tmp_path / "gsm"), num_eval=4)
    Quickstart(sizes, replace(GSM, packages={}, model_packages={}).starting_from(str(checkpoint_path())))
    told = json.loads((tmp_path / "gsm" / "run.json").read_text())["command"]
    for flag in ("--world gsm", f"--model {checkpoint_path()}", "--num_eval 4"):
        assert flag in told


def test_nothing_is_made_twice(line):
    before = {path: path.stat().st_mtime_ns for path in line.folder.rglob("*.json*")}
    assert line.find_heads() is None
    line.find_heads_causally()
    line.measure_start()
    assert {path: path.stat().st_mtime_ns for path in line.folder.rglob("*.json*")} == before


def test_traces_that_an_interruption_left_out_are_written(line, tmp_path):
    shutil.copytree(line.folder, tmp_path, dirs_exist_ok=True)
    traces = tmp_path / "base" / "annotated.jsonl"
    known = traces.read_bytes()
    traces.unlink()
    Quickstart(replace(line.sizes, output_dir=str(tmp_path)), line.world).measure_start()
    assert traces.read_bytes() == known


def test_heads_that_were_found_and_not_yet_proven_are_proven(line, tmp_path):
    shutil.copytree(line.folder, tmp_path, dirs_exist_ok=True)
    heads = HeadSet.load(line.heads)
    evidence = {name: value for name, value in heads.evidence.items() if name != "intervention"}
    heads.model_copy(update={"evidence": evidence}).save(tmp_path / "heads.json")
    (tmp_path / "intervention.json").unlink()
    found = Quickstart(replace(line.sizes, output_dir=str(tmp_path)), line.world).find_heads()
    assert found is not None
    assert found.head_set == heads
    assert (tmp_path / "intervention.json").read_bytes() == (line.folder / "intervention.json").read_bytes()


def test_the_page_has_the_starting_model_and_both_head_sets(line):
    assert [result.name for result in line.results()] == ["base"]
    run = load_run_folder(line.folder)
    assert [arm.name for arm in run.arms] == ["base"]
    assert run.arms[0].traces
    assert [heads.discovery.labeler for heads in run.heads if heads.discovery] == [
        "attnpo.tinyworld:label_steps",
        "causal",
    ]
    assert "causal" in line.report().read_text()


def test_the_heads_of_causal_labels_are_checked_on_other_problems(line):
    kept = [row for row in (line.folder / "causal-checked" / "traces.jsonl").read_text().splitlines() if row]
    labelled = (line.causal / "traces.jsonl").read_text()
    assert kept
    assert not any(row.partition('"problem_id": ')[2].partition(",")[0] in labelled for row in kept)


def test_at_most_half_of_the_problems_are_labelled(toy, tmp_path):
    rollouts = toy.rollouts(tmp_path, 6, 4)
    for wanted, problems in ((1, 2), (5, 2), (100, 3)):
        taken, rest = split(rollouts, wanted)
        assert len({r.problem_id for r in taken}) == problems
        assert not {r.problem_id for r in taken} & {r.problem_id for r in rest}
        assert len(taken) + len(rest) == len(rollouts)
    assert {r.problem_id for r in split(rollouts[:8], 1)[0]} == {r.problem_id for r in rollouts[:8]}


def test_what_real_english_lacks_is_one_line(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"not installed; pip install it$"):
        Quickstart(GSM.quickstart, replace(GSM, packages={"no_such_module": "pip install it"}, model_packages={}))
    with pytest.raises(SystemExit) as stop:
        main(["quickstart", "--world", "gsm", "--model", str(tmp_path / "no"), "--output_dir", str(tmp_path / "out")])
    assert stop.value.code == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert not Path(tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed"),
        ({"num_probe": 13}, "num_probe"),
        ({"num_eval": 5}, "num_eval"),
        ({"num_causal": 25}, "num_causal"),
    ],
)
def test_results_of_other_settings_are_not_shown_for_these(line, change, said):
    with pytest.raises(OutputError, match=f"holds results of other settings: {said}"):
        Quickstart(replace(line.sizes, **change), line.world)
    with pytest.raises(OutputError, match="model "):
        Quickstart(line.sizes, replace(line.world, model=str(checkpoint_path())))


def test_a_training_run_may_be_added(line, tmp_path):
    shutil.copytree(line.folder, tmp_path, dirs_exist_ok=True)
    sizes = replace(line.sizes, output_dir=str(tmp_path))
    trained = Quickstart(replace(sizes, max_steps=2), line.world)
    Quickstart(replace(sizes, max_steps=3), line.world)  # none was begun
    trained._claim("arms")
    with pytest.raises(OutputError, match=r"training\.max_steps \(there 2, asked 3\)"):
        Quickstart(replace(sizes, max_steps=3), line.world)
    Quickstart(sizes, line.world)


def test_a_folder_whose_parts_say_nothing_of_themselves_is_that_of_the_call_that_made_it(line, tmp_path):
    shutil.copytree(line.folder, tmp_path, dirs_exist_ok=True)
    for file in tmp_path.glob("quickstart.*.settings.json"):
        file.unlink()
    sizes = replace(line.sizes, output_dir=str(tmp_path))
    with pytest.raises(OutputError, match="other settings: seed"):
        Quickstart(replace(sizes, seed=1), line.world)
    Quickstart(sizes, line.world)


def test_a_model_that_was_trained_on_under_its_name_is_another(tmp_path):
    model, out = tmp_path / "model", tmp_path / "out"
    shutil.copytree(checkpoint_path(), model)
    world = replace(TINYWORLD, model=str(model))
    sizes = QuickstartSizes(str(out), max_steps=0)
    Quickstart(sizes, world)._claim("heads")
    Quickstart(sizes, world)
    weights = model / "model.safetensors"
    save_file({name: tensor + 1 for name, tensor in load_file(weights).items()}, weights)
    with pytest.raises(OutputError, match=r"other settings: weights \(there '\w+', asked '\w+'\)"):
        Quickstart(sizes, world)
