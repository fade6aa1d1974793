"""llama.cpp's server with the small world's model in float32 against the project's own sampler."""

from __future__ import annotations

import importlib.util
import operator
import os
import shutil
import sys
from pathlib import Path

import pytest
from engine_servers import EngineServer, killed_at, same_ids
from opt_in import only_when_asked_for
from server_replies import LLAMA_CPP
from tinyworld_gguf import write_tinyworld_gguf

from attnpo.cli import evaluate as evaluate_command
from attnpo.evaluation import EvaluationResult
from attnpo.rollouts import read_rollouts
from attnpo.sampling import ServerSampler
from attnpo.sampling.served import served_facts
from attnpo.serving import Endpoint, Server

only_when_asked_for("llama")

PYTHON = os.environ.get("ATTNPO_LLAMA_PYTHON", sys.executable)
"""An interpreter that has xllamacpp."""
SERVES = Path(__file__).with_name("serve_llama.py")
SETTINGS = ["--parallel", "4", "--ctx-size", "4096", "--threads", "1", "--flash-attn", "off", "--no-warmup"]
CACHE = ["--cache-type-k", "f32", "--cache-type-v", "f32"]

if not (shutil.which("llama-server") or sys.executable != PYTHON or importlib.util.find_spec("xllamacpp")):
    pytest.fail("no llama-server on the PATH and no package xllamacpp: make test-llama installs it", pytrace=False)


def command(model: Path, port: int) -> list[str]:
    installed = shutil.which("llama-server")
    if installed is None:
        return [PYTHON, str(SERVES), str(model), str(port)]
    return [installed, "-m", str(model), "--host", "127.0.0.1", "--port", str(port), *SETTINGS, *CACHE]


@pytest.fixture(scope="module")
def server(tmp_path_factory, figure):
    folder = tmp_path_factory.mktemp("llama")
    model = write_tinyworld_gguf(folder / "tinyworld.gguf")
    with EngineServer(lambda port: command(model, port), folder / "log") as started:
        yield started
    figure(f"llama.cpp: started in {', '.join(f'{seconds:.1f}' for seconds in started.starts)} s")


def sampler(server, tokenizer, api="completions") -> ServerSampler:
    return ServerSampler(Server(Endpoint(server.base_url, "tinyworld", concurrency=4)), tokenizer, api)


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_responses_are_those_of_our_sampler_token_for_token(server, tokenizer, asked, ours, greedy, api, figure):
    same_ids(sampler(server, tokenizer, api), asked, ours, greedy, f"llama.cpp, {api}", figure)


def test_it_says_what_it_serves(server):
    facts = served_facts(Server(Endpoint(server.base_url, "tinyworld")))
    assert facts["meta"]["n_params"] > 0


@pytest.mark.parametrize("logprobs", [False, True])
def test_its_stand_in_says_what_it_says(server, logprobs):
    client = Server(Endpoint(server.base_url, "tinyworld"))
    own = {"max_tokens": 4, **({"logprobs": 1} if logprobs else {})}
    replies = {"completions": client.post("completions", {"prompt": "How many?", **own})}
    own = {"max_tokens": 4, **({"logprobs": True, "top_logprobs": 1} if logprobs else {})}
    messages = [{"role": "user", "content": "How many?"}]
    replies["chat"] = client.post("chat/completions", {"messages": messages, **own})
    replies["models"] = client.look_up("models", True)
    assert [LLAMA_CPP.wrong(kind, reply) for kind, reply in replies.items()] == [None] * 3


def evaluate(folder: Path, server) -> None:
    given = {
        "model": "tinyworld",
        "device": "cpu",
        "data": "tinyworld",
        "num_problems": 40,
        "samples_per_problem": 1,
        "temperature": 0.0,
        "max_new_tokens": 192,
        "segmentation": "paragraphs",
        "resamples": 50,
        "engine": "server",
        "base_url": server.base_url,
        "concurrency": 2,
        "output_dir": folder,
    }
    evaluate_command.run([part for name, value in given.items() for part in (f"--{name}", str(value))])


def test_a_server_killed_in_the_middle_leaves_every_row_as_it_would_be(server, tmp_path, figure):
    evaluate(tmp_path / "whole", server)
    with killed_at(server, tmp_path / "cut" / "rollouts.jsonl", 3, away=2):
        evaluate(tmp_path / "cut", server)
    assert len(server.starts) == 2
    whole, cut = (
        sorted(read_rollouts(tmp_path / name / "rollouts.jsonl"), key=lambda row: row.problem_id)
        for name in ("whole", "cut")
    )
    figure(f"llama.cpp, kill -9 and return: {sum(map(operator.eq, whole, cut))} of {len(whole)} rows as without")
    assert whole == cut
    results = [EvaluationResult.load(tmp_path / name / "evaluation.json") for name in ("whole", "cut")]
    assert results[0].overall == results[1].overall
