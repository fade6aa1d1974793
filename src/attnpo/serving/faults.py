"""What a failed request means: try again, or give up and say what to mend."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from attnpo.errors import ConfigError
from attnpo.files import whole_characters
from attnpo.serving.endpoint import NO_KEY, Endpoint

PASSING_STATUSES = frozenset({408, 409, 425, 429})
"""Statuses below 500 that mean "later", not "never"."""

MESSAGE_CHARS = 300


class RefusedError(ConfigError):
    """The server refuses the request itself; asking again changes nothing.

    Attributes:
        status: the HTTP status.
    """

    def __init__(self, message: str, status: int):
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Fault:
    """A failure that may pass.

    Attributes:
        reason: what happened, a few words.
        wait: seconds the server asks to wait, where it says so.
        crowded: the server is well but has too much to do (429): others' success counts as its life.
        malformed: an answer came but was no use; more of them are unlikely to be better.
    """

    reason: str
    wait: float | None = None
    crowded: bool = False
    malformed: bool = False


def status_fault(
    endpoint: Endpoint, status: int, headers: Mapping[str, str], body: object, key: str
) -> Fault | RefusedError:
    """Return what an answer with an error status means.

    Args:
        endpoint: who answered.
        status: the HTTP status, 400 or above.
        headers: the answer's headers, lower-case names.
        body: the answer's body, parsed where it was JSON.
        key: the key in use, so that a server that echoes it does not put it into messages.
    """
    message = masked_line(_said(body), key)
    if status >= 500 or status in PASSING_STATUSES:
        reason = f"status {status}" + (f": {message}" if message else "")
        return Fault(reason, wait=_retry_after(headers), crowded=status == 429)
    mend = {
        401: _key_hint(endpoint, key),
        403: _key_hint(endpoint, key),
        404: f"check base_url (it usually ends in /v1) and the model's name there, {endpoint.model!r}",
        405: "check base_url (it usually ends in /v1)",
    }.get(status, "change the setting the server names")
    said = f"{message.rstrip('. ')!r}" if message else "without a word"
    return RefusedError(f"{endpoint.base_url}: the server refuses with status {status}, {said}; {mend}", status)


def masked_line(text: str, key: str) -> str:
    """Return a text as one line of bounded length and whole characters in which the key does not stand."""
    if key != NO_KEY:
        text = text.replace(key, "***")
    line = whole_characters(" ".join(text.split()))
    return line if len(line) <= MESSAGE_CHARS else f"{line[:MESSAGE_CHARS]}…"


def _key_hint(endpoint: Endpoint, key: str) -> str:
    missing = " (it is not set)" if key == NO_KEY else ""
    return f"put a key the server accepts into the environment variable {endpoint.api_key_env}{missing}"


def _said(body: object) -> str:
    """Return what an error body says: OpenAI's `error.message`, FastAPI's `detail`, or all of it."""
    while isinstance(body, Mapping):
        inner: Any = next((body[name] for name in ("error", "message", "detail") if body.get(name)), None)
        if inner is None:
            return json.dumps(body, ensure_ascii=False, default=str)
        body = inner
    if body is None:
        return ""
    return body if isinstance(body, str) else json.dumps(body, ensure_ascii=False, default=str)


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds of a `Retry-After` header, given as seconds or as a date."""
    value = headers.get("retry-after", "").strip()
    if not value:
        return None
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(value)
    except ValueError:
        return None
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())
