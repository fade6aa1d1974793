"""A vLLM server on the CPU, with the small world's model in float32."""

from __future__ import annotations

import operator
import shutil

import pytest
from opt_in import only_when_asked_for

only_when_asked_for("vllm")

from engine_servers import EngineServer, killed_at, replaced_weights, same_ids
from server_replies import VLLM
from vllm_on_cpu import ENVIRONMENT, serve

from attnpo.cli import evaluate as evaluate_command
from attnpo.collecting import files_fingerprint
from attnpo.errors import OutputError
from attnpo.evaluation import EvaluationResult
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SampleRequest, ServerSampler
from attnpo.serving import Endpoint, Server
from attnpo.tinyworld import checkpoint_path


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return shutil.copytree(checkpoint_path(), tmp_path_factory.mktemp("served") / "model")


@pytest.fixture(scope="module")
def server(model, figure):
    log = model.parent / "log"
    with EngineServer(lambda port: serve(model, port), log, ENVIRONMENT) as started:
        yield started
    figure(f"vLLM, a server: started in {', '.join(f'{seconds:.0f}' for seconds in started.starts)} s")


@pytest.mark.parametrize("api", ["completions", "chat"])
def test_responses_are_those_of_our_sampler_token_for_token(server, tokenizer, asked, ours, greedy, api, figure):
    sampler = ServerSampler(Server(Endpoint(server.base_url, "tinyworld", concurrency=4)), tokenizer, api)
    same_ids(sampler, asked, ours, greedy, f"vLLM, a server, {api}", figure)


def test_its_stand_in_says_what_it_says(server):
    client = Server(Endpoint(server.base_url, "tinyworld"))
    own = {"max_tokens": 4, "return_token_ids": True}
    replies = {
        "completions": client.post("completions", {"prompt": [7, 8], "logprobs": 1, **own}),
        "chat": client.post("chat/completions", {"messages": [{"role": "user", "content": "How many?"}], **own}),
        "models": client.look_up("models", True),
    }
    assert [VLLM.wrong(kind, reply) for kind, reply in replies.items()] == [None] * 3


def test_a_prompt_longer_than_its_room_is_that_responses_failure_alone(server, tokenizer, asked, greedy):
    long = SampleRequest("", tuple([7] * 600), 99, 0)
    sampler = ServerSampler(Server(Endpoint(server.base_url, "tinyworld", concurrency=2)), tokenizer)
    found = dict(sampler.sample([asked[0], long], greedy))
    sampler.close()
    assert found[0].failure is None
    assert str(found[1].failure).startswith("refused: ")
    assert "512" in str(found[1].failure)


def evaluate(folder, server, num_problems) -> None:
    given = {
        "model": "tinyworld",
        "data": "tinyworld",
        "num_problems": num_problems,
        "samples_per_problem": 1,
        "temperature": 0.0,
        "max_new_tokens": 192,
        "segmentation": "paragraphs",
        "resamples": 50,
        "engine": "server",
        "served_model": "tinyworld",
        "base_url": server.base_url,
        "concurrency": 2,
        "server_patience": 900,
        "output_dir": folder,
    }
    evaluate_command.run([part for name, value in given.items() for part in (f"--{name}", str(value))])


def rows(folder):
    return sorted(read_rollouts(folder / "rollouts.jsonl"), key=lambda row: row.problem_id)


def test_a_server_killed_in_the_middle_leaves_every_row_as_it_would_be(server, tmp_path, figure):
    evaluate(tmp_path / "whole", server, 24)
    with killed_at(server, tmp_path / "cut" / "rollouts.jsonl", 6):
        evaluate(tmp_path / "cut", server, 24)
    assert len(server.starts) == 2
    whole, cut = rows(tmp_path / "whole"), rows(tmp_path / "cut")
    figure(f"vLLM, a server, kill -9 and return: {sum(map(operator.eq, whole, cut))} of {len(whole)} rows as without")
    assert whole == cut


def test_replaced_weights_are_other_results(server, model, tmp_path):
    evaluate(tmp_path, server, 1)
    facts = EvaluationResult.load(tmp_path / "evaluation.json").settings["served"]
    assert facts["weights"] == files_fingerprint(model)
    assert facts["dtype"].endswith("float32")
    with replaced_weights(model), pytest.raises(OutputError, match=r"of other settings: served\.weights \(there"):
        evaluate(tmp_path, server, 1)
