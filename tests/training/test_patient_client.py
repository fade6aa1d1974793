"""A server that goes away and returns: HTTP and TRL's client are real, the channel for weights is stood in for."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import pytest
from fake_server import FakeServer, Reply, Request, completion, odd
from server_replies import vllm_pages
from trl.generation import vllm_client
from trl.generation.vllm_client import VLLMClient
from trl.generation.vllm_generation import VLLMGeneration
from urllib3.util import Retry

from attnpo.errors import TrainingError
from attnpo.training.patient_client import PatientClient


def named(server: FakeServer, instance: str) -> None:
    server.pages = vllm_pages(instance=instance)


class Client(VLLMClient):
    """TRL's client and its retries; what needs a GPU, the channel for weights, is stood in for.

    Attributes:
        events: what happened, in order; "failed" where its retries were used up.
        looks: called when it looks whether the server is there.
    """

    def __init__(self, server: FakeServer):
        self.looks: Callable[[], None] = lambda: None
        super().__init__(base_url=server.base_url.removesuffix("/v1"))
        self.events: list[str] = []

    def check_server(self, *args, **named):
        self.looks()
        super().check_server(*args, **named)

    def generate(self, prompts):
        try:
            return super().generate(prompts)["completion_ids"]
        except OSError:
            self.events.append("failed")
            raise

    def init_communicator(self, device=0):
        self.events.append(f"open {device}")

    def close_communicator(self):
        self.events.append("close")

    def update_named_params(self, metadata, params):
        self.events.append("send")


@pytest.fixture(autouse=True)
def no_vllm_needed(monkeypatch):
    monkeypatch.setattr(vllm_client, "is_vllm_available", lambda: True)


@pytest.fixture(autouse=True)
def breaks(monkeypatch) -> list[Callable[[], None]]:
    """What happens in the breaks between the tries of TRL's client, one after another; they take no time."""
    happens: list[Callable[[], None]] = []
    monkeypatch.setattr(Retry, "sleep", lambda retry, response=None: happens.pop(0)() if happens else None)
    return happens


def reply(request: Request) -> Reply:
    if request.path == "/reset_prefix_cache":
        return odd({})
    return completion("four", token_ids=[7], prompt_token_ids=[1])


@pytest.fixture
def server():
    with FakeServer(reply) as made:
        named(made, "a")
        yield made


def patient(server: FakeServer, patience: float = 20.0, sharded: bool = False) -> PatientClient:
    client = Client(server)
    return PatientClient(
        client,
        patience,
        None if sharded else lambda: client.events.append("resend"),
        "cpu",
        lambda: "runs/a/checkpoint-6",
        pause=lambda seconds: None,
    )


def replace(server: FakeServer) -> None:
    """Let it die; another takes its place once it comes back."""
    server.die()
    named(server, "b")


def test_a_server_that_comes_back_within_the_tries_of_trls_client_gets_the_weights_before_it_samples(server, breaks):
    """TRL's client then reports no error."""
    made = patient(server)
    assert made.generate(["a"]) == [[7]]
    replace(server)
    breaks += [lambda: None, server.come_back]
    assert made.generate(["a"]) == [[7]]
    assert breaks == []
    assert made.client.events == ["close", "open cpu", "resend"]
    assert made.outages == 1


def test_so_does_one_that_comes_back_later(server):
    made = patient(server)
    replace(server)
    made.client.looks = server.come_back
    assert made.generate(["a"]) == [[7]]
    assert made.client.events == ["failed", "close", "open cpu", "resend"]
    assert made.outages == 1


def test_sharded_weights_cannot_be_renewed_after_a_start_that_nobody_noticed(server):
    made = patient(server, sharded=True)
    named(server, "b")
    with pytest.raises(TrainingError, match="sharded"):
        made.generate(["a"])


def test_a_server_started_anew_between_two_steps_gets_its_channel_opened(server):
    made = patient(server)
    made.update_named_params([], [])
    assert made.client.events == ["send"]
    named(server, "b")
    made.update_named_params([], [])
    made.update_named_params([], [])
    assert made.client.events == ["send", "close", "open cpu", "send", "send"]


def test_a_server_that_stays_away_ends_the_run_with_the_checkpoint_named(server):
    made = patient(server, patience=0.2)
    server.die()
    with pytest.raises(TrainingError, match=r"127\.0\.0\.1:\d+: it stayed away for 0\.2 s; .* runs/a/checkpoint-6"):
        made.generate(["a"])


def test_a_server_that_goes_away_between_weights_and_responses_is_waited_for_before_its_cache_is_emptied(server):
    made = patient(server)
    made.update_named_params([], [])
    replace(server)
    made.client.looks = server.come_back
    made.reset_prefix_cache()
    assert [request.path for request in server.requests] == ["/reset_prefix_cache"]
    assert made.generate(["a"]) == [[7]]
    assert made.client.events == ["send", "close", "open cpu", "resend"]


def test_a_server_that_goes_away_again_at_once_ends_the_run_with_the_checkpoint_named(server):
    made = patient(server)
    named(server, "b")
    made.client.init_communicator = lambda device: server.die()
    with pytest.raises(TrainingError, match=r"while its channel for weights was opened; .* runs/a/checkpoint-6"):
        made.generate(["a"])


def test_sharded_weights_cannot_be_renewed_halfway(server):
    made = patient(server, sharded=True)
    replace(server)
    made.client.looks = server.come_back
    with pytest.raises(TrainingError, match="sharded"):
        made.generate(["a"])


def test_a_server_that_answers_with_errors_for_a_while_is_waited_for(server):
    made = patient(server)
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
    made = patient(server)
    made.client.generate = lambda prompts: (_ for _ in ()).throw(ValueError("no such argument"))
    with pytest.raises(ValueError, match="no such argument"):
        made.generate(["a"])
    assert made.outages == 0


def test_what_is_relied_on_in_trl():
    assert {"total_timeout"} <= inspect.signature(VLLMClient.check_server).parameters.keys()
    assert {"device"} <= inspect.signature(VLLMClient.init_communicator).parameters.keys()
    for name in ("close_communicator", "get_server_info", "generate", "update_named_params", "reset_prefix_cache"):
        assert callable(getattr(VLLMClient, name))
    source = inspect.getsource(VLLMGeneration)
    # Only the process that holds the client speaks with the server, through the attribute that is replaced.
    for call in (
        "self.vllm_client.generate(",
        "self.vllm_client.update_named_params(",
        "self.vllm_client.reset_prefix_cache(",
    ):
        assert source.count(call) == 1
    assert "accelerator.is_main_process" in source
