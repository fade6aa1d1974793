"""A real HTTP server on 127.0.0.1 that does what a test tells it: answers, delays, refusals, cut lines, death.

    with FakeServer(lambda request: completion("four")) as server:      # one function for every request
    with FakeServer([status(429), cut_off(), chat("four")]) as server:  # a queue, then plain completions
        Server(Endpoint(server.base_url, "m"))

The function gets a `Request` and returns a `Reply`; it runs in the request's own thread. `server.requests` holds what
came, `server.most_at_once` how many were under way together, `server.die()` and `server.come_back()` stop and start
it on the same port, and a reply with `dies_for` does so itself.
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
    """

    body: Any = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0
    ending: Literal["whole", "cut", "close", "reset"] = "whole"
    content_type: str = "application/json"
    dies_for: float | None = None

    def bytes(self) -> bytes:
        return self.body.encode() if isinstance(self.body, str) else json.dumps(self.body).encode()


def completion(text: str, finish: str | None = "stop", tokens: int = 1, prompt_tokens: int = 1, **choice: Any) -> Reply:
    """A `/completions` answer; further keywords go into the choice (`token_ids`)."""
    usage = {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}
    return Reply({"choices": [{"index": 0, "text": text, "finish_reason": finish, **choice}], "usage": usage})


def chat(content: str | None, finish: str | None = "stop", tokens: int = 1, prompt_tokens: int = 1, **message: Any):
    """A `/chat/completions` answer; further keywords go into the message (`reasoning_content`)."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}, "finish_reason": finish}
    return Reply({"choices": [choice], "usage": {"prompt_tokens": prompt_tokens, "completion_tokens": tokens}})


def status(code: int, message: str = "not now", retry_after: str | float | None = None) -> Reply:
    headers = {} if retry_after is None else {"Retry-After": str(retry_after)}
    return Reply({"error": {"message": message, "type": "test"}}, status=code, headers=headers)


def slow(reply: Reply, seconds: float) -> Reply:
    return replace(reply, delay=seconds)


def not_json() -> Reply:
    return Reply('{"choices": [', content_type="application/json")


def html() -> Reply:
    return Reply("<html>busy</html>", content_type="text/html")


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
        self.requests: list[Request] = []
        self.times: list[float] = []
        self.most_at_once = 0

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._port}/v1"

    def __enter__(self) -> FakeServer:
        self.come_back()
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer.join()
        self.die()

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
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
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
            page = fake.pages.get(self.path.partition("?")[0])
            data = json.dumps(page).encode()
            self.send_response(404 if page is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *args: object) -> None:
            pass

    return Handler
