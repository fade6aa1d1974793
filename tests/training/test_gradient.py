"""One whole training step against a reference that computes everything the long way."""

from __future__ import annotations

import copy

import pytest
import torch
from long_way import long_way_loss
from transformers import AutoModelForCausalLM

from attnpo.rollouts import read_rollouts
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.tinyworld import checkpoint_path

HEADS = [(2, 0), (1, 1)]


def sgd(model, lr=1.0):
    optimizer = torch.optim.SGD(model.parameters(), lr=lr)
    return optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)


def step_gradient(make_trainer, model, **settings):
    """Gradient of one training step, read off a plain SGD update with learning rate 1."""
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = make_trainer(model=model, save_rollouts=True, max_grad_norm=0.0, optimizers=sgd(model), **settings)
    trainer.train()
    gradient = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    return gradient, trainer


def relative_error(found, expected):
    difference = sum(float((found[n].double() - expected[n].double()).square().sum()) for n in expected)
    return (difference / sum(float(e.double().square().sum()) for e in expected.values())) ** 0.5


@pytest.mark.parametrize("method", ["attnpo", "tlmre"])
def test_step_gradient_equals_the_long_way(make_trainer, model, tokenizer, method):
    reference = AutoModelForCausalLM.from_pretrained(
        checkpoint_path(), dtype=torch.float64, attn_implementation="eager"
    )
    gradient, trainer = step_gradient(make_trainer, model, method=method)
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert len(rollouts) == 16
    assert any(r.correct for r in rollouts)
    long_way_loss(reference, tokenizer, rollouts, HEADS, method=method).backward()
    expected = {name: p.grad for name, p in reference.named_parameters()}
    assert relative_error(gradient, expected) < 1e-4


def test_credit_changes_the_gradient(make_trainer, model, tokenizer):
    start = copy.deepcopy(model.state_dict())
    attnpo, _ = step_gradient(make_trainer, model, method="attnpo")
    model.load_state_dict(start)
    tlmre, _ = step_gradient(make_trainer, model, method="tlmre")
    assert relative_error(attnpo, tlmre) > 1e-2


@pytest.mark.parametrize(
    "settings",
    [
        {"pack_micro_batches": False},
        {"answer_chunk": 1},
        {"pad_to_multiple_of": 16},
        {"per_device_train_batch_size": 16, "gradient_accumulation_steps": 1},
        {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 4},
        {"gradient_checkpointing": True},
        {"model_attn": "eager"},
    ],
    ids=lambda s: next(iter(s)),
)
def test_how_the_work_is_cut_up_changes_nothing(make_trainer, model, settings):
    start = copy.deepcopy(model.state_dict())
    plain, _ = step_gradient(make_trainer, model)
    model.load_state_dict(start)
    settings = dict(settings)
    if "model_attn" in settings:
        model.set_attn_implementation(settings.pop("model_attn"))
    other, _ = step_gradient(make_trainer, model, **settings)
    assert relative_error(other, plain) < 2e-5


def test_scores_come_from_the_sampling_policys_pass_when_trl_makes_one(make_trainer, model):
    # Two updates a batch: the first is on-policy, so it must equal the step that reads scores in its own pass,
    # although its scores come from TRL's old-policy pass.
    start = copy.deepcopy(model.state_dict())
    on_policy, trainer = step_gradient(make_trainer, model)
    assert not trainer.makes_sampling_policy_pass()
    model.load_state_dict(start)
    reused, trainer = step_gradient(make_trainer, model, num_iterations=2)
    assert trainer.makes_sampling_policy_pass()
    assert relative_error(reused, on_policy) < 2e-5


def test_several_updates_keep_the_sampling_policys_credit(make_trainer, model):
    # Rows that the optimizer sees in the second update carry the advantages that were fixed before the first.
    seen = []
    trainer = make_trainer(model=model, num_iterations=2, max_steps=2, optimizers=sgd(model, lr=0.5))
    plain_loss = trainer._compute_loss

    def spy(model, inputs):
        seen.append(
            {tuple(ids): a for ids, a in zip(inputs["completion_ids"].tolist(), inputs["advantages"], strict=True)}
        )
        return plain_loss(model, inputs)

    trainer._compute_loss = spy
    trainer.train()
    first, second = {**seen[0], **seen[1]}, {**seen[2], **seen[3]}
    assert first.keys() == second.keys()
    assert all(torch.equal(first[row], second[row]) for row in first)
    assert all(advantages.dim() == 1 for advantages in first.values())  # one a token: (B, T)


class InProcessVLLM:
    """Stands for vLLM's engine: samples like the trainer's own sampler, returns the tokens' log-probabilities too."""

    def __init__(self, trainer):
        self.trainer = trainer

    def sync_weights(self):
        pass

    def generate(self, prompts, images, num_generations, profiler):
        trainer = self.trainer
        first = trainer._first_row_id(len(prompts))
        groups = [(first + i) // num_generations for i in range(len(prompts))]
        params = SamplingParams(trainer.max_completion_length, seed=trainer.args.seed)
        streams = [[(group, i % num_generations)] for i, group in enumerate(groups)]
        responses = TransformersSampler(trainer.model, trainer.processing_class).decode(prompts, streams, params)
        logprobs = []
        for prompt, response in zip(prompts, responses, strict=True):
            with torch.no_grad():
                logits = trainer.model(input_ids=torch.tensor([list(prompt) + response.ids])).logits[0]
            rows = logits[len(prompt) - 1 : -1].log_softmax(-1)
            logprobs.append([[float(row[token])] for row, token in zip(rows, response.ids, strict=True)])
        return prompts, [response.ids for response in responses], logprobs, None


def test_scores_come_from_the_pass_that_corrects_for_vllm(make_trainer, model):
    # With vLLM, TRL scores every response under the policy before the update: the scores are read in that pass.
    start = copy.deepcopy(model.state_dict())
    on_policy, _ = step_gradient(make_trainer, model)
    model.load_state_dict(start)
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    trainer = make_trainer(model=model, max_grad_norm=0.0, optimizers=sgd(model), group_sampler=False)
    trainer.use_vllm, trainer._last_loaded_step = True, -1
    trainer.vllm_generation = InProcessVLLM(trainer)
    assert trainer.makes_sampling_policy_pass()
    trainer.train()
    with_vllm = {name: before[name] - p.detach() for name, p in model.named_parameters()}
    assert relative_error(with_vllm, on_policy) < 1e-4
