"""One judge's vote on one response: ask, read, ask again with what was wrong, abstain."""

from __future__ import annotations

import json
import math
import re
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from pydantic import BaseModel, ConfigDict

from attnpo.errors import ConfigError, EngineError
from attnpo.labeling.judge.answer import InvalidAnswer, answer_schema, read_answer, without_thinking
from attnpo.labeling.judge.cache import AnswerCache, request_key
from attnpo.labeling.judge.settings import JudgeSettings
from attnpo.rollouts import StepLabel
from attnpo.serving import Endpoint, RefusedError, ServerUsage, message_text

Message = dict[str, str]

NO_VALID_ANSWER = "no valid answer"
TOO_LONG = "prompt longer than the judge's context"
FILTERED = "refused by a content filter"
FAILED_ALONE = "server failed on this response"

MOST_ALONE = 8
"""Responses that a server may fail on one after another, serving none between, as long as it says what it serves."""
_SEEDS_APART = 1000
_QUOTED = 4000
"""Characters of an unusable answer that the judge is shown again."""
_REFUSALS = (
    (
        TOO_LONG,
        re.compile(r"context (length|size|window)|context_length|too long|too many tokens|max_new_tokens", re.I),
    ),
    (FILTERED, re.compile(r"content[ _](filter|policy|management)|responsible ?ai", re.I)),
)
_ABOUT_FORMAT = re.compile(r"response_format|json_schema|json_object|schema|grammar|guided", re.I)


class Posts(Protocol):
    """What of `attnpo.serving.Server` a judge needs."""

    endpoint: Endpoint
    usage: ServerUsage

    def post(
        self, path: str, body: Mapping[str, Any], check: Callable[[dict[str, Any]], str | None] | None = None
    ) -> dict[str, Any]:
        """Return the answer to one request."""
        ...

    def look_up(self, address: str, wait: bool = True) -> Any:
        """Return the JSON value at an address of the server's, None where there is none."""
        ...

    def close(self) -> None:
        """Drop what is under way."""
        ...


@dataclass(frozen=True)
class Judge:
    """A model with a seed: asked the same, two judges of one model answer differently."""

    name: str
    server: Posts
    seed: int

    @property
    def model(self) -> str:
        """The name the server knows the model by."""
        return self.server.endpoint.model


class Vote(BaseModel):
    """What one judge said of one response.

    Attributes:
        labels: one label a step; None where it abstained.
        abstained: why it abstained, one of a few reasons.
        detail: what was wrong with its last answer, or what the server said.
        attempts: answers it took.
        cache_hits: how many of them were on disk already.
        prompt_tokens: prompt tokens of these answers, whenever they were paid for, as the server counts them.
        completion_tokens: their generated tokens.
    """

    model_config = ConfigDict(frozen=True)

    labels: tuple[StepLabel, ...] | None = None
    abstained: str | None = None
    detail: str | None = None
    attempts: int = 0
    cache_hits: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0


class Stopped(Exception):
    """The run is ending; the judge was not asked."""


class _FailedAlone(Exception):
    """The server gave this request up, and is well otherwise."""


class Asking:
    """Asks judges, from any number of threads; every answer is in the cache before it is read.

    Attributes:
        stop: once set, nothing more is bought.
    """

    def __init__(self, settings: JudgeSettings, cache: AnswerCache):
        """Prepare; nothing is sent.

        Args:
            settings: how to ask.
            cache: the answers paid for so far.
        """
        self.stop = threading.Event()
        self._how = settings
        self._cache = cache
        self._last_success: dict[int, float] = {}
        self._failed: dict[int, set[str]] = {}

    def vote(self, judge: Judge, prompt: str, n_steps: int) -> Vote:
        """Return a judge's vote on one response.

        An answer that is not valid is shown to the judge again with what is wrong with it. The judge abstains after
        `judge_attempts` answers, where the server refuses the prompt for its length or content, and where it fails on
        this prompt while it serves others, or would: the last few responses of a run have nobody beside them.

        Args:
            judge: who is asked.
            prompt: what it is asked.
            n_steps: number of steps to label.

        Raises:
            EngineError: the server is gone for good.
            ConfigError: it refuses the request for a reason that all responses share.
            Stopped: `stop` is set.
        """
        messages: list[Message] = [{"role": "user", "content": prompt}]
        vote = Vote(abstained=NO_VALID_ANSWER)
        for attempt in range(self._how.judge_attempts):
            try:
                answer, cached = self._answer(judge, request_body(judge, messages, self._how, attempt))
            except _FailedAlone as error:
                return vote.model_copy(update={"abstained": FAILED_ALONE, "detail": str(error)})
            except RefusedError as error:
                reason = _reason(error)
                if reason is None:
                    raise _explained(judge, error) from error
                return vote.model_copy(update={"abstained": reason, "detail": str(error)})
            text = message_text(answer["choices"][0]["message"]) or ""
            cost = {
                "attempts": attempt + 1,
                "cache_hits": vote.cache_hits + cached,
                "prompt_tokens": vote.prompt_tokens + _tokens(answer, "prompt_tokens"),
                "completion_tokens": vote.completion_tokens + _tokens(answer, "completion_tokens"),
            }
            try:
                labels = read_answer(text, n_steps)
            except InvalidAnswer as error:
                cut = answer["choices"][0].get("finish_reason") == "length"
                complaint = f"it was cut off at the limit of its length, and {error}" if cut else str(error)
                vote = vote.model_copy(update={"detail": complaint, **cost})
                messages = [messages[0], *_again(text, complaint, n_steps)]
            else:
                return Vote(labels=labels).model_copy(update=cost)
        return vote

    def _answer(self, judge: Judge, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """Return the answer, and whether it was in the cache."""
        key = request_key(body)
        with self._cache.lock(key):
            kept = self._cache.get(key)
            if kept is not None and _complaint(kept) is None:
                return kept, True
            if self.stop.is_set():
                raise Stopped
            answer = self._buy(judge, body)
            self._cache.put(key, body, answer)
            return answer, False

    def _buy(self, judge: Judge, body: Mapping[str, Any]) -> dict[str, Any]:
        useless = False

        def complaint(answer: dict[str, Any]) -> str | None:
            nonlocal useless
            said = _complaint(answer)
            useless = said is not None
            return said

        server = judge.server
        try:
            answer = server.post("chat/completions", body, complaint)
        except EngineError as error:
            # A server that answers others is not gone; the run would end on the same response again and again.
            silent = time.monotonic() - self._last_success.get(id(server), -math.inf)
            failed = self._failed.setdefault(id(server), set())
            failed.add(body["messages"][0]["content"])
            few = len(failed) <= MOST_ALONE
            if useless or silent < server.endpoint.patience / 2 or (few and server.look_up("models", wait=False)):
                raise _FailedAlone(str(error)) from error
            raise EngineError(f"judge {judge.name}: {error}; answers so far are in {self._cache.folder}") from error
        self._last_success[id(server)] = time.monotonic()
        self._failed.pop(id(server), None)
        return _without_key(answer, server.endpoint)


def request_body(judge: Judge, messages: list[Message], settings: JudgeSettings, attempt: int = 0) -> dict[str, Any]:
    """Return the request: what the answer depends on, and nothing else.

    Every attempt has a seed of its own, so that the same mistake made twice does not make two requests one.
    """
    body: dict[str, Any] = {
        "model": judge.model,
        "messages": messages,
        "max_tokens": settings.judge_max_tokens,
        "temperature": settings.judge_temperature,
        "seed": judge.seed + _SEEDS_APART * attempt,
    }
    if settings.judge_structured_output == "json_schema":
        schema = {"name": "step_labels", "strict": True, "schema": answer_schema()}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif settings.judge_structured_output == "json_object":
        body["response_format"] = {"type": "json_object"}
    body |= settings.extra_body()
    return {name: value for name, value in body.items() if value is not None}


def _reason(error: RefusedError) -> str | None:
    """Return why a refusal concerns this response alone, None where it concerns all."""
    if error.status == 413:
        return TOO_LONG
    return next((reason for reason, pattern in _REFUSALS if pattern.search(str(error))), None)


def _complaint(answer: Mapping[str, Any]) -> str | None:
    """Return what keeps an answer from being one at all: gateways report failures with status 200."""
    choices = answer.get("choices")
    first = choices[0] if isinstance(choices, list) and choices else None
    if isinstance(first, dict) and isinstance(first.get("message"), dict):
        return None
    return f"an answer without a message: {json.dumps(answer, ensure_ascii=False)}"


def _without_key(answer: dict[str, Any], endpoint: Endpoint) -> dict[str, Any]:
    """Return the answer with the key blotted out, should the server have echoed it."""
    key = endpoint.read_key()
    text = json.dumps(answer, ensure_ascii=False)
    if len(key) < 8 or key not in text:
        return answer
    clean: dict[str, Any] = json.loads(text.replace(key, "***"))
    return clean


def _tokens(answer: Mapping[str, Any], name: str) -> int:
    usage = answer.get("usage")
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) else 0


def _again(text: str, complaint: str, n_steps: int) -> list[Message]:
    """Return the unusable answer, and what to tell the judge about it."""
    said = without_thinking(text)
    return [
        {"role": "assistant", "content": said[-_QUOTED:] or "(no answer)"},
        {
            "role": "user",
            "content": f"This answer cannot be used: {complaint}. Answer again, with one JSON object and nothing else: "
            f'{{"analysis": "…", "steps": [{{"step": 1, "label": "essential"}}, …]}}, every step from 1 to {n_steps} '
            "exactly once, each label essential, redundant or undecided.",
        },
    ]


def _explained(judge: Judge, error: RefusedError) -> ConfigError:
    about_format = _ABOUT_FORMAT.search(str(error))
    mend = "; where the server knows no JSON schemas, set judge_structured_output to json_object or none"
    return ConfigError(f"judge {judge.name}: {error}{mend if about_format else ''}")
