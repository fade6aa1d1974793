"""The model must not notice: outputs and gradients are bit-identical, whatever training does around the reading."""

from __future__ import annotations

import contextlib

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from attnpo.attention import Head, read_step_scores
from attnpo.attention.hook import observe_attention

HEADS = [Head(0, 1), Head(1, 4), Head(2, 3)]


def run(model, batch, reading, backward_inside=False):
    """Logits and gradients of one training step; `reading` is a context manager."""
    model.zero_grad()
    torch.manual_seed(7)
    with reading as scores:
        loss_logits = model(**batch.inputs).logits
        loss = loss_logits.float().log_softmax(-1)[..., 5].mul(batch.attention_mask).mean()
        if backward_inside:
            loss.backward()
    if not backward_inside:
        loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    return loss_logits.detach().clone(), gradients, scores


def assert_unnoticed(model, batch, heads=HEADS, backward_inside=False):
    plain_logits, plain_gradients, _ = run(model, batch, contextlib.nullcontext())
    reading = read_step_scores(model, heads, *batch.annotations)
    logits, gradients, scores = run(model, batch, reading, backward_inside)
    assert torch.equal(logits, plain_logits)
    assert gradients.keys() == plain_gradients.keys()
    assert gradients
    assert all(torch.equal(gradients[name], plain_gradients[name]) for name in gradients)
    assert not scores.scores_BKN.requires_grad
    return scores.scores_BKN


def scores_of_own_queries_and_keys(model, batch, heads, dtype=None):
    """Eq. 1 in float64 from the queries and keys the model really used (full causal attention only)."""
    calls = {}
    layers = {m.layer_idx: m for m in model.modules() if isinstance(getattr(m, "layer_idx", None), int)}
    observers = {layers[head.layer]: lambda call, at=head.layer: calls.setdefault(at, call) for head in heads}
    autocast = torch.autocast("cpu", dtype) if dtype else contextlib.nullcontext()
    with torch.no_grad(), observe_attention(observers), autocast:
        model(**batch.inputs)
    columns = []
    for layer, head in heads:
        query_BLD = calls[layer].query_BHLD[:, head].double()
        key_BLD = calls[layer].key_BJLD[:, head // 3].double()
        length = query_BLD.shape[1]
        hidden_BLL = ~torch.ones(length, length, dtype=torch.bool).tril() | (batch.attention_mask == 0)[:, None]
        logits_BLL = (query_BLD @ key_BLD.transpose(1, 2) / query_BLD.shape[-1] ** 0.5).masked_fill(hidden_BLL, -1e9)
        received_BL = (logits_BLL.softmax(-1) * batch.answer_mask_BL[:, :, None]).sum(1)
        steps = range(int(batch.step_index_BL.max()) + 1)
        member_BKL = torch.stack([batch.step_index_BL == step for step in steps], dim=1)
        taken_BK = (received_BL[:, None] * member_BKL).sum(-1)
        columns.append(taken_BK / member_BKL.sum(-1).clamp(min=1))
    return torch.stack(columns, -1)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
@pytest.mark.parametrize("name", ["qwen2", "gemma3_text", "mixtral"])
@pytest.mark.parametrize("heads", [HEADS, None])
def test_outputs_and_gradients_are_bit_identical(tools, name, implementation, heads):
    assert_unnoticed(tools.model(name, implementation).train(), tools.batch("middle"), heads)


@pytest.mark.parametrize("backward_inside", [False, True])
@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing(tools, reentrant, backward_inside):
    model, batch = tools.model("qwen2").train(), tools.batch("right")
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    if reentrant:
        model.enable_input_require_grads()
    calls = []
    attention = model.model.layers[0].self_attn
    with observe_attention({attention: calls.append}):
        scores = assert_unnoticed(model, batch, backward_inside=backward_inside)
    assert len(calls) == 4, "two training steps, each of which recomputed the layer in its backward pass"
    truth = tools.truth(model, batch)[..., [1, 10, 15]]
    assert tools.error(scores, truth) <= 1e-5


def test_dropout_is_left_out_of_the_probabilities(tools):
    model, batch = tools.model("qwen2", attention_dropout=0.4).train(), tools.batch("right")
    heads = [Head(0, head) for head in range(6)]
    scores = assert_unnoticed(model, batch, heads)
    assert tools.error(scores, tools.truth(model, batch)[..., :6]) <= 1e-5


def test_lora(tools):
    base, batch = tools.model("qwen2"), tools.batch("right")
    model = get_peft_model(base, LoraConfig(r=4, target_modules=["q_proj", "k_proj", "v_proj"])).train()
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            nn.init.normal_(parameter, std=0.2)
    scores = assert_unnoticed(model, batch, None)
    assert tools.error(scores, tools.truth(model.merge_and_unload(), batch)) <= 1e-5


class Wrapped(nn.Module):
    """What DDP, DataParallel and DeepSpeed look like from outside."""

    def __init__(self, module):
        super().__init__()
        self.module = module

    def forward(self, *args, **kwargs):
        return self.module(*args, **kwargs)


def test_wrapped_models(tools):
    model, batch = tools.model("qwen2"), tools.batch("right")
    truth = tools.truth(model, batch)
    assert tools.error(assert_unnoticed(Wrapped(Wrapped(model)), batch, None), truth) <= 1e-5


@pytest.mark.slow
def test_compiled_model(tools):
    model, batch = tools.model("qwen2"), tools.batch("right")
    compiled = torch.compile(model, backend="eager")
    with torch.no_grad(), read_step_scores(compiled, None, *batch.annotations) as reading:
        compiled(**batch.inputs)
    assert tools.error(reading.scores_BKN, tools.truth(model, batch)) <= 1e-5


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_bfloat16_reads_the_models_own_queries_and_keys_in_float32(tools, implementation):
    model, batch = tools.model("qwen2", implementation).bfloat16(), tools.batch("middle")
    scores = assert_unnoticed(model.train(), batch)
    assert scores.dtype == torch.float32
    assert tools.error(scores, scores_of_own_queries_and_keys(model, batch, HEADS)) <= 1e-5
    assert tools.error(scores, tools.truth(model, batch)[..., [1, 10, 15]]) <= 0.05


def test_autocast_does_not_lower_the_reading(tools):
    model, batch = tools.model("qwen2").train(), tools.batch("middle")
    with torch.autocast("cpu", torch.bfloat16):
        scores = assert_unnoticed(model, batch)
    truth = scores_of_own_queries_and_keys(model, batch, HEADS, torch.bfloat16)
    assert tools.error(scores, truth) <= 1e-5


def test_nested_readings(tools):
    one, other, batch = tools.model("qwen2"), tools.model("qwen3"), tools.batch("right")
    with (
        torch.no_grad(),
        read_step_scores(one, HEADS, *batch.annotations) as few,
        read_step_scores(other, None, *batch.annotations) as elsewhere,
        read_step_scores(one, None, *batch.annotations) as every,
    ):
        one(**batch.inputs)
        other(**batch.inputs)
    assert tools.error(every.scores_BKN, tools.truth(one, batch)) <= 1e-5
    assert tools.error(elsewhere.scores_BKN, tools.truth(other, batch)) <= 1e-5
    torch.testing.assert_close(few.scores_BKN, every.scores_BKN[..., [1, 10, 15]], rtol=1e-6, atol=0)


def test_another_model_of_the_same_class_is_not_read(tools):
    model, batch = tools.model("qwen2"), tools.batch("right")
    stranger = tools.model("qwen2")
    with torch.no_grad(), read_step_scores(model, HEADS, *batch.annotations) as reading:
        stranger(**batch.inputs)
        with pytest.raises(RuntimeError, match="no finished forward pass"):
            _ = reading.scores_BKN
        model(**batch.inputs)
        stranger(**batch.inputs)
    assert reading.scores_BKN.shape == (4, 6, 3)
