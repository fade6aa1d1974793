"""What becomes of responses: as they finish, of no use, refused, of a server that dies."""

from __future__ import annotations

import json
import threading

import fake_server as fake
import pytest
from byte_tokenizer import byte_tokenizer
from server_draws import PARAMS, TEXT, asked, connect, counting, draw
from transformers import AutoTokenizer

from attnpo.errors import ConfigError, EngineError
from attnpo.sampling import ServerSampler
from attnpo.serving import Endpoint, Server
from attnpo.tinyworld import checkpoint_path


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        (fake.odd({"choices": []}), "without a choice"),
        (fake.odd({}), "without a choice"),
        (fake.odd({"error": {"message": "overloaded"}}), "without a choice: overloaded"),
        (fake.odd({"choices": [{"text": "x", "finish_reason": None}]}), "finish_reason is None"),
        (fake.odd({"choices": [{"text": "x", "finish_reason": "abort"}]}), "finish_reason is 'abort'"),
        (fake.odd({"choices": [{"text": None, "finish_reason": "stop"}]}), "without text"),
    ],
    ids=["empty", "missing", "error", "no finish", "aborted", "no text"],
)
def test_an_answer_of_no_use_is_asked_for_again_then_an_error(tokenizer, bad, said):
    good = counting(tokenizer, TEXT)
    count = iter(range(1000))
    found, bodies = draw(lambda r: bad if next(count) == 1 else good(r), tokenizer, asked(tokenizer, 2), concurrency=1)
    assert len(found) == 2
    assert len(bodies) == 4
    assert bodies[1] == bodies[2]  # the trial is taken as it comes
    with pytest.raises(EngineError, match=said):
        draw(lambda request: bad, tokenizer, asked(tokenizer, 2))


def test_responses_come_as_they_finish_and_never_too_many_at_once(tokenizer):
    last = threading.Event()
    requests = asked(tokenizer, 9)
    slow_prompt = list(requests[0].prompt_ids)
    reply = counting(tokenizer, TEXT)

    def server(request):
        if request.body["prompt"] == slow_prompt and request.body["max_tokens"] > 1:
            last.wait(30)
        return fake.slow(reply(request), 0.01)

    order = []
    with fake.FakeServer(server) as there:
        sampler = connect(there, tokenizer, concurrency=3)
        for index, _ in sampler.sample(requests, PARAMS):
            order.append(index)
            if len(order) == 8:
                last.set()
        sampler.close()
        assert there.most_at_once == 3
    assert sorted(order) == list(range(9))
    assert order[-1] == 0


def test_a_server_that_dies_midway_yields_what_it_finished_first(tokenizer):
    requests = asked(tokenizer, 40)
    found = []
    with fake.FakeServer(counting(tokenizer, TEXT)) as there:
        sampler = connect(there, tokenizer, concurrency=3, patience=0.3)
        with pytest.raises(EngineError, match="given up"):
            collect(sampler.sample(requests, PARAMS), found, lambda: len(found) == 10 and there.die())
        sampler.close()
    assert 10 <= len(found) < 20
    assert len({index for index, _ in found}) == len(found)


def collect(responses, found, after):
    for each in responses:
        found.append(each)
        after()


def test_nothing_asked_nothing_sent(tokenizer):
    with fake.FakeServer() as there:
        assert list(connect(there, tokenizer).sample([], PARAMS)) == []
        assert there.requests == []


def test_an_unknown_api_is_refused(tokenizer):
    with pytest.raises(ConfigError, match="completions, chat"):
        ServerSampler(Server(Endpoint("http://127.0.0.1:1/v1", "m")), tokenizer, "responses")


def test_its_description_has_no_address(tokenizer):
    description = ServerSampler(Server(Endpoint("http://127.0.0.1:1/v1", "m")), tokenizer).description
    assert json.loads(json.dumps(description)) == description
    assert (description["engine"], description["api"], description["served_model"]) == ("server", "completions", "m")
    assert "127.0.0.1" not in str(description)


CALL = {"name": "f", "arguments": "{}"}
TOOLS = [{"id": "1", "type": "function", "function": CALL}]


def odd_message(**message) -> fake.Reply:
    return fake.odd({"choices": [{"message": {"role": "assistant", **message}, "finish_reason": "stop"}]})


@pytest.mark.parametrize(
    ("api", "reply", "reason"),
    [
        ("completions", fake.odd({"choices": [{"text": "So", "finish_reason": "content_filter"}]}), "content_filter"),
        ("chat", fake.chat("So", "content_filter"), "finish_reason content_filter"),
        ("chat", fake.chat(None, "content_filter"), "finish_reason content_filter"),
        ("chat", fake.chat(None, "tool_calls", tool_calls=TOOLS), "finish_reason tool_calls"),
        ("chat", fake.chat(None, tool_calls=TOOLS), "without content, with tool_calls"),
        ("chat", fake.chat(None, function_call=CALL), "without content, with function_call"),
        ("chat", fake.chat(None, refusal="I cannot."), "without content, with refusal"),
        ("chat", fake.chat(None), "a message without content"),
        ("chat", fake.chat(None, "length"), "a message without content"),
        ("chat", odd_message(), "a message without content"),
    ],
)
def test_an_outcome_that_will_not_change_is_a_response_that_failed(api, reply, reason):
    tokenizer = byte_tokenizer(opening="<think>\n")
    found, bodies = draw(lambda request: reply, tokenizer, asked(tokenizer, 2), api=api)
    assert [reason in str(response.failure) for response in found.values()] == [True, True]
    assert all(response.ids for response in found.values())
    # Ids are made from text only where there is one.
    assert [response.exact_ids for response in found.values()] == ["So" not in str(reply)] * 2
    assert len(bodies) == 3  # the trial and each request once


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ([{"type": "text", "text": "So 5."}, {"type": "text", "text": "</think>5"}], "So 5.</think>5"),
        ([{"type": "text", "text": "5"}, {"type": "image_url"}], "5"),
        ("", ""),
    ],
)
def test_content_in_parts_is_read(content, text):
    tokenizer = byte_tokenizer(opening="<think>\n")
    reply = odd_message(content=content)
    found, _ = draw(lambda request: reply, tokenizer, asked(tokenizer, 1), api="chat")
    assert tokenizer.decode(found[0].ids).removesuffix(tokenizer.eos_token) == text
    assert found[0].failure is None


def test_one_refused_prompt_among_good_ones_costs_itself(tokenizer):
    good, count = counting(tokenizer, TEXT), iter(range(100))
    refusal = fake.status(400, "this prompt is moderated")
    found, _ = draw(
        lambda request: refusal if next(count) == 1 else good(request), tokenizer, asked(tokenizer, 4), concurrency=1
    )
    failures = [found[index].failure for index in sorted(found)]
    assert [failure is not None for failure in failures] == [True, False, False, False]
    assert "status 400, 'this prompt is moderated'" in str(failures[0])
    assert found[0].exact_ids


def test_half_a_character_of_a_server_is_replaced(tokenizer):
    good, count = counting(tokenizer, f"{TEXT} \ud83d"), iter(range(100))
    refusal = fake.status(400, "moderated: \ud83d")
    found, _ = draw(
        lambda request: refusal if next(count) == 1 else good(request), tokenizer, asked(tokenizer, 3), concurrency=1
    )
    assert "moderated: \ufffd" in str(found[0].failure)
    tokens = tokenizer(f"{TEXT} \ufffd", add_special_tokens=False)["input_ids"]
    assert [response.ids for _, response in sorted(found.items())][1:] == [[*tokens, tokenizer.eos_token_id]] * 2


def test_refusals_alone_are_an_error(tokenizer):
    good, count = counting(tokenizer, TEXT), iter(range(100))
    refusal = fake.status(400, "no such setting")
    with pytest.raises(ConfigError, match="no such setting"):
        draw(lambda r: good(r) if next(count) == 0 else refusal, tokenizer, asked(tokenizer, 3), concurrency=1)


def test_the_shortest_prompt_refused_for_what_it_says_costs_itself(tokenizer):
    good, requests = counting(tokenizer, TEXT), asked(tokenizer, 2) + asked(tokenizer, 1, text="Say how much is {}?")
    shortest = min(requests, key=lambda r: len(r.prompt_ids)).prompt_ids
    text = tokenizer.decode(shortest)
    refusal = fake.status(400, "this prompt is moderated")

    def moderated(request: fake.Request) -> fake.Reply:
        return refusal if request.body["prompt"] in (list(shortest), text) else good(request)

    found, _ = draw(moderated, tokenizer, requests)
    failed = [index for index in sorted(found) if found[index].failure is not None]
    assert failed == [index for index, request in enumerate(requests) if request.prompt_ids == shortest]
    assert len(found) == len(requests) > len(failed)
