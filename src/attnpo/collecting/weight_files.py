"""What tells the files of one checkpoint from another's, without loading them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

WEIGHTS = (".safetensors", ".bin", ".gguf")
SETTINGS = ("config.json", "generation_config.json", "adapter_config.json")
PASSING = ("transformers_version", "_name_or_path")
"""Entries of a configuration that saving the same model again may change."""
NO_WEIGHTS = "training_args.bin"
READ_WHOLE = 1 << 16
"""Bytes up to which a tensor is read whole; of a longer one `BLOCKS` blocks of `BLOCK` bytes are."""
BLOCK, BLOCKS = 256, 16
BLOCKS_A_FILE = 4096
"""Of a file whose tensors are not known."""


def files_fingerprint(path: Path) -> str | None:
    """Return a hash over the settings and a sample of every tensor of a checkpoint; None where it has no weights.

    It tells retrained weights from those before them under the same name, and reads some kilobytes a tensor.

    Args:
        path: a folder, or one file of weights.
    """
    inside = sorted(path.iterdir()) if path.is_dir() else [path]
    files = [f for f in inside if f.suffix in WEIGHTS and f.name != NO_WEIGHTS and f.is_file()]
    if not files:
        return None
    digest = hashlib.sha256()
    for name in SETTINGS if path.is_dir() else ():
        if (path / name).is_file():
            digest.update(f"{name}{_settings(path / name)}".encode())
    for file in files:
        digest.update(f"{file.name if path.is_dir() else ''}{file.stat().st_size}".encode())
        with file.open("rb") as opened:
            for block in _samples(opened, file.stat().st_size, file.suffix):
                digest.update(block)
    return digest.hexdigest()[:16]


def weights_fingerprint(places: Sequence[Path]) -> str | None:
    """Return the fingerprints of a base and of the adapters above it as one; None where one has none or is not here.

    Args:
        places: a folder or file each.
    """
    found = [files_fingerprint(place) if place.exists() else None for place in places]
    return None if None in found else "-".join(map(str, found))


def _settings(file: Path) -> str:
    text = file.read_text(encoding="utf-8", errors="replace")
    try:
        found = json.loads(text)
    except ValueError:
        return text
    if isinstance(found, dict):
        found = {name: value for name, value in found.items() if name not in PASSING}
    return json.dumps(found, sort_keys=True)


def _samples(file: BinaryIO, size: int, suffix: str) -> Iterator[bytes]:
    begin, tensors = _tensors(file, size) if suffix == ".safetensors" else (0, None)
    file.seek(0)
    yield file.read(min(begin, size)) if tensors is not None else file.read(READ_WHOLE)
    for start, end in [(0, size)] if tensors is None else tensors:
        blocks = BLOCKS_A_FILE if tensors is None else BLOCKS
        if end - start <= max(READ_WHOLE, blocks * BLOCK):
            file.seek(begin + start)
            yield file.read(end - start)
            continue
        for block in range(blocks):
            file.seek(begin + start + (end - start - BLOCK) * block // (blocks - 1))
            yield file.read(BLOCK)


def _tensors(file: BinaryIO, size: int) -> tuple[int, list[tuple[int, int]] | None]:
    """Return where the data of a safetensors file begins, and where every tensor lies in it; None if malformed."""
    length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        return 0, None
    try:
        header = json.loads(file.read(length))
        spans = [tuple(entry["data_offsets"]) for name, entry in sorted(header.items()) if name != "__metadata__"]
    except (ValueError, KeyError, TypeError, AttributeError):
        return 0, None
    return 8 + length, [(int(start), int(end)) for start, end in spans]
