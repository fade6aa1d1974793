"""Requests to one server: bounded, retried while it is gone, yielded as they finish."""

from __future__ import annotations

import asyncio
import json
import logging
import queue
import threading
import time
from collections.abc import Callable, Collection, Coroutine, Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any

from attnpo.errors import AttnPOError, ConfigError, EngineError, install_command
from attnpo.files import whole_json
from attnpo.serving.endpoint import Endpoint
from attnpo.serving.faults import PASSING_STATUSES, Fault, RefusedError, masked_line, status_fault
from attnpo.serving.patience import Patience

CONNECT_SECONDS = 30.0
AWAY = frozenset({502, 503, 504})
"""Statuses of a server that is not there yet, or of what stands before it."""
MOST_REFUSED = 8
"""Refusals in a row, before any answer, that are no matter of single requests any more."""

Check = Callable[[dict[str, Any]], str | None]
"""Looks at an answer and returns what is wrong with it, None where it is of use."""

logger = logging.getLogger(__name__)


@dataclass
class ServerUsage:
    """What was asked of a server so far.

    Attributes:
        requests: answers received and of use.
        retries: tries beyond the first.
        prompt_tokens: prompt tokens of the answers, as the server counts them; 0 where it does not.
        completion_tokens: generated tokens of the answers, likewise.
    """

    requests: int = 0
    retries: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Server:
    """One model on one OpenAI-compatible server, through the `openai` SDK.

    A request that fails in a way that may pass (connection lost, 408, 409, 425, 429, 5xx, an answer that is not JSON
    or is cut off) is made again after a wait: `first_wait` seconds, doubled each time up to 30, with jitter, or what
    the server's `Retry-After` says. It is given up once it has failed for `patience` seconds. Usable from any thread.

    Attributes:
        endpoint: where the server is.
        usage: what was asked of it so far.
    """

    def __init__(self, endpoint: Endpoint, *, first_wait: float = 1.0):
        """Prepare the client; nothing is sent yet.

        Args:
            endpoint: where the server is.
            first_wait: seconds before a failed request is first made again.

        Raises:
            ConfigError: the `openai` package is missing, or the key is malformed.
        """
        try:
            import openai
        except ImportError as error:
            raise ConfigError(f"servers need the openai package: {install_command('server')}") from error
        self.endpoint = endpoint
        self.usage = ServerUsage()
        self._openai = openai
        self._first_wait = first_wait
        self._key = endpoint.read_key()
        timeout = openai.Timeout(endpoint.timeout, connect=min(CONNECT_SECONDS, endpoint.timeout), pool=None)
        self._client = openai.AsyncOpenAI(
            base_url=endpoint.base_url,
            api_key=self._key,
            max_retries=0,
            timeout=timeout,
            http_client=openai.DefaultAsyncHttpxClient(trust_env=not endpoint.is_local, timeout=timeout),
        )
        self._limit = asyncio.Semaphore(endpoint.concurrency)
        self._last_success = time.monotonic()
        self._is_down = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()
        self._closed = False

    def __repr__(self) -> str:
        return f"Server({self.endpoint!r})"

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop what is under way and close every connection."""
        with self._starting:
            self._closed = True
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is not None and thread is not None:
            asyncio.run_coroutine_threadsafe(self._shut(), loop).result()
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    def post(self, path: str, body: Mapping[str, Any], check: Check | None = None) -> dict[str, Any]:
        """Return the server's answer to one request.

        Args:
            path: `chat/completions` or `completions`.
            body: the request, JSON values; the endpoint's model is added where it names none.
            check: says what is wrong with an answer, which is then asked for again, a few times.

        Raises:
            EngineError: the server was gone, or gave no answer of use, for longer than `patience`.
            RefusedError: the server refuses the request (a ConfigError: status, its message, the setting to mend).
        """
        future = self._submit(self._ask(path, body, check, asyncio.Event()))
        try:
            return future.result()
        finally:
            future.cancel()

    def post_all(
        self,
        path: str,
        bodies: Iterable[Mapping[str, Any]],
        check: Check | None = None,
        alone: Collection[int] = (),
    ) -> Iterator[tuple[int, dict[str, Any] | RefusedError]]:
        """Yield `(index of the body, its answer)` as they finish, `concurrency` under way at a time.

        Bodies are taken one by one, as places come free. When a request fails for good no further one is made, those
        the server is answering are yielded, those waiting for another try are dropped, and then the error is raised.

        Args:
            path: `chat/completions` or `completions`.
            bodies: the requests, JSON values.
            check: as in `post`.
            alone: statuses of a refusal that concerns its own request where others are answered (a prompt that is too
                long, or moderated): such a refusal is yielded in the answer's place. Until one request is answered it
                waits, and `MOST_REFUSED` of them, or all there are, are an error.

        Raises:
            EngineError, RefusedError: as `post`.
        """
        waiting = enumerate(bodies)
        finished: queue.SimpleQueue[int] = queue.SimpleQueue()
        under_way: dict[int, Future[dict[str, Any]]] = {}
        give_up = asyncio.Event()
        error: AttnPOError | None = None
        refused: list[tuple[int, RefusedError]] = []
        answered = exhausted = False
        try:
            while True:
                while error is None and not exhausted and len(under_way) < self.endpoint.concurrency:
                    index, body = next(waiting, (-1, None))
                    if body is None:
                        exhausted = True
                        break
                    future = self._submit(self._ask(path, body, check, give_up))
                    under_way[index] = future
                    future.add_done_callback(partial(_put, finished, index))
                if not under_way:
                    break
                index = finished.get()
                try:
                    answer = under_way.pop(index).result()
                except (EngineError, RefusedError) as failure:
                    if isinstance(failure, RefusedError) and failure.status in alone:
                        refused.append((index, failure))
                        if not answered and len(refused) < MOST_REFUSED:
                            continue
                    if answered and refused:
                        yield from refused
                        refused.clear()
                    elif error is None:
                        error = failure
                        self._call_soon(give_up.set)
                    continue
                yield index, answer
                answered = True
                yield from refused
                refused.clear()
        finally:
            for future in under_way.values():
                future.cancel()
        if error is None and refused:
            error = refused[0][1]
        if error is not None:
            raise error

    def look_up(self, address: str, wait: bool = True) -> Any:
        """Return the JSON value that lies at an address of the server's, None where there is none.

        Args:
            address: relative to `base_url`, or whole.
            wait: a server that is away is waited for, as in `post`; else it is asked once, and None stands for it too.

        Raises:
            EngineError: the server was gone for longer than `patience`.
        """
        future = self._submit(self._look_up(address, wait))
        try:
            return future.result()
        finally:
            future.cancel()

    async def _look_up(self, address: str, wait: bool) -> Any:
        patience = Patience(self.endpoint.patience, self._first_wait)
        while True:
            found = await self._look_once(address)
            if not isinstance(found, Fault):
                self._report_life()
                return found
            if not wait:
                return None
            seconds = patience.next_wait(found, time.monotonic(), self._last_success)
            if seconds is None:
                raise self._given_up(found, patience)
            self._report_outage(found)
            await asyncio.sleep(seconds)

    async def _look_once(self, address: str) -> Any:
        openai, timeout = self._openai, min(self.endpoint.timeout, CONNECT_SECONDS)
        try:
            answer: object = await asyncio.wait_for(self._client.get(address, cast_to=object), timeout)
            return whole_json(json.loads(answer) if isinstance(answer, str) else answer)
        except (TimeoutError, openai.APITimeoutError):
            return Fault(f"no answer within {timeout:g} s")
        except openai.APIStatusError as error:
            away = error.status_code in PASSING_STATUSES | AWAY
            return Fault(f"status {error.status_code}") if away else None
        except openai.APIConnectionError as error:
            return Fault(masked_line(str(error.__cause__ or error), self._key) or type(error.__cause__).__name__)
        except ValueError:
            return None

    async def _ask(
        self, path: str, body: Mapping[str, Any], check: Check | None, give_up: asyncio.Event
    ) -> dict[str, Any]:
        request = {"model": self.endpoint.model, **body}
        patience = Patience(self.endpoint.patience, self._first_wait)
        while True:
            async with self._limit:
                result = await self._try_once(path, request, check)
            if isinstance(result, RefusedError):
                raise result
            now = time.monotonic()
            if not isinstance(result, Fault):
                self._last_success = now
                self._count(result)
                self._report_life()
                return result
            wait = patience.next_wait(result, now, self._last_success)
            if wait is None or give_up.is_set():
                raise self._given_up(result, patience)
            self._report_outage(result)
            if await _set_within(give_up, wait):
                raise self._given_up(result, patience)
            self.usage.retries += 1

    async def _try_once(
        self, path: str, body: Mapping[str, Any], check: Check | None
    ) -> dict[str, Any] | Fault | RefusedError:
        openai, timeout = self._openai, self.endpoint.timeout
        try:
            # The client's own limit is between two bytes; this one is on the whole answer.
            answer: object = await asyncio.wait_for(
                self._client.post(f"/{path.lstrip('/')}", cast_to=object, body=body), timeout
            )
            if isinstance(answer, str):  # JSON under another content type, or no JSON
                answer = json.loads(answer)
            answer = whole_json(answer)
        except (TimeoutError, openai.APITimeoutError):
            return Fault(f"no answer within the timeout of {timeout:g} s")
        except openai.APIStatusError as error:
            return status_fault(self.endpoint, error.status_code, error.response.headers, error.body, self._key)
        except openai.APIConnectionError as error:
            return Fault(masked_line(str(error.__cause__ or error), self._key) or type(error.__cause__).__name__)
        except ValueError:
            return Fault("an answer that is not JSON")
        if not isinstance(answer, dict):
            return Fault("an answer that is not a JSON object")
        complaint = check(answer) if check is not None else None
        return answer if complaint is None else Fault(masked_line(complaint, self._key), malformed=True)

    def _given_up(self, fault: Fault, patience: Patience) -> EngineError:
        seconds = time.monotonic() - (patience.failing_since or 0.0)
        limit = self.endpoint.patience
        asked = f", which asks to wait {fault.wait:g} s" if fault.wait is not None else ""
        tries = f"{patience.tries} tries" if patience.tries > 1 else "one try"
        mend = (
            "look at the server's log"
            if fault.malformed
            else f"mend the server or raise patience ({limit:g} s), and run again to continue"
        )
        return EngineError(
            f"{self.endpoint.base_url}: given up after {tries} in {seconds:.0f} s ({fault.reason}){asked}; {mend}"
        )

    def _report_outage(self, fault: Fault) -> None:
        if not self._is_down:
            self._is_down = True
            logger.warning(
                "%s: %s; trying again for %g s", self.endpoint.base_url, fault.reason, self.endpoint.patience
            )

    def _report_life(self) -> None:
        if self._is_down:
            self._is_down = False
            logger.warning("%s: answers again", self.endpoint.base_url)

    def _count(self, answer: Mapping[str, Any]) -> None:
        self.usage.requests += 1
        usage = answer.get("usage")
        if isinstance(usage, Mapping):
            self.usage.prompt_tokens += _whole(usage.get("prompt_tokens"))
            self.usage.completion_tokens += _whole(usage.get("completion_tokens"))

    def _submit(self, asking: Coroutine[Any, Any, dict[str, Any]]) -> Future[dict[str, Any]]:
        try:
            return asyncio.run_coroutine_threadsafe(asking, self._running_loop())
        except BaseException:
            asking.close()
            raise

    def _call_soon(self, function: Callable[[], Any]) -> None:
        self._running_loop().call_soon_threadsafe(function)

    def _running_loop(self) -> asyncio.AbstractEventLoop:
        with self._starting:
            if self._closed:
                raise RuntimeError("the server's client is closed")
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                self._thread = threading.Thread(target=self._loop.run_forever, name="attnpo-server", daemon=True)
                self._thread.start()
            return self._loop

    async def _shut(self) -> None:
        others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        await self._client.close()


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(event.wait(), seconds)
    except TimeoutError:
        return False
    return True


def _put(finished: queue.SimpleQueue[int], index: int, _: Future[Any]) -> None:
    finished.put(index)


def _whole(value: object) -> int:
    return value if isinstance(value, int) else 0
