"""What a model was made from, as far as the files beside it tell."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from attnpo.errors import ConfigError
from attnpo.models.named import NAMED

_CACHED = re.compile(r"models--(?:.+--)?(.+)/snapshots/[0-9a-f]+/?$")
"""A model in the Hub's cache."""


def is_made_from(names: Iterable[str], origin: str) -> bool:
    """Whether a model is the one named, or was trained from it, as far as its files tell.

    Files that tell: `adapter_config.json`, `config.json` as older transformers wrote it, and `training.json`, beside
    a checkpoint or in its run's folder.

    Args:
        names: names, ids and paths of the model.
        origin: name, id or path of the other one.
    """
    waiting, seen = list(names), set()
    while waiting:
        name = waiting.pop()
        if _same(name, origin):
            return True
        if name not in seen:
            seen.add(name)
            waiting += _parents(_place(name))
    return False


def _place(name: str) -> Path:
    path = Path(name)
    if name in NAMED and not path.exists():
        try:
            return NAMED[name](name)
        except ConfigError:  # its package is not installed here
            return path
    return path


def _same(name: str, other: str) -> bool:
    """Whether two names are one model's; of one that is no path here, the last part tells (Hub id, moved folder)."""
    here, there = _place(name), _place(other)
    if here.exists() and there.exists():
        return here.samefile(there) or _file_in(here).samefile(_file_in(there))
    return _last_part(name) == _last_part(other)


def _file_in(place: Path) -> Path:
    """Return the GGUF file of a folder that is named for it, else the place itself."""
    files = list(place.glob("*.gguf"))
    is_model = any((place / name).exists() for name in ("config.json", "adapter_config.json"))
    return files[0] if len(files) == 1 and not is_model else place


def _last_part(name: str) -> str:
    cached = _CACHED.search(name)
    return (cached[1] if cached else Path(name).name).lower()


def _parents(place: Path) -> list[str]:
    files = {
        place / "adapter_config.json": "base_model_name_or_path",
        place / "config.json": "_name_or_path",
        _run_folder(place) / "training.json": "model",
    }
    return [name for file, field in files.items() if (name := _read(file, field))]


def _run_folder(place: Path) -> Path:
    """Return the run's folder that a model lies in: `checkpoint-N` and `course/N` are such models."""
    place = place.resolve()
    if place.parent.name == "course":
        return place.parent.parent
    return place.parent if place.name.startswith("checkpoint-") else place


def _read(file: Path, field: str) -> str | None:
    try:
        value = json.loads(file.read_text(encoding="utf-8")).get(field)
    except (OSError, ValueError, AttributeError):  # what cannot be read tells nothing; loading the model refuses it
        return None
    return value if isinstance(value, str) else None
