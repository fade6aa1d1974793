"""Problems and prompts against the batch and the model."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Final

from attnpo.rollouts import Prompt
from attnpo.sampling.prompts import continues, render_prompt
from attnpo.think import ThinkOpening
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts
from attnpo.training.estimate import RunPlan, run_plan

FIRST_ROWS: Final = 256
"""Rows whose prompts are tokenized, ..."""
LONGEST_ROWS: Final = 64
"""... and as many again that have the longest text."""


def check_counts(parts: RunParts, findings: Findings) -> None:
    """Check that there are enough problems for an update."""
    with findings.catching():
        plan, schedule_steps = planned(parts), parts.args.schedule_steps
        if plan is not None and schedule_steps and schedule_steps > plan.updates:
            findings.note(
                f"schedule_steps: {schedule_steps} is above the run's {plan.updates} updates, so hard prompts are "
                "never compressed (Eq. 8)"
            )


def planned(parts: RunParts) -> RunPlan | None:
    """Count what the run will do; None where the number of problems is not known.

    Raises:
        ConfigError: groups do not fit the batch, or no update would be made.
    """
    if not parts.problems:
        return None
    args = parts.args
    return run_plan(
        processes=parts.layout.processes,
        problems=parts.problems,
        group_size=args.num_generations,
        micro_batch=args.per_device_train_batch_size,
        micro_batches=args.gradient_accumulation_steps,
        micro_batches_per_generation=args.steps_per_generation,
        iterations=args.num_iterations,
        max_steps=args.max_steps,
        epochs=args.num_train_epochs,
        response_limit=int(args.max_completion_length or 0),
        max_sampled_tokens=args.max_sampled_tokens,
    )


def check_stream(parts: RunParts, findings: Findings) -> None:
    """Check that nothing asks a stream for its length, or for a problem out of its turn."""
    if not parts.is_stream:
        return
    args, method = parts.args, parts.args.build_credit()
    instead = "give a data set of rows, not a stream"
    if args.max_steps <= 0:
        findings.refuse("max_steps: train_dataset is a stream, which does not say how many problems it has; set it")
    if method.overrides("prepare"):
        findings.refuse(
            f"train_dataset: method '{args.method}' measures the problems before the first step, and a stream gives "
            f"none before its turn; {instead}"
        )
    if method.settings.resample_groups:
        findings.refuse(
            f"resample_groups: {method.settings.resample_groups} draws other problems of train_dataset, and a stream "
            f"gives none out of its turn; set it to 0, or {instead}"
        )


def check_prompts(parts: RunParts, findings: Findings) -> None:
    """Check that prompts can be rendered, and that a response fits behind them."""
    tokenizer, prompts = parts.tokenizer, parts.prompts
    if tokenizer is None or not prompts:
        return
    if not isinstance(prompts[0], str) and tokenizer.chat_template is None:
        findings.refuse(
            "data: the prompts are chat messages, and the tokenizer has no chat template; give prompts as text"
        )
        return
    with findings.catching():
        first = _rendered(parts, prompts[:FIRST_ROWS])
        longest = longest_prompt(parts, [len(ids) for ids in first])
        findings.facts["prompts"] = (
            f"{statistics.mean(map(len, first)):.0f} tokens on average in the first {len(first)} rows, "
            f"{longest:,} at most"
            + (f"; none above max_prompt_tokens={parts.max_prompt_tokens:,}" if parts.max_prompt_tokens else "")
        )
        if any(map(continues, prompts)):
            findings.note("prompts end with a message of the assistant's: responses continue it")
        opens_think = ThinkOpening(tokenizer)
        if opens_think.is_shut(first[0]):
            findings.note(
                "prompts close their think part: a response is an answer from its first token and has no steps; "
                "switch the chat template's thinking on (Qwen3: leave enable_thinking out of chat_template_kwargs, or "
                "true), and give no opening"
            )
        elif not opens_think(first[0]):
            findings.note(
                "prompts open no think part: a response that writes no <think> itself is an answer from its first "
                "token and has no steps. Right for a model that writes <think> (Qwen3 with enable_thinking true): it "
                "needs no opening. For a model that was trained with an open one, opening: '<think>\\n'; "
                "`attnpo coldstart` teaches a plain instruct model to think"
            )
        _check_context(parts, findings, longest)


def longest_prompt(parts: RunParts, lengths: Sequence[int] = ()) -> int:
    """Return the tokens of the longest prompt: of those with the longest text, and of known lengths.

    Raises:
        DataError: the tokenizer cannot render the prompts, or the method asks nothing of such.
    """
    by_text = sorted(parts.prompts, key=lambda prompt: len(str(prompt)), reverse=True)
    return max([*lengths, *map(len, _rendered(parts, by_text[:LONGEST_ROWS]))], default=0)


def _rendered(parts: RunParts, prompts: Sequence[Prompt]) -> list[list[int]]:
    """Return what the model reads: the prompt, and what the run and the method put behind it."""
    method = parts.args.build_credit()
    asks = [method.ask(prompt, group_id=0, sample=0, progress_step=0) for prompt in prompts]
    return [render_prompt(parts.tokenizer, ask.prompt, parts.args.opening + ask.opening) for ask in asks]


def _check_context(parts: RunParts, findings: Findings, longest: int) -> None:
    args = parts.args
    length = longest + int(args.max_completion_length or 0)
    context = (
        None
        if parts.config is None
        else getattr(parts.config.get_text_config(decoder=True), "max_position_embeddings", None)
    )
    if context is not None and length > context:
        findings.refuse(
            f"max_completion_length: {args.max_completion_length:,} and a prompt of {longest:,} tokens exceed the "
            f"model's {context:,} positions; lower it to {max(0, context - longest):,}"
        )
    limit = args.vllm_max_model_length
    if args.use_vllm and limit is not None and length > limit:
        findings.refuse(
            f"vllm_max_model_length: {limit:,} is less than a prompt of {longest:,} and max_completion_length="
            f"{args.max_completion_length:,}; raise it to {length:,}"
        )
