"""Step scores against the float64 truth, over architectures, implementations, padding and chunk sizes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.attention import Head, ensemble_scores, read_step_scores
from attnpo.attention import reduction as reduction_module

TOLERANCE = 1e-5
ON_SDPA = ["qwen2", "qwen3", "llama", "mistral", "gemma3_text", "mixtral", "qwen3_moe", "deepseek_v3", "gpt2"]
EVERYWHERE = [(name, "sdpa") for name in ON_SDPA] + [(name, "eager") for name in [*ON_SDPA, "gemma2", "gpt_oss"]]


def read(model, batch, heads=None, **options):
    with torch.no_grad(), read_step_scores(model, heads, *batch.annotations, **options) as reading:
        model(**batch.inputs)
    return reading.scores_BKN


@pytest.fixture(scope="module")
def truths(tools):
    """Truth of each architecture, computed once; it does not depend on implementation or padding."""
    known: dict[str, torch.Tensor] = {}

    def truth(name):
        if name not in known:
            known[name] = tools.truth(tools.model(name, "eager"), tools.batch("right"))
        return known[name]

    return truth


@pytest.mark.parametrize(("name", "implementation"), EVERYWHERE)
def test_scores_equal_the_float64_truth(tools, truths, name, implementation):
    scores = read(tools.model(name, implementation), tools.batch("middle"))
    assert scores.dtype == torch.float32
    assert tools.error(scores, truths(name)) <= TOLERANCE


@pytest.mark.parametrize("padding", ["left", "right"])
@pytest.mark.parametrize("name", ["qwen2", "mistral", "gemma3_text"])
def test_padding_side_does_not_matter(tools, truths, name, padding):
    assert tools.error(read(tools.model(name), tools.batch(padding)), truths(name)) <= TOLERANCE


def test_no_padding_leaves_the_mask_to_the_implementation(tools):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(50, 50))
    assert tools.error(read(model, batch), tools.truth(model, batch)) <= TOLERANCE
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations) as reading:
        model(input_ids=batch.input_ids)
    assert tools.error(reading.scores_BKN, tools.truth(model, batch)) <= TOLERANCE


def test_model_in_float64_agrees_to_float32_rounding(tools, truths):
    scores = read(tools.model("llama").double(), tools.batch("right"))
    assert tools.error(scores, truths("llama")) <= 3e-7


def test_an_attention_that_looks_far_matters(tools, truths):
    """Guards the tests above: heads differ, and a window hides steps, so wrong heads or masks would show."""
    assert truths("qwen2").std(-1).max() > 0.01
    assert (truths("mistral")[0] == 0).any()
    assert (truths("qwen2")[0, :3] > 0).all()


@pytest.mark.parametrize(
    "heads",
    [
        [(2, 5), (0, 1), (2, 0)],
        [(1, 3)],
        [(0, 0), (0, 1), (0, 2)],
        [(1, 4), (1, 1)],
        [(1, 0), (1, 1), (1, 4)],
        [(1, 1), (1, 0), (1, 3), (1, 5)],
        [(2, 0), (2, 3), (2, 1)],
    ],
)
def test_chosen_heads_are_columns_of_all_heads(tools, truths, heads):
    scores = read(tools.model("qwen2"), tools.batch("right"), [Head(*head) for head in heads])
    columns = [layer * 6 + head for layer, head in heads]
    assert tools.error(scores, truths("qwen2")[..., columns]) <= TOLERANCE


def test_ensemble_is_the_mean_over_heads():
    scores_BKN = torch.tensor([[[1.0, 3.0], [0.0, 1.0]]])
    assert ensemble_scores(scores_BKN).tolist() == [[2.0, 0.5]]


@settings(max_examples=15, deadline=None)
@given(chunk=st.integers(1, 70), limit=st.sampled_from([1, 500, 2**24]), all_heads=st.booleans())
def test_chunks_do_not_change_scores(tools, chunk, limit, all_heads):
    model, batch = tools.model("qwen2", num_hidden_layers=1), tools.batch("middle")
    heads = None if all_heads else [Head(0, 4), Head(0, 1)]
    whole = read(model, batch, heads, answer_chunk=10_000)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reduction_module, "MAX_LOGITS", limit)
        torch.testing.assert_close(read(model, batch, heads, answer_chunk=chunk), whole, rtol=1e-6, atol=0)


@settings(max_examples=15, deadline=None)
@given(data=st.data())
def test_any_steps_and_answers(tools, data):
    """Steps need not be contiguous, answers may lie anywhere, and any of them may be missing."""
    model, batch = tools.model("qwen2", num_hidden_layers=1), tools.batch(lengths=(14, 14))
    cell = st.lists(st.integers(-1, 3), min_size=28, max_size=28)
    batch.step_index_BL = torch.tensor(data.draw(cell)).view(2, 14)
    batch.answer_mask_BL = torch.tensor(data.draw(cell)).view(2, 14) > 1
    with torch.no_grad(), read_step_scores(model, None, *batch.annotations, num_steps=5) as reading:
        model(**batch.inputs)
    truth = tools.truth(model, batch)
    assert (reading.scores_BKN[:, truth.shape[1] :] == 0).all()
    scores = reading.scores_BKN[:, : truth.shape[1]]
    torch.testing.assert_close(scores.double(), truth, rtol=TOLERANCE, atol=0)


def test_empty_answer_and_steps_without_tokens_score_zero(tools):
    batch = tools.batch("right")
    scores = read(tools.model("qwen2"), batch, num_steps=9)
    assert scores.shape == (4, 9, 18)
    assert (scores[3] == 0).all(), "row 3 has no answer"
    assert (scores[0, 3:] == 0).all(), "row 0 has three steps"
    assert (scores[0, :3] > 0).all()


def test_no_steps_at_all(tools):
    batch = tools.batch("right")
    batch.step_index_BL.fill_(-1)
    assert read(tools.model("qwen2"), batch).shape == (4, 0, 18)
    batch.answer_mask_BL.fill_(False)
    assert read(tools.model("qwen2"), batch, num_steps=2).tolist() == torch.zeros(4, 2, 18).tolist()


def test_padding_belongs_to_no_step_and_no_answer(tools, truths):
    batch = tools.batch("right")
    padding = batch.attention_mask == 0
    batch.step_index_BL[padding] = 2
    batch.answer_mask_BL[padding] = True
    scores = read(tools.model("qwen2"), batch, attention_mask_BL=batch.attention_mask)
    assert tools.error(scores, truths("qwen2")) <= TOLERANCE


def test_memory_is_bounded_by_the_chunk(tools):
    """No tensor of the reading grows with L²: the largest one allocated is one chunk of rows."""
    model = tools.model("qwen2", num_hidden_layers=1, max_position_embeddings=2048)
    length, chunk = 1024, 8
    batch = tools.batch(lengths=(length,))
    batch.answer_mask_BL[:, 512:] = True
    sizes: list[int] = []

    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            result = func(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                sizes.append(result.untyped_storage().nbytes())
            return result

    calls = []
    from attnpo.attention import reading as reading_module

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            reading_module, "read_layer", lambda *args: calls.append(args) or reduction_module.read_layer(*args)
        )
        read(model, batch, [Head(0, 3)], answer_chunk=chunk)
    with Largest():
        reduction_module.read_layer(*calls[0])
    assert max(sizes) <= max(4 * chunk * length, calls[0][0].query_BHLD.nbytes)


@pytest.mark.parametrize("heads", [[(2, 0), (2, 1), (1, 3)], [(1, 0), (2, 3), (1, 4)]])
def test_what_a_reduction_keeps_stands_layer_behind_layer(tools, heads):
    """Its columns need not be heads: here two a layer, whatever the number of heads, and heads in any order."""

    def first_and_count(call, chosen, heads_N, rows, answer_chunk):
        column = torch.tensor([float(chosen[0]), float(len(chosen))])
        return column.expand(rows.batch_size, rows.num_steps, 2)

    scores = read(tools.model("qwen2"), tools.batch("right"), [Head(*head) for head in heads], reduce=first_and_count)
    layers = list(dict.fromkeys(layer for layer, _ in heads))
    own = [[head for layer, head in heads if layer == here] for here in layers]
    assert scores[0, 0].tolist() == [number for chosen in own for number in (chosen[0], len(chosen))]
    assert (scores == scores[0, 0]).all()


def test_logits_of_a_reading_beside_those_of_the_pass(tools):
    """Two heads of three layers of some: a row of keys for each answer token."""
    model, batch = tools.model("qwen2"), tools.batch("right")
    with torch.no_grad(), read_step_scores(model, [Head(1, 0), Head(2, 3)], *batch.annotations) as reading:
        model(**batch.inputs)
    step_index_BL, answer_mask_BL = batch.annotations[:2]
    rows, length = step_index_BL.shape
    answers = sum(int(mask.sum()) for mask, steps in zip(answer_mask_BL, step_index_BL, strict=True) if max(steps) >= 0)
    config = model.config
    whole = rows * length**2 * config.num_attention_heads * config.num_hidden_layers
    assert reading.logits == (2 * answers * length, whole)
    assert answers > 2
