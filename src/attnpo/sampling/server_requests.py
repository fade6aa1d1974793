"""What a server is asked for: its dialect, the prompt as it reads it, the settings as it names them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from attnpo.errors import ConfigError
from attnpo.markers import markers_of
from attnpo.rollouts import Prompt
from attnpo.sampling.base import SampleRequest, SamplingParams
from attnpo.sampling.draws import request_seed
from attnpo.sampling.honoured import PLAIN, check_own
from attnpo.sampling.prompts import continues, rendered_text, template_settings

Api = Literal["completions", "chat"]
PATHS: dict[Api, str] = {"completions": "completions", "chat": "chat/completions"}


@dataclass(frozen=True)
class Dialect:
    """What a server takes besides the fields that all of them know.

    Attributes:
        name: for messages and results.
        prompt_ids: the prompt may be given as token ids (completions only).
        extended: it takes the wider sampling settings and may report token ids (vLLM, SGLang, llama.cpp).
        generation_config: it takes transformers' generation settings as a JSON text (`transformers serve`).
        limit: name of the field that bounds the response.
        logprobs: it tells the ids of sampled tokens beside their log-probabilities (llama.cpp).
    """

    name: str
    prompt_ids: bool = False
    extended: bool = False
    generation_config: bool = False
    limit: str = "max_tokens"
    logprobs: bool = False


DIALECTS: dict[Api, tuple[Dialect, ...]] = {
    "completions": (
        Dialect("token ids", prompt_ids=True, extended=True),
        Dialect("extended", extended=True),
        Dialect("transformers", generation_config=True),
        Dialect("plain"),
    ),
    "chat": (
        Dialect("extended", extended=True),
        Dialect("transformers", generation_config=True),
        Dialect("plain"),
        Dialect("plain", limit="max_completion_tokens"),
    ),
}
"""From the one that says most to the one that says least; the first a server takes is spoken."""


def request_body(
    dialect: Dialect, api: Api, tokenizer: Any, request: SampleRequest, params: SamplingParams
) -> dict[str, Any]:
    """Return the body of one request.

    Every setting that shapes the draw is sent where the dialect has a word for it, also where it is "off": servers fill
    what is left out from the model's own generation settings.

    Args:
        dialect: how the server wants it.
        api: which of its two interfaces.
        tokenizer: of the model; tells whether a text is read as the prompt's ids.
        request: the response wanted.
        params: how to draw.

    Raises:
        ConfigError: the prompt, or a setting, cannot be said in this dialect.
    """
    body: dict[str, Any] = {
        dialect.limit: params.max_new_tokens,
        "temperature": params.temperature,
        "top_p": params.top_p,
        "seed": request_seed(params.seed, request.key, request.sample),
    }
    if api == "chat":
        body["messages"] = chat_messages(request.prompt)
        if template_settings(tokenizer):
            if not dialect.extended:
                raise ConfigError(
                    "chat_template_kwargs: this server knows no such field; use api 'completions', or leave it out"
                )
            body["chat_template_kwargs"] = template_settings(tokenizer)
    elif dialect.prompt_ids:
        body["prompt"] = list(request.prompt_ids)
    else:
        body["prompt"] = prompt_as_text(tokenizer, request.prompt, request.prompt_ids)
    if dialect.extended:
        # -1 keeps every token in all of them; 0 does not in older ones.
        body |= {
            "top_k": params.top_k or -1,
            "min_p": params.min_p,
            "repetition_penalty": params.repetition_penalty,
            "return_token_ids": True,
        }
        if dialect.logprobs:
            body |= {"logprobs": True, "top_logprobs": 1} if api == "chat" else {"logprobs": 1}
        if _think_tags_are_special(tokenizer):
            body["skip_special_tokens"] = False
    elif dialect.generation_config:
        body["generation_config"] = json.dumps(_generation_config(params))
    else:
        check_own(PLAIN, params.own())
    return body


def chat_messages(prompt: Prompt) -> list[dict[str, str]]:
    """Return the messages of a prompt.

    Raises:
        ConfigError: the prompt is plain text, or ends with a message of the assistant's.
    """
    if isinstance(prompt, str):
        raise ConfigError("api: 'chat' takes chat messages, but the prompts are plain text; use api 'completions'")
    if continues(prompt):
        raise ConfigError(
            "api: a chat server closes the assistant's last message and begins another; use api 'completions', which "
            "continues it"
        )
    return [dict(message) for message in prompt]


def prompt_as_text(tokenizer: Any, prompt: Prompt, prompt_ids: Sequence[int]) -> str:
    """Return the text a server that adds its own start token reads as exactly these ids.

    Raises:
        ConfigError: there is none.
    """
    rendered = rendered_text(tokenizer, prompt)
    decoded = tokenizer.decode(prompt_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
    start = getattr(tokenizer, "bos_token", None) or ""
    for text in (rendered, rendered.removeprefix(start), decoded, decoded.removeprefix(start)):
        if list(tokenizer(text)["input_ids"]) == list(prompt_ids):
            return text
    raise ConfigError(
        f"prompt {rendered[:60]!r}…: no text is read as its token ids, and this server takes no ids; "
        "use a server that does (vLLM), or api 'chat'"
    )


def _think_tags_are_special(tokenizer: Any) -> bool:
    added = getattr(tokenizer, "added_tokens_decoder", {}).values()
    return bool(markers_of(tokenizer).tokens(token.content for token in added if token.special))


def _generation_config(params: SamplingParams) -> dict[str, Any]:
    """Return transformers' generation settings; end tokens stay those of the served model."""
    config: dict[str, Any] = {"max_new_tokens": params.max_new_tokens, "do_sample": params.temperature > 0}
    if params.temperature > 0:
        config |= {"temperature": params.temperature, "top_p": params.top_p, "top_k": params.top_k}
        config |= {"min_p": params.min_p} if params.min_p else {}
    return {**config, "repetition_penalty": params.repetition_penalty}
