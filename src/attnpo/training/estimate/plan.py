"""How many prompts, groups, tokens and updates a run's settings make."""

from __future__ import annotations

import math
from dataclasses import dataclass

from attnpo.errors import ConfigError


@dataclass(frozen=True)
class RunPlan:
    """Counts of a run; `*_at_most` take every response at its limit.

    Attributes:
        processes: processes, one a device.
        problems: problems of the data set.
        group_size: G, responses a prompt.
        micro_batch: rows of one forward and backward pass of a process.
        micro_batches: of them in an update (gradient accumulation).
        responses_per_process: responses a process samples at once.
        prompts_per_batch: prompts sampled for at once by all processes; as many groups.
        responses_per_batch: responses to them.
        updates_per_batch: optimizer steps on them.
        batches: rounds of sampling.
        updates: optimizer steps (the log's and the schedule's unit).
        epochs: passes over the problems.
        tokens_per_batch_at_most: response tokens sampled in a round.
        tokens_at_most: response tokens sampled in the run.
    """

    processes: int
    problems: int
    group_size: int
    micro_batch: int
    micro_batches: int
    responses_per_process: int
    prompts_per_batch: int
    responses_per_batch: int
    updates_per_batch: float
    batches: int
    updates: int
    epochs: float
    tokens_per_batch_at_most: int
    tokens_at_most: int


def run_plan(
    *,
    processes: int,
    problems: int,
    group_size: int,
    micro_batch: int,
    micro_batches: int,
    micro_batches_per_generation: int,
    iterations: int,
    max_steps: int,
    epochs: float,
    response_limit: int,
    max_sampled_tokens: int | None = None,
) -> RunPlan:
    """Count what TRL's sampler and transformers' loop will do.

    Args:
        processes: processes.
        problems: problems of the data set.
        group_size: `num_generations`.
        micro_batch: `per_device_train_batch_size`.
        micro_batches: `gradient_accumulation_steps`.
        micro_batches_per_generation: `steps_per_generation`.
        iterations: `num_iterations`, updates on the same responses.
        max_steps: updates, where positive.
        epochs: `num_train_epochs`, where `max_steps` is not.
        response_limit: `max_completion_length`.
        max_sampled_tokens: a budget that may end the run earlier.

    Raises:
        ConfigError: groups do not fit the batch, there are fewer problems than a batch needs, or no update is
            asked for.
    """
    responses_per_process = micro_batch * micro_batches_per_generation
    responses = responses_per_process * processes
    if responses % group_size:
        raise ConfigError(
            f"num_generations: {group_size} responses a prompt do not divide the {responses} sampled at once "
            f"({processes} processes x per_device_train_batch_size={micro_batch} x {micro_batches_per_generation} "
            "micro-batches)"
        )
    prompts = responses // group_size
    if problems < prompts:
        raise ConfigError(
            f"data: {problems} problems are fewer than the {prompts} prompts of one batch, so no batch can be made; "
            f"lower gradient_accumulation_steps or the number of processes, or give at least {prompts} problems"
        )
    updates_per_batch = micro_batches_per_generation * iterations / micro_batches
    per_epoch = problems // prompts
    # As transformers counts: micro-batches of an epoch over accumulation, a remainder makes an update of its own.
    updates_per_epoch = max(1, math.ceil(per_epoch * updates_per_batch))
    updates = max_steps if max_steps > 0 else math.ceil(epochs * updates_per_epoch)
    if updates < 1:
        raise ConfigError(f"num_train_epochs: {epochs:g} makes no update; raise it, or set max_steps")
    batches = math.ceil(updates / updates_per_batch)
    tokens = responses * response_limit
    total = batches * tokens
    if max_sampled_tokens is not None:
        total = min(total, max_sampled_tokens + tokens)  # the round in which the budget ends is finished
    return RunPlan(
        processes=processes,
        problems=problems,
        group_size=group_size,
        micro_batch=micro_batch,
        micro_batches=micro_batches,
        responses_per_process=responses_per_process,
        prompts_per_batch=prompts,
        responses_per_batch=responses,
        updates_per_batch=updates_per_batch,
        batches=batches,
        updates=updates,
        epochs=batches / per_epoch,
        tokens_per_batch_at_most=tokens,
        tokens_at_most=total,
    )
