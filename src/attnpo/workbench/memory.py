"""From training settings to an estimate of a device's memory."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch

from attnpo.attention import HeadSet
from attnpo.training import AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.estimate import (
    MATRIX_BYTES,
    DeviceMemory,
    Kind,
    Layout,
    ModelShape,
    PassMemory,
    Precision,
    Workload,
    batch_bytes,
    cache_bytes,
    decoder_pass,
    device_memory,
    head_memory,
    knows_optimizer,
    precision,
    reading_bytes,
    step_tensor_bytes,
    vllm_bytes,
    vllm_sequences,
)
from attnpo.workbench.written import gib

GIB = 2**30
STEP_TOKENS = 32
"""Tokens that a step has at least on average, for the most steps of a response; 80 characters are about as many."""


def device_memories(
    model: Any,
    shape: ModelShape,
    args: AttnPOConfig,
    layout: Layout,
    heads: HeadSet | None,
    prompt: int,
    length: int,
    device_gib: float | None,
    quantised: str | None,
    findings: Findings,
) -> list[DeviceMemory]:
    """Estimate the run's own layout, and beside it the others for the same number of processes."""
    if not knows_optimizer(str(getattr(args.optim, "value", args.optim))):
        findings.note(f"optim: {args.optim}: its states are not known here; counted as AdamW's")
    kinds: tuple[Kind, ...] = ("ddp", "zero2", "zero3", "fsdp2") if layout.processes > 1 else ()
    layouts = [layout, *(layout.as_kind(kind) for kind in kinds if kind != layout.kind)]
    passes: dict[tuple[Precision, bool], PassMemory] = {}
    estimates = []
    for each in layouts:
        types = replace(_types(args, each, lora=shape.frozen > 0), matrix_bytes=MATRIX_BYTES.get(quantised or ""))
        # FSDP2 hands the layers weights and inputs in the compute type.
        held = replace(types, trained=types.compute or types.trained) if each.kind == "fsdp2" else types
        recomputes = bool(args.gradient_checkpointing) or each.activation_checkpointing
        key = held, recomputes
        if key not in passes:
            passes[key] = decoder_pass(
                model,
                args.per_device_train_batch_size,
                length,
                padded=args.per_device_train_batch_size > 1,
                checkpointing=recomputes,
                autocast=held.compute,
                dtype_of=held.of,
            )
        work = _workload(shape, args, each, types, held, passes[key], heads, prompt, length, device_gib, findings)
        estimates.append(device_memory(shape, each, types, work))
    return estimates


def check_fit(memories: Sequence[DeviceMemory], device_gib: float, findings: Findings) -> None:
    """Refuse a run whose peak is above what a device holds.

    Args:
        memories: one device's memory, the run's own layout first.
        device_gib: what the device holds, in GiB.
        findings: it is added to.
    """
    own, *others = memories
    if own.peak <= device_gib * GIB:
        return
    fitting = [memory.layout.title for memory in others if memory.peak <= device_gib * GIB]
    spread = f", or spread it as {' or '.join(fitting)}" if fitting else ""
    findings.refuse(
        f"device_memory: the peak of {gib(own.peak)} ({own.layout.title}) is {own.peak / GIB / device_gib:.0%} of a "
        f"device of {device_gib:g} GiB; lower per_device_train_batch_size or max_completion_length, or set "
        f"gradient_checkpointing or use_peft{spread}"
    )


def _types(args: AttnPOConfig, layout: Layout, lora: bool) -> Precision:
    init = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    name = str(init.get("dtype", "float32")).removeprefix("torch.")
    loaded = getattr(torch, name) if name in ("bfloat16", "float16", "float32") else torch.bfloat16
    mixed = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    return precision(layout, loaded=loaded, mixed=mixed, lora=lora, optim=str(getattr(args.optim, "value", args.optim)))


def _workload(
    shape: ModelShape,
    args: AttnPOConfig,
    layout: Layout,
    types: Precision,
    held: Precision,
    decoder: PassMemory,
    heads: HeadSet | None,
    prompt: int,
    length: int,
    device_gib: float | None,
    findings: Findings,
) -> Workload:
    rows, response = args.per_device_train_batch_size, length - prompt
    responses = args.per_device_rows()
    compute = held.compute or held.trained
    head = head_memory(
        rows * length,
        rows * response,
        shape.hidden_size,
        shape.vocab_size,
        compute_bytes=compute.itemsize,
        input_bytes=held.trained.itemsize if shape.frozen == 0 else held.frozen.itemsize,
        trainable=shape.head_trainable,
        triton=not args.use_cpu,
    )
    method = args.build_credit()
    chosen = method.select_heads(heads.heads) if heads is not None else ()
    batch = batch_bytes(responses, prompt, response, old_log_probs=args.use_vllm)
    batch += step_tensor_bytes(responses, response, response // STEP_TOKENS, reads_heads=bool(chosen))
    cache = vllm = 0
    if not args.use_vllm:
        cache = cache_bytes(shape, responses, length, compute.itemsize)
    elif args.vllm_mode == "colocate" and device_gib is not None:
        vllm = vllm_bytes(int(device_gib * GIB), args.vllm_gpu_memory_utilization)
        _note_vllm(shape, args, vllm, length, findings)
    elif args.vllm_mode == "colocate":
        share = f"{args.vllm_gpu_memory_utilization:.0%} of the device for vLLM"
        findings.note(f"the memory below is without {share}; --device_memory GIB counts it")
    return Workload(
        decoder=decoder,
        head=head,
        reading=reading_bytes(chosen, shape.head_dim, rows, length, args.answer_chunk),
        batch=batch,
        cache=cache,
        vllm=vllm,
        vllm_sleeps=args.vllm_enable_sleep_mode,
        reference=args.beta != 0 and shape.frozen == 0,
    )


def _note_vllm(shape: ModelShape, args: AttnPOConfig, share: int, length: int, findings: Findings) -> None:
    parallel = args.vllm_tensor_parallel_size
    at_once = vllm_sequences(shape, share, length, parallel)
    if at_once < 1:
        line = (
            f"vllm_gpu_memory_utilization: {args.vllm_gpu_memory_utilization:g} of the device does not hold vLLM's own "
            f"copy of the weights and one sequence of {length:,} tokens; raise it, or vllm_tensor_parallel_size"
        )
        findings.refuse(line)
    else:
        wanted = args.per_device_rows() * parallel
        findings.note(f"vLLM holds {at_once:.0f} of {wanted} sequences at full length at once; the others wait")
