"""The model without its weights: tokenizer, types, what it can do."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from attnpo.signals import build_signal, signal_of
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts
from attnpo.training.checks.words import reason


def check_tokenizer(parts: RunParts, findings: Findings) -> None:
    """Check that tokenizer and model belong together."""
    config, tokenizer = parts.config, parts.tokenizer
    if tokenizer is None:
        return
    if tokenizer.eos_token is None:
        findings.refuse("--model: the tokenizer has no end token, so no response would end; set its eos_token")
    vocab = None if config is None else config.get_text_config(decoder=True).vocab_size
    if vocab is not None and len(tokenizer) > vocab:
        findings.refuse(
            f"--model: the tokenizer has {len(tokenizer):,} tokens, the model's embedding only {vocab:,} rows; "
            "they do not belong together"
        )
    findings.facts["tokenizer"] = f"{len(tokenizer):,} tokens, ends with {tokenizer.eos_token!r}"


def check_weights(parts: RunParts, findings: Findings) -> None:
    """Check that files of weights that lie here are whole; their heads alone are read."""
    folder = Path(parts.config.name_or_path or "nowhere") if parts.config is not None else Path("nowhere")
    for file in sorted(folder.glob("*.safetensors")):
        try:
            with safe_open(file, framework="pt"):
                pass
        except SafetensorError as error:
            findings.refuse(f"--model: {file} is cut off or no safetensors file ({reason(error)}); copy it anew")


def check_model(parts: RunParts, findings: Findings) -> None:
    """Check how the model is to be loaded and trained."""
    name = str(parts.model_options.get("dtype", "auto")).removeprefix("torch.")
    if name != "auto" and not isinstance(getattr(torch, name, None), torch.dtype):
        findings.refuse(f"model_init_kwargs.dtype: {name} is no type; choose float32, bfloat16, float16 or auto")
    if name in ("bfloat16", "float16") and not parts.uses_lora and parts.layout.kind in ("single", "ddp"):
        findings.note(
            f"model_init_kwargs.dtype: all weights are trained in {name}, whose steps are coarser than an update at "
            f"learning_rate={parts.args.learning_rate:g}: small updates are lost; float32 with bf16: true keeps them"
        )
    model = parts.model
    if model is not None and parts.args.gradient_checkpointing and not model.supports_gradient_checkpointing:
        findings.refuse(
            f"gradient_checkpointing: {type(model).__name__} does not support it; set gradient_checkpointing: false"
        )


def check_signal(parts: RunParts, findings: Findings) -> None:
    """Check that the step signal can be read off the model; heads are looked at where they are resolved."""
    with findings.catching():
        name = signal_of(parts.args.method, parts.args.signal)
        if name is None or parts.model is None:
            return
        signal = build_signal(name)
        if "heads" not in signal.needs:
            signal.check(parts.model)
