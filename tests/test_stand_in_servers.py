"""Servers in tests are stood in for by what real ones were recorded to say, and by nothing else."""

from __future__ import annotations

import urllib.request

import fake_server as fake
import pytest
from server_replies import LLAMA_CPP, VLLM, said_by_none, vllm_pages


def ask(server: fake.FakeServer, page: str = "completions") -> None:
    """Ask for a completion, or for a page."""
    data = b"{}" if page == "completions" else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(urllib.request.Request(f"{server.base_url}/{page}", data), timeout=10) as reply:
        reply.read()


def said(reply: fake.Reply) -> None:
    with fake.FakeServer([reply]) as server:
        ask(server)


def shown(pages: dict) -> None:
    with fake.FakeServer() as server:
        server.pages = pages
        ask(server, "models")


CHOICE = {"index": 0, "text": "four", "finish_reason": "stop"}
BODY = {**fake.ABOUT, "choices": [CHOICE], "usage": fake.usage(1, 1)}


@pytest.mark.parametrize(
    ("changes", "strange"),
    [
        ({"choice": [CHOICE]}, "completions: has choice"),
        ({"choices": [{**CHOICE, "tokens": [7]}]}, r"completions\.choices\[0\]: has tokens"),
        ({"choices": [{**CHOICE, "text": None}]}, r"completions\.choices\[0\]\.text: None is no string"),
        ({"choices": [{"text": "four"}]}, r"completions\.choices\[0\]: lacks index"),
        ({"choices": [{**CHOICE, "token_ids": ["7"]}]}, r"\.token_ids\[0\]: '7' is no integer"),
        ({"choices": [{**CHOICE, "token_ids": [True]}]}, r"\.token_ids\[0\]: True is no integer"),
        ({"object": "completion"}, "'completion' is none of"),
        ({"usage": {"prompt_token": 1}}, "has prompt_token"),
    ],
)
def test_what_no_server_says_fails_the_test_that_lets_it_be_said(changes, strange):
    with pytest.raises(AssertionError, match=strange):
        said(fake.Reply({**BODY, **changes}))
    said(fake.odd({**BODY, **changes}))  # meant to be strange
    said(fake.Reply(BODY))


def test_pages_are_held_to_it_too():
    with pytest.raises(AssertionError, match="lacks models"):
        shown({"/v1/models": {"data": [{"id": "m", "roots": "m", "created": 1}]}})
    shown(vllm_pages("folder"))


def test_a_tests_own_failure_is_what_is_shown():
    def fails() -> None:
        with fake.FakeServer([fake.Reply({})]) as server:
            ask(server)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fails()


def test_stand_ins_say_everything_that_the_servers_say():
    (choice,) = fake.completion("four").body["choices"]
    assert {"token_ids", "logprobs", "stop_reason"} <= choice.keys()
    assert fake.chat("four").body["choices"][0]["message"]["reasoning"] is None
    for reply in (fake.completion("a"), fake.llama_completion("a", "stop", [7], 1)):
        assert said_by_none("completions", reply.body) is None
    assert VLLM.wrong("completions", fake.llama_completion("a", "stop", None, 1).body) is not None
    assert LLAMA_CPP.wrong("completions", fake.completion("a").body) is not None
    assert LLAMA_CPP.wrong("chat", fake.chat("a", reasoning_content="b").body) is None
    for server in (VLLM, LLAMA_CPP):
        assert "has message" in str(server.wrong("error", {"message": "gone"}))
