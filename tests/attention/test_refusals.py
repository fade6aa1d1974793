"""What cannot be read is refused in one clear line, and nothing is left behind."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    CLIPVisionConfig,
    DynamicCache,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    MambaConfig,
    Qwen3NextConfig,
    T5Config,
    T5ForConditionalGeneration,
)
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.qwen2 import modeling_qwen2

from attnpo.attention import Head, check_readable, read_step_scores
from attnpo.errors import HeadSetError, UnsupportedModelError

HEADS = [Head(1, 2)]


def message_of(error):
    text = str(error.value)
    assert "\n" not in text
    return text


def assert_nothing_left_behind():
    assert ALL_ATTENTION_FUNCTIONS._local_mapping == {}
    assert not hasattr(modeling_qwen2.eager_attention_forward, "__wrapped__")


def hybrid():
    return AutoModelForCausalLM.from_config(
        Qwen3NextConfig(
            vocab_size=32, hidden_size=16, intermediate_size=16, num_hidden_layers=4, num_attention_heads=2,
            num_key_value_heads=1, head_dim=8, linear_num_key_heads=1, linear_num_value_heads=1,
            linear_key_head_dim=8, linear_value_head_dim=8, num_experts=0, mlp_only_layers=[0, 1, 2, 3],
            layer_types=["linear_attention", "linear_attention", "linear_attention", "full_attention"],
        )
    )  # fmt: skip


def test_state_space_model():
    model = AutoModelForCausalLM.from_config(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2))
    with pytest.raises(UnsupportedModelError) as error:
        check_readable(model)
    assert "MambaForCausalLM" in message_of(error)
    with pytest.raises(UnsupportedModelError, match="softmax attention"):
        check_readable(model, HEADS)
    assert "softmax attention" in message_of(error)


def test_hybrid_model_is_read_where_it_has_attention_and_refused_elsewhere():
    model = hybrid()
    step_index_BL = torch.tensor([[-1, 0, 0, 1, 1, -1]])
    annotations = step_index_BL, torch.tensor([[0, 0, 0, 0, 0, 1]]).bool()
    for heads in (None, [Head(3, 0), Head(1, 1)]):
        with pytest.raises(UnsupportedModelError, match=r"linear_attention.*choose heads in layers 3") as error:
            check_readable(model, heads)
        message_of(error)
        with pytest.raises(UnsupportedModelError), read_step_scores(model, heads, *annotations):
            pytest.fail("must be refused before the forward pass")
    check_readable(model, [Head(3, 1)])
    with torch.no_grad(), read_step_scores(model, [Head(3, 1)], *annotations) as reading:
        model(input_ids=torch.arange(6)[None])
    assert (reading.scores_BKN > 0).all()
    assert (reading.scores_BKN.flatten() * 2).sum() < 1


def test_encoder_decoder_and_foreign_modules():
    t5 = T5ForConditionalGeneration(T5Config(vocab_size=32, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2))
    with pytest.raises(UnsupportedModelError, match="encoder-decoder"):
        check_readable(t5)
    with pytest.raises(UnsupportedModelError, match="holds no transformers model"):
        check_readable(nn.Linear(2, 2))


def test_attention_outside_the_registry(tools):
    bloom = tools.model("bloom", "eager", n_layer=2, n_head=2)
    with pytest.raises(UnsupportedModelError, match="registry"):
        check_readable(bloom)


def test_decoder_inside_a_multimodal_model(tools):
    vision = CLIPVisionConfig(
        hidden_size=16, intermediate_size=16, num_hidden_layers=5, num_attention_heads=2, image_size=8, patch_size=4
    )
    text = LlamaConfig(
        vocab_size=97, hidden_size=48, intermediate_size=64, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, initializer_range=0.15,
    )  # fmt: skip
    model = LlavaForConditionalGeneration(LlavaConfig(vision_config=vision, text_config=text, image_token_index=96))
    batch = tools.batch("right")
    batch.input_ids.clamp_(max=95)
    check_readable(model)
    with pytest.raises(HeadSetError, match=r"head 2\.0 does not exist"):
        check_readable(model, [Head(2, 0)])
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
        model(**batch.inputs)
    slow = AutoModelForCausalLM.from_config(text)
    slow.model.load_state_dict(model.model.language_model.state_dict())
    assert tools.error(reading.scores_BKN, tools.truth(slow, batch)) <= 1e-5


def test_heads_that_do_not_exist(tools):
    batch, model = tools.batch(), tools.model("qwen2")
    for heads, words in (
        ([Head(3, 0)], "head 3.0 does not exist"),
        ([Head(0, 6)], "head 0.6 does not exist"),
        ([Head(0, -1)], "head 0.-1 does not exist"),
        ([Head(0, 1), Head(0, 1)], "listed twice"),
        ([], "no heads"),
    ):
        with pytest.raises(HeadSetError, match=words), read_step_scores(model, heads, *batch.annotations):
            pytest.fail("must be refused before the forward pass")


def test_a_second_forward_pass_is_an_error(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    with torch.no_grad(), read_step_scores(model, HEADS, *batch.annotations):
        model(**batch.inputs)
        with pytest.raises(RuntimeError, match="second forward pass"):
            model(**batch.inputs)
    assert_nothing_left_behind()
    model(**batch.inputs)


def test_no_forward_pass_is_an_error(tools):
    with read_step_scores(tools.model("qwen2"), HEADS, *tools.batch().annotations) as reading:
        pass
    with pytest.raises(RuntimeError, match="no finished forward pass"):
        _ = reading.scores_BKN


def test_a_layer_that_was_not_seen_is_an_error_and_not_zeros(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    model.model.layers[1].forward = lambda hidden_states, **_: hidden_states
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
        model(**batch.inputs)
    with pytest.raises(UnsupportedModelError, match="layers 1 made no attention call") as error:
        _ = reading.scores_BKN
    message_of(error)


def test_a_layer_that_runs_twice_is_an_error(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    model.model.layers[2] = model.model.layers[1]
    with torch.no_grad(), pytest.raises(UnsupportedModelError, match="shared between layers"):
        check_readable(model)
    model = tools.model("qwen2")
    layer = model.model.layers[1]
    model.model.layers[2].forward = lambda *args, **kwargs: layer(*args, **kwargs)
    with (
        torch.no_grad(),
        pytest.raises(UnsupportedModelError, match="layer 1: calls attention twice"),
        read_step_scores(model, HEADS, *batch.annotations),
    ):
        model(**batch.inputs)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_an_exception_in_the_forward_pass_leaves_nothing_behind(tools, implementation):
    model, batch = tools.model("qwen2", implementation), tools.batch()
    broken = model.model.layers[2].mlp.register_forward_hook(lambda *_: 1 / 0)
    with (
        pytest.raises(ZeroDivisionError),
        torch.no_grad(),
        read_step_scores(model, HEADS, *batch.annotations) as unfinished,
    ):
        model(**batch.inputs)
    assert_nothing_left_behind()
    with pytest.raises(RuntimeError, match="no finished forward pass"):
        _ = unfinished.scores_BKN
    broken.remove()
    assert not model.model._forward_pre_hooks
    assert not model.model._forward_hooks
    with torch.no_grad(), read_step_scores(model, HEADS, *batch.annotations) as reading:
        model(**batch.inputs)
    assert reading.scores_BKN.isfinite().all()


def test_shapes_that_do_not_fit(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    with (
        pytest.raises(ValueError, match="one shape"),
        read_step_scores(model, HEADS, batch.step_index_BL, batch.answer_mask_BL[:, 1:]),
    ):
        pass
    with (
        pytest.raises(ValueError, match="num_steps is 2"),
        read_step_scores(model, HEADS, *batch.annotations, num_steps=2),
    ):
        pass
    with (
        pytest.raises(ValueError, match="answer_chunk"),
        read_step_scores(model, HEADS, *batch.annotations, answer_chunk=0),
    ):
        pass
    with (
        torch.no_grad(),
        pytest.raises(ValueError, match="queries of 4 rows and 59 tokens"),
        read_step_scores(model, HEADS, *batch.annotations),
    ):
        model(input_ids=batch.input_ids[:, 1:])


def test_a_filled_cache_is_refused(tools):
    model, batch = tools.model("qwen2"), tools.batch()
    with torch.no_grad():
        cache = model(input_ids=batch.input_ids[:, :5], past_key_values=DynamicCache(), use_cache=True).past_key_values
        with (
            pytest.raises(ValueError, match="keys of 4 rows and 65 tokens"),
            read_step_scores(model, HEADS, *batch.annotations),
        ):
            model(input_ids=batch.input_ids, past_key_values=cache, use_cache=True)
        # A cache that is only being filled is no obstacle.
        with read_step_scores(model, None, *batch.annotations) as reading:
            model(**batch.inputs, use_cache=True)
    assert tools.error(reading.scores_BKN, tools.truth(model, batch)) <= 1e-5
