"""Runs over several epochs, steps that an epoch's end cuts short, streams: resumed ones equal uninterrupted ones."""

from __future__ import annotations

import shutil

import pytest
import torch
from layouts import problems, small_model
from small_training import config
from transformers import AutoTokenizer
from trl.trainer.utils import RepeatSampler

from attnpo.tinyworld import checkpoint_path
from attnpo.training import AttnPOTrainer
from attnpo.training.trl_hooks import rewind

CASES = {
    # 9 prompts, 3 a step: three steps an epoch.
    "whole_steps": {"gradient_accumulation_steps": 1, "max_steps": 5},
    # 9 prompts, 3 a micro-batch, 2 micro-batches a step: the second step of each epoch has one.
    "short_steps": {"gradient_accumulation_steps": 2, "steps_per_generation": 1, "max_steps": 5},
}


def run(folder, settings, resume=None, data=None):
    """Return the number and length of every response in order, and the weights at the end."""
    options = {
        "per_device_train_batch_size": 12,
        "max_completion_length": 40,
        "save_strategy": "steps",
        "save_steps": 1,
        **settings,
    }
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    trainer = AttnPOTrainer(small_model(), config(folder, **options), data or problems(9), processing_class=tokenizer)
    seen = []
    inner = trainer.on_responses
    trainer.on_responses = lambda round_, width: (
        seen.append([(row, tuple(ids)) for row, ids in zip(round_.row_ids, round_.response_ids, strict=True)]),
        inner(round_, width),
    )
    try:
        trainer.train(resume_from_checkpoint=resume)
    finally:
        trainer.verifier.close()
    return seen, {name: parameter.detach().clone() for name, parameter in trainer.model.named_parameters()}


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_a_resume_in_a_later_epoch_equals_an_uninterrupted_run(case, tmp_path):
    seen, weights = run(tmp_path / "whole", CASES[case])
    numbers = [row for batch in seen for row, _ in batch]
    assert len(set(numbers)) == len(numbers)
    for step in (2, 3, 4):  # at or behind the end of the first epoch, in the middle of the second
        name = f"checkpoint-{step}"
        shutil.copytree(tmp_path / "whole" / name, tmp_path / str(step) / name)
        again, resumed = run(tmp_path / str(step), CASES[case], str(tmp_path / str(step) / name))
        assert 0 < len(again) < len(seen)
        assert again == seen[-len(again) :]
        assert all(torch.equal(resumed[name], weight) for name, weight in weights.items())


@pytest.mark.slow
def test_checkpoints_of_several_updates_a_batch_are_exact_in_a_later_epoch_too(tmp_path):
    # 2 prompts a batch of responses, which serves 6 micro-batches: 3 batches, 18 micro-batches, 5 steps an epoch.
    settings = {
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "steps_per_generation": 2,
        "num_iterations": 3,
        "max_steps": 9,
    }
    seen, weights = run(tmp_path / "whole", settings, data=problems(7))
    saved = {int(path.name.removeprefix("checkpoint-")) for path in (tmp_path / "whole").glob("checkpoint-*")}
    assert saved == {3, 5, 8, 9}
    for step in (5, 8):
        name = f"checkpoint-{step}"
        shutil.copytree(tmp_path / "whole" / name, tmp_path / str(step) / name)
        again, resumed = run(tmp_path / str(step), settings, str(tmp_path / str(step) / name), problems(7))
        assert 0 < len(again) < len(seen)
        assert again == seen[-len(again) :]
        assert all(torch.equal(resumed[name], weight) for name, weight in weights.items())


def test_a_stream_is_trained_on_and_gone_on_from(tmp_path):
    settings = {"per_device_train_batch_size": 4, "gradient_accumulation_steps": 1, "max_steps": 3}
    stream = problems(9).to_iterable_dataset()
    seen, weights = run(tmp_path / "whole", settings, data=stream)
    assert len(seen) == 3
    name = "checkpoint-2"
    shutil.copytree(tmp_path / "whole" / name, tmp_path / "again" / name)
    again, resumed = run(tmp_path / "again", settings, str(tmp_path / "again" / name), stream)
    assert again == seen[2:]
    assert all(torch.equal(resumed[name], weight) for name, weight in weights.items())


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_rewound_sampler_goes_on_as_one_that_went_through_the_epochs(shuffle):
    def sampler():
        return RepeatSampler(range(20), mini_repeat_count=2, batch_size=3, repeat_count=2, shuffle=shuffle, seed=7)

    gone = sampler()
    orders = [list(gone) for _ in range(4)]
    assert (len({tuple(order) for order in orders}) > 1) is shuffle
    for epoch in (0, 2, 3):
        fresh = sampler()
        rewind(fresh, epoch)
        assert list(fresh) == orders[epoch]
        rewind(gone, epoch)
        assert list(gone) == orders[epoch]
