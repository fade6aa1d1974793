"""A server that goes away and returns: HTTP and TRL's client are real, the channel for weights is stood in for."""

from __future__ import annotations

import inspect
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from trl.generation import vllm_client
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration

from attnpo.errors import TrainingError
from attnpo.training.patient_client import PatientClient

RETRY_SECONDS = 0.1
"""What the breaks between the tries of TRL's client are made of: 0, 2, 4, 8 and 16 of them."""


class Handler(BaseHTTPRequestHandler):
    instance = "a"

    def log_message(self, *_):
        pass

    def answer(self, body, status: int = 200):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def do_GET(self):
        info = {"vllm_config": {"instance_id": self.instance}}
        self.answer(info if "server_info" in self.path else {"data": [{"id": "m"}]})

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer({"choices": [{"token_ids": [7], "prompt_token_ids": [1], "logprobs": None}]})


def serve(port: int = 0, instance: str = "a") -> ThreadingHTTPServer:
    server = ThreadingHTTPServer(("127.0.0.1", port), type("Named", (Handler,), {"instance": instance}))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def end(server: ThreadingHTTPServer) -> int:
    port = server.server_address[1]
    server.shutdown()
    server.server_close()
    return port


class Client(VLLMClient):
    """TRL's client and its retries, with shorter breaks; what needs a GPU, the channel for weights, is stood in for."""

    def __init__(self, port: int):
        super().__init__(base_url=f"http://127.0.0.1:{port}")
        for adapter in self.session.adapters.values():
            adapter.max_retries = adapter.max_retries.new(backoff_factor=RETRY_SECONDS)
        self.events: list[str] = []

    def generate(self, prompts):
        return super().generate(prompts)["completion_ids"]

    def init_communicator(self, device=0):
        self.events.append(f"open {device}")

    def close_communicator(self):
        self.events.append("close")

    def update_named_params(self, metadata, params):
        self.events.append("send")


@pytest.fixture(autouse=True)
def no_vllm_needed(monkeypatch):
    monkeypatch.setattr(vllm_client, "is_vllm_available", lambda: True)


@pytest.fixture
def server():
    made = serve()
    yield made
    end(made)


def patient(port: int, patience: float = 20.0, sharded: bool = False) -> PatientClient:
    client = Client(port)
    return PatientClient(
        client,
        patience,
        None if sharded else lambda: client.events.append("resend"),
        "cpu",
        lambda: "runs/a/checkpoint-6",
        pause=lambda seconds: None,
    )


@pytest.mark.parametrize("away", [RETRY_SECONDS, 8 * RETRY_SECONDS])
def test_a_server_that_comes_back_gets_the_weights_before_it_samples(away):
    """Within the retries of TRL's client, which then reports no error, and after them."""
    first = serve()
    made = patient(first.server_address[1])
    assert made.generate(["a"]) == [[7]]
    port = end(first)
    later: list[ThreadingHTTPServer] = []
    threading.Timer(away, lambda: later.append(serve(port, "b"))).start()
    assert made.generate(["a"]) == [[7]]
    assert made.client.events == ["close", "open cpu", "resend"]
    assert made.outages == 1
    end(later[0])


def test_sharded_weights_cannot_be_renewed_after_a_start_that_nobody_noticed(server):
    made = patient(server.server_address[1], sharded=True)
    server.RequestHandlerClass.instance = "b"
    with pytest.raises(TrainingError, match="sharded"):
        made.generate(["a"])


def test_a_server_started_anew_between_two_steps_gets_its_channel_opened(server):
    made = patient(server.server_address[1])
    made.update_named_params([], [])
    assert made.client.events == ["send"]
    server.RequestHandlerClass.instance = "b"
    made.update_named_params([], [])
    made.update_named_params([], [])
    assert made.client.events == ["send", "close", "open cpu", "send", "send"]


def test_a_server_that_stays_away_ends_the_run_with_the_checkpoint_named():
    first = serve()
    made = patient(first.server_address[1], patience=0.2)
    port = end(first)
    with pytest.raises(TrainingError, match=rf"127\.0\.0\.1:{port}: it stayed away for 0\.2 s; .* runs/a/checkpoint-6"):
        made.generate(["a"])


def test_sharded_weights_cannot_be_renewed_halfway():
    first = serve()
    made = patient(first.server_address[1], sharded=True)
    port = end(first)
    later: list[ThreadingHTTPServer] = []
    threading.Timer(0.3, lambda: later.append(serve(port, "b"))).start()
    with pytest.raises(TrainingError, match="sharded"):
        made.generate(["a"])
    end(later[0])


def test_a_server_that_answers_with_errors_for_a_while_is_waited_for(server):
    made = patient(server.server_address[1])
    answers = [Exception("Request failed: 503, starting"), ConnectionResetError("reset"), [[7]]]

    def generate(prompts):
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    made.client.generate = generate
    assert made.generate(["a"]) == [[7]]
    assert made.outages == 2


def test_a_mistake_is_no_outage(server):
    made = patient(server.server_address[1])
    made.client.generate = lambda prompts: (_ for _ in ()).throw(ValueError("no such argument"))
    with pytest.raises(ValueError, match="no such argument"):
        made.generate(["a"])
    assert made.outages == 0


def test_what_is_relied_on_in_trl():
    assert {"total_timeout"} <= inspect.signature(VLLMClient.check_server).parameters.keys()
    assert {"device"} <= inspect.signature(VLLMClient.init_communicator).parameters.keys()
    for name in ("close_communicator", "get_server_info", "generate", "update_named_params"):
        assert callable(getattr(VLLMClient, name))
    source = inspect.getsource(VLLMGeneration)
    # Only the process that holds the client speaks with the server, through the attribute that is replaced.
    for call in ("self.vllm_client.generate(", "self.vllm_client.update_named_params("):
        assert source.count(call) == 1
    assert "accelerator.is_main_process" in source
