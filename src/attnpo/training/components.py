"""What a method needs besides the model, found before the model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import AutoConfig

from attnpo.attention import HeadSet, resolve_heads
from attnpo.credit import Method
from attnpo.errors import ConfigError, first_line
from attnpo.labeling import Labeler, load_labeler
from attnpo.training.config import AttnPOConfig


def model_config(source: str, args: AttnPOConfig) -> Any:
    """Return the configuration of a model that is named.

    Raises:
        ConfigError: there is none at that path or id.
    """
    options = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    try:
        return AutoConfig.from_pretrained(
            source, revision=options.get("revision"), trust_remote_code=args.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {source}: no configuration can be loaded ({first_line(error)})") from error


def needed_heads(
    method: Method, name: str, heads: str | Sequence[tuple[int, int]] | HeadSet | None, config: Any
) -> HeadSet | None:
    """Return the heads that a method reads, None where it reads none.

    Args:
        method: the method.
        name: its name in the settings.
        heads: head set: path, name, `HeadSet`, or pairs (layer, head).
        config: the model's configuration; None where it is not known, and the heads are not looked at.

    Raises:
        ConfigError: the method reads attention, and no heads are given.
        HeadSetError: the head set does not fit the model.
    """
    if not method.needs_scores:
        return None
    if heads is None:
        raise ConfigError(
            f"heads: method '{name}' reads attention; give a head set file from `attnpo discover`, or pairs such as "
            "16.2,20.9,23.2"
        )
    return None if config is None else resolve_heads(heads, config)


def needed_labeler(method: Method, args: AttnPOConfig, labeler: Labeler | None = None) -> Labeler | None:
    """Return what labels steps: `labeler`, else the one that the settings name, None where none does.

    Raises:
        ConfigError: the method needs labels and nothing gives them, or what is named is none.
    """
    labeler = labeler or (load_labeler(args.step_labeler) if args.step_labeler else None)
    if method.needs_labels and labeler is None:
        raise ConfigError(f"step_labeler: method '{args.method}' needs step labels; name a module:function")
    return labeler
