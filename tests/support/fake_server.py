"""A real HTTP server on 127.0.0.1 that does what a test tells it: answers, delays, refusals, cut lines, death.

    with FakeServer(lambda request: completion("four")) as server:      # one function for every request
    with FakeServer([status(429), cut_off(), chat("four")]) as server:  # a queue, then plain completions
        Server(Endpoint(server.base_url, "m"))

The function gets a `Request` and returns a `Reply`; it runs in the request's own thread. `server.requests` holds what
came, `server.most_at_once` how many were under way together, `server.die()` and `server.come_back()` stop and start
it on the same port, and a reply with `dies_for` does so itself. A reply that no server in `server_replies` would give
fails the `with` block at its end, unless `odd` made it; so does a page of `server.pages`.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from server_replies import LLAMA_CPP, VLLM, said_by_none

KINDS = {"/v1/completions": "completions", "/v1/chat/completions": "chat", "/v1/models": "models"}
"""Address → kind of reply."""


@dataclass(frozen=True)
class Request:
    """What a client sent."""

    number: int
    path: str
    headers: Mapping[str, str]
    body: dict[str, Any]


@dataclass(frozen=True)
class Reply:
    """What the server does with a request.

    `ending`: "whole" sends everything, "cut" half of the body, "close" nothing at all, "reset" a TCP reset.
    `known`: a server of those that were recorded says it.
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    ending: Literal["whole", "cut", "close", "reset"] = "whole"
    content_type: str = "application/json"
    dies_for: float | None = None
    known: bool = True

    def bytes(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


ABOUT = {"id": "cmpl-1", "created": 1, "model": "small"}


def completion(text: str, finish: str | None = "stop", tokens: int = 1, prompt_tokens: int = 1, **choice: Any) -> Reply:
    """vLLM's `/completions` answer; further keywords go into the choice (`token_ids`)."""
    choices = [{"index": 0, "text": text, "finish_reason": finish, **choice}]
    return Reply(VLLM.filled("completions", {**ABOUT, "choices": choices, "usage": usage(prompt_tokens, tokens)}))


def llama_completion(text: str, finish: str, ids: Iterable[int] | None, prompt_tokens: int) -> Reply:
    """llama.cpp's `/completions` answer, with log-probabilities where ids are given."""
    token = {"token": "", "bytes": [], "logprob": -0.1, "top_logprobs": []}
    told = None if ids is None else {"content": [{"id": each, **token} for each in ids]}
    choices = [{"index": 0, "text": text, "finish_reason": finish, "logprobs": told}]
    return Reply(LLAMA_CPP.filled("completions", {**ABOUT, "choices": choices, "usage": usage(prompt_tokens, 1)}))


def chat(content: str | None, finish: str | None = "stop", tokens: int = 1, prompt_tokens: int = 1, **message: Any):
    """vLLM's `/chat/completions` answer; further keywords go into the message.

    With `reasoning_content` it is llama.cpp's, or, with null beside it, that of a server which is not known here.
    """
    message = {"role": "assistant", "content": content, **message}
    choices = [{"index": 0, "message": message, "finish_reason": finish}]
    server = LLAMA_CPP if "reasoning_content" in message else VLLM
    body = server.filled("chat", {**ABOUT, "choices": choices, "usage": usage(prompt_tokens, tokens)})
    return Reply(body, known=server is VLLM or None not in message.values())


def usage(prompt: int, sampled: int) -> dict[str, int]:
    return {"prompt_tokens": prompt, "completion_tokens": sampled, "total_tokens": prompt + sampled}


def status(code: int, message: str = "not now", retry_after: str | float | None = None) -> Reply:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Reply(VLLM.filled("error", {"error": {"message": message, "type": "test", "code": code}}), code, headers)


def odd(body: Any, **settings: Any) -> Reply:
    """What none of the servers that were recorded says: a broken answer, a word of another service."""
    return Reply(body, known=False, **settings)


def slow(reply: Reply, seconds: float) -> Reply:
    return replace(reply, delay=seconds)


def not_json() -> Reply:
    return odd('{"choices": [')


def html() -> Reply:
    return odd("<html>busy</html>", content_type="text/html")


def cut_off() -> Reply:
    """The headers promise more than comes."""
    return replace(completion("cut"), ending="cut")


def closed() -> Reply:
    return Reply(ending="close")


def reset() -> Reply:
    return Reply(ending="reset")


def dying(seconds: float) -> Reply:
    """The connection is reset, and the whole server gone for so long."""
    return Reply(ending="reset", dies_for=seconds)


class FakeServer:
    """See the module's text."""

    def __init__(
        self,
        replies: Callable[[Request], Reply] | Iterable[Reply] = (),
        then: Callable[[Request], Reply] = lambda request: completion("ok"),
    ):
        self._queue = None if callable(replies) else iter(replies)
        self._function = replies if callable(replies) else then
        self._lock = threading.Lock()
        self._connections: set[socket.socket] = set()
        self._server: ThreadingHTTPServer | None = None
        self._timer: threading.Timer | None = None
        self._now = 0
        self._port = 0
        self.pages: dict[str, Any] = {}
        """What lies at an address (`/v1/models`), JSON values; anything else is a 404."""
        self.strange: list[str] = []
        """What it said that no server would say."""
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.most_at_once = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FakeServer:
        self.come_back()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self.die()
        assert kind is not None or not self.strange, f"no server says so: {self.strange[0]}"

    def _hold(self, path: str, reply: Reply) -> None:
        """Note a reply that no server would give."""
        if not reply.known or reply.ending in ("close", "reset"):
            return
        strange = said_by_none("error" if reply.status >= 400 else KINDS[path], reply.body)
        if strange is not None:
            self.strange.append(strange)

    def come_back(self) -> None:
        """Listen again, on the port of before."""
        server = ThreadingHTTPServer(("127.0.0.1", self._port), _handler(self), bind_and_activate=False)
        server.daemon_threads = True
        server.request_queue_size = 128
        server.server_bind()
        server.server_activate()
        self._server, self._port = server, server.server_address[1]
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def die(self) -> None:
        """Close the port and every connection."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        server.server_close()
        with self._lock:
            connections, self._connections = self._connections, set()
        for connection in connections:
            with contextlib.suppress(OSError):  # closed by the other side meanwhile
                connection.shutdown(socket.SHUT_RDWR)  # wakes the thread that reads from it, which closes it

    def _die_for(self, seconds: float) -> None:
        self._timer = threading.Timer(seconds, self.come_back)
        # A handler's own thread cannot wait for the server to stop serving it.
        threading.Thread(target=lambda: (self.die(), self._timer and self._timer.start()), daemon=True).start()

    def _reply(self, path: str, headers: Mapping[str, str], body: dict[str, Any]) -> Reply:
        with self._lock:
            request = Request(len(self.requests), path, headers, body)
            self.requests.append(request)
            self.times.append(time.monotonic())
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
            queued = next(self._queue, None) if self._queue is not None else None
        try:
            reply = queued if queued is not None else self._function(request)
            self._hold(path, reply)
            time.sleep(reply.delay)
            return reply
        finally:
            with self._lock:
                self._now -= 1


def _reset(connection: socket.socket) -> None:
    """Make the close that follows a TCP reset."""
    with contextlib.suppress(OSError):  # closed by the other side meanwhile
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


def _handler(fake: FakeServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            with fake._lock:
                fake._connections.add(self.connection)

        def finish(self) -> None:
            with fake._lock:
                fake._connections.discard(self.connection)
            with contextlib.suppress(OSError):  # reset meanwhile
                super().finish()

        def handle_one_request(self) -> None:
            try:
                super().handle_one_request()
            except OSError:
                self.close_connection = True

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or b"{}")
            headers = {name.lower(): value for name, value in self.headers.items()}
            reply = fake._reply(self.path, headers, body)
            if reply.dies_for is not None:
                fake._die_for(reply.dies_for)
            if reply.ending in ("close", "reset"):
                self.close_connection = True
                if reply.ending == "reset":
                    _reset(self.connection)
                return
            data = reply.bytes()
            self.send_response(reply.status)
            self.send_header("Content-Type", reply.content_type)
            self.send_header("Content-Length", str(len(data)))
            for name, value in reply.headers.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(data[: len(data) // 2] if reply.ending == "cut" else data)
            if reply.ending == "cut":
                self.close_connection = True

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            page = fake.pages.get(path)
            if page is not None and path in KINDS:
                fake._hold(path, Reply(page))
            data = json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    return Handler
