"""Implementations that hand over no full mask: flash attention, flex and a user's own function."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask
from transformers import AttentionInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnpo.attention import read_step_scores
from attnpo.attention.hook import AttentionCall
from attnpo.attention.reduction import Rows, read_layer


def naive(query_HLD, key_JLD, value_JLD, scaling, window, softcap, sinks_H):
    """One unpadded sequence, as flash attention would see it after unpadding."""
    group = query_HLD.shape[0] // key_JLD.shape[0]
    key_HLD, value_HLD = key_JLD.repeat_interleave(group, 0), value_JLD.repeat_interleave(group, 0)
    logits_HLL = query_HLD @ key_HLD.transpose(1, 2) * scaling
    if softcap:
        logits_HLL = softcap * torch.tanh(logits_HLL / softcap)
    distance_LL = torch.arange(logits_HLL.shape[1])[:, None] - torch.arange(logits_HLL.shape[2])
    visible_LL = (distance_LL >= 0) & (distance_LL < (window or 10**9))
    logits_HLL = logits_HLL.masked_fill(~visible_LL, -torch.inf)
    if sinks_H is not None:
        sinks_HL1 = sinks_H[:, None, None].expand(-1, logits_HLL.shape[1], 1)
        logits_HLL = torch.cat([logits_HLL, sinks_HL1], dim=-1)
    weights_HLL = logits_HLL.softmax(-1)[..., : len(distance_LL)]
    return (weights_HLL @ value_HLD).transpose(0, 1)


def flash(module, query, key, value, attention_mask, scaling=None, sliding_window=None, softcap=None, **options):
    """Flash attention's contract: a (B, L) mask or None, or packed sequences; everything else is derived."""
    assert attention_mask is None or attention_mask.dim() == 2
    rows, _, length, _ = query.shape
    output = torch.zeros(rows, length, query.shape[1], value.shape[-1], dtype=query.dtype)
    for row in range(rows):
        if attention_mask is not None:
            pieces = [attention_mask[row].bool().nonzero().flatten()]
        elif options.get("cu_seq_lens_q") is not None:
            ends = options["cu_seq_lens_q"].tolist()
            pieces = [torch.arange(a, b) for a, b in pairwise(ends)]
        elif rows == 1 and options.get("position_ids") is not None:
            starts = [*(options["position_ids"][0] == 0).nonzero().flatten().tolist(), length]
            pieces = [torch.arange(a, b) for a, b in pairwise(starts)]
        else:
            pieces = [torch.arange(length)]
        for piece in pieces:
            tensors = (tensor[row][:, piece] for tensor in (query, key, value))
            output[row, piece] = naive(*tensors, scaling, sliding_window, softcap, options.get("s_aux"))
    return output, None


@pytest.fixture
def flash_attention(monkeypatch):
    names = ("flash_attention_2", "flash_attention_3", "flash_attention_4", "someone/hub-kernel")
    for name in names:
        monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, name, flash)
    return names


def with_implementation(model, name):
    # Set past the check that the package is installed.
    model.config._attn_implementation = name
    return model


@pytest.mark.parametrize("padding", ["left", "right", "middle"])
@pytest.mark.parametrize("name", ["qwen2", "mistral", "gemma2", "gpt_oss"])
def test_flash_attention_with_padding(tools, flash_attention, name, padding):
    model, batch = tools.model(name, "eager"), tools.batch(padding)
    truth = tools.truth(model, tools.batch("right"))
    with torch.no_grad():
        logits = model(**batch.inputs).logits
        with_implementation(model, "flash_attention_2")
        with read_step_scores(model, None, *batch.annotations) as reading:
            flash_logits = model(**batch.inputs).logits
    real = batch.attention_mask.bool()
    torch.testing.assert_close(flash_logits[real], logits[real], rtol=1e-3, atol=1e-4)
    assert tools.error(reading.scores_BKN, truth) <= 1e-5


@pytest.mark.parametrize("implementation", ["flash_attention_3", "flash_attention_4", "someone/hub-kernel"])
def test_every_flash_attention_without_padding(tools, flash_attention, implementation):
    model, batch = tools.model("mistral"), tools.batch(lengths=(50, 50))
    truth = tools.truth(model, batch)
    with_implementation(model, implementation)
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
        model(input_ids=batch.input_ids)
    assert tools.error(reading.scores_BKN, truth) <= 1e-5


@pytest.mark.parametrize("described_by", ["position_ids", "cu_seq_lens"])
def test_packed_sequences_do_not_see_each_other(tools, flash_attention, described_by):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(50,))
    truth = tools.truth(model, batch)
    with_implementation(model, "flash_attention_2")
    input_ids = torch.cat([batch.input_ids.flip(1)[:, :33], batch.input_ids], dim=1)
    described = {"position_ids": torch.cat([torch.arange(33), torch.arange(50)])[None]}
    if described_by == "cu_seq_lens":
        ends = torch.tensor([0, 33, 83], dtype=torch.int32)
        described |= {"cu_seq_lens_q": ends, "cu_seq_lens_k": ends, "max_length_q": 50, "max_length_k": 50}
    shift = torch.nn.functional.pad
    annotations = shift(batch.step_index_BL, (33, 0), value=-1), shift(batch.answer_mask_BL, (33, 0))
    with torch.no_grad(), read_step_scores(model, None, *annotations) as reading:
        model(input_ids=input_ids, **described)
    assert tools.error(reading.scores_BKN, truth) <= 1e-5


def test_a_registered_function_of_the_user(tools):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(50, 50))
    truth = tools.truth(model, batch)
    AttentionInterface.register("mine", flash)
    try:
        with_implementation(model, "mine")
        with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
            model(input_ids=batch.input_ids)
    finally:
        del AttentionInterface._global_mapping["mine"]
    assert tools.error(reading.scores_BKN, truth) <= 1e-5


def call_with(mask, **options):
    torch.manual_seed(0)
    query_BHLD, key_BJLD = torch.randn(2, 4, 20, 8), torch.randn(2, 2, 20, 8)
    return AttentionCall("sdpa", query_BHLD, key_BJLD, mask, **options)


def scores_of(call):
    step_index_BL = (torch.arange(20) // 5).expand(2, 20).where(torch.arange(20) < 15, -1)
    rows = Rows.of(step_index_BL, (torch.arange(20) >= 15).expand(2, 20), None)
    return read_layer(call, [3, 0, 1, 2], torch.tensor([3, 0, 1, 2]), rows, 2)


def causal_mask(window=10**9):
    distance_LL = torch.arange(20)[:, None] - torch.arange(20)
    mask = ((distance_LL >= 0) & (distance_LL < window)).expand(2, 1, 20, 20).clone()
    mask[1, :, :, :7] = False
    return mask


def test_boolean_additive_and_per_head_masks_agree():
    boolean = causal_mask(9)
    expected = scores_of(call_with(boolean))
    assert (expected[1, 0] == 0).all()
    additive = torch.where(boolean, 0.0, torch.finfo(torch.float32).min)
    assert torch.equal(scores_of(call_with(additive)), expected)
    assert torch.equal(scores_of(call_with(boolean.expand(-1, 4, -1, -1))), expected)
    wider = torch.nn.functional.pad(additive, (0, 12))  # masks made for a longer cache
    assert torch.equal(scores_of(call_with(wider)), expected)
    one_for_all_rows = scores_of(call_with(boolean[:1]))
    assert torch.equal(one_for_all_rows[0], expected[0])


def test_padding_queries_that_see_nothing_do_no_harm():
    """Rows of an additive mask that are -inf throughout, as some callers write them for padding queries."""
    boolean = causal_mask()
    boolean[1, :, :7] = False
    additive = torch.zeros(2, 1, 20, 20).masked_fill(~boolean, -torch.inf)
    step_index_BL = torch.where(torch.arange(20) < 12, torch.arange(20) // 4, -1).expand(2, 20)
    answer_mask_BL = torch.stack([torch.arange(20) >= 12, torch.arange(20) >= 17])
    rows = Rows.of(step_index_BL, answer_mask_BL, None)
    scores = read_layer(call_with(additive), [1], torch.tensor([1]), rows, 64)
    torch.testing.assert_close(scores, read_layer(call_with(boolean), [1], torch.tensor([1]), rows, 64))
    assert scores.isfinite().all()


def test_masks_that_differ_between_heads():
    masks = torch.cat([causal_mask(3 + 4 * head) for head in range(4)], dim=1)
    scores = scores_of(call_with(masks))
    for column, head in enumerate([3, 0, 1, 2]):
        alone = scores_of(call_with(masks[:, head : head + 1]))
        torch.testing.assert_close(scores[..., column], alone[..., column])


def test_position_bias_is_added_to_the_logits():
    bias = torch.randn(1, 4, 20, 20)
    as_mask = torch.where(causal_mask(), bias, -torch.inf)
    torch.testing.assert_close(scores_of(call_with(causal_mask(), position_bias=bias)), scores_of(call_with(as_mask)))


def test_flex_block_mask():
    boolean = causal_mask(9)
    block = create_block_mask(lambda b, h, q, k: boolean[b, 0, q, k], 2, None, 20, 20, device="cpu")
    call = call_with(boolean)
    flex = AttentionCall("flex_attention", call.query_BHLD, call.key_BJLD, block)
    torch.testing.assert_close(scores_of(flex), scores_of(call))


@pytest.mark.slow
@pytest.mark.skipif(" " in torch.__file__, reason="torch's compiler takes no path with a space: torch lies in one")
def test_flex_attention_itself(tools):
    """Compiles for most of a minute on a CPU."""
    batch = tools.batch("middle")
    truth = tools.truth(tools.model("mistral", "eager"), batch)
    model = tools.model("mistral", "flex_attention")
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
        model(**batch.inputs)
    assert tools.error(reading.scores_BKN, truth) <= 1e-5


def test_without_causal_flag_or_mask_every_key_is_visible():
    everything = scores_of(call_with(torch.ones(1, 1, 20, 20, dtype=torch.bool)))
    assert torch.equal(scores_of(call_with(None, is_causal=False)), everything)
    causal = scores_of(call_with(None))
    assert (causal >= everything).all()
    assert (causal > everything).any()
