"""Prompts to token ids, once and in one place."""

from __future__ import annotations

from typing import Any

from attnpo.rollouts import Prompt


def render_prompt(tokenizer: Any, prompt: Prompt, opening: str = "") -> list[int]:
    """Return the token ids that the model reads before it answers.

    Chat messages go through the tokenizer's chat template with the generation prompt; plain text is tokenized
    as it stands. The ids of the opening follow, tokenized for themselves, so that the prompt's own stay what they are.

    Args:
        tokenizer: the model's.
        prompt: the prompt as the data set gives it.
        opening: text behind the generation prompt; inside the think part where the template opens it.
    """
    if isinstance(prompt, str):
        ids = list(tokenizer(prompt)["input_ids"])
    else:
        rendered = tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)
        ids = list(rendered["input_ids"])
    return [*ids, *tokenizer(opening, add_special_tokens=False)["input_ids"]] if opening else ids


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
