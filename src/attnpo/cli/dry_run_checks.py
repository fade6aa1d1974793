"""What a dry run reads, and how the parts are checked against each other."""

from __future__ import annotations

import statistics
from typing import TYPE_CHECKING, Any

from transformers import AutoConfig

from attnpo.attention import HeadSet, check_readable, resolve_heads
from attnpo.cli.arguments import ModelArguments
from attnpo.cli.dry_run_memory import device_memories
from attnpo.cli.dry_run_output import check_output, note_settings, said_model, written_files
from attnpo.cli.loading import load_data, load_tokenizer, model_source
from attnpo.errors import ConfigError
from attnpo.labeling import load_labeler
from attnpo.sampling.prompts import opens_think, render_prompt
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.training import AttnPOConfig, last_checkpoint
from attnpo.training.estimate import Layout, meta_model, model_shape, run_plan, with_lora
from attnpo.verification import build_verifier

if TYPE_CHECKING:
    from attnpo.cli.dry_run import Findings
    from attnpo.datasets import ProblemRow

FIRST_ROWS = 256
"""Rows whose prompts are tokenized."""


def examine(arguments: Any, data: Any, probe: Any, args: AttnPOConfig, layout: Layout, findings: Findings) -> None:
    """Read config, data, tokenizer and head set, check them, and count; what is wrong goes into the findings."""
    source = config = tokenizer = model = heads = None
    problems: list[ProblemRow] = []
    lengths: list[int] = []
    init = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    revision = init.get("revision")
    _check_layout(args, layout, findings)
    with findings.catching():
        source = model_source(arguments.model)
        config = _model_config(source, revision, args.trust_remote_code)
    if config is not None:
        with findings.catching():
            model = meta_model(
                config,
                attn_implementation=init.get("attn_implementation"),
                trust_remote_code=args.trust_remote_code,
            )
    if source is not None:
        with findings.catching():
            tokenizer = load_tokenizer(
                source, ModelArguments(revision=revision, trust_remote_code=args.trust_remote_code)
            )
    with findings.catching():
        problems = load_data(data, args.solution_column, "train")
        findings.facts["data"] = f"{data.data}: {len(problems):,} problems"
    with findings.catching():
        heads = _heads(args, config, model, findings)
    if tokenizer is not None and problems:
        with findings.catching():
            lengths = _prompt_lengths(problems, tokenizer, arguments.max_prompt_tokens, findings)
    with findings.catching():
        _check_parts(args, tokenizer, problems)
    if config is not None and tokenizer is not None:
        _check_tokenizer(config, tokenizer, problems, findings)
    longest = min([max(lengths, default=0), *([arguments.max_prompt_tokens] if arguments.max_prompt_tokens else [])])
    length = longest + int(args.max_completion_length or 0)
    if config is not None and lengths:
        _check_context(config, args, longest, length, findings)
    with findings.catching():
        check_output(args, findings)
    if problems:
        with findings.catching():
            findings.plan = run_plan(
                processes=layout.processes,
                problems=len(problems),
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
    if model is None:
        return
    with findings.catching():
        model = _with_adapters(arguments, model)
        shape = model_shape(model)
        findings.facts["model"] = said_model(arguments.model, config, shape)
        note_settings(args, arguments, layout, findings)
        findings.memory = device_memories(
            model, shape, args, layout, heads, longest, length, arguments.device_memory, findings
        )
        findings.written = written_files(args, shape, probe)


def _model_config(source: str, revision: str | None, trust_remote_code: bool) -> Any:
    try:
        return AutoConfig.from_pretrained(source, revision=revision, trust_remote_code=trust_remote_code)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0]
        raise ConfigError(f"--model {source}: no configuration can be loaded ({reason})") from error


def _with_adapters(arguments: Any, model: Any) -> Any:
    if not arguments.use_peft:
        return model
    from attnpo.cli.train import lora_config

    return with_lora(model, lora_config(arguments))


def _heads(args: AttnPOConfig, config: Any, model: Any, findings: Findings) -> HeadSet | None:
    method = args.build_credit()
    if not method.needs_scores:
        findings.facts["heads"] = f"none: method '{args.method}' reads no attention"
        return None
    if args.heads is None:
        raise ConfigError(
            f"heads: method '{args.method}' reads attention; give a head set file or pairs such as 16.2,20.9"
        )
    if config is None:
        return None
    heads = resolve_heads(args.heads, config)
    if model is not None:
        check_readable(model, heads.heads)
    said = ", ".join(map(str, heads.heads))
    origin = "" if heads.found_by == "given" else f", found on {heads.model_id}"
    findings.facts["heads"] = f"{args.heads}: {said} (layer.head){origin}"
    return heads


def _prompt_lengths(problems: list[ProblemRow], tokenizer: Any, limit: int | None, findings: Findings) -> list[int]:
    try:
        rendered = [render_prompt(tokenizer, problem.prompt) for problem in problems[:FIRST_ROWS]]
    except ValueError as error:
        reason = " ".join(str(error).split())
        raise ConfigError(
            f"data: the prompts are chat messages, and the tokenizer cannot render them ({reason})"
        ) from error
    lengths = [len(ids) for ids in rendered]
    over = sum(length > limit for length in lengths) if limit else 0
    findings.facts["prompts"] = (
        f"{statistics.mean(lengths):.0f} tokens on average, {max(lengths):,} at most in the first {len(lengths)} rows"
        + (f"; {over} above max_prompt_tokens={limit:,}" if limit else "")
    )
    if not opens_think(tokenizer, rendered[0]):
        findings.notes.append(
            "prompts do not end with an open <think>; responses then count as thinking only where the model writes "
            "<think> itself"
        )
    return lengths


def _check_parts(args: AttnPOConfig, tokenizer: Any, problems: list[ProblemRow]) -> None:
    """Build what cuts, verifies and labels; what a method asks of a prompt."""
    strategy = build_strategy(args.segmentation, args.phrases_file, args.min_step_chars)
    if tokenizer is not None:
        Segmenter(tokenizer, strategy)
    build_verifier(args.verifier, args.verifier_timeout, args.verifier_workers).close()
    method = args.build_credit()
    if args.step_labeler:
        load_labeler(args.step_labeler)
    elif method.needs_labels:
        raise ConfigError(f"step_labeler: method '{args.method}' needs step labels; name a module:function")
    if method.asks_length and problems:
        method.ask(problems[0].prompt, group_id=0, sample=0, progress_step=0)
    last_checkpoint(args)


def _check_tokenizer(config: Any, tokenizer: Any, problems: list[ProblemRow], findings: Findings) -> None:
    vocab = config.get_text_config(decoder=True).vocab_size
    if len(tokenizer) > vocab:
        findings.problems.append(
            f"--model: the tokenizer has {len(tokenizer):,} tokens, the model's embedding only {vocab:,} rows; "
            "they do not belong together"
        )
    if problems and not isinstance(problems[0].prompt, str) and tokenizer.chat_template is None:
        findings.problems.append(
            "data: the prompts are chat messages, and the tokenizer has no chat template; give prompts as text"
        )
    if problems and isinstance(problems[0].prompt, str) and tokenizer.chat_template is not None:
        findings.notes.append(
            "prompts are plain text although the tokenizer has a chat template; prompt_template makes chat messages of "
            "them"
        )
    findings.facts["tokenizer"] = f"{len(tokenizer):,} tokens, ends with {tokenizer.eos_token!r}"


def _check_context(config: Any, args: AttnPOConfig, longest: int, length: int, findings: Findings) -> None:
    context = getattr(config.get_text_config(decoder=True), "max_position_embeddings", None)
    if context is not None and length > context:
        findings.problems.append(
            f"max_completion_length: {args.max_completion_length:,} and a prompt of {longest:,} tokens exceed the "
            f"model's {context:,} positions; lower it to {max(0, context - longest):,}"
        )
    limit = args.vllm_max_model_length
    if args.use_vllm and limit is not None and length > limit:
        findings.problems.append(
            f"vllm_max_model_length: {limit:,} is less than a prompt of {longest:,} and max_completion_length="
            f"{args.max_completion_length:,}; raise it to {length:,}"
        )


def _check_layout(args: AttnPOConfig, layout: Layout, findings: Findings) -> None:
    mixed = "bf16" if args.bf16 else "fp16" if args.fp16 else "no"
    if layout.mixed_precision is not None and layout.mixed_precision != mixed:
        findings.problems.append(
            f"layout: mixed_precision is {layout.mixed_precision}, the training settings say {mixed}; make them one"
        )
    if layout.accumulation is not None and layout.accumulation != args.gradient_accumulation_steps:
        findings.problems.append(
            f"layout: deepspeed_config.gradient_accumulation_steps is {layout.accumulation}, the training settings say "
            f"{args.gradient_accumulation_steps}; leave it out of the layout"
        )
    if args.use_vllm and args.vllm_mode == "colocate" and layout.processes % args.vllm_tensor_parallel_size:
        findings.problems.append(
            f"vllm_tensor_parallel_size: {args.vllm_tensor_parallel_size} does not divide the {layout.processes} "
            "processes; choose a divisor, or another layout"
        )
    if args.group_sampler and layout.kind == "zero3" and not args.ds3_gather_for_generation:
        findings.problems.append("group_sampler: under ZeRO-3 it needs ds3_gather_for_generation: true")
    if layout.kind == "fsdp2" and args.gradient_checkpointing:
        findings.notes.append("FSDP2: gradient checkpointing is transformers'; leave fsdp_activation_checkpointing off")
