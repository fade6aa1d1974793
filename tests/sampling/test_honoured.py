"""Every engine against every sampling setting: honoured (draws show it where the engine runs here), or refused."""

from __future__ import annotations

import json
from dataclasses import fields

import pytest
import torch
from small_training import config
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from attnpo.errors import ConfigError
from attnpo.sampling import SamplingParams, TransformersSampler, render_prompt
from attnpo.sampling.base import SampleRequest
from attnpo.sampling.continuous_sampler import ContinuousBatchingSampler
from attnpo.sampling.honoured import (
    EVERYWHERE,
    GENERATE,
    KWARGS,
    OURS,
    OWN,
    PAGED,
    PLAIN,
    SHAPING,
    check_checkpoint,
    check_kwargs,
    check_own,
    checkpoint_settings,
)
from attnpo.tinyworld import checkpoint_path

CHAT = [{"role": "user", "content": "Leo has 9. Bob has 2 fewer than Leo. How many does Bob have?"}]
ACTS = {
    "temperature": 0.5, "top_p": 0.5, "top_k": 1, "min_p": 0.9, "repetition_penalty": 3.0,
    "sequence_bias": {(35,): 9.0}, "no_repeat_ngram_size": 1, "bad_words_ids": [[20]], "suppress_tokens": [20],
    "top_h": 0.1, "typical_p": 0.1, "epsilon_cutoff": 0.5, "eta_cutoff": 0.9, "stop_strings": ["="], "max_time": 1.0,
    "min_length": 60, "min_new_tokens": 60, "begin_suppress_tokens": [20], "guidance_scale": 2.0,
    "exponential_decay_length_penalty": (1, 2.0), "forced_bos_token_id": 20, "forced_eos_token_id": 2,
}  # fmt: skip
"""A value of each setting that changes what the small model draws (20 is its full stop)."""


@pytest.fixture(scope="module")
def model():
    return AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.mark.parametrize("name", OWN)
@pytest.mark.parametrize("engine", sorted(EVERYWHERE))
def test_a_setting_of_the_run_is_honoured_or_refused_by_name(engine, name):
    if engine in OWN[name].engines:
        check_own(engine, {name: ACTS[name]})
    else:
        with pytest.raises(ConfigError, match=rf"^{name}: .*, but the engine '{engine}' does not honour it; use one"):
            check_own(engine, {name: ACTS[name]})
    for off in OWN[name].off:
        check_own(engine, {name: off})


@pytest.mark.parametrize("name", KWARGS)
@pytest.mark.parametrize("engine", sorted(EVERYWHERE))
def test_so_is_one_of_generation_kwargs(engine, name):
    value = ACTS.get(name, "value")
    if engine in KWARGS[name].engines:
        check_kwargs(engine, {name: value})
    else:
        with pytest.raises(ConfigError, match=rf"^generation_kwargs: {name}: .*{engine}"):
            check_kwargs(engine, {name: value})


@pytest.mark.parametrize("name", SHAPING)
@pytest.mark.parametrize("engine", sorted(EVERYWHERE))
def test_so_is_what_the_checkpoint_asks_for(engine, name):
    asked = GenerationConfig()
    setattr(asked, name, ACTS.get(name, "value"))
    if engine in SHAPING[name].engines:
        check_checkpoint(engine, asked)
    else:
        with pytest.raises(ConfigError, match=rf"^generation_config.json of the model: {name}: "):
            check_checkpoint(engine, asked)
    check_checkpoint(engine, GenerationConfig())
    check_checkpoint(engine, None)


def test_the_table_knows_every_setting_of_transformers_that_shapes_a_draw():
    # What bounds or feeds a generation, or belongs to beams and assistants, shapes no draw of ours.
    others = {name for name in GenerationConfig().to_dict() if name not in {**OWN, **KWARGS}}
    known = {
        "max_length", "max_new_tokens", "early_stopping", "do_sample", "num_beams", "length_penalty", "bos_token_id",
        "pad_token_id", "eos_token_id", "num_return_sequences", "output_attentions", "output_hidden_states",
        "output_scores", "output_logits", "return_dict_in_generate", "decoder_start_token_id", "transformers_version",
        "num_beam_groups", "diversity_penalty", "encoder_repetition_penalty", "encoder_no_repeat_ngram_size",
        "cache_config", "return_legacy_cache", "token_healing", "penalty_alpha", "low_memory", "dola_layers",
        "constraints", "force_words_ids", "compile_config", "disable_compile", "is_assistant", "use_model_defaults",
        "num_assistant_tokens", "num_assistant_tokens_schedule", "assistant_confidence_threshold",
        "prompt_lookup_num_tokens", "max_matching_ngram_size", "assistant_early_exit", "assistant_lookbehind",
        "target_lookbehind", "continuous_batching_config", "speculation_type",
        "use_mtp", "max_cache_len", "assistant_ensemble_weight",
    }  # fmt: skip
    assert {name for name in others if not name.startswith("_")} <= known


def draw(sampler, tokenizer, **settings):
    prompt_ids = tuple(render_prompt(tokenizer, CHAT))
    requests = [SampleRequest(CHAT, prompt_ids, 7, sample) for sample in range(6)]
    params = SamplingParams(max_new_tokens=40, **settings)
    return [response.ids for _, response in sorted(sampler.sample(requests, params), key=lambda item: item[0])]


OURS_HONOURS = [name for name in {**OWN, **SHAPING} if OURS in {**OWN, **SHAPING}[name].engines and name in ACTS]


@pytest.mark.parametrize("name", OURS_HONOURS)
def test_our_own_loop_draws_otherwise_under_each(model, tokenizer, name):
    sampler = TransformersSampler(model, tokenizer)
    plain = draw(sampler, tokenizer)
    settings = {name: ACTS[name]} if name in OWN else {"extra": {name: ACTS[name]}}
    shaped = draw(sampler, tokenizer, **settings)
    assert shaped != plain
    assert draw(sampler, tokenizer, **settings) == shaped
    if name in ("bad_words_ids", "suppress_tokens"):
        assert all(20 not in ids for ids in shaped)
        assert any(20 in ids for ids in plain)
    if name == "no_repeat_ngram_size":
        assert all(len(set(ids)) == len(ids) for ids in shaped)
    if name == "top_k":
        assert all(ids == shaped[0] for ids in shaped)


@pytest.mark.parametrize("settings", [{"repetition_penalty": 1.3}, {"extra": {"no_repeat_ngram_size": 3}}])
def test_greedy_draws_equal_generates(model, tokenizer, settings):
    prompt_ids = render_prompt(tokenizer, CHAT)
    named = settings.get("extra", settings)
    truth = model.generate(
        torch.tensor([prompt_ids]), do_sample=False, max_new_tokens=40, pad_token_id=0, **named
    )[0, len(prompt_ids) :].tolist()  # fmt: skip
    assert draw(TransformersSampler(model, tokenizer), tokenizer, temperature=0.0, **settings) == [truth] * 6


def test_a_checkpoints_own_settings_shape_draws_and_the_runs_go_before_them(model, tokenizer):
    sampler, plain = TransformersSampler(model, tokenizer), draw(TransformersSampler(model, tokenizer), tokenizer)
    try:
        model.generation_config.suppress_tokens = [20]
        model.generation_config.repetition_penalty = 3.0  # the run's alone: 1 unless it says otherwise
        assert checkpoint_settings(model.generation_config) == {"suppress_tokens": [20]}
        assert all(20 not in ids for ids in draw(sampler, tokenizer))
        assert draw(sampler, tokenizer, extra={"suppress_tokens": []}) == plain
        model.generation_config.suppress_tokens, model.generation_config.min_new_tokens = None, 60
        with pytest.raises(ConfigError, match=r"generation_config.json of the model: min_new_tokens: 60"):
            draw(sampler, tokenizer)
    finally:
        model.generation_config = GenerationConfig(eos_token_id=model.config.eos_token_id)


def test_continuous_batching_honours_min_p_and_refuses_a_repetition_penalty(model, tokenizer):
    sampler = ContinuousBatchingSampler(model, tokenizer)
    likeliest = draw(TransformersSampler(model, tokenizer), tokenizer, temperature=0.0)
    assert draw(sampler, tokenizer, min_p=1.0) == likeliest
    with pytest.raises(ConfigError, match=rf"repetition_penalty: 1.5, but the engine '{PAGED}'"):
        draw(sampler, tokenizer, repetition_penalty=1.5)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"generation_kwargs": {"min_length": 5}}, "generation_kwargs: min_length: 5, but the engine 'transformers'"),
        ({"generation_kwargs": {"typical": 0.5}}, "'typical' is not honoured by any engine; did you mean typical_p"),
        ({"generation_kwargs": {"temperature": 0.5}}, "temperature has a setting of its own, temperature; give that"),
        ({"generation_kwargs": {"max_tokens": 5}}, "max_tokens has a setting of its own, max_completion_length"),
        ({"generation_kwargs": {"stop_strings": ["="]}}, r"stop_strings: \['='\]"),
        ({"group_sampler": False, "generation_kwargs": {"presence_penalty": 0.5}}, f"presence_penalty.*{GENERATE}"),
        (
            {"group_sampler": False, "use_vllm": True, "use_transformers_continuous_batching": True},
            "use_vllm: cannot be combined with continuous batching",
        ),
        (
            {"group_sampler": False, "use_transformers_continuous_batching": True, "repetition_penalty": 1.2},
            f"repetition_penalty: 1.2, but the engine '{PAGED}'",
        ),
    ],
)
def test_training_refuses_before_anything_is_loaded(tmp_path, settings, said):
    with pytest.raises(ConfigError, match=said):
        config(tmp_path, **settings)


def test_results_name_what_acts_only():
    assert SamplingParams(8).as_settings() == {
        "max_new_tokens": 8, "temperature": 1.0, "top_p": 1.0, "top_k": 0, "seed": 0,
    }  # fmt: skip
    shaped = SamplingParams(8, min_p=0.1, extra={"top_h": 0.4}).as_settings()
    assert (shaped["min_p"], shaped["extra"]) == (0.1, {"top_h": 0.4})
    assert json.loads(json.dumps(shaped)) == shaped
    assert set(SamplingParams(8).own()) == set(OWN)
    assert {field.name for field in fields(SamplingParams)} >= set(OWN)
    with pytest.raises(ConfigError, match="top_k: 5, but the engine 'plain server'"):
        check_own(PLAIN, SamplingParams(8, top_k=5).own())
