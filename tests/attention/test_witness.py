"""A layer's own output bears witness to the probabilities: whatever the reading does not know is refused."""

from __future__ import annotations

import pytest
import torch
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnpo.attention import Head, read_step_scores
from attnpo.attention import reading as reading_module
from attnpo.errors import UnsupportedModelError

HEADS = [Head(1, 4), Head(0, 1)]


def attention(module, query, key, value, attention_mask, scaling, change=None, **options):
    """Causal attention with something more that no option tells of."""
    group = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(group, 1), value.repeat_interleave(group, 1)
    logits = query @ key.transpose(2, 3) * scaling
    distance = torch.arange(logits.shape[2])[:, None] - torch.arange(logits.shape[3])
    logits = logits.masked_fill(distance < 0, -torch.inf)
    weights = logits.softmax(-1) if change is None else change(logits, distance)
    return (weights @ value).transpose(1, 2), None


def sharper(logits, distance):
    return (1.05 * logits).softmax(-1)


def windowed(logits, distance):
    return logits.masked_fill(distance >= 40, -torch.inf).softmax(-1)


def sunk(logits, distance):
    return torch.cat([logits, torch.zeros_like(logits[..., :1])], dim=-1).softmax(-1)[..., :-1]


def biased(logits, distance):
    return (logits - 0.02 * distance.clamp(min=0)).softmax(-1)


def sparse(logits, distance):
    kept = logits.topk(12, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kept, -torch.inf).softmax(-1)


def gated(logits, distance):
    return 0.9 * logits.softmax(-1)


@pytest.fixture
def registered():
    def register(change):
        def function(*args, **options):
            return attention(*args, change=change, **options)

        AttentionInterface.register("mine", function)
        return "mine"

    yield register
    AttentionInterface._global_mapping.pop("mine", None)


def read(model, batch, heads=HEADS):
    with torch.no_grad(), read_step_scores(model, heads, *batch.annotations) as reading:
        model(input_ids=batch.input_ids)
    return reading.scores_BKN


@pytest.mark.parametrize("change", [sharper, windowed, sunk, biased, sparse, gated])
def test_an_attention_that_is_more_than_the_known_softmax_is_refused(tools, registered, change):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(60, 60))
    model.config._attn_implementation = registered(change)
    with pytest.raises(
        UnsupportedModelError, match=r"Qwen2ForCausalLM, layer 0: .* do not give the layer's output"
    ) as error:
        read(model, batch)
    assert "\n" not in str(error.value)


def test_the_known_softmax_passes(tools, registered):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(60, 60))
    truth = tools.truth(model, batch)
    model.config._attn_implementation = registered(None)
    assert tools.error(read(model, batch), truth[..., [10, 1]]) <= 1e-5


def test_a_window_that_no_mask_tells_of_is_noticed(tools, registered):
    # What a Hub kernel does that knows the window from elsewhere.
    model, batch = tools.model("mistral"), tools.batch(lengths=(60, 60))
    model.config._attn_implementation = registered(None)
    with pytest.raises(UnsupportedModelError, match="do not give the layer's output"):
        read(model, batch)


def test_each_way_to_run_a_layer_is_compared_once(tools, monkeypatch):
    compared = []
    plain = reading_module.output_deviation
    monkeypatch.setattr(reading_module, "output_deviation", lambda *args: compared.append(args[0]) or plain(*args))
    model, batch = tools.model("qwen2"), tools.batch(lengths=(60, 60))
    read(model, batch)
    assert len(compared) == 2
    read(model, batch)
    assert len(compared) == 2, "both layers have been seen"
    read(model, batch, [Head(2, 0)])
    assert len(compared) == 3
    model.set_attn_implementation("eager")
    read(model, batch)
    assert [call.implementation for call in compared] == ["sdpa", "sdpa", "sdpa", "eager", "eager"]


def test_dropout_and_empty_answers_put_the_comparison_off(tools):
    model, batch = tools.model("qwen2", attention_dropout=0.5).train(), tools.batch(lengths=(60, 60))
    read(model, batch)  # the output lacks what was dropped
    batch.answer_mask_BL[:] = False
    read(model.eval(), batch)
    attention = model.model.layers[1].self_attn
    assert attention not in reading_module._WITNESSED
    batch.answer_mask_BL[:, -5:] = True
    read(model, batch)
    assert attention in reading_module._WITNESSED


def test_what_the_registry_holds_is_left_as_it_was(tools):
    before = dict(ALL_ATTENTION_FUNCTIONS._local_mapping)
    read(tools.model("qwen2"), tools.batch(lengths=(60, 60)))
    assert ALL_ATTENTION_FUNCTIONS._local_mapping == before
