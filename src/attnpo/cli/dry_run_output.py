"""What a run would write and where, and what is worth saying of its settings."""

from __future__ import annotations

import importlib.util
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attnpo.output import prepare_output_dir
from attnpo.training import AttnPOConfig
from attnpo.training.estimate import Layout, ModelShape

if TYPE_CHECKING:
    from attnpo.cli.dry_run import Findings


def note_settings(args: AttnPOConfig, arguments: Any, layout: Layout, findings: Findings) -> None:
    """Note settings that are allowed and rarely meant, and packages that are not installed here."""
    init = args.model_init_kwargs if isinstance(args.model_init_kwargs, dict) else {}
    dtype = str(init.get("dtype", "float32")).removeprefix("torch.")
    if dtype in ("bfloat16", "float16") and not arguments.use_peft and layout.kind in ("single", "ddp"):
        findings.notes.append(
            f"model_init_kwargs.dtype: all weights are trained in {dtype}, whose steps are coarser than an update at "
            f"learning_rate={args.learning_rate:g}: small updates are lost; float32 with bf16: true keeps them"
        )
    if args.schedule_steps and findings.plan is not None and args.schedule_steps > findings.plan.updates:
        findings.notes.append(
            f"schedule_steps: {args.schedule_steps} is above the run's {findings.plan.updates} updates, so hard "
            "prompts are never compressed (Eq. 8)"
        )
    wanted = {"vllm": args.use_vllm, "deepspeed": layout.is_deepspeed, "peft": arguments.use_peft}
    wanted["flash_attn"] = str(init.get("attn_implementation", "")).startswith("flash_attention")
    missing = [name for name, needed in wanted.items() if needed and importlib.util.find_spec(name) is None]
    if missing:
        findings.notes.append(f"not installed here, needed where the run takes place: {', '.join(missing)}")


def check_output(args: AttnPOConfig, findings: Findings) -> None:
    """Check that the output folder can be written; it is not made where it can be.

    Raises:
        OutputError: it cannot.
    """
    folder = Path(args.output_dir)
    if folder.is_dir() and any(folder.glob("checkpoint-*")) and not args.resume_from_checkpoint:
        findings.notes.append(
            f"output_dir: {folder} holds checkpoints of a run before; --resume_from_checkpoint true goes on from the "
            "last"
        )
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    if existing == folder or not existing.is_dir():
        prepare_output_dir(folder)


def written_files(args: AttnPOConfig, shape: ModelShape, probe: Any) -> dict[str, str]:
    """Return what would be written: path → what and how large."""
    folder = Path(args.output_dir)
    model = shape.trainable * 4 if shape.frozen else shape.parameters * 4
    checkpoint = model + shape.trainable * 8
    files = {
        f"{folder}/log.jsonl": "one line every logging_steps updates",
        f"{folder}/": f"the model with tokenizer and trainer_state.json, up to {gib(model)} in float32",
    }
    if getattr(args.save_strategy, "value", args.save_strategy) == "steps":
        kept = "all are kept" if args.save_total_limit is None else f"the last {args.save_total_limit} are kept"
        files[f"{folder}/checkpoint-N/"] = f"every {args.save_steps:g} updates, up to {gib(checkpoint)} each; {kept}"
    if args.save_rollouts:
        files[f"{folder}/rollouts.jsonl"] = "every training response"
    if args.log_completions:
        files[f"{folder}/completions/"] = "TRL's tables of responses"
    if probe.probe:
        files[f"{folder}/stability.json"] = f"the probe, every {probe.probe_every} updates"
    if args.push_to_hub:
        files[f"Hub: {args.hub_model_id or folder.name}"] = "the model and its card"
    free = shutil.disk_usage(next(p for p in (folder, *folder.absolute().parents) if p.exists())).free
    files["free on that disk here"] = gib(free)
    return files


def gib(number: float) -> str:
    """Return bytes as text."""
    return f"{number / 2**30:,.1f} GiB" if number >= 2**30 else f"{number / 2**20:,.1f} MiB"


def said_model(name: str, config: Any, shape: ModelShape) -> str:
    """Return a model's size in words."""
    trained = f", {shape.trainable / 1e6:,.1f} M of them trained (LoRA)" if shape.frozen else ""
    size = f"{shape.parameters / 1e6:,.1f} M parameters in {len(shape.layers)} layers"
    return f"{name}: {config.model_type}, {size}{trained}"
