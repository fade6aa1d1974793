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
from attnpo.rollouts import write_rollouts
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
        ({"opening": "<think>", "engine": "server", "base_url": "http://127.0.0.1:9/v1", "api": "chat"}, "--opening"),
    ],
)
def test_settings_that_would_do_nothing_are_refused(capsys, tmp_path, traces, settings, word):
    assert word in fails(capsys, tmp_path, traces=traces, **settings)


def test_checkpoints_that_cannot_be_compared(capsys, tmp_path, traces):
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
        discover(tmp_path, traces=traces, verify=heads, random_model=False, output_dir=tmp_path / f"{folder}-out")
        printed = " ".join(capsys.readouterr().out.split())
        assert (f"2 of {len(labelled)} responses are among those the heads were found on" in printed) == (
            folder == "found"
        )
        assert json.loads((tmp_path / f"{folder}-out" / "verification.json").read_text())["num_responses"] > 0
