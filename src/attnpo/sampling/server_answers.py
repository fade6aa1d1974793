"""A server's answers as responses, the way the model's own sampler would have given them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnpo.markers import markers_of
from attnpo.sampling.base import SampledResponse
from attnpo.sampling.server_requests import Api
from attnpo.serving import message_text
from attnpo.think import THINK_CLOSE, THINK_OPEN, has_think_part

ENDED = frozenset({"stop", "eos", "eos_token", "end_turn", "stop_sequence"})
CUT = frozenset({"length", "max_tokens"})
OUTCOMES = frozenset({"content_filter", "tool_calls", "function_call", "refusal", "safety"})
"""Reasons to finish that will be the same however often the request is made, and leave no response of use."""
REASONING_FIELDS = ("reasoning_content", "reasoning")


def complaint(answer: Mapping[str, Any], api: Api) -> str | None:
    """Return what keeps an answer from being the last word on its request, None where nothing does."""
    choices = answer.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], Mapping):
        error = answer.get("error")
        said = error.get("message") if isinstance(error, Mapping) else error
        return f"an answer without a choice{f': {said}' if said else ''}"
    choice = choices[0]
    finish = choice.get("finish_reason")
    if finish in OUTCOMES:
        return None
    if finish not in ENDED | CUT:
        return f"an answer whose finish_reason is {finish!r}, neither 'stop' nor 'length'"
    if _token_ids(choice) is not None or _text(choice, api, opened=False) is not None:
        return None
    return None if api == "chat" and isinstance(choice.get("message"), Mapping) else "an answer without text"


def failure(answer: Mapping[str, Any], api: Api) -> str | None:
    """Return why an answer that `complaint` has nothing against holds no response of use, None where it does."""
    choice = answer["choices"][0]
    if choice["finish_reason"] in OUTCOMES:
        return f"finish_reason {choice['finish_reason']}"
    if api == "chat" and _token_ids(choice) is None and _text(choice, api, opened=False) is None:
        message = choice["message"]
        said = next((name for name in ("refusal", "tool_calls", "function_call") if message.get(name)), None)
        return f"a message without content{f', with {said}' if said else ''}"
    return None


def read_response(answer: Mapping[str, Any], api: Api, tokenizer: Any, opened: bool) -> SampledResponse:
    """Return the response of an answer that `complaint` has nothing against.

    Token ids are taken where the server reports them. Otherwise they are the local tokenizer's for the text, with the
    end token after them where the model ended the response.

    Args:
        answer: the server's answer.
        api: the interface it came through.
        tokenizer: the model's.
        opened: the prompt ends with an open `<think>`, which a response then does not repeat.
    """
    choice = answer["choices"][0]
    finished = choice["finish_reason"] in ENDED
    ids = _token_ids(choice)
    failed = failure(answer, api)
    exact = ids is not None
    if ids is None:
        text = markers_of(tokenizer).write(_text(choice, api, opened) or "")
        exact = failed is not None and not text  # nothing was made from text
        ids = [int(token) for token in tokenizer(text, add_special_tokens=False)["input_ids"]]
        while ids and ids[-1] in (tokenizer.eos_token_id, tokenizer.pad_token_id):
            ids.pop()  # a server that shows special tokens shows the end token too
    if (finished or not ids) and tokenizer.eos_token_id is not None and not (ids and _is_end(tokenizer, ids[-1])):
        ids = [*ids, int(tokenizer.eos_token_id)]
    answers_only = api == "chat" and finished and opened and not exact and _answers_only(choice["message"])
    counted = None if exact or failed is not None else _counted(answer)
    return SampledResponse(ids, finished, exact, False if answers_only else None, failed, counted)


def _is_end(tokenizer: Any, token: int) -> bool:
    if token in (tokenizer.eos_token_id, *tokenizer.all_special_ids):
        return True
    added = tokenizer.added_tokens_decoder.get(token)
    return added is not None and added.special


def _token_ids(choice: Mapping[str, Any]) -> list[int] | None:
    """Return the sampled ids: `token_ids` (vLLM, SGLang), or those of `logprobs` (llama.cpp)."""
    ids = choice.get("token_ids")
    if isinstance(ids, list):
        return [int(token) for token in ids]
    said = choice.get("logprobs")
    entries = said.get("content") if isinstance(said, Mapping) else None
    entries = entries if isinstance(entries, list) else []
    told = [entry.get("id") if isinstance(entry, Mapping) else None for entry in entries]
    found = [token for token in told if isinstance(token, int)]
    return found if found and len(found) == len(told) else None


def reports_ids(answer: Mapping[str, Any]) -> bool:
    """Whether an answer tells the ids of its tokens."""
    choices = answer.get("choices")
    return isinstance(choices, list) and bool(choices) and _token_ids(choices[0]) is not None


def is_of_llama_cpp(answer: Mapping[str, Any]) -> bool:
    """Whether llama.cpp's server gave an answer: it alone puts its timings there."""
    return isinstance(answer.get("timings"), Mapping)


def _counted(answer: Mapping[str, Any]) -> int | None:
    """Return how many tokens a server says it sampled, None where it does not."""
    usage = answer.get("usage")
    found = usage.get("completion_tokens") if isinstance(usage, Mapping) else None
    return found if isinstance(found, int) and found > 0 else None


def _text(choice: Mapping[str, Any], api: Api, opened: bool) -> str | None:
    if api == "completions":
        text = choice.get("text")
        return text if isinstance(text, str) else None
    message = choice.get("message")
    if not isinstance(message, Mapping):
        return None
    content = message_text(message)
    reasoning = _reasoning(message)
    return _with_tags(reasoning, content, opened) if reasoning else content


def _reasoning(message: Mapping[str, Any]) -> str | None:
    """Return what a server took out of the response as its think part, None where it took nothing out."""
    return max((message[f] for f in REASONING_FIELDS if isinstance(message.get(f), str)), key=len, default=None)


def _answers_only(message: Mapping[str, Any]) -> bool:
    """Whether a server that takes think parts out found none: its content is an answer, whatever the prompt opened."""
    return _reasoning(message) == "" and not has_think_part(message_text(message) or "", in_think=False)


def _with_tags(reasoning: str, content: str | None, opened: bool) -> str:
    """Return the response as the model wrote it, tags and all, from the two parts a server made of it.

    Servers that also cut the white space around the tags off get back the usual one (`<think>`, newline, …, newline,
    `</think>`, blank line), which models of this kind are trained to write. Without content the think part was never
    left: no tag closes it.
    """
    opening = "" if opened else THINK_OPEN if reasoning[:1].isspace() else f"{THINK_OPEN}\n"
    if not content or content.isspace():
        return f"{opening}{reasoning}"
    if reasoning[-1:].isspace() or content[:1].isspace():
        return f"{opening}{reasoning}{THINK_CLOSE}{content}"
    return f"{opening}{reasoning}\n{THINK_CLOSE}\n\n{content}"
