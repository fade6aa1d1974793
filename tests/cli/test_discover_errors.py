"""`attnpo discover`: what is wrong is said before anything is paid for."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from probe_set import probe_set
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import resolve_heads
from attnpo.cli.main import main
from attnpo.discovery.run import PROBING_SET_FILE
from attnpo.ledger import settings_path
from attnpo.rollouts import write_rollouts
from attnpo.signals.probe import ProbeWeights
from attnpo.tinyworld import checkpoint_path


@pytest.fixture(scope="module")
def labelled():
    return probe_set(AutoTokenizer.from_pretrained(checkpoint_path()))


@pytest.fixture
def traces(labelled, tmp_path):
    return written(tmp_path / "traces.jsonl", labelled)


def written(path, rollouts):
    write_rollouts(path, rollouts)
    return path


def discover(tmp_path, **settings):
    settings = {
        "model": "tinyworld",
        "segmentation": "paragraphs",
        "verifier": "exact",
        "device": "cpu",
        "output_dir": tmp_path / "out",
        "resamples": 50,
        "min_pass_rate": 0,
        **settings,
    }
    main(["discover", *(part for name, value in settings.items() for part in (f"--{name}", str(value)))])


def fails(capsys, tmp_path, **settings) -> str:
    with pytest.raises(SystemExit) as exit_:
        discover(tmp_path, **settings)
    assert exit_.value.code == 2
    (error,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("attnpo ")]
    assert not (tmp_path / "out" / "labels.jsonl").exists()  # nothing was labelled
    return error


def test_an_unknown_labeler_names_all_kinds(capsys, tmp_path, traces):
    error = fails(capsys, tmp_path, traces=traces, labeler="oracle")
    for kind in ("judge", "causal", "file:", "module:function"):
        assert kind in error


def test_a_column_that_the_traces_lack(capsys, tmp_path, labelled):
    bare = written(tmp_path / "bare.jsonl", [replace(rollout, subject=None) for rollout in labelled])
    assert "no subject" in fails(capsys, tmp_path, traces=bare, transfer="subject")


def test_a_transfer_file_without_labels(capsys, tmp_path, labelled, traces):
    unlabelled = [replace(r, steps=tuple(replace(step, label=None) for step in r.steps)) for r in labelled]
    error = fails(capsys, tmp_path, traces=traces, transfer=written(tmp_path / "others.jsonl", unlabelled))
    assert "others.jsonl: no labelled response" in error
    assert f"{len(labelled)} that got no labels" in error


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"checkpoints": "a,b"}, "--checkpoints"),
        ({"verify": "2.3", "transfer": "pass_rate"}, "--transfer"),
        ({"verify": "2.3", "signals": "log_prob,probe"}, "--signals: probe has weights of its own; give its file"),
        ({"opening": "<think>", "engine": "server", "base_url": "http://127.0.0.1:9/v1", "api": "chat"}, "--opening"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(capsys, tmp_path, traces, settings, word):
    assert word in fails(capsys, tmp_path, traces=traces, **settings)


AWAY = {"engine": "server", "base_url": "http://127.0.0.1:9/v1", "server_patience": 0.1}


@pytest.mark.parametrize("asked", [{}, {"verify": "2.3"}, AWAY])
def test_a_signal_that_does_not_fit_the_model(capsys, tmp_path, asked):
    ProbeWeights(layer=9, weights=[1.0] * 4).save(tmp_path / "probe.json")
    sampled = {"data": "tinyworld", "num_problems": 2, "labeler": "attnpo.tinyworld:label_steps", "max_new_tokens": 16}
    error = fails(capsys, tmp_path, signals=tmp_path / "probe.json", **sampled, **asked)
    assert "probe: fitted to layer 9 of a model of 4 dimensions" in error
    assert not list((tmp_path / "out").glob("*.jsonl"))  # nothing was sampled


def test_checkpoints_that_cannot_be_compared(capsys, tmp_path, traces, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # else it waits for the Hub
    settings = {"traces": traces, "verify": "2.3"}
    assert "--checkpoints nowhere" in fails(capsys, tmp_path, checkpoints="nowhere", **settings)
    other = Qwen2Config(vocab_size=64, hidden_size=16, intermediate_size=16, num_hidden_layers=1, num_attention_heads=1)
    Qwen2ForCausalLM(other).save_pretrained(tmp_path / "other")
    assert "another architecture" in fails(capsys, tmp_path, checkpoints=tmp_path / "other", **settings)


def test_verifying_on_the_traces_the_heads_were_found_on_is_said(capsys, tmp_path, labelled, traces):
    config = Qwen2Config.from_pretrained(checkpoint_path())
    for folder, known in (("found", labelled[:2]), ("elsewhere", [replace(labelled[0], prompt="another problem")])):
        (tmp_path / folder).mkdir()
        heads = tmp_path / folder / "heads.json"
        resolve_heads("2.3", config).save(heads)
        write_rollouts(tmp_path / folder / PROBING_SET_FILE, known)
        out = tmp_path / f"{folder}-out"
        discover(tmp_path, traces=traces, verify=heads, random_model=False, signals="log_prob", output_dir=out)
        printed = " ".join(capsys.readouterr().out.split())
        assert (f"2 of {len(labelled)} responses are among those the heads were found on" in printed) == (
            folder == "found"
        )
        verification = json.loads((out / "verification.json").read_text())
        assert verification["num_responses"] > 0
        assert "signal: log_prob" in [figure["name"] for figure in verification["figures"]]


def test_heads_given_by_number_are_verified_as_found_on_the_model_that_was_named(tmp_path, traces):
    discover(tmp_path, traces=traces, verify="2.3", random_model=False, signals="log_prob")
    verification = json.loads((tmp_path / "out" / "verification.json").read_text())
    assert (verification["model"], verification["found_on"]) == ("tinyworld", "tinyworld")
    assert json.loads((tmp_path / "out" / "heads.json").read_text())["model_id"] == "tinyworld"


def test_traces_of_another_temperature_are_said(caplog, tmp_path, traces):
    settings = {"traces": traces, "verify": "2.3", "random_model": False, "signals": "log_prob"}
    beside = settings_path(traces)
    for theirs, ours, said in ((0.6, 1.0, True), (0.6, 0.6, False)):
        caplog.clear()
        beside.write_text(json.dumps({"sampling": {"temperature": theirs}}))
        discover(tmp_path, temperature=ours, output_dir=tmp_path / f"at-{ours}", **settings)
        assert ("sampled at temperature 0.6; signals read log-probabilities" in caplog.text) == said
    beside.unlink()
