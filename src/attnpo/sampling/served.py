"""What a server says of the weights that it serves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attnpo.serving import Server

OF_A_MODEL = ("root", "parent", "meta")
"""Fields of an entry of `/v1/models` that stay what they are between two starts of a server (vLLM, llama.cpp)."""
OF_A_CONFIGURATION = ("model", "revision", "dtype", "quantization")
"""Fields of vLLM's model configuration, which `/server_info` shows in development mode."""
WHERE_IT_LIES = ("props", "get_model_info")
"""Addresses at which llama.cpp and SGLang say where the weights lie (`model_path`), whatever they call them."""


def served_facts(server: Server, wait: bool = True) -> dict[str, Any] | None:
    """Return what a server says of its model, as JSON values; empty where it says nothing.

    Args:
        server: the server.
        wait: wait for one that is away, for as long as its patience lasts; else None stands for it.

    Raises:
        EngineError: it was away for longer.
    """
    listed = server.look_up("models", wait)
    root = server.endpoint.base_url.rstrip("/").removesuffix("/v1")
    version = server.look_up(f"{root}/version", wait=False)
    info = server.look_up(f"{root}/server_info?config_format=json", wait=False)
    places = [server.look_up(f"{root}/{address}", wait=False) for address in WHERE_IT_LIES]
    said = [_entry(listed, server.endpoint.model), _chosen(version, ("version",)), _configuration(info)]
    said += [_chosen(place, ("model_path",)) for place in places]
    if listed is None and not any(said) and not wait:
        return None
    return {name: value for part in said for name, value in part.items() if value is not None}


def _entry(listed: Any, model: str) -> dict[str, Any]:
    """Return what a list of models says of one; a server that serves a single one may know it under another name."""
    entries = listed.get("data") if isinstance(listed, Mapping) else None
    entries = [entry for entry in entries if isinstance(entry, Mapping)] if isinstance(entries, list) else []
    mine = [entry for entry in entries if entry.get("id") == model] or (entries if len(entries) == 1 else [])
    return _chosen(mine[0], ("id", *OF_A_MODEL)) if mine else {}


def _configuration(info: Any) -> dict[str, Any]:
    config = info.get("vllm_config") if isinstance(info, Mapping) else None
    model = config.get("model_config") if isinstance(config, Mapping) else None
    return _chosen(model, OF_A_CONFIGURATION)


def _chosen(said: Any, names: tuple[str, ...]) -> dict[str, Any]:
    return {name: said[name] for name in names if said.get(name) is not None} if isinstance(said, Mapping) else {}
