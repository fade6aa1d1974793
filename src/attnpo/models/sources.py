"""What a `--model` value stands for: base weights, and the adapters above them."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

from transformers.utils.peft_utils import find_adapter_config_file

from attnpo.errors import ConfigError, nearest
from attnpo.models.adapters import AdapterFolder, hub_adapter
from attnpo.models.gguf import MAGIC
from attnpo.models.named import NAMED, how_to_renew
from attnpo.output import write_atomically

MOST_ADAPTERS = 8
"""Adapters above each other; more are taken for a circle."""
NAME_ANOTHER = "name one, or the folder of a model"


@dataclass(frozen=True)
class ModelSource:
    """One model.

    Attributes:
        name: as it was named.
        weights: folder, Hub id or GGUF file of the base.
        is_gguf: whether it is a GGUF file.
        revision: of a Hub id.
        trust_remote_code: whether a Hub model may run its own code.
        adapters: folders of PEFT adapters above the base, the lowest first.
        setting: what named it, for messages.
    """

    name: str
    weights: str
    is_gguf: bool = False
    revision: str | None = None
    trust_remote_code: bool = False
    adapters: tuple[Path, ...] = ()
    setting: str = "--model"

    @property
    def is_plain(self) -> bool:
        """Whether transformers loads `weights` as they are."""
        return not self.is_gguf and not self.adapters

    @property
    def places(self) -> tuple[Path, ...]:
        """Where its base and its adapters lie, if they lie on this machine."""
        return (Path(self.weights), *self.adapters)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name of the model and of what its adapters lie upon."""
        return (self.name, self.weights, *map(str, self.adapters))

    @property
    def said(self) -> str:
        """The setting with its value, as messages begin."""
        return f"{self.setting} {self.name}"

    @property
    def base_said(self) -> str:
        """The same with the base, where that is another place than was named."""
        if self.adapters:
            return f"{self.said}: its base {self.weights}"
        return self.said if Path(self.name) == Path(self.weights) else f"{self.said}: {self.weights}"

    @property
    def hint(self) -> str:
        """What may have been meant by a base that nothing is found under, as messages end."""
        if Path(self.weights).exists():
            return ""
        meant = nearest(self.weights, NAMED)
        return f"{meant or ';'} name its base with --base_model" if self.adapters else meant

    def name_as_base(self, adapter: Path) -> None:
        """Let a saved adapter that was trained on this model name it as its base, not a folder that was made of it."""
        file = adapter / AdapterFolder.CONFIG
        if not self.is_plain and file.is_file():
            name = str(Path(self.name).resolve()) if Path(self.name).exists() else self.name
            config = {**json.loads(file.read_text(encoding="utf-8")), "base_model_name_or_path": name}
            write_atomically(file, json.dumps(config, indent=2) + "\n")

    def __str__(self) -> str:
        return self.weights if self.is_plain else self.name


def find_model(
    name: str | None,
    base_model: str | None = None,
    revision: str | None = None,
    trust_remote_code: bool = False,
    setting: str = "--model",
) -> ModelSource:
    """Return what a `--model` value stands for: a folder, a Hub id, a GGUF file, an adapter, or a name of `NAMED`.

    Args:
        name: the value.
        base_model: the base of an adapter, in any of these forms; the one that its configuration names if absent.
        revision: revision of a Hub id; of the base where the value is a folder with an adapter, in place of the one
            that the adapter names.
        trust_remote_code: allow a Hub model to run its own code.
        setting: what names it, for messages.

    Raises:
        ConfigError: no model was named, or there is none of that kind.
    """
    if not name:
        raise ConfigError("--model: name a path or Hub id of a causal language model")
    source = _find(name, f"{setting} {name}", base_model, revision)
    if base_model and not source.adapters:
        raise ConfigError(f"--base_model {base_model}: {setting} {name} is no adapter, so it has no base; leave it out")
    return replace(source, name=name, trust_remote_code=trust_remote_code, setting=setting)


def _find(name: str, said: str, base_model: str | None, revision: str | None, above: int = 0) -> ModelSource:
    if name in NAMED and not Path(name).exists():
        path = NAMED[name](said)
        where, mend = f"{said}: {path}", how_to_renew(path)
    else:
        path, where, mend = Path(name), said, NAME_ANOTHER
    if path.is_file():
        return ModelSource(name, str(_checked_file(path, where, mend)), is_gguf=True)
    if path.is_dir():
        if (path / AdapterFolder.CONFIG).exists():
            return _with_base(AdapterFolder(path, said), name, base_model, revision, above)
        file = _only_gguf(path, said)
        return ModelSource(name, str(file or path), is_gguf=file is not None)
    hint = "; name its base with --base_model" if above and not said.startswith("--base_model") else ""
    if name.endswith(".gguf"):
        raise ConfigError(f"{said}: no such file{nearest(name, NAMED) or hint}")
    if _is_path(name):
        raise ConfigError(f"{said}: no such file or folder{hint}")
    if _is_hub_adapter(name, revision):
        return _with_base(hub_adapter(name, revision, said), name, base_model, None, above)
    return ModelSource(name, name, revision=revision)


def _is_hub_adapter(name: str, revision: str | None) -> bool:
    try:
        return find_adapter_config_file(name, revision=revision) is not None
    except (OSError, ValueError):  # no such repository, or no way there: loading it says so
        return False


def _checked_file(path: Path, said: str, mend: str) -> Path:
    with path.open("rb") as file:
        begins = file.read(len(MAGIC))
    if begins != MAGIC:
        what = "is empty" if not begins else f"begins with {begins!r}, not {MAGIC!r}"
        raise ConfigError(f"{said}: is no GGUF file ({what}); {mend}")
    return path


def _only_gguf(folder: Path, said: str) -> Path | None:
    """Return the GGUF file of a folder that holds nothing else to load."""
    files = sorted(folder.glob("*.gguf"))
    if not files or (folder / "config.json").exists():
        return None
    if len(files) > 1:
        raise ConfigError(f"{said}: holds {len(files)} GGUF files; name one of them, such as {files[0]}")
    return _checked_file(files[0], said, NAME_ANOTHER)


def _with_base(
    adapter: AdapterFolder, name: str, base_model: str | None, revision: str | None, above: int
) -> ModelSource:
    """Return an adapter with what it lies upon, at the revision that is asked for, else the one that it names."""
    if above >= MOST_ADAPTERS:
        raise ConfigError(
            f"{adapter.said}: its base is an adapter whose base leads back to it; name it with --base_model"
        )
    base, own = (base_model, None) if base_model else adapter.base()
    said = f"--base_model {base}" if base_model else f"{adapter.said}: its base {base}"
    source = _find(base, said, None, revision or own, above + 1)
    return replace(source, name=name, adapters=(*source.adapters, adapter.path))


def _is_path(name: str) -> bool:
    """Whether a name that is nowhere on this machine can be nothing but a path."""
    return os.path.isabs(name) or name.startswith((".", "~")) or name.count("/") > 1
