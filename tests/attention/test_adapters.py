"""Heads are read under PEFT's wrapper as in the weights that the adapter amounts to."""

from __future__ import annotations

import pytest
import torch
from peft import LoraConfig, get_peft_model

from attnpo.attention import check_readable, read_step_scores, readable_heads
from attnpo.labeling.causal.scorer import VariantScorer
from attnpo.models import forward_arguments


@pytest.mark.parametrize("name", ["qwen2", "llama", "gemma3_text"])
@pytest.mark.parametrize("trained", [False, True])
def test_scores_are_those_of_the_merged_weights(tools, name, trained):
    batch = tools.batch("middle")
    lora = LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")
    wrapped = get_peft_model(tools.model(name), lora)
    torch.manual_seed(0)
    for parameter_name, weights in wrapped.named_parameters():
        if "lora_" in parameter_name:
            torch.nn.init.normal_(weights, std=0.1)
    wrapped.train(trained)
    heads, _ = readable_heads(wrapped)
    check_readable(wrapped, heads)
    with torch.set_grad_enabled(trained), read_step_scores(wrapped, None, *batch.annotations) as reading:
        wrapped(**batch.inputs)
    found = reading.scores_BKN.detach()
    merged = wrapped.merge_and_unload()
    assert tools.error(found, tools.truth(merged, batch)) <= 5e-5
    assert len(heads) == found.shape[-1]
    assert tools.error(found, tools.truth(tools.model(name), batch)) > 1e-3


def test_what_a_wrapped_model_takes_is_what_it_takes_alone(tools):
    """PEFT's own forward pass names neither a cache nor the logits to keep, and hands both on."""
    model = tools.model("qwen2")
    alone = forward_arguments(model)
    wrapped = get_peft_model(model, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM"))
    assert forward_arguments(wrapped) == alone > {"logits_to_keep", "past_key_values"}
    ids = torch.tensor([[1, 2, 3, 4]])
    assert wrapped(input_ids=ids, logits_to_keep=1).logits.shape[1] == 1
    assert VariantScorer(wrapped).plain_because is None
