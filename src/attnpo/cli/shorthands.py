"""Settings that are short for one within another (`dtype`: that of `model_init_kwargs`); a flag goes before the file.

A settings type names them: `SHORT_FOR`, short name → (setting, name within it).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from attnpo.files import parse_json


def without_overridden(
    file: Mapping[str, Any], flags: Mapping[str, str], dataclass_types: Sequence[Any]
) -> dict[str, Any]:
    """Return a file's settings without those that a flag says by their other name, or that are void under a flag.

    Args:
        file: setting → value of the settings file.
        flags: setting → the words that flags give it.
        dataclass_types: what holds the settings.
    """
    found = dict(file)
    for dataclass_type in dataclass_types:
        for short, (setting, name) in getattr(dataclass_type, "SHORT_FOR", {}).items():
            if short in flags and name in _by_name(found.get(setting)):
                found[setting] = {key: value for key, value in _by_name(found[setting]).items() if key != name}
            elif short in found and name in _by_name(flags.get(setting)):
                del found[short]
        for setting, void in getattr(dataclass_type, "VOID_UNDER", {}).items():
            if setting in flags:
                found = {name: value for name, value in found.items() if name not in void(flags[setting])}
    return found


def _by_name(value: Any) -> dict[str, Any]:
    """Return settings by name, which may be written as JSON; they were checked before."""
    found = parse_json(value) if isinstance(value, str) else value
    return found if isinstance(found, dict) else {}
