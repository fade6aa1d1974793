from __future__ import annotations

import json

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.tinyworld import checkpoint_path, generate_problems
from attnpo.tinyworld.model import build_model
from attnpo.tinyworld.oracle import wrong_results
from attnpo.tinyworld.pretrain import IGNORED, Recipe, batches, example, response_loss
from attnpo.tinyworld.survey import boxed_answer, paragraph_steps, survey
from attnpo.tinyworld.tokenizer import build_tokenizer


def test_checkpoint_loads_by_the_ordinary_way_and_reasons() -> None:
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    assert model.config.model_type == "qwen2"
    assert 0.5e6 < sum(p.numel() for p in model.parameters()) < 3e6
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id
    assert model.config.vocab_size == len(tokenizer)
    result = survey(model, tokenizer, generate_problems("heldout", 60, seed=1))
    assert result.accuracy > 0.4
    assert result.redundant_share > 0.3


def test_checkpoint_fits_the_code() -> None:
    shipped, built = AutoTokenizer.from_pretrained(checkpoint_path()), build_tokenizer()
    assert shipped.get_vocab() == built.get_vocab()
    assert shipped.chat_template == built.chat_template
    config = json.loads((checkpoint_path() / "config.json").read_text())
    assert config["hidden_size"] == build_model(built).config.hidden_size
    card = (checkpoint_path() / "README.md").read_text()
    assert "python -m attnpo.tinyworld.pretrain --output" in card
    assert "| accuracy |" in card


def test_batches_train_on_response_tokens_only() -> None:
    tokenizer = build_tokenizer()
    ids, labels = next(batches(tokenizer, Recipe(batch=4), (1, 2)))
    assert ids.shape == labels.shape
    for row, wanted in zip(ids, labels, strict=True):
        counted = wanted != IGNORED
        assert torch.equal(row[counted], wanted[counted])
        text = tokenizer.decode(row[counted])
        assert text.endswith(tokenizer.eos_token)
        assert boxed_answer(text) is not None
        assert tokenizer.decode(row[: int(counted.nonzero()[0])]).endswith("<think>\n")


def test_loss_is_the_mean_over_response_tokens() -> None:
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    ids, wanted = example(tokenizer, "How many?", "Bob has 7.")
    labels = torch.tensor([wanted])
    loss = response_loss(model, torch.tensor([ids]), labels)
    reference = model(input_ids=torch.tensor([ids]), labels=labels).loss
    torch.testing.assert_close(loss, reference, rtol=2e-2, atol=2e-2)


def test_paragraphs_tile_the_think_part() -> None:
    text = "A.\n\nB.\n\nC.\n</think>\n\nD. \\boxed{3}"
    spans = paragraph_steps(text)
    assert [text[a:b] for a, b in spans] == ["A.\n\n", "B.\n\n", "C.\n"]
    assert paragraph_steps("</think>") == []
    assert boxed_answer("\\boxed{1}") is None
    assert boxed_answer("\\boxed{1}</think> \\boxed{2}") == "2"


def test_the_loss_may_leave_out_the_wrong_results_of_slips() -> None:
    tokenizer = build_tokenizer()
    response = "Bob has 9-2=6.\n\nLet me verify. 6+2=8, not 9. So Bob has 7.\n\nAnn has 7+4-1=12."
    ids, wanted = example(tokenizer, "How many?", response, mask_slips=True)
    _, all_wanted = example(tokenizer, "How many?", response)
    left_out = [i for i, (a, b) in enumerate(zip(wanted, all_wanted, strict=True)) if a != b]
    assert [wanted[i] for i in left_out] == [IGNORED] * 3
    assert tokenizer.decode([ids[i] for i in left_out]) == "612"
    assert [response[a:b] for a, b in wrong_results(response)] == ["6", "12"]
