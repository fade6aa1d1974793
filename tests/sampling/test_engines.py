from __future__ import annotations

import dataclasses
import json
import sys

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.errors import ConfigError
from attnpo.sampling import (
    ContinuousBatchingSampler,
    EngineSettings,
    ServerSampler,
    TransformersSampler,
    build_sampler,
)
from attnpo.tinyworld import checkpoint_path


def never():
    raise AssertionError("the model is not wanted")


def build(load_model=never, **settings):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    return build_sampler(
        EngineSettings(**settings), tokenizer=tokenizer, load_model=load_model, model_name=str(checkpoint_path())
    )


def load():
    return AutoModelForCausalLM.from_pretrained(checkpoint_path())


def test_the_engines_by_name():
    plain = build(load, rows=7)
    assert isinstance(plain, TransformersSampler)
    assert plain.rows == 7
    paged = build(load, engine="transformers-cb", rows=5)
    assert isinstance(paged, ContinuousBatchingSampler)
    assert paged.rows == 5


def test_a_server_loads_no_model_and_gets_its_settings():
    sampler = build(
        engine="server",
        base_url="http://127.0.0.1:9/v1",
        api="chat",
        concurrency=3,
        server_timeout=5.0,
        server_patience=2.0,
        api_key_env="MY_KEY",
    )
    assert isinstance(sampler, ServerSampler)
    endpoint = sampler.server.endpoint
    assert (endpoint.base_url, endpoint.model) == ("http://127.0.0.1:9/v1", str(checkpoint_path()))
    assert (endpoint.concurrency, endpoint.timeout, endpoint.patience) == (3, 5.0, 2.0)
    assert (endpoint.api_key_env, sampler.api) == ("MY_KEY", "chat")
    named = build(engine="server", base_url="http://127.0.0.1:9/v1", served_model="other")
    assert named.server.endpoint.model == "other"


def test_vllm_loads_no_transformers_model(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[vllm\]'"):
        build(engine="vllm")


def test_each_engine_says_what_it_is():
    samplers = [build(load), build(load, engine="transformers-cb"), build(engine="server", base_url="http://h/v1")]
    descriptions = [sampler.description for sampler in samplers]
    assert [d["engine"] for d in descriptions] == ["transformers", "transformers-cb", "server"]
    assert len({d["seed"] for d in descriptions}) == 3
    for description in descriptions:
        assert json.loads(json.dumps(description)) == description


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"engine": "tgi"}, "engine"),
        ({"engine": "server"}, "base_url"),
        ({"base_url": "http://h/v1"}, "base_url"),
        ({"api": "responses"}, "api"),
        ({"rows": 0}, "rows"),
        ({"concurrency": 0}, "concurrency"),
        ({"tensor_parallel_size": 0}, "tensor_parallel_size"),
        ({"gpu_memory_utilization": 1.5}, "gpu_memory_utilization"),
        ({"max_model_len": 0}, "max_model_len"),
        ({"engine": "vllm", "engine_args": "seed=5"}, "engine_args: .* is not JSON"),
        ({"engine": "vllm", "engine_args": "[5]"}, "engine_args: .* no settings by name"),
        ({"engine": "vllm", "engine_args": {"dtype": "half"}}, "engine_args: dtype follows from other settings"),
        ({"engine_args": "{}"}, "^engine_args: of the engine 'vllm', but the engine is 'transformers'; leave it out"),
        ({"api": "chat"}, "^api: of the engine 'server'"),
        ({"served_model": "a"}, "^served_model: of the engine 'server'"),
        ({"max_model_len": 9}, "^max_model_len: of the engine 'vllm'"),
    ],
)
def test_settings_that_do_not_fit(settings, named):
    with pytest.raises(ConfigError, match=named):
        EngineSettings(**settings)


def test_every_setting_has_a_line_of_help():
    for setting in dataclasses.fields(EngineSettings):
        assert setting.metadata["help"].endswith(".")
