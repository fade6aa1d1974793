"""From a source to configuration, tokenizer, model: the one way through for commands and trainer."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from attnpo.errors import AttnPOError, ConfigError, first_line
from attnpo.markers import give_markers
from attnpo.models.adapters import AdapterFolder, laid_upon, merged
from attnpo.models.cache import cache_root, check_room, content_key, made_once
from attnpo.models.devices import chosen_dtype, find_device
from attnpo.models.end_tokens import end_turns
from attnpo.models.gguf import gguf_folder, gguf_settings
from attnpo.models.sources import ModelSource

logger = logging.getLogger(__name__)

TEMPLATE = "chat_template.jinja"
TOKENIZER = "tokenizer_config.json"


def load_tokenizer(source: ModelSource, markers: str | None = None) -> Any:
    """Load the tokenizer, padding token set: the highest adapter's that has one, else the base's.

    A `chat_template.jinja` in an adapter's folder goes before the base's.

    Args:
        source: which model.
        markers: how it marks its thinking (`attnpo.markers.parse_markers`); by its family if None.

    Raises:
        ConfigError: there is none at that path or id, or these are no markers.
    """
    own = next((folder for folder in reversed(source.adapters) if (folder / TOKENIZER).is_file()), None)
    place, options = (str(own), {}) if own is not None else _settings_place(source)
    said, hint = (source.said, "") if own is not None else (source.base_said, source.hint)
    with _reading(f"{said}: no tokenizer can be loaded", hint):
        tokenizer = AutoTokenizer.from_pretrained(place, trust_remote_code=source.trust_remote_code, **options)
    above = source.adapters[source.adapters.index(own) + 1 :] if own is not None else source.adapters
    template = next((folder / TEMPLATE for folder in reversed(above) if (folder / TEMPLATE).is_file()), None)
    if template is not None:
        tokenizer.chat_template = template.read_text(encoding="utf-8")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    give_markers(tokenizer, markers)
    return tokenizer


def load_config(source: ModelSource) -> Any:
    """Load the model's configuration, and check that the adapters fit it.

    Raises:
        ConfigError: there is none at that path or id, or an adapter does not fit.
    """
    place, options = _settings_place(source)
    with _reading(f"{source.base_said}: no configuration can be loaded", source.hint):
        config = AutoConfig.from_pretrained(place, trust_remote_code=source.trust_remote_code, **options)
    for folder in source.adapters:
        AdapterFolder(folder, source.said).check(config, _base_name(source, folder), source.trust_remote_code)
    return config


def load_model(
    source: ModelSource,
    *,
    dtype: str = "auto",
    device: str = "auto",
    attn_implementation: str | None = None,
    adapters_apart: bool = False,
) -> Any:
    """Load the model for inference.

    Adapters are added to the weights in float32, where that is exact. In a half type it would round small updates away,
    so there each stays a part of its own, as it was trained.

    Args:
        source: which model.
        dtype: `auto`, or a name of `DTYPES`.
        device: `auto`, or a device's name.
        attn_implementation: transformers' name, its own choice if None.
        adapters_apart: keep adapters parts of their own in float32 too.

    Raises:
        ConfigError: there is none at that path or id, an adapter does not fit, or a setting does not.
    """
    place = find_device(device)
    config = load_config(source)
    type_ = model_dtype(source, dtype, place, config)
    model = _load_base(source, type_, attn_implementation)
    if source.adapters:
        adapters = [AdapterFolder(folder, source.said) for folder in source.adapters]
        lay = merged if type_ == torch.float32 and not adapters_apart else laid_upon
        model = lay(model, adapters, _base_name(source, source.adapters[0]))
    if not source.is_plain:
        end_turns(model.generation_config, load_tokenizer(source))
    return model.to(place).eval()


def saved_dtype(source: ModelSource, config: Any) -> torch.dtype | None:
    """Return the type that a model is meant for, None where its configuration does not say.

    What was dequantised is meant for bfloat16; it lies in float32 so that nothing is lost.
    """
    return torch.bfloat16 if source.is_gguf else getattr(config, "dtype", None)


def model_dtype(source: ModelSource, dtype: str, device: str, config: Any) -> torch.dtype | None:
    """Return the type that a model is computed in, and say on a CPU what `auto` chose.

    Args:
        source: which model.
        dtype: `auto`, or a name of `DTYPES`.
        device: what it computes on.
        config: its configuration.
    """
    saved = saved_dtype(source, config)
    chosen = chosen_dtype(dtype, saved, device)
    if chosen is not None and saved is not None and dtype == "auto" and device == "cpu":
        if chosen != saved:
            logger.info("%s: computed in float32; this processor has no arithmetic for %s", source.said, _name(saved))
        elif chosen != torch.float32:
            logger.info("%s: computed in %s, which this processor has arithmetic for", source.said, _name(chosen))
    return chosen


def _name(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def plain_folder(source: ModelSource) -> str:
    """Return a folder or Hub id that transformers, vLLM and TRL load as it is.

    A GGUF file is dequantised; adapters are added to their base in float32. Both are made once (`cache.py`).

    Raises:
        ConfigError: the model cannot be loaded.
        OutputError: the folder cannot be written.
    """
    if source.is_plain:
        return source.weights
    if not source.adapters:
        return str(gguf_folder(Path(source.weights), source.base_said))
    config = load_config(source)

    def make(folder: Path) -> None:
        model = load_model(source, dtype="float32", device="cpu")
        check_room(sum(parameter.numel() for parameter in model.parameters()) * torch.float32.itemsize)
        logger.info("%s: adapters added to their base once, into %s", source.said, cache_root())
        model.save_pretrained(folder)
        load_tokenizer(source).save_pretrained(folder)

    return str(made_once(f"merged-{_merged_key(source, config)}", make))


def _load_base(source: ModelSource, dtype: torch.dtype | None, attn_implementation: str | None) -> Any:
    options = {} if attn_implementation is None else {"attn_implementation": attn_implementation}
    setting = "".join(f" --{name} {value}" for name, value in options.items())
    place, revision = source.weights, source.revision
    if source.is_gguf:
        place, revision = str(gguf_folder(Path(source.weights), source.base_said)), None
    with _reading(f"{source.base_said}{setting}: cannot be loaded", source.hint):
        return AutoModelForCausalLM.from_pretrained(
            place,
            revision=revision,
            dtype="auto" if dtype is None else dtype,
            trust_remote_code=source.trust_remote_code,
            **options,
        )


def _settings_place(source: ModelSource) -> tuple[str, dict[str, Any]]:
    """Return where the base's configuration and tokenizer lie."""
    if source.is_gguf:
        return str(gguf_settings(Path(source.weights), source.base_said)), {}
    return source.weights, {"revision": source.revision}


def _base_name(source: ModelSource, adapter: Path) -> str:
    """Return the name of what an adapter lies upon."""
    below = source.adapters[: source.adapters.index(adapter)]
    return str(below[-1]) if below else Path(source.weights).name if source.is_gguf else source.weights


def _merged_key(source: ModelSource, config: Any) -> str:
    """Return what tells this base with these adapters from others: the content of small files, the state of large."""
    folder = Path(source.weights)
    if source.is_gguf:
        base: Any = content_key(folder)
    elif folder.is_dir():
        stats = [(file.name, file.stat()) for file in sorted(folder.iterdir()) if file.is_file()]
        base = [str(folder.resolve()), [(name, stat.st_size, stat.st_mtime_ns) for name, stat in stats]]
    else:
        base = [source.weights, source.revision, getattr(config, "_commit_hash", None)]
    files = [file for adapter in source.adapters for file in sorted(adapter.glob("*.*")) if file.is_file()]
    said = json.dumps([base, [(file.name, content_key(file)) for file in files]])
    return hashlib.sha256(said.encode()).hexdigest()[:16]


@contextmanager
def _reading(said: str, hint: str) -> Iterator[None]:
    """Make a user's mistake of whatever reading a model's files raises, `said` before the reason, `hint` behind it.

    transformers, tokenizers and safetensors raise anything on a file that is cut off or of another version, a plain
    `Exception` included.
    """
    try:
        yield
    except AttnPOError:
        raise
    except Exception as error:
        raise ConfigError(f"{said} ({_reason(error)}){hint}") from error


def _reason(error: Exception) -> str:
    line = first_line(error)
    return line if isinstance(error, (OSError, ValueError, ImportError)) else f"{type(error).__name__}: {line}"
