from __future__ import annotations

import builtins
import logging
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import fake_server as fake
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import ConfigError, EngineError
from attnpo.serving import Endpoint, RefusedError, Server
from attnpo.serving.faults import Fault, status_fault
from attnpo.serving.patience import LONGEST_WAIT, MALFORMED_TRIES, Patience

KEY = "sk-very-secret-123"
BODY = {"prompt": "2 + 2", "max_tokens": 4}


def connect(server: fake.FakeServer, first_wait: float = 0.01, **settings) -> Server:
    return Server(Endpoint(server.base_url, "small", **{"patience": 5.0, **settings}), first_wait=first_wait)


def text(answer: dict) -> str:
    return answer["choices"][0]["text"]


def test_an_answer_comes_back_whole_and_is_counted():
    with fake.FakeServer([fake.completion("four", tokens=3, prompt_tokens=7)]) as there, connect(there) as server:
        answer = server.post("completions", BODY)
    assert text(answer) == "four"
    assert (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"]) == (7, 3)
    assert there.requests[0].path == "/v1/completions"
    assert there.requests[0].body == {"model": "small", **BODY}
    usage = server.usage
    assert (usage.requests, usage.retries, usage.prompt_tokens, usage.completion_tokens) == (1, 0, 7, 3)


def test_json_under_another_content_type_is_read():
    reply = fake.odd({"choices": []}, content_type="text/plain")
    with fake.FakeServer([reply]) as there, connect(there) as server:
        assert server.post("completions", BODY) == {"choices": []}


@pytest.mark.parametrize(
    "failure",
    [
        fake.status(408),
        fake.status(409),
        fake.status(429),
        fake.status(500),
        fake.status(503),
        fake.not_json(),
        fake.html(),
        fake.odd([1, 2]),
        fake.cut_off(),
        fake.closed(),
        fake.reset(),
    ],
    ids=["408", "409", "429", "500", "503", "not json", "html", "no object", "cut off", "closed", "reset"],
)
def test_what_may_pass_is_tried_again(failure):
    with fake.FakeServer([failure, failure, fake.completion("at last")]) as there, connect(there) as server:
        assert text(server.post("completions", BODY)) == "at last"
        assert server.usage.retries == 2
        assert len(there.requests) == 3


def test_an_answer_that_takes_too_long_is_asked_for_again():
    replies = [fake.slow(fake.completion("late"), 1.0), fake.completion("in time")]
    with fake.FakeServer(replies) as there, connect(there, timeout=0.2) as server:
        assert text(server.post("completions", BODY)) == "in time"


def test_an_answer_that_drips_is_cut_at_the_timeout():
    """Each byte comes within the limit between two bytes, the whole does not."""
    import socket

    listener = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        connection, _ = listener.accept()
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 9999\r\n\r\n")
        while not stop.wait(0.05):
            connection.sendall(b" ")
        connection.close()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        endpoint = Endpoint(f"http://127.0.0.1:{listener.getsockname()[1]}/v1", "m", timeout=0.3, patience=0.0)
        with Server(endpoint) as server, pytest.raises(EngineError, match=r"timeout of 0\.3 s"):
            server.post("completions", BODY)
    finally:
        stop.set()
        thread.join()
        listener.close()


@pytest.mark.parametrize("form", ["seconds", "date"])
def test_retry_after_is_kept(form):
    value = "0.4" if form == "seconds" else format_datetime(datetime.now(UTC) + timedelta(seconds=3))
    with fake.FakeServer([fake.status(429, retry_after=value)]) as there, connect(there, first_wait=0.001) as server:
        server.post("completions", BODY)
        first, second = there.times
    # A date has whole seconds, and a busy machine takes some to begin.
    assert second - first >= (0.4 if form == "seconds" else 0.9)


def test_a_longer_wait_than_patience_gives_up_at_once():
    with fake.FakeServer([fake.status(503, retry_after=3600)]) as there, connect(there) as server:
        with pytest.raises(EngineError, match="asks to wait 3600 s"):
            server.post("completions", BODY)
        assert len(there.requests) == 1


@pytest.mark.parametrize(
    ("code", "mend"),
    [
        (400, "change the setting the server names"),
        (401, "environment variable KEY_HERE"),
        (403, "environment variable KEY_HERE"),
        (404, r"ends in /v1\) and the model's name there, 'small'"),
        (413, "change the setting"),
        (422, "change the setting"),
    ],
)
def test_a_refusal_is_the_users_to_mend(code, mend):
    with (
        fake.FakeServer([fake.status(code, "max_tokens: too\nlarge.")]) as there,
        connect(there, api_key_env="KEY_HERE") as server,
    ):
        with pytest.raises(ConfigError, match=mend) as error:
            server.post("completions", BODY)
        assert len(there.requests) == 1
    assert f"status {code}" in str(error.value)
    assert "'max_tokens: too large'" in str(error.value)
    assert "\n" not in str(error.value)
    assert error.value.status == code


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"message": "a"}, "'a'"),
        ({"detail": [{"loc": ["seed"]}]}, "seed"),
        ({"detail": "b"}, "'b'"),
        ("plain", "'plain'"),
        ({"odd": 1}, "odd"),
        (None, "without a word"),
    ],
)
def test_what_a_refusal_says_is_found_in_every_form(body, said):
    refused = status_fault(Endpoint("http://h/v1", "m"), 400, {}, body, "none")
    assert isinstance(refused, RefusedError)
    assert said in str(refused)


def test_a_server_that_dies_for_a_while_is_waited_for(caplog):
    caplog.set_level(logging.WARNING, logger="attnpo.serving")
    with fake.FakeServer([fake.completion("before"), fake.dying(0.5)]) as there, connect(there) as server:
        assert text(server.post("completions", BODY)) == "before"
        assert text(server.post("completions", BODY)) == "ok"
        assert server.usage.retries > 0
    assert [("trying again" in r.message, "answers again" in r.message) for r in caplog.records] == [
        (True, False),
        (False, True),
    ]


def test_a_server_gone_for_longer_than_patience_is_given_up():
    there = fake.FakeServer()
    with there, connect(there, patience=0.3) as server:
        server.post("completions", BODY)
        there.die()
        start = time.monotonic()
        with pytest.raises(EngineError, match=r"given up after \d+ tries") as error:
            server.post("completions", BODY)
        assert time.monotonic() - start >= 0.3
    assert "\n" not in str(error.value)
    assert there.base_url in str(error.value)
    assert "raise patience (0.3 s)" in str(error.value)


def test_an_answer_of_no_use_is_asked_for_again_a_few_times():
    def complaint(answer: dict) -> str | None:
        return None if answer["choices"] else "no choice in the answer"

    with fake.FakeServer([fake.odd({"choices": []})]) as there, connect(there) as server:
        assert text(server.post("completions", BODY, complaint)) == "ok"
    empty = fake.odd({"choices": []})
    with fake.FakeServer(then=lambda request: empty) as there, connect(there, first_wait=0.001) as server:
        with pytest.raises(EngineError, match="no choice in the answer"):
            server.post("completions", BODY, complaint)
        assert len(there.requests) == MALFORMED_TRIES


# Many requests


def echo(request: fake.Request) -> fake.Reply:
    return fake.completion(request.body["prompt"])


def bodies(n: int) -> list[dict]:
    return [{"prompt": str(i)} for i in range(n)]


def test_all_are_answered_as_they_finish_and_never_too_many_at_once():
    others_are_done = threading.Event()

    def reply(request: fake.Request) -> fake.Reply:
        if request.body["prompt"] == "0":
            others_are_done.wait(30)
        return fake.slow(echo(request), 0.01)

    found = []
    with fake.FakeServer(reply) as there, connect(there, concurrency=3) as server:
        answers = server.post_all("completions", bodies(12))
        _each(answers, found, lambda: len(found) == 11 and others_are_done.set())
        assert there.most_at_once == 3
    assert {index: text(answer) for index, answer in found} == {i: str(i) for i in range(12)}
    assert found[-1][0] == 0


def test_bodies_are_taken_as_places_come_free():
    taken = []

    def lazily():
        for body in bodies(100):
            taken.append(body)
            yield body

    with fake.FakeServer(echo) as there, connect(there, concurrency=2) as server:
        answers = server.post_all("completions", lazily())
        for _ in range(5):
            next(answers)
        assert len(taken) <= 5 + 2
        answers.close()
        assert len(there.requests) <= 7


def test_closing_early_does_not_wait_for_what_is_under_way():
    release = threading.Event()

    def reply(request: fake.Request) -> fake.Reply:
        if request.body["prompt"] != "0":
            release.wait(30)
        return echo(request)

    with fake.FakeServer(reply) as there, connect(there, concurrency=4) as server:
        answers = server.post_all("completions", bodies(20))
        assert next(answers)[0] == 0
        start = time.monotonic()
        answers.close()
        server.close()
        assert time.monotonic() - start < 10
        release.set()


def test_a_refusal_ends_it_after_what_was_under_way():
    def reply(request: fake.Request) -> fake.Reply:
        if request.body["prompt"] == "2":
            return fake.status(400, "too long")
        return fake.slow(echo(request), 0.2)

    found = []
    with fake.FakeServer(reply) as there, connect(there, concurrency=4) as server:
        with pytest.raises(RefusedError, match="too long"):
            _each(server.post_all("completions", bodies(50)), found)
        assert len(there.requests) == 4
    assert sorted(index for index, _ in found) == [0, 1, 3]


def _each(answers, found, after=lambda: None):
    """Keep what comes before an error."""
    for answer in answers:
        found.append(answer)
        after()


def test_a_dead_server_ends_it_with_what_was_finished():
    there = fake.FakeServer(echo)
    found = []
    with there, connect(there, concurrency=3, patience=0.3) as server:
        with pytest.raises(EngineError, match="given up"):
            _each(server.post_all("completions", bodies(1000)), found, lambda: len(found) == 10 and there.die())
        requests = len(there.requests)
    assert len(found) >= 10
    assert all(text(answer) == str(index) for index, answer in found)
    assert requests < 20


def test_a_server_that_dies_midway_and_comes_back_loses_nothing():
    there = fake.FakeServer(echo)
    with there, connect(there, concurrency=4) as server:
        found = {}
        for index, answer in server.post_all("completions", bodies(60)):
            found[index] = text(answer)
            if len(found) == 15:
                there.die()
                threading.Timer(0.2, there.come_back).start()
        assert found == {i: str(i) for i in range(60)}
        assert server.usage.requests == 60


def test_several_threads_share_the_limit():
    def reply(request: fake.Request) -> fake.Reply:
        return fake.slow(echo(request), 0.05)

    with fake.FakeServer(reply) as there, connect(there, concurrency=2) as server:
        threads = [threading.Thread(target=server.post, args=("completions", body)) for body in bodies(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(there.requests) == 8
        assert there.most_at_once == 2


# Keys and addresses


def test_the_key_goes_into_the_header_and_nowhere_else(monkeypatch, caplog):
    monkeypatch.setenv("SOME_KEY", f" {KEY}\n")
    caplog.set_level(logging.DEBUG)
    replies = [fake.status(500, f"bad key {KEY}"), fake.status(401, f"Incorrect API key provided: {KEY}")]
    with fake.FakeServer(replies) as there, connect(there, api_key_env="SOME_KEY") as server:
        with pytest.raises(ConfigError, match=r"\*\*\*") as error:
            server.post("completions", BODY)
        shown = f"{error.value} {error.value!r} {server!r} {server.endpoint!r} {server.usage!r}"
        assert there.requests[0].headers["authorization"] == f"Bearer {KEY}"
        assert all(KEY not in str(request.body) for request in there.requests)
    assert KEY not in shown
    assert error.value.__cause__ is None
    assert KEY not in caplog.text
    assert "bad key" in caplog.text


def test_without_a_key_the_message_says_so(monkeypatch):
    monkeypatch.delenv("SOME_KEY", raising=False)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with fake.FakeServer([fake.status(401)]) as there, connect(there, api_key_env="SOME_KEY") as server:
        with pytest.raises(ConfigError, match=r"SOME_KEY \(it is not set\)"):
            server.post("completions", BODY)
        assert KEY not in str(there.requests[0].headers)


def test_a_key_in_place_of_its_variable_is_refused_unseen():
    with pytest.raises(ConfigError, match="never the key") as error:
        Endpoint("http://127.0.0.1:1/v1", "m", api_key_env=KEY)
    assert KEY not in str(error.value)


def test_a_key_no_header_can_carry_is_refused_unseen(monkeypatch):
    monkeypatch.setenv("SOME_KEY", f"{KEY}\nmore")
    with pytest.raises(ConfigError, match="SOME_KEY") as error:
        Server(Endpoint("http://127.0.0.1:1/v1", "m", api_key_env="SOME_KEY"))
    assert KEY not in str(error.value)


@pytest.mark.parametrize("name", ["http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"])
def test_a_proxy_in_the_environment_does_not_stand_before_this_machine(monkeypatch, name):
    monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with fake.FakeServer() as there, connect(there, patience=0.0) as server:
        assert text(server.post("completions", BODY)) == "ok"


@pytest.mark.parametrize(
    ("url", "local"),
    [
        ("http://localhost:8000/v1", True),
        ("http://127.0.0.2:8000/v1", True),
        ("http://[::1]:8000/v1", True),
        ("https://api.example.org/v1", False),
        ("http://10.0.0.7:8000/v1", False),
    ],
)
def test_what_counts_as_this_machine(url, local):
    assert Endpoint(url, "m").is_local is local


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"base_url": "127.0.0.1:8000"}, "base_url"),
        ({"base_url": "http://h:port/v1"}, "base_url"),
        ({"base_url": f"http://me:{KEY}@h/v1"}, "base_url"),
        ({"base_url": f"http://h/v1?key={KEY}"}, "base_url"),
        ({"model": ""}, "model"),
        ({"concurrency": 0}, "concurrency"),
        ({"timeout": 0.0}, "timeout"),
        ({"patience": -1.0}, "patience"),
    ],
)
def test_settings_out_of_range(settings, named):
    with pytest.raises(ConfigError, match=f"^{named}") as error:
        Endpoint(**{"base_url": "http://h/v1", "model": "m", **settings})
    assert KEY not in str(error.value)


def test_without_the_sdk_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *args, **kwargs):
        if name == "openai":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ConfigError, match=r"pip install '\.\[server\]' in the clone"):
        Server(Endpoint("http://h/v1", "m"))


# Waits


@given(
    st.floats(0.0, 500.0),
    st.floats(0.001, 5.0),
    st.lists(st.tuples(st.floats(0.0, 40.0), st.none() | st.floats(0.0, 100.0)), max_size=30),
)
def test_waits_grow_within_bounds_and_end_with_patience(limit, first_wait, failures):
    patience, now = Patience(limit, first_wait), 100.0
    for number, (took, asked) in enumerate(failures):
        now += took
        since = patience.failing_since if patience.failing_since is not None else now
        wait = patience.next_wait(Fault("x", wait=asked), now, last_success=0.0)
        left = since + limit - now
        if wait is None:
            assert left <= 0 or (asked or 0.0) > left
            return
        assert 0 <= wait <= left
        if asked:
            assert wait >= asked
        else:
            own = min(first_wait * 2**number, LONGEST_WAIT)
            assert min(0.5 * own, left) <= wait <= own
        now += wait
        assert now <= since + limit + 1e-9


def test_a_crowded_server_that_serves_others_is_not_given_up():
    crowded, broken = Patience(10.0, 1.0), Patience(10.0, 1.0)
    for now in range(0, 100, 5):
        assert crowded.next_wait(Fault("429", crowded=True), now, last_success=now - 1) is not None
    assert broken.next_wait(Fault("500"), 0.0, last_success=0.0) is not None
    assert broken.next_wait(Fault("500"), 11.0, last_success=10.0) is None
