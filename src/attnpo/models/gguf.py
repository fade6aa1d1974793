"""GGUF files: dequantised once, into a folder like any other model's."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from attnpo.errors import AttnPOError, ConfigError, first_line, install_command
from attnpo.models.cache import cache_root, check_room, content_key, made_once
from attnpo.models.end_tokens import end_turns
from attnpo.models.gguf_header import MAGIC, Header, read_header
from attnpo.models.named import how_to_renew

logger = logging.getLogger(__name__)

__all__ = ["MAGIC", "gguf_folder", "gguf_settings"]

SPECIAL_TOKENS = {
    "bos_token": "tokenizer.ggml.bos_token_id",
    "eos_token": "tokenizer.ggml.eos_token_id",
    "pad_token": "tokenizer.ggml.padding_token_id",
    "unk_token": "tokenizer.ggml.unknown_token_id",
}
"""A tokenizer's special token → the field of a file that numbers it."""
ROPE_FACTORS = ("rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight")
"""Tensors that llama.cpp divides rotary frequencies by."""
BYTES = torch.float32.itemsize
"""Bytes of a number once dequantised: float32 holds what every type of GGUF means without rounding."""


def gguf_folder(path: Path, said: str) -> Path:
    """Return a folder with the model in float32, its tokenizer, chat template and generation config.

    Args:
        path: the file.
        said: how messages name it.

    Raises:
        ConfigError: the file is cut off, transformers cannot dequantise it, or the package gguf is missing.
        OutputError: the folder cannot be written.
    """
    header = _checked_header(path, said)
    settings = gguf_settings(path, said)

    def make(folder: Path) -> None:
        check_room(header.elements * BYTES)
        logger.info("%s: dequantised once, into %s", said, cache_root())
        with _reading(said):
            model, found = AutoModelForCausalLM.from_pretrained(
                str(path.parent),
                config=AutoConfig.from_pretrained(settings),  # else the file's header is read once more, for seconds
                gguf_file=path.name,
                dtype=torch.float32,
                output_loading_info=True,
            )
        lacking = sorted(found["missing_keys"])
        if lacking:
            raise ConfigError(f"{said}: holds no weights for {lacking[0]} ({len(lacking)} lacking); convert it anew")
        _take_off_marks(model)
        model.generation_config = transformers.GenerationConfig.from_pretrained(settings)
        model.save_pretrained(folder)
        for file in settings.iterdir():
            if file.name != "config.json":  # the model's own says its type
                shutil.copy(file, folder)

    return made_once(f"{_key(path)}-float32", make)


def gguf_settings(path: Path, said: str) -> Path:
    """Return a folder with configuration, tokenizer, chat template and generation config: the model without weights.

    Args:
        path: the file.
        said: how messages name it.

    Raises:
        ConfigError: the file is cut off, transformers does not know the architecture or drops how it scales positions,
            or the package gguf is missing.
        OutputError: the folder cannot be written.
    """
    header = _checked_header(path, said)
    if not header.fields.get("tokenizer.ggml.tokens"):
        raise ConfigError(f"{said}: holds no tokenizer; convert the model with one")
    if header.fields.get("tokenizer.ggml.eos_token_id") is None:  # transformers 5.17 makes one up
        raise ConfigError(f"{said}: names no end token, so no response would end; convert the model with one")

    def make(folder: Path) -> None:
        with _reading(said):
            config = AutoConfig.from_pretrained(str(path.parent), gguf_file=path.name)
            tokenizer = AutoTokenizer.from_pretrained(str(path.parent), gguf_file=path.name)
        for name, field in SPECIAL_TOKENS.items():  # transformers 5.17 mistakes the first token for the end
            if (number := header.fields.get(field)) is not None:
                setattr(tokenizer, name, tokenizer.convert_ids_to_tokens(int(number)))
        config.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        generation = transformers.GenerationConfig.from_model_config(config)
        end_turns(generation, tokenizer)
        generation.save_pretrained(folder)
        (folder / "source.json").write_text(json.dumps({"file": path.name, "key": _key(path)}) + "\n")

    folder = made_once(f"{_key(path)}-settings", make)
    _check_positions(folder, header, said)
    return folder


def _key(path: Path) -> str:
    """Name what is made of a file: its content, and the transformers that reads it."""
    return f"{path.stem}-{content_key(path)}-transformers-{transformers.__version__}"


def _checked_header(path: Path, said: str) -> Header:
    """Read the header and refuse what cannot be dequantised, before the long work.

    Raises:
        ConfigError: the file is cut off or one of several, or the package gguf is missing.
    """
    if importlib.util.find_spec("gguf") is None:
        raise ConfigError(f"{said}: reading GGUF files needs the package gguf; {install_command('gguf')}")
    from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

    header = read_header(path, said)
    parts = header.fields.get("split.count", 1)
    if parts > 1:
        raise ConfigError(f"{said}: is one of {parts} parts; join them with llama.cpp's `llama-gguf-split --merge`")
    if not header.fields.get("general.architecture"):
        raise ConfigError(f"{said}: names no architecture (general.architecture), so it is no language model")
    sizes = {kind.value: GGML_QUANT_SIZES[kind] for kind in GGMLQuantizationType}
    ends = [header.data]
    for tensor in header.tensors.values():
        if tensor.kind not in sizes:
            raise ConfigError(f"{said}: holds tensors of a type that gguf does not know; pip install --upgrade gguf")
        numbers, bytes_ = sizes[tensor.kind]
        ends.append(header.data + tensor.start + tensor.elements // numbers * bytes_)
    size = path.stat().st_size
    if max(ends) > size:
        raise ConfigError(f"{said}: is cut off: {size:,} bytes of {max(ends):,}; {how_to_renew(path)}")
    return header


def _check_positions(settings: Path, header: Header, said: str) -> None:
    """Refuse a file whose scaling of rotary positions did not arrive in the configuration: its weights would be read
    right, and every attention computed wrong.

    Raises:
        ConfigError: so it is.
    """
    config = AutoConfig.from_pretrained(settings)
    parameters = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    if parameters.get("rope_type", "default") != "default":
        return
    rope = f"{header.fields['general.architecture']}.rope"
    kind = header.fields.get(f"{rope}.scaling.type")
    says = [f"{rope}.scaling.type"] if kind not in (None, "none") else []
    if kind is None:  # older files say by how much alone, and mean linear
        factors = (f"{rope}.scaling.factor", f"{rope}.scale_linear")
        says += [name for name in factors if header.fields.get(name, 1) not in (0, 1)]
    says += [name for name in ROPE_FACTORS if name in header.tensors]
    if says:
        raise ConfigError(
            f"{said}: scales its rotary positions ({says[0]}), which transformers {transformers.__version__} drops, so "
            "it would be another model; give the folder or Hub id that it was converted from"
        )


def _take_off_marks(model: Any) -> None:
    """Make a dequantised model an ordinary one; else `save_pretrained` refuses it."""
    for mark in ("hf_quantizer", "quantization_method", "is_quantized"):
        if hasattr(model, mark):
            delattr(model, mark)
    if hasattr(model.config, "quantization_config"):
        del model.config.quantization_config


@contextmanager
def _reading(said: str) -> Iterator[None]:
    """Make one line of whatever transformers and gguf raise on a file that they cannot read."""
    try:
        yield
    except AttnPOError:
        raise
    except Exception as error:
        raise ConfigError(f"{said}: transformers cannot dequantise it ({first_line(error).rstrip('.')})") from error
