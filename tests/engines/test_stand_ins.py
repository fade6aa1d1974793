"""What `make test` puts in vLLM's place says nothing that vLLM would not take or give."""

from __future__ import annotations

import dataclasses
import inspect
import json

import fake_vllm
import pytest
from opt_in import only_when_asked_for

only_when_asked_for("vllm")

import vllm
from vllm.engine.arg_utils import EngineArgs
from vllm.outputs import CompletionOutput, RequestOutput
from vllm.sampling_params import RequestOutputKind
from vllm.v1.engine.llm_engine import LLMEngine
from vllm_replies import RECORDED, recorded

from attnpo.sampling.vllm_sampler import NAMED_ELSEWHERE


def test_sampling_settings_have_these_names_and_defaults():
    real = vllm.SamplingParams()
    for field in dataclasses.fields(fake_vllm.VLLMParams):
        if field.name != "output_kind":
            assert getattr(real, field.name) == field.default or (
                field.default is None and not getattr(real, field.name)
            )
    kinds = [(kind.name, kind.value) for kind in fake_vllm.RequestOutputKind]
    assert kinds == [(kind.name, kind.value) for kind in RequestOutputKind]
    params = vllm.SamplingParams(n=1, seed=5, max_tokens=9, min_p=0.0, output_kind=RequestOutputKind.FINAL_ONLY)
    assert (params.seed, params.max_tokens) == (5, 9)


def test_an_engine_takes_these_arguments():
    known = {field.name for field in dataclasses.fields(EngineArgs)} | set(inspect.signature(vllm.LLM).parameters)
    ours = {field.name for field in dataclasses.fields(fake_vllm.LLM) if field.init}
    assert ours <= known
    assert known >= NAMED_ELSEWHERE


@pytest.mark.parametrize("name", ["add_request", "step", "abort_request"])
def test_its_loop_is_driven_like_this(name):
    real = list(inspect.signature(getattr(LLMEngine, name)).parameters)
    ours = list(inspect.signature(getattr(fake_vllm.Engine, name)).parameters)
    given = [parameter for parameter in ours if parameter not in ("arrival_time", "priority")]
    assert real[: len(given)] == given
    assert set(ours) <= set(real)


def test_what_comes_back_has_these_fields():
    assert {"index", "text", "token_ids", "finish_reason"} <= {f.name for f in dataclasses.fields(CompletionOutput)}
    assert {"request_id", "outputs", "finished"} <= set(inspect.signature(RequestOutput).parameters)
    assert vllm.TokensPrompt(prompt_token_ids=[1, 2])["prompt_token_ids"] == [1, 2]


def test_a_server_says_and_takes_what_was_recorded():
    assert recorded() == json.loads(RECORDED.read_text())


def test_its_memory_is_given_back_like_this():
    real = inspect.signature(vllm.distributed.cleanup_dist_env_and_memory).parameters
    ours = inspect.signature(fake_vllm.Distributed("x").cleanup_dist_env_and_memory).parameters
    assert list(real) == list(ours)
    assert all(parameter.default is not parameter.empty for parameter in real.values())


def test_its_own_errors_are_told_by_where_they_come_from():
    from vllm.exceptions import VLLMValidationError
    from vllm.v1.engine.exceptions import EngineDeadError

    from attnpo.sampling.vllm_sampler import _of_vllm

    assert _of_vllm(VLLMValidationError("x"))
    assert _of_vllm(EngineDeadError())
    assert not _of_vllm(ValueError("x"))
