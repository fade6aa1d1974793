"""What vLLM says and takes, read out of the one that is installed, for `tests/support/replies/vllm.json`.

python tests/support/vllm_replies.py    # writes it anew
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

RECORDED = Path(__file__).parents[1] / "support" / "replies" / "vllm.json"
CONFIG = ("instance_id", "weight_transfer_config")
"""What is read of a server's configuration, by us and by TRL's client."""
MODEL_CONFIG = ("model", "revision", "dtype", "quantization")


def recorded() -> dict[str, Any]:
    """Return the interface of the vLLM that is installed."""
    import vllm
    from pydantic.json_schema import models_json_schema
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest, ChatCompletionResponse
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest, CompletionResponse
    from vllm.entrypoints.serve.engine.protocol import ErrorResponse, ModelList

    replies = {"completions": CompletionResponse, "chat": ChatCompletionResponse, "models": ModelList}
    replies["error"] = ErrorResponse
    found, schemas = models_json_schema([(model, "serialization") for model in replies.values()])
    requests = {"completions": CompletionRequest, "chat": ChatCompletionRequest}
    return {
        "of": f"vLLM {vllm.__version__}",
        "$defs": {name: pruned(part) for name, part in sorted(schemas["$defs"].items())},
        "replies": {kind: found[(model, "serialization")] for kind, model in replies.items()},
        "fields": {kind: sorted(model.model_fields) for kind, model in requests.items()},
        "pages": pages(),
    }


def pruned(schema: Any) -> Any:
    """Return a schema without titles, descriptions and the word that OpenAI's models may have further fields."""
    if isinstance(schema, list):
        return [pruned(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    left_out = {"title", "description"} | ({"additionalProperties"} if "properties" in schema else set())
    return {
        word: {name: pruned(part) for name, part in value.items()} if word == "properties" else pruned(value)
        for word, value in schema.items()
        if word not in left_out
    }


def pages() -> dict[str, Any]:
    """Return what vLLM's own handlers say of a server of the small world in float32, no engine behind them."""
    from vllm.engine.arg_utils import EngineArgs
    from vllm.entrypoints.serve.dev.server_info import api_router
    from vllm.entrypoints.serve.instrumentator.basic import show_version

    from attnpo.tinyworld import checkpoint_path

    kept = api_router._get_system_env_info_cached
    api_router._get_system_env_info_cached = dict  # asks the machine for a minute
    try:
        config = EngineArgs(str(checkpoint_path()), dtype="float32", enforce_eager=True).create_engine_config()
        request = SimpleNamespace(app=SimpleNamespace(state=SimpleNamespace(vllm_config=config)))
        info = json.loads(asyncio.run(api_router.show_server_info(request, "json")).body)["vllm_config"]
    finally:
        api_router._get_system_env_info_cached = kept
    model = {name: info["model_config"][name] for name in MODEL_CONFIG}
    assert model["model"] == str(checkpoint_path())
    assert isinstance(info["instance_id"], str)
    own = {name: info[name] for name in CONFIG} | {"instance_id": "1"}
    return {
        "/health": "",
        "/version": json.loads(asyncio.run(show_version()).body),
        "/server_info": {"vllm_config": {"model_config": model | {"model": "tinyworld"}, **own}},
    }


def written(interface: dict[str, Any]) -> str:
    """Return it as JSON, a line each part."""
    lines = []
    for name, value in interface.items():
        inner = isinstance(value, dict)
        said = ",\n".join(f"  {json.dumps(key)}: {json.dumps(part)}" for key, part in value.items()) if inner else ""
        lines.append(f" {json.dumps(name)}: " + (f"{{\n{said}\n }}" if inner else json.dumps(value)))
    return "{\n" + ",\n".join(lines) + "\n}\n"


if __name__ == "__main__":
    RECORDED.write_text(written(recorded()))
