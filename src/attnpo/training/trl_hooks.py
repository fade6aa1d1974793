"""Every private name of TRL and transformers that training relies on; `trainer.py` alone uses them.

`tests/training/test_trl_contract.py` holds each of them to what is expected of it, and fails when the package touches
another one.
"""

from __future__ import annotations

from typing import Any, Final

import torch

OVERRIDDEN: Final = (
    "_generate_and_score_completions",
    "_tokenize_prompts",
    "_generate",
    "_generate_single_turn",
    "_calculate_rewards",
    "_get_per_token_logps_and_entropies",
    "_compute_loss",
    "_prepare_inputs",
    "_get_train_sampler",
)
"""Methods that `AttnPOTrainer` overrides."""

READ: Final = (
    "_step",  # micro-batches so far
    "_buffered_inputs",  # the micro-batches of a generation batch
    "_metrics",  # lists of values by mode and name, for the next log line
    "_tokenizer",
    "_entropy_bonus_enabled",
)
"""Attributes that are read, or added to."""

SET: Final = (
    "_created_lr_scheduler",  # transformers saves a scheduler with checkpoints where it is true
    "_name",  # the three of the model card
    "_paper",
    "_tag_names",
)
"""Attributes that are set."""


def rewind(sampler: Any, epoch: int) -> None:
    """Put TRL's sampler where it is after so many epochs: it draws each order from the generator of the last one.

    A stream of problems has none (None): it is in its place by itself.
    """
    if sampler is None or not sampler.shuffle:
        return
    sampler.generator.manual_seed(sampler.seed)
    for _ in range(epoch):
        torch.randperm(sampler.num_samples, generator=sampler.generator)
