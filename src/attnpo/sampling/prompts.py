"""Prompts to token ids, once and in one place."""

from __future__ import annotations

from typing import Any

from attnpo.rollouts import Prompt


def render_prompt(tokenizer: Any, prompt: Prompt) -> list[int]:
    """Return the token ids that the model reads before it answers.

    Chat messages go through the tokenizer's chat template with the generation prompt; plain text is tokenized
    as it stands.
    """
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    return list(
        tokenizer.apply_chat_template(prompt, add_generation_prompt=True, tokenize=True, return_dict=True)["input_ids"]
    )


def end_token_ids(model: Any, tokenizer: Any) -> list[int]:
    """Return every token id that ends a response: the generation config's and the tokenizer's."""
    declared = getattr(getattr(model, "generation_config", None), "eos_token_id", None)
    ids = [] if declared is None else [declared] if isinstance(declared, int) else list(declared)
    if tokenizer.eos_token_id is not None and tokenizer.eos_token_id not in ids:
        ids.append(tokenizer.eos_token_id)
    return ids
