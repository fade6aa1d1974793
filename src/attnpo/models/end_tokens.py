"""With which token a chat template ends a turn, and that a response ends there."""

from __future__ import annotations

from typing import Any

from jinja2 import TemplateError

_QUESTION, _REPLY = "question", "reply"


def turn_end(tokenizer: Any) -> int | None:
    """Return the special token that the chat template puts behind a reply.

    None without a template, or where what stands there is ordinary text.
    """
    if not tokenizer.chat_template:
        return None
    messages = [{"role": "user", "content": _QUESTION}, {"role": "assistant", "content": _REPLY}]
    try:
        text = tokenizer.apply_chat_template(messages, tokenize=False)
    except (TemplateError, TypeError, ValueError):  # a template that wants more than messages
        return None
    _, reply, behind = text.rpartition(_REPLY)
    ids = tokenizer(behind, add_special_tokens=False)["input_ids"] if reply else []
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return ids[0] if ids and ids[0] in special else None


def end_turns(generation_config: Any, tokenizer: Any) -> bool:
    """Let generation end where the chat template ends a turn; says whether anything was changed."""
    end = turn_end(tokenizer)
    named = generation_config.eos_token_id
    known = [] if named is None else named if isinstance(named, list) else [named]
    if end is None or end in known:
        return False
    generation_config.eos_token_id = [*known, end]
    return True
