"""What `--opening` says stands behind every prompt that is sampled from, whatever samples."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
from fake_server import FakeServer, completion
from transformers import AutoTokenizer

from attnpo.cli.main import main
from attnpo.rollouts import read_rollouts
from attnpo.sampling import render_prompt
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AttnPOTrainer

OPENING = "First,\n"
DATA = {"model": "tinyworld", "data": "tinyworld", "segmentation": "paragraphs", "verifier": "exact"}


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


def run(command, folder, **settings) -> None:
    given = {**DATA, "opening": OPENING.replace("\n", "\\n"), "output_dir": folder, **settings}
    main([command, *(part for name, value in given.items() for part in (f"--{name}", str(value)))])


@pytest.mark.parametrize("command", ["evaluate", "discover"])
def test_an_engine_reads_it(tokenizer, command, tmp_path):
    sampling = {"device": "cpu", "num_problems": 2, "samples_per_problem": 2, "max_new_tokens": 8, "resamples": 20}
    with FakeServer(lambda request: completion(" 4", prompt_tokens=len(request.body["prompt"]))) as server:
        engine = {"engine": "server", "base_url": server.base_url, "served_model": "m"}
        if command == "discover":  # which finds nothing in such responses
            engine["labeler"] = "attnpo.tinyworld:label_steps"
        with pytest.raises(SystemExit) if command == "discover" else nullcontext():
            run(command, tmp_path, **sampling, **engine)
    (file,) = tmp_path.glob("*rollouts.jsonl")
    rows = list(read_rollouts(file))
    wanted = [render_prompt(tokenizer, row.prompt) + tokenizer(OPENING)["input_ids"] for row in rows]
    assert len(wanted) == 4
    assert sorted(request.body["prompt"] for request in server.requests[1:]) == sorted(wanted)
    assert {row.opening for row in rows} == {OPENING}


def test_training_reads_it(tokenizer, tmp_path, monkeypatch):
    read, plain = [], AttnPOTrainer._generate_single_turn

    def draw(trainer, prompt_ids, *rest, **named):
        read.extend(map(tuple, prompt_ids))
        return plain(trainer, prompt_ids, *rest, **named)

    monkeypatch.setattr(AttnPOTrainer, "_generate_single_turn", draw)
    settings = {"heads": "2.0", "num_problems": 4, "num_generations": 4, "per_device_train_batch_size": 4}
    settings |= {"max_completion_length": 16, "max_steps": 1, "save_strategy": "no", "save_rollouts": True}
    settings |= {"use_cpu": True, "bf16": False, "report_to": "none", "disable_tqdm": True}
    with pytest.raises(SystemExit):  # responses this short are all wrong, and nothing is learnt
        run("train", tmp_path, **settings)
    (file,) = tmp_path.glob("*rollouts*.jsonl")
    rows = list(read_rollouts(file))
    wanted = {(*render_prompt(tokenizer, row.prompt), *tokenizer(OPENING)["input_ids"]) for row in rows}
    assert set(read) == wanted != set()
    assert {row.opening for row in rows} == {OPENING}


@pytest.mark.parametrize(
    ("settings", "flag"),
    [
        ({"intervene": True, "labeler": "attnpo.tinyworld:label_steps"}, "--intervene"),
        ({"labeler": "causal", "causal_resample": 4}, "--causal_resample"),
    ],
)
def test_a_chat_server_goes_on_from_no_cut_trace(tmp_path, capsys, settings, flag):
    engine = {"engine": "server", "api": "chat", "base_url": "http://127.0.0.1:9/v1", "served_model": "m"}
    with pytest.raises(SystemExit):
        run("discover", tmp_path, **engine, **settings, opening="")
    said = capsys.readouterr().err
    assert f"{flag}: a chat server asks the question anew" in said
