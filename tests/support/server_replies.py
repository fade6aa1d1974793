"""What real servers say, as recorded: stand-ins are made from it and held to it.

`replies/vllm.json` is read out of vLLM by `tests/support/vllm_replies.py`, and `replies/llama_cpp.json` written down
from llama.cpp's `tools/server`; `make test-vllm` and `make test-llama` hold both to the servers themselves.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("replies")
TYPES: Mapping[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


class Server:
    """A server as it was recorded.

    Attributes:
        name: how it is called.
        parts: JSON schemas by name.
        replies: kind of reply (`completions`, `chat`, `models`, `error`) → its JSON schema.
        fields: kind of request → the fields that it knows.
        pages: address → what lies there, for an example.
    """

    def __init__(self, name: str, file: str) -> None:
        recorded = json.loads((FOLDER / file).read_text())
        self.name = name
        self.parts: Mapping[str, Any] = recorded["$defs"]
        self.replies: Mapping[str, Any] = recorded["replies"]
        self.fields: Mapping[str, list[str]] = recorded.get("fields", {})
        self.pages: Mapping[str, Any] = recorded.get("pages", {})

    def wrong(self, kind: str, reply: Any) -> str | None:
        """Return what this server would not say so, None where it would."""
        found = wrong(reply, self.replies[kind], self.parts)
        return None if found is None else f"{self.name}, {kind}{found}"

    def filled(self, kind: str, reply: Mapping[str, Any]) -> dict[str, Any]:
        """Return a reply with everything that this server adds to it by default."""
        made: dict[str, Any] = _filled(reply, self.replies[kind], self.parts)
        return made


def wrong(value: Any, schema: Mapping[str, Any], named: Mapping[str, Any], at: str = "") -> str | None:
    """Return what a JSON schema has against a value, None where nothing; an object has no fields but those it names."""
    if "$ref" in schema:
        return wrong(value, _named(schema, named), named, at)
    if "anyOf" in schema:
        found = [wrong(value, each, named, at) for each in schema["anyOf"]]
        return None if None in found else found[0]
    allowed = [schema["const"]] if "const" in schema else schema.get("enum")
    if allowed is not None and value not in allowed:
        return f"{at}: {value!r} is none of {allowed}"
    kind = schema.get("type")
    if kind is not None and not (isinstance(value, TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))):
        return f"{at}: {value!r} is no {kind}"
    parts: list[tuple[str, Any, Mapping[str, Any]]] = []
    if isinstance(value, list):
        parts = [(f"[{place}]", entry, schema.get("items", {})) for place, entry in enumerate(value)]
    if isinstance(value, dict):
        names = schema.get("properties")
        others = schema.get("additionalProperties", True)
        if names is not None:
            unknown = sorted(value.keys() - names.keys())
            missing = sorted(set(schema.get("required", ())) - value.keys())
            if unknown or missing:
                return f"{at}: {', '.join([f'has {name}' for name in unknown] + [f'lacks {name}' for name in missing])}"
        for name, entry in value.items():
            parts.append((f".{name}", entry, names[name] if names else others if isinstance(others, dict) else {}))
    complaints = (wrong(entry, of, named, at + name) for name, entry, of in parts)
    return next((each for each in complaints if each is not None), None)


def _filled(value: Any, schema: Mapping[str, Any], named: Mapping[str, Any]) -> Any:
    if "$ref" in schema:
        return _filled(value, _named(schema, named), named)
    if isinstance(value, list):
        return [_filled(entry, schema.get("items", {}), named) for entry in value]
    if isinstance(value, Mapping) and "properties" in schema:
        defaults = {name: part["default"] for name, part in schema["properties"].items() if "default" in part}
        known = {name: _filled(entry, schema["properties"].get(name, {}), named) for name, entry in value.items()}
        return {**copy.deepcopy(defaults), **known}
    return value


def _named(schema: Mapping[str, Any], named: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Mapping[str, Any] = named[schema["$ref"].rpartition("/")[2]]
    return found


VLLM = Server("vLLM", "vllm.json")
LLAMA_CPP = Server("llama.cpp", "llama_cpp.json")


def said_by_none(kind: str, reply: Any) -> str | None:
    """Return what each server has against a reply, None where one of them would say it."""
    found = [server.wrong(kind, reply) for server in (VLLM, LLAMA_CPP)]
    return None if None in found else "; ".join(filter(None, found))


def vllm_pages(
    model: object = "m", *, version: str | None = None, instance: str = "1", created: int = 1
) -> dict[str, Any]:
    """Return what lies at the addresses of a vLLM server in development mode, which calls its model `m`.

    Args:
        model: the path that it serves.
        version: its version, the recorded one if None.
        instance: what changes with each start.
        created: when it was asked for its models.
    """
    pages = copy.deepcopy(dict(VLLM.pages))
    if version is not None:
        pages["/version"]["version"] = version
    config = pages["/server_info"]["vllm_config"]
    config["instance_id"] = instance
    config["model_config"]["model"] = str(model)
    entry = {"id": "m", "created": created, "root": str(model), "max_model_len": 512, "permission": []}
    pages["/v1/models"] = VLLM.filled("models", {"data": [entry]})
    return pages
