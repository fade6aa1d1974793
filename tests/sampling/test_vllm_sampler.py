"""Against a stand-in with the signatures of vLLM's public interface: vLLM itself is for `make test-vllm`."""

from __future__ import annotations

import sys
from types import SimpleNamespace

import pytest
from fake_vllm import END, RUNNING, RequestOutputKind, fake_vllm

from attnpo.errors import ConfigError, EngineError
from attnpo.sampling import SampledResponse, SampleRequest, SamplingParams, VLLMSampler

TOKENIZER = SimpleNamespace(eos_token_id=END, all_special_ids=[0, END])
PARAMS = SamplingParams(9, temperature=0.6, top_p=0.95, seed=3)


@pytest.fixture
def vllm(monkeypatch):
    monkeypatch.setattr("attnpo.sampling.vllm_sampler.saved_generation_config", lambda model, revision: None)
    modules = fake_vllm()
    for name, module in modules.items():
        monkeypatch.setitem(sys.modules, name, module)
    return modules["vllm"]


def asked(steps, samples=1):
    return [SampleRequest("", (n, 5), key, j) for key, n in enumerate(steps) for j in range(samples)]


def test_each_request_gets_its_own_seed_and_settings(vllm):
    sampler = VLLMSampler("some/model", TOKENIZER, rows=4)
    found = dict(sampler.sample(asked([1, 2, 3], samples=2), PARAMS))
    assert sorted(found) == list(range(6))
    assert all(r.finished and r.exact_ids and r.ids[-2:] == [5, END] for r in found.values())
    seen = sampler._llm.llm_engine.seen
    assert len({params.seed for _, params in seen}) == 6
    for _, params in seen:
        assert (params.n, params.max_tokens, params.temperature, params.top_p, params.top_k) == (1, 9, 0.6, 0.95, 0)
        assert params.output_kind is RequestOutputKind.FINAL_ONLY
        assert params.detokenize is False


def test_a_closed_engine_is_gone_and_its_memory_cleaned_up(vllm, monkeypatch):
    sampler = VLLMSampler("m", TOKENIZER)
    sampler.close()
    assert vllm.distributed.cleaned == 0  # none was started
    first = dict(sampler.sample(asked([1, 2]), PARAMS))
    assert len(RUNNING) == 1
    sampler.close()
    sampler.close()
    assert (len(RUNNING), vllm.distributed.cleaned) == (0, 1)
    assert dict(sampler.sample(asked([1, 2]), PARAMS)) == first
    monkeypatch.setattr(vllm.distributed, "cleanup_dist_env_and_memory", None)  # versions without it
    sampler.close()
    assert len(RUNNING) == 0


def test_a_request_draws_the_same_alone_and_among_others(vllm):
    requests = asked([3, 1, 2], samples=3)
    whole = dict(VLLMSampler("m", TOKENIZER, rows=2).sample(requests, PARAMS))
    alone = dict(VLLMSampler("m", TOKENIZER, rows=8).sample(requests[4:5], PARAMS))
    assert alone[0] == whole[4]
    other = dict(VLLMSampler("m", TOKENIZER).sample(requests, SamplingParams(9, seed=4)))
    assert other != whole


def test_responses_come_as_they_finish_and_the_queue_is_bounded(vllm):
    sampler = VLLMSampler("m", TOKENIZER, rows=2)
    order = [index for index, _ in sampler.sample(asked([9, *[1] * 30]), PARAMS)]
    assert sorted(order) == list(range(31))
    assert order[0] != 0
    assert sampler._llm.llm_engine.most <= 8


def test_a_cut_response_is_not_finished_and_gets_no_end_token(vllm):
    sampler = VLLMSampler("m", TOKENIZER)
    sampler._llm.llm_engine.finish = "length"
    found = dict(sampler.sample(asked([1]), PARAMS))
    assert found[0].finished is False


def test_the_end_token_is_added_where_the_engine_left_it_out(vllm):
    output = SimpleNamespace(token_ids=[7, 8], finish_reason="stop")
    assert VLLMSampler("m", TOKENIZER)._response(output) == SampledResponse([7, 8, END], True)


def test_breaking_off_takes_the_rest_back(vllm):
    sampler = VLLMSampler("m", TOKENIZER, rows=2)
    drawing = sampler.sample(asked([1, 5, 5]), PARAMS)
    next(drawing)
    drawing.close()
    engine = sampler._llm.llm_engine
    assert (len(engine.aborted), engine.requests) == (2, {})
    assert len(list(sampler.sample(asked([1, 2]), PARAMS))) == 2


def test_a_dropped_request_ends_it(vllm):
    sampler = VLLMSampler("m", TOKENIZER)
    sampler._llm.llm_engine.finish = "abort"
    with pytest.raises(EngineError, match="'abort'"):
        list(sampler.sample(asked([1]), PARAMS))


def test_what_vllm_refuses_is_one_line(vllm):
    sampler = VLLMSampler("m", TOKENIZER, max_model_len=20)
    with pytest.raises(ConfigError, match="longer than the maximum model length") as error:
        list(sampler.sample([SampleRequest("", (1,) * 21, 0, 0)], PARAMS))
    assert "\n" not in str(error.value)
    with pytest.raises(ConfigError, match=r"cannot load broken: Model architectures \['Broken'\] are"):
        list(VLLMSampler("broken", TOKENIZER).sample(asked([1]), PARAMS))


class VLLMValidationError(Exception):
    """vLLM's own, which is no ValueError."""

    __module__ = "vllm.exceptions"


class EngineDeadError(Exception):
    __module__ = "vllm.v1.engine.exceptions"


class OutOfMemoryError(RuntimeError):
    """torch's."""


def fails_with(error):
    def fail(*_, **__):
        raise error

    return fail


def test_a_request_that_vllm_validates_away_is_one_line(vllm):
    sampler = VLLMSampler("m", TOKENIZER)
    sampler._llm.llm_engine.add_request = fails_with(VLLMValidationError("a prompt of 30 tokens\nexceeds 20"))
    with pytest.raises(ConfigError, match=r"^engine: vllm refuses a request: a prompt of 30 tokens exceeds 20$"):
        list(sampler.sample(asked([1]), PARAMS))


@pytest.mark.parametrize("error", [EngineDeadError("EngineCore encountered\nan issue"), OutOfMemoryError("CUDA")])
def test_an_engine_that_dies_ends_it_in_one_line(vllm, error):
    sampler = VLLMSampler("m", TOKENIZER)
    engine = sampler._llm.llm_engine
    engine.step = fails_with(error)
    engine.abort_request = fails_with(error)
    with pytest.raises(EngineError, match=r"^vllm: the engine is gone \(.*\); what was finished is on disk") as found:
        list(sampler.sample(asked([1, 2]), PARAMS))
    assert "\n" not in str(found.value)
    assert ("--gpu_memory_utilization" in str(found.value)) == isinstance(error, OutOfMemoryError)


def test_a_mistake_of_ours_keeps_its_traceback(vllm):
    sampler = VLLMSampler("m", TOKENIZER)
    sampler._llm.llm_engine.step = fails_with(KeyError("ours"))
    with pytest.raises(KeyError):
        list(sampler.sample(asked([1]), PARAMS))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            RuntimeError("Engine core initialization failed.\nSee root cause above."),
            "says why; where that names memory, lower --gpu_memory_utilization",
        ),
        (ValueError("Free memory on device (1/79 GiB) is less than desired"), "lower --gpu_memory_utilization"),
        (TypeError("EngineArgs.__init__() got an unexpected keyword argument 'rowz'"), "'rowz'"),
    ],
)
def test_an_engine_that_does_not_start_is_one_line(vllm, error, said):
    vllm.LLM = fails_with(error)
    with pytest.raises(ConfigError, match=r"^engine: vllm cannot load m: ") as found:
        list(VLLMSampler("m", TOKENIZER).sample(asked([1]), PARAMS))
    assert said in str(found.value)
    assert "\n" not in str(found.value)


def test_further_arguments_reach_the_engine_and_are_recorded(vllm):
    sampler = VLLMSampler("m", TOKENIZER, engine_args={"seed": 5})
    assert sampler._llm.seed == 5
    assert sampler.description["engine_args"] == {"seed": 5}
    assert "engine_args" not in VLLMSampler("m", TOKENIZER).description


def test_settings_reach_the_engine(vllm):
    sampler = VLLMSampler(
        "m", TOKENIZER, rows=7, revision="r", dtype="bfloat16", tensor_parallel_size=2, max_model_len=99
    )
    llm = sampler._llm
    assert (llm.max_num_seqs, llm.revision, llm.tokenizer_revision, llm.dtype) == (7, "r", "r", "bfloat16")
    assert (llm.tensor_parallel_size, llm.max_model_len) == (2, 99)
    assert sampler.description["vllm"] == "0.31.0"


def test_without_vllm_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "vllm", None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[vllm\]' in the clone"):
        VLLMSampler("m", TOKENIZER)
