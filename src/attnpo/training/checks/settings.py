"""Settings against each other: what TRL and transformers would refuse only once the weights are loaded, or never."""

from __future__ import annotations

from typing import Any, Final

import torch
from transformers import GenerationConfig, get_scheduler

from attnpo.errors import nearest
from attnpo.sampling import honoured
from attnpo.training.budget import token_schedule
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts
from attnpo.training.checks.words import reason, word

CHOICES: Final[dict[str, tuple[str, ...]]] = {
    "loss_type": ("grpo", "dr_grpo", "dapo", "bnpo", "cispo", "sapo", "luspo", "vespo"),
    "importance_sampling_level": ("token", "sequence"),
    "vllm_mode": ("server", "colocate"),
    "vllm_importance_sampling_mode": ("token_truncate", "token_mask", "sequence_truncate", "sequence_mask"),
}
"""Words that TRL knows, where it looks at them in the first step only."""


def check_choices(parts: RunParts, findings: Findings) -> None:
    """Check words that only the first step would look at."""
    for name, words in CHOICES.items():
        value = getattr(parts.args, name)
        if value not in words:
            findings.refuse(f"{name}: {value} is unknown; choose one of {', '.join(words)}{nearest(str(value), words)}")


def check_sampling(parts: RunParts, findings: Findings) -> None:
    """Check how responses are drawn."""
    args = parts.args
    if args.use_vllm or args.group_sampler:
        return
    try:
        GenerationConfig(
            **{
                "do_sample": True,
                "max_new_tokens": args.max_completion_length,
                "cache_implementation": args.cache_implementation,
                **(args.generation_kwargs or {}),
            }
        )
    except ValueError as error:
        findings.refuse(f"cache_implementation, generation_kwargs: {reason(error)}")


def check_checkpoint_sampling(parts: RunParts, findings: Findings) -> None:
    """Check that the engine honours what the checkpoint's generation config asks for."""
    source = getattr(parts.config, "name_or_path", "")
    if source:
        with findings.catching():
            generation = honoured.saved_generation_config(source, parts.model_options.get("revision"))
            honoured.check_checkpoint(honoured.training_engine(parts.args), generation)


def check_evaluation(parts: RunParts, findings: Findings) -> None:
    """Check that evaluations while training have data, and that what depends on them has them."""
    args = parts.args
    strategy = word(args.eval_strategy)
    evaluates = strategy != "no" or args.eval_on_start
    if evaluates and not parts.has_eval_data:
        setting = f"eval_strategy: {strategy}" if strategy != "no" else "eval_on_start: true"
        findings.refuse(f"{setting} needs problems to evaluate on; give them with eval_data, or set eval_strategy: no")
    best = word(args.save_strategy) == "best"
    wants_best = "save_strategy: best" if best else "load_best_model_at_end" if args.load_best_model_at_end else None
    if wants_best is None:
        return
    if strategy == "no":
        findings.refuse(
            f"{wants_best}: nothing says which model is best without evaluations; add eval_strategy and eval_data"
        )
    if args.metric_for_best_model is None:
        findings.refuse(f"{wants_best}: needs metric_for_best_model, such as eval_reward")


def check_callbacks(parts: RunParts, findings: Findings) -> None:
    """Check that transformers leaves the run's callbacks in their place."""
    if parts.args.restore_callback_states_from_checkpoint:
        findings.refuse(
            "restore_callback_states_from_checkpoint: would put new callbacks in the place of those that the run goes "
            "by; leave it out, they go on from the checkpoint's state by themselves"
        )


def check_rewards(parts: RunParts, findings: Findings) -> None:
    """Check reward weights, the reference model and the router's loss."""
    args = parts.args
    if args.reward_weights is not None and len(args.reward_weights) != parts.rewards:
        findings.refuse(
            f"reward_weights: {len(args.reward_weights)} weights for {parts.rewards} reward functions (the verifier is "
            "one); give as many"
        )
    elif args.reward_weights and args.reward_weights[0] != 1:
        findings.refuse(
            f"reward_weights: the first, {args.reward_weights[0]:g}, is the verdict's, which the method makes its own "
            "reward of; give 1 there, and weigh the others against it"
        )
    if args.sync_ref_model and args.beta == 0.0:
        findings.refuse("sync_ref_model: there is no reference model at beta: 0; raise beta, or leave it out")
    if args.sync_ref_model and parts.uses_lora:
        findings.refuse("sync_ref_model: with LoRA the reference is the model without adapters; leave it out")
    coefficient = args.router_aux_loss_coef
    if coefficient and parts.config is not None and not hasattr(_text(parts.config), "output_router_logits"):
        findings.refuse(
            f"router_aux_loss_coef: {coefficient:g}, and model type {parts.config.model_type} routes to no experts; "
            "leave it out"
        )


def check_schedule(parts: RunParts, findings: Findings) -> None:
    """Check that the learning rate's schedule can be made of its settings."""
    args = parts.args
    name, kwargs = word(args.lr_scheduler_type), args.lr_scheduler_kwargs
    stand_in = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    try:
        if args.max_sampled_tokens is not None:
            with findings.catching():
                token_schedule(stand_in, name, lambda: 0.0, 0, kwargs)
        else:
            steps = 100
            warmup = args.get_warmup_steps(steps)
            get_scheduler(
                name, stand_in, num_warmup_steps=warmup, num_training_steps=steps, scheduler_specific_kwargs=kwargs
            )
    except (ValueError, TypeError) as error:
        findings.refuse(f"lr_scheduler_type: {name}: {reason(error)}")


def check_layout(parts: RunParts, findings: Findings) -> None:
    """Check the settings against how the run is spread over devices."""
    args, layout = parts.args, parts.layout
    mixed = "bf16" if args.bf16 else "fp16" if args.fp16 else "no"
    if layout.mixed_precision is not None and layout.mixed_precision != mixed:
        findings.refuse(
            f"layout: mixed_precision is {layout.mixed_precision}, the training settings say {mixed}; make them one"
        )
    if layout.accumulation is not None and layout.accumulation != args.gradient_accumulation_steps:
        findings.refuse(
            f"layout: deepspeed_config.gradient_accumulation_steps is {layout.accumulation}, the training settings say "
            f"{args.gradient_accumulation_steps}; leave it out of the layout"
        )
    if args.use_vllm and args.vllm_mode == "colocate" and layout.processes % args.vllm_tensor_parallel_size:
        findings.refuse(
            f"vllm_tensor_parallel_size: {args.vllm_tensor_parallel_size} does not divide the {layout.processes} "
            "processes; choose a divisor, or another layout"
        )
    if args.group_sampler and layout.kind == "zero3" and not args.ds3_gather_for_generation:
        findings.refuse("group_sampler: under ZeRO-3 it needs ds3_gather_for_generation: true")
    if layout.activation_checkpointing and args.gradient_checkpointing:
        findings.refuse(
            "layout: fsdp_activation_checkpointing and gradient_checkpointing do the same twice; leave the layout's off"
        )
    if args.fsdp and layout.processes == 1:
        findings.refuse("fsdp: shares out over several processes, and there is one; leave it out, or launch more")


def _text(config: Any) -> Any:
    return config.get_text_config(decoder=True)
