"""`attnpo gradients` on the small world's checkpoint, from sampling to the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from attnpo.attention import resolve_heads
from attnpo.cli.main import main
from attnpo.errors import ConfigError, DataError
from attnpo.gradients import GradientsResult, Wanted
from attnpo.gradients.credits import token_advantages
from attnpo.gradients.groups import whole_groups
from attnpo.gradients.wanted import check_heads, check_run
from attnpo.rollouts import read_rollouts, write_rollouts
from attnpo.signals.random import Random
from attnpo.study.suite import load_suite
from attnpo.workbench.arguments import DataArguments, GradientsArguments, ModelArguments, StepArguments
from attnpo.workbench.differentiating import SKETCH, _Run, measure_gradients
from attnpo.workbench.drawn import Drawn
from attnpo.workbench.loading import open_session, open_verifier

MODEL = {"model": "tinyworld", "device": "cpu", "segmentation": "paragraphs", "verifier": "exact"}
SAMPLED = {"data": "tinyworld", "num_problems": 6, "samples_per_problem": 3, "max_new_tokens": 160}
BATCHES = {"strengths": 0.2, "problems_per_batch": 1, "labeler": "attnpo.tinyworld:label_steps"}
CREDITS = {"heads": "2.3,2.1", "signals": "log_prob,own_signals:Thirds,own_signals:LikeLogProb"}
FEW = ["--methods", "rloo"]
METHODS = ["--methods", "attnpo", "lcr1", "drpo", "thinkprune+advantage=rloo+limits=[150],[60]"]
METHODS += ["sas+limit=60", "sas+limit=60+signal=random,heads,oracle"]


def run(folder, methods=FEW, **settings):
    flags = {**MODEL, **BATCHES, **settings, "output_dir": folder}
    main(["gradients", *methods, *(word for name, value in flags.items() for word in (f"--{name}", str(value)))])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Sampled responses and a few credits on them."""
    path = tmp_path_factory.mktemp("gradients")
    run(path, **SAMPLED)
    return path


def test_everything_is_written(folder, tmp_path):
    run(tmp_path, METHODS, rollouts=folder / "gradients_rollouts.jsonl", **CREDITS)
    result = GradientsResult.load(tmp_path / "gradients.json")
    names = [row.name for row in result.rows]
    assert {"accuracy", "length", "length term", "tlmre 0.2", "attnpo 0.2", "accuracy, steps by heads"} <= set(names)
    for signal in CREDITS["signals"].split(","):
        assert {f"attnpo 0.2 by {signal}", f"accuracy, steps by {signal}"} <= set(names)
    assert result.left_out == {"lcr1": "draws responses of its own"}
    # The same limit by other scores: the credits differ.
    sas = {row.signal: row for row in result.rows if row.method == "sas"}
    assert sas.keys() == {None, "random", "heads", "oracle"}
    assert len({row.measures["plain"]["noise"].value for row in sas.values()}) == 4
    truncation = [row for row in result.rows if row.method == "thinkprune"]
    assert [(row.strength, row.settings["limits"]) for row in truncation] == [(150, [150]), (60, [60])]
    assert (result.batches, result.group_size, result.sketch, result.heads) == (6, 3, None, [(2, 3), (2, 1)])
    # Adam's metric is of two halves of the batches, whose errors have a degree of freedom less each.
    degrees = {metric: known["noise"].df for metric, known in result.row("length").measures.items()}
    assert degrees == {"plain": 5, "adam": 4}
    assert "| attnpo 0.2 |" in (tmp_path / "gradients.md").read_text()
    assert (tmp_path / "gradients.svg").read_text().startswith("<svg")
    assert {file.name for file in (tmp_path / "gradients").iterdir()} == {"products.safetensors", "settings.json"}


def test_the_same_command_computes_nothing_again(folder, monkeypatch):
    before = (folder / "gradients.json").read_text()
    monkeypatch.setattr("attnpo.workbench.differentiating.fill", None)
    monkeypatch.setattr("shutil.disk_usage", full_disk)
    run(folder, **SAMPLED)
    assert (folder / "gradients.json").read_text() == before


def test_responses_of_a_file_give_the_same_figures(folder, tmp_path, capsys):
    run(tmp_path, rollouts=folder / "gradients_rollouts.jsonl")
    found, wanted = (json.loads((path / "gradients.json").read_text())["rows"] for path in (tmp_path, folder))
    assert found == wanted
    with pytest.raises(SystemExit):  # cut responses are judged anew
        run(tmp_path, rollouts=folder / "gradients_rollouts.jsonl", verifier="math")
    assert "verifier" in capsys.readouterr().err


@pytest.fixture(scope="module")
def alike(folder, tmp_path_factory):
    """The responses of six problems under the ids of twelve."""
    path = tmp_path_factory.mktemp("alike") / "rollouts.jsonl"
    rollouts = list(read_rollouts(folder / "gradients_rollouts.jsonl"))
    write_rollouts(path, [replace(r, problem_id=f"{r.problem_id}-{n}") for n in range(2) for r in rollouts])
    return path


def test_noise_by_redundant_share(alike, tmp_path, capsys):
    methods = ["--methods", "oracle", "--redundancy_bins", "2"]
    run(tmp_path, methods, rollouts=alike, **BATCHES | {"problems_per_batch": 2})
    result = GradientsResult.load(tmp_path / "gradients.json")
    low, high = result.redundancy_bins
    assert (low.problems, high.problems) == (6, 6)
    assert low.share < high.share
    assert high.low >= low.high
    for own in (low, high):
        assert own.measures["plain"].keys() == {row.name for row in result.rows}
        assert own.measures["plain"]["tlmre 0.2"]["signal_to_noise_ratio"].value in (None, pytest.approx(1))
    printed = " ".join(capsys.readouterr().out.split())
    assert "Problems by redundant share" in printed
    assert "signal/noise over reference, by redundant share" in printed
    assert "## By redundant share" in (tmp_path / "gradients.md").read_text()
    assert {file.name for file in (tmp_path / "gradients").iterdir()} == {"products.safetensors", "settings.json"}


def test_labels_that_gradients_cannot_read_are_refused(folder, tmp_path):
    (tmp_path / "labels.jsonl").write_text('{"problem_id": "1", "sample": 0, "labels": ["essential"]}\n')
    for labeler in ("causal", f"file:{tmp_path / 'labels.jsonl'}"):
        with pytest.raises(ConfigError, match=r"^--labeler .*: gradients take module:function, or the labels"):
            measure(tmp_path / "run", rollouts=str(folder / "gradients_rollouts.jsonl"), labeler=labeler)


@pytest.mark.parametrize(
    ("labeler", "bins", "said"),
    [
        (None, 1, r"^--redundancy_bins 1: one bin holds every problem; give 2 or more, or leave it out$"),
        (None, 2, r"^--redundancy_bins 2: reads labels, and the steps carry none; give --labeler$"),
        (BATCHES["labeler"], 2, r"^--redundancy_bins 2: 6 problems leave a bin fewer than 6, .* or more problems$"),
    ],
)
def test_bins_that_cannot_be_told_are_refused(folder, tmp_path, monkeypatch, labeler, bins, said):
    monkeypatch.setattr("attnpo.workbench.differentiating.fill", None)
    arguments = GradientsArguments(
        output_dir=str(tmp_path / "out"),
        rollouts=str(folder / "gradients_rollouts.jsonl"),
        problems_per_batch=1,
        redundancy_bins=bins,
    )
    model, steps = ModelArguments(model="tinyworld", device="cpu"), StepArguments(verifier="exact", labeler=labeler)
    with pytest.raises(ConfigError, match=said):
        measure_gradients(arguments, model, DataArguments(), steps)


@pytest.mark.parametrize(("parameters", "sketch"), [(10, None), (11, SKETCH)])
def test_bins_do_not_decide_whether_gradients_are_sketched(monkeypatch, parameters, sketch):
    monkeypatch.setattr("attnpo.workbench.differentiating.WHOLE_BYTES", 4 * 10 * 3 * 6)
    for bins in (0, 5):
        arguments = GradientsArguments(redundancy_bins=bins)
        run = SimpleNamespace(arguments=arguments, credits=range(3), groups=SimpleNamespace(batches=6))
        assert _Run._sketch(run, parameters) == sketch


def full_disk(path):
    return type("Usage", (), {"free": 10})


def test_gradients_that_do_not_fit_are_refused_before_they_are_computed(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.workbench.differentiating.fill", None)
    monkeypatch.setattr("shutil.disk_usage", full_disk)
    with pytest.raises(ConfigError, match=r"still to come take up to \d\.\d GiB, and 0\.0 are free; .* --sketch \d+$"):
        measure(tmp_path, rollouts=str(folder / "gradients_rollouts.jsonl"), problems_per_batch=1)
    # Sketches take next to nothing, and Adam's weights sixteen bytes a parameter.
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 2**20}))
    with pytest.raises(ConfigError, match=r"and 0\.0 are free; name a folder on a larger disk$"):
        measure(tmp_path / "b", rollouts=str(folder / "gradients_rollouts.jsonl"), problems_per_batch=1, sketch=8)


def measure(tmp_path, labeler=None, **settings):
    model = ModelArguments(model="tinyworld", device="cpu")
    steps = StepArguments(verifier="exact", labeler=labeler)
    arguments = GradientsArguments(output_dir=str(tmp_path / "out"), **settings)
    return measure_gradients(arguments, model, DataArguments(), steps)


def test_responses_that_were_not_drawn_from_the_softmax_are_refused(folder, tmp_path):
    file = folder / "gradients_rollouts.jsonl"
    with pytest.raises(ConfigError, match=r"drawn at temperature 1; give --temperature"):
        measure(tmp_path, rollouts=str(file), temperature=0.6)
    copy = tmp_path / file.name
    copy.write_bytes(file.read_bytes())
    settings = json.loads((folder / "gradients_rollouts.settings.json").read_text())
    settings["sampling"]["top_p"] = 0.95
    (tmp_path / "gradients_rollouts.settings.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match=r"drawn with top_p 0\.95, under which gradients are biased"):
        measure(tmp_path, rollouts=str(copy))
    with pytest.raises(ConfigError, match=r"^--max_new_tokens 161: .* drawn under a limit of 160; leave it out$"):
        measure(tmp_path, rollouts=str(file), max_new_tokens=161)


def test_responses_of_another_policy_are_refused(folder, tmp_path):
    file = folder / "gradients_rollouts.jsonl"
    copy, beside = tmp_path / file.name, tmp_path / "gradients_rollouts.settings.json"
    copy.write_bytes(file.read_bytes())
    settings = json.loads((folder / beside.name).read_text())
    beside.write_text(json.dumps(settings | {"model_fingerprint": "0123"}))
    with pytest.raises(ConfigError, match=r"drawn by other weights than --model tinyworld has \(fingerprint 0123, not"):
        measure(tmp_path, rollouts=str(copy), problems_per_batch=1)
    beside.unlink()
    with pytest.raises(ConfigError, match=r"--max_new_tokens 9: a response has \d+ tokens; give the limit"):
        measure(tmp_path, rollouts=str(copy), problems_per_batch=1, max_new_tokens=9)


@pytest.mark.parametrize(
    ("theirs", "adapters", "warned"),
    [("aa", [], False), ("aa", ["lora"], False), ("bb", ["lora"], True), (None, [], True)],
)
def test_a_policy_that_is_not_known_is_warned_of(theirs, adapters, warned, caplog):
    session = SimpleNamespace(
        source=SimpleNamespace(adapters=adapters), context={"model_fingerprint": "aa"}, model_name="tiny"
    )
    Drawn(Path("r.jsonl"), {} if theirs is None else {"model_fingerprint": theirs}).check_policy(session)
    assert ("not known to be drawn by tiny" in caplog.text) is warned


def test_methods_that_do_not_fit_are_refused_before_any_problem_is_answered(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.workbench.differentiating.sample_groups", None)
    monkeypatch.setattr("attnpo.workbench.differentiating.read_traces", None)
    with pytest.raises(ConfigError, match=r"--methods dapo_overlong: buffer: 4096 leaves nothing of .* 100 tokens"):
        measure(tmp_path, methods=["dapo_overlong"], max_new_tokens=100)
    assert not (tmp_path / "out").exists()
    file = str(folder / "gradients_rollouts.jsonl")
    with pytest.raises(ConfigError, match=r"--methods attnpo num_heads=3 0\.2: num_heads: 3 are asked for"):
        measure(tmp_path, rollouts=file, methods=["attnpo+num_heads=3"], heads="2.3,2.1", strengths=[0.2])


def test_groups_that_are_too_small_for_a_method_are_refused_before_the_model_is_read(folder, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.workbench.loading.open_model", None)
    said = r"^--methods dot deviations=1\.5: deviations: of 3 responses none lies .* set it lower, or "
    with pytest.raises(ConfigError, match=said + "raise --samples_per_problem$"):
        measure(tmp_path, methods=["dot+deviations=1.5"], samples_per_problem=3)
    file = str(folder / "gradients_rollouts.jsonl")
    with pytest.raises(ConfigError, match=said + "sample anew with more --samples_per_problem$"):
        measure(tmp_path, methods=["dot+deviations=1.5"], rollouts=file, problems_per_batch=1)


ROWS = {row.name: row for row in (*load_suite().rows, *load_suite(suite="frontier").rows)}
"""Every method as it is trained in this world; of a curve its last strength, the strongest."""
WHOLE = {row.curve or row.name: row for row in ROWS.values()}
REASONS = {
    "draws responses of its own",
    "asks for other responses",
    "calibrates alpha on earlier groups, and there are none; name an alpha: gr3+alpha=0.33",
}


def test_every_row_of_the_suites_has_credit_or_is_left_out_for_a_reason(folder, monkeypatch):
    wanted = [
        Wanted(row.method, row.settings, name, name, None, row.training.get("signal")) for name, row in WHOLE.items()
    ]
    check_run(wanted, 256, 8, "exact")
    steps = StepArguments(verifier="exact", segmentation="paragraphs", labeler=BATCHES["labeler"])
    model = ModelArguments(model="tinyworld", device="cpu")
    session = open_session(model, DataArguments(), steps, problems=[])
    rollouts = list(read_rollouts(folder / "gradients_rollouts.jsonl"))
    with open_verifier(steps) as verifier:
        heads = resolve_heads("2.3,2.1,1.1,1.0", session.config).heads
        check_heads(wanted, heads)
        run = _Run(GradientsArguments(), session, verifier, whole_groups(rollouts, 1), heads, wanted, 256)
        batch = run._batch(0)
        advantages = token_advantages(run.credits, batch)
        judged, inner = [], verifier.verify
        monkeypatch.setattr(verifier, "verify", lambda texts, truths: judged.append(texts) or inner(texts, truths))
        cut = {
            name: batch.drawn_for(w.build(), w.signal) for name, w in zip(WHOLE, wanted, strict=True) if name in CUTTING
        }
        longer = [rollout for rollout in batch.rollouts if rollout.n_tokens > 40]
        labelled, plain = (run._cut(longer, [40] * len(longer), labels) for labels in (True, False))
    assert torch.isfinite(advantages).all()
    assert set(run.chosen.left_out.values()) <= REASONS
    assert not set(run.chosen.left_out) & {"truncation", "dler", "dot", "sas", "drpo", "decs", "diet", "laser-d"}
    # What a method cuts is judged side by side, and labelled only where labels are read.
    at_112 = sum(rollout.n_tokens > 112 for rollout in batch.rollouts)
    assert at_112
    assert [len(texts) for texts in judged] == [at_112] * len(CUTTING) + [len(longer)] * 2
    assert len(longer) > 1
    assert all(step.label for rollout in labelled for step in rollout.steps)
    assert not any(step.label for rollout in plain for step in rollout.steps)
    for name, own in cut.items():
        lengths = [rollout.n_tokens for rollout in batch.rollouts]
        assert [rollout.n_tokens for rollout in own.rollouts] == [min(length, CUTTING[name]) for length in lengths]
        assert not any(r.correct for r in own.rollouts if r.answer_tokens[0] == r.answer_tokens[1])


CUTTING = {"truncation": 112, "dler": 112, "sas": 112}


def test_batches_have_nothing_to_do_with_ids_or_files(folder):
    one = next(iter(read_rollouts(folder / "gradients_rollouts.jsonl")))
    rollouts = [replace(one, problem_id=f"{n:03}", sample=s) for n in range(60) for s in range(2)]
    found = [rollout.problem_id for rollout in whole_groups(rollouts, 10).rollouts[::2]]
    assert found == [rollout.problem_id for rollout in whole_groups(rollouts[::-1], 10).rollouts[::2]]
    assert sorted(found) != found
    means = [sum(map(int, found[start : start + 10])) / 10 for start in range(0, 60, 10)]
    assert max(means) - min(means) < 30  # 50 in the order of ids


def test_too_few_responses_are_refused(folder):
    rollouts = list(read_rollouts(folder / "gradients_rollouts.jsonl"))
    with pytest.raises(DataError, match="6 problems of 3 responses make 1 batches of 4"):
        whole_groups(rollouts, 4)
    with pytest.raises(DataError, match="one response each"):
        whole_groups(rollouts[::3], 1)


@pytest.mark.parametrize("few", [{"problems_per_batch": 3}, {"samples_per_problem": 1}])
def test_too_few_problems_are_refused_before_any_is_answered(few, tmp_path, monkeypatch):
    monkeypatch.setattr("attnpo.workbench.loading.open_model", None)
    with pytest.raises(SystemExit):
        run(tmp_path, **CREDITS | SAMPLED | few)
    assert not (tmp_path / "gradients_rollouts.jsonl").exists()


def test_too_few_problems_of_a_file_are_refused_before_the_model_is_read(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("attnpo.workbench.loading.open_model", None)
    with pytest.raises(SystemExit):
        run(tmp_path, rollouts=folder / "gradients_rollouts.jsonl", **CREDITS | {"problems_per_batch": 3})
    assert "6 problems of 3 responses make 2 batches of 3" in " ".join(capsys.readouterr().err.split())


def test_where_no_credit_changes_anything_it_is_said(tmp_path, caplog):
    responses = {"num_problems": 6, "samples_per_problem": 2, "max_new_tokens": 4, "problems_per_batch": 1}
    run(tmp_path, ["--methods", "attnpo"], heads="2.3,2.1", **SAMPLED | responses)
    assert "gradients.svg is not drawn: no credit changes anything on these responses" in caplog.text
    assert "| attnpo 0.2 |" in (tmp_path / "gradients.md").read_text()


def test_groups_of_other_sizes_are_left_out(folder, caplog):
    rollouts = list(read_rollouts(folder / "gradients_rollouts.jsonl"))
    groups = whole_groups([replace(rollouts[0], problem_id="one more"), *rollouts], 1)
    assert (groups.size, groups.batches) == (3, 6)
    assert len({rollout.problem_id for rollout in groups.batch(0)}) == 1
    assert "1 of 7 problems left out" in caplog.text


def test_a_method_that_does_not_exist_costs_nothing(tmp_path):
    with pytest.raises(ConfigError, match="--methods ppo"):
        measure(tmp_path, methods=["ppo"])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (
            {"heads": None, "signals": "heads_ranked"},
            r"^--signals: heads_ranked reads a head set, which discover measures in any case and other c",
        ),
        ({"signals": "probe"}, r"^--signals: probe has weights of its own; give its file"),
    ],
)
def test_signals_that_cannot_be_read_are_refused_before_anything_is_loaded(tmp_path, monkeypatch, settings, said):
    monkeypatch.setattr("attnpo.workbench.differentiating.open_session", None)
    with pytest.raises(ConfigError, match=said):
        measure(tmp_path, **settings)


def test_draws_of_a_signal_differ_from_batch_to_batch(folder, tmp_path, monkeypatch):
    """Each response has a number of its own in the run."""
    numbers = []
    inner = Random.score
    monkeypatch.setattr(
        Random, "score", lambda self, seen: numbers.append(seen.row_ids_B.tolist()) or inner(self, seen)
    )
    run(tmp_path, rollouts=folder / "gradients_rollouts.jsonl", signals="random")
    assert sorted(number for batch in numbers for number in batch) == list(range(18))
