"""Padding-free batches: several sequences in one row, each read by itself."""

from __future__ import annotations

import pytest
import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from attnpo.attention import read_step_scores

LENGTHS = (60, 51, 43, 47)


class Packed:
    """The rows of a padded batch one after another in one row."""

    def __init__(self, batch) -> None:
        real = batch.attention_mask.bool()
        self.input_ids, self.step_index, self.answer_mask = (
            tensor[real][None] for tensor in (batch.input_ids, batch.step_index_BL, batch.answer_mask_BL)
        )
        lengths = real.sum(1).tolist()
        self.sequence = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))[None]
        self.position_ids = torch.cat([torch.arange(n) for n in lengths])[None]
        self.ends = torch.tensor([0, *lengths]).cumsum(0).int()

    def read(self, model, position_ids=None, **options):
        inputs = {"position_ids": self.position_ids if position_ids is None else position_ids}
        inputs |= {name: options.pop(name) for name in ("cu_seq_lens_q", "attention_mask") if name in options}
        with torch.no_grad(), read_step_scores(model, None, self.step_index, self.answer_mask, **options) as reading:
            model(input_ids=self.input_ids, **inputs)
        return reading.scores_BKN


@pytest.mark.parametrize(
    ("name", "implementation"),
    [("qwen2", "sdpa"), ("qwen2", "eager"), ("mistral", "sdpa"), ("gemma3_text", "sdpa"), ("gemma2", "eager")],
)
def test_each_sequence_scores_as_if_alone(tools, name, implementation):
    model, batch = tools.model(name, implementation), tools.batch(lengths=LENGTHS)
    packed = Packed(batch)
    scores = packed.read(model, sequence_BL=packed.sequence)
    assert scores.shape == (4, 6, 18)
    assert tools.error(scores, tools.truth(model, batch)) <= 1e-5


def test_several_rows_of_several_sequences(tools):
    model, batch = tools.model("qwen2"), tools.batch(lengths=(50, 40, 50, 40))
    one, two = Packed(tools.batch(lengths=(50, 40))), Packed(tools.batch(lengths=(50, 40)))
    real = batch.attention_mask.bool()
    rows = [t[real].view(2, 90) for t in (batch.input_ids, batch.step_index_BL, batch.answer_mask_BL)]
    sequence = torch.cat([one.sequence, two.sequence + 2])
    with torch.no_grad(), read_step_scores(model, None, *rows[1:], sequence_BL=sequence, num_steps=7) as reading:
        model(input_ids=rows[0], position_ids=torch.cat([one.position_ids, two.position_ids]))
    assert reading.scores_BKN.shape == (4, 7, 18)
    assert tools.error(reading.scores_BKN[:, :6], tools.truth(model, batch)) <= 1e-5


def test_flash_attention_that_is_told_the_ends(tools, monkeypatch):
    model, batch = tools.model("qwen2"), tools.batch(lengths=LENGTHS)
    truth, packed = tools.truth(model, batch), Packed(batch)
    sdpa = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def flash(module, query, key, value, attention_mask, cu_seq_lens_q=None, **options):
        assert attention_mask is None
        if cu_seq_lens_q is None:
            return sdpa(module, query, key, value, None, **options)
        sequence = torch.bucketize(torch.arange(query.shape[2]), cu_seq_lens_q[1:], right=True)
        mask = (sequence[:, None] == sequence) & torch.ones(2 * query.shape[2:3], dtype=torch.bool).tril()
        return sdpa(module, query, key, value, mask[None, None], **options)

    monkeypatch.setitem(ALL_ATTENTION_FUNCTIONS._global_mapping, "flash_attention_2", flash)
    model.config._attn_implementation = "flash_attention_2"
    scores = packed.read(model, sequence_BL=packed.sequence, cu_seq_lens_q=packed.ends)
    assert tools.error(scores, truth) <= 1e-5
    with pytest.raises(ValueError, match="several sequences are packed into a row"):
        packed.read(model, cu_seq_lens_q=packed.ends)


@pytest.mark.parametrize("implementation", ["sdpa", "eager"])
def test_packing_that_was_not_declared_is_refused(tools, implementation):
    packed = Packed(tools.batch(lengths=LENGTHS))
    with pytest.raises(ValueError, match="give sequence_BL to read each by itself") as error:
        packed.read(tools.model("qwen2", implementation))
    assert "\n" not in str(error.value)


def test_one_sequence_of_a_packed_row_may_be_read_alone(tools):
    model, batch = tools.model("qwen2"), tools.batch(lengths=LENGTHS)
    packed = Packed(batch)
    other = packed.sequence != 2
    packed.step_index[other], packed.answer_mask[other] = -1, False
    scores = packed.read(model)
    assert tools.error(scores[0], tools.truth(model, batch)[2, : scores.shape[1]]) <= 1e-5


def test_sequences_that_see_each_other_are_refused(tools):
    packed = Packed(tools.batch(lengths=LENGTHS))
    running = torch.arange(packed.input_ids.shape[1])[None]
    with pytest.raises(ValueError, match="packed sequences see each other"):
        packed.read(tools.model("qwen2"), position_ids=running, sequence_BL=packed.sequence)
    with pytest.raises(ValueError, match="packed sequences see each other"):  # a mask of ones: nothing is kept apart
        packed.read(tools.model("qwen2"), sequence_BL=packed.sequence, attention_mask=torch.ones_like(packed.input_ids))


def test_a_model_that_does_not_keep_packed_sequences_apart_is_refused(tools):
    # transformers makes gpt-oss's masks without position_ids; a window shorter than an answer hides that from it.
    packed = Packed(tools.batch(lengths=LENGTHS))
    with pytest.raises(ValueError, match="packed sequences see each other"):
        packed.read(tools.model("gpt_oss", "eager"), sequence_BL=packed.sequence)


def test_shapes_and_numbers_that_do_not_fit(tools):
    packed = Packed(tools.batch(lengths=LENGTHS))
    with pytest.raises(ValueError, match="must have one shape"):
        packed.read(tools.model("qwen2"), sequence_BL=packed.sequence[:, 1:])
    with pytest.raises(ValueError, match="names step 5, but num_steps is 4"):
        packed.read(tools.model("qwen2"), sequence_BL=packed.sequence, num_steps=4)


def test_padding_in_a_packed_row_belongs_to_no_sequence(tools):
    model, batch = tools.model("qwen2"), tools.batch(lengths=LENGTHS)
    packed = Packed(batch)
    packed.input_ids = torch.nn.functional.pad(packed.input_ids, (0, 9))
    packed.step_index = torch.nn.functional.pad(packed.step_index, (0, 9), value=2)
    packed.answer_mask = torch.nn.functional.pad(packed.answer_mask, (0, 9), value=True)
    packed.position_ids = torch.cat([packed.position_ids, torch.arange(9)[None]], dim=1)
    sequence = torch.nn.functional.pad(packed.sequence, (0, 9), value=-1)
    scores = packed.read(model, sequence_BL=sequence)
    assert tools.error(scores, tools.truth(model, batch)) <= 1e-5
