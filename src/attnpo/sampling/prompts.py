"""Prompts to token ids, once and in one place."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from jinja2 import TemplateError

from attnpo.errors import DataError, one_line
from attnpo.files import json_object
from attnpo.markers import markers_of
from attnpo.rollouts import Prompt

TEMPLATE_SETTINGS = "attnpo_template_settings"
"""Attribute of a tokenizer that holds what its chat template is given beside the messages."""


def give_template_settings(tokenizer: Any, settings: Mapping[str, Any] | str | None) -> None:
    """Set what a tokenizer's chat template is given beside the messages ({"enable_thinking": false}).

    Args:
        tokenizer: the tokenizer; changed in place.
        settings: name → value, also as JSON text; None leaves it as it is.

    Raises:
        ConfigError: these are no settings by name.
    """
    if settings is not None:
        setattr(tokenizer, TEMPLATE_SETTINGS, json_object(settings, "chat_template_kwargs"))


def template_settings(tokenizer: Any) -> dict[str, Any]:
    """Return what a tokenizer's chat template is given beside the messages."""
    return dict(getattr(tokenizer, TEMPLATE_SETTINGS, {}))


def render_prompt(tokenizer: Any, prompt: Prompt, opening: str = "") -> list[int]:
    """Return the token ids that the model reads before it answers.

    Chat messages go through the tokenizer's chat template with the generation prompt; where the last message is the
    assistant's, the response continues it. Plain text is tokenized as it stands; one that a template rendered before
    begins with the start token already, and gets no second one. The ids of the opening follow, tokenized for
    themselves, so that the prompt's own stay what they are.

    Args:
        tokenizer: the model's.
        prompt: the prompt as the data set gives it.
        opening: text behind the generation prompt; inside the think part where the template opens it.

    Raises:
        DataError: there is no message, or the chat template cannot render them.
    """
    if isinstance(prompt, str):
        ids = one_start(tokenizer, list(tokenizer(prompt)["input_ids"]))
    else:
        ids = list(_rendered(tokenizer, prompt, tokenize=True, return_dict=True)["input_ids"])
    return _with_opening(tokenizer, ids, opening)


def rendered_text(tokenizer: Any, prompt: Prompt) -> str:
    """Return a prompt as the text that `render_prompt` turns into ids.

    Raises:
        DataError: as in `render_prompt`.
    """
    return prompt if isinstance(prompt, str) else str(_rendered(tokenizer, prompt, tokenize=False))


def continues(prompt: Prompt) -> bool:
    """Return whether a response goes on with the prompt's last message, which is the assistant's."""
    return not isinstance(prompt, str) and bool(prompt) and prompt[-1].get("role") == "assistant"


def one_start(tokenizer: Any, ids: list[int]) -> list[int]:
    """Return the ids of a text with one start token where the text had one and the tokenizer added another."""
    start = getattr(tokenizer, "bos_token_id", None)
    return ids[1:] if start is not None and ids[:2] == [start, start] else ids


def opened(tokenizer: Any, prompt: Prompt, ids: Sequence[int], opening: str = "") -> list[int]:
    """Return the ids of `render_prompt` from those that another library has made of the prompt.

    Others close an assistant's last message, and let tokenizers begin a rendered text a second time.
    """
    known = render_prompt(tokenizer, prompt) if continues(prompt) else one_start(tokenizer, list(ids))
    return _with_opening(tokenizer, known, opening)


def opening_text(given: str) -> str:
    """Return an opening as it is meant: a shell passes the two characters of `\\n` on."""
    return given.replace("\\n", "\n")


def end_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return every token id that ends a response: the generation config's and the tokenizer's."""
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids:
        ids.append(tokenizer.eos_token_id)
    return ids


def _with_opening(tokenizer: Any, ids: list[int], opening: str) -> list[int]:
    if not opening:
        return ids
    return [*ids, *tokenizer(markers_of(tokenizer).write(opening), add_special_tokens=False)["input_ids"]]


def _rendered(tokenizer: Any, prompt: Prompt, **options: Any) -> Any:
    if not prompt:
        raise DataError("prompt: there is no message; give at least the user's")
    how = {"continue_final_message": True} if continues(prompt) else {"add_generation_prompt": True}
    try:
        return tokenizer.apply_chat_template(prompt, **how, **{**template_settings(tokenizer), **options})
    except (TemplateError, TypeError, ValueError) as error:
        reason = one_line(error)
        raise DataError(f"prompt: the tokenizer's chat template cannot render the messages ({reason})") from error
