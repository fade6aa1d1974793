"""Whether prompt and response fit into what a model can read."""

from __future__ import annotations

from typing import Any

from attnpo.errors import ConfigError


def positions(config: Any) -> int | None:
    """Return how many tokens a model was made to read, None where its configuration does not say."""
    found = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    return found if isinstance(found, int) else None


def check_room(limit: int | None, longest_prompt: int, max_new_tokens: int, setting: str = "--max_new_tokens") -> None:
    """Check that the longest prompt and a response of full length fit.

    Args:
        limit: tokens that can be read, see `positions`; None where that is not known.
        longest_prompt: its length in tokens.
        max_new_tokens: most tokens of a response.
        setting: what gives the latter, for the message.

    Raises:
        ConfigError: they do not.
    """
    if limit is None or longest_prompt + max_new_tokens <= limit:
        return
    room = limit - longest_prompt
    fix = f"lower it to {room:,}" if room > 0 else "leave such prompts out"
    raise ConfigError(
        f"{setting} {max_new_tokens:,}: with a prompt of {longest_prompt:,} tokens it exceeds the model's {limit:,} "
        f"positions; {fix}"
    )
