"""What the machine that trains must have: devices, packages, a token of the Hub, room for what is written."""

from __future__ import annotations

import importlib.util
import json
import os
from copy import deepcopy
from pathlib import Path
from typing import Final

import torch
from huggingface_hub import constants, get_token
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]
from transformers import AutoModelForCausalLM, Trainer
from transformers.integrations import get_available_reporting_integrations
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

from attnpo.errors import OutputError, install_command, nearest
from attnpo.output import prepare_output_dir
from attnpo.training.checkpoints import last_checkpoint
from attnpo.training.checks.data import planned
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts
from attnpo.training.checks.words import reason, word
from attnpo.training.precision import precision_problem
from attnpo.training.saving import STATE

UNTOLD: Final = ("flyte",)
"""Reporters of which transformers does not say whether they are installed."""


def check_devices(parts: RunParts, findings: Findings) -> None:
    """Check that this machine has the devices that the settings speak of."""
    args, found = parts.args, torch.accelerator.is_available()
    problem = precision_problem(args.bf16, args.fp16, args.use_cpu or (parts.here and not found), args.use_cpu)
    if problem is not None:
        findings.refuse(problem)
    if not parts.here:
        if not args.use_cpu and not found:
            findings.note("there is no accelerator here; which types the run's machine computes in is not known")
        return
    placed = parts.model_options.get("device_map")
    wanted = placed.values() if isinstance(placed, dict) else [placed] if isinstance(placed, str | int) else []
    if any(str(device).startswith("cuda") or isinstance(device, int) for device in wanted):
        if not torch.cuda.is_available():
            findings.refuse(f"model_init_kwargs.device_map: {placed}, and there is no CUDA device here; leave it out")
    elif args.n_gpu > 1 and parts.layout.processes == 1:
        findings.refuse(
            f"{args.n_gpu} GPUs are visible to one process: launch one for each with accelerate launch, or set "
            "CUDA_VISIBLE_DEVICES to one"
        )


def check_packages(parts: RunParts, findings: Findings) -> None:
    """Check that what the settings name is installed."""
    args = parts.args
    wanted = {
        "vllm": ("use_vllm", args.use_vllm, install_command("vllm")),
        "deepspeed": ("deepspeed", parts.layout.is_deepspeed or args.deepspeed, install_command("deepspeed")),
        "liger_kernel": ("use_liger_kernel", args.use_liger_kernel, "pip install liger-kernel"),
    }
    for package, (setting, needed, mend) in wanted.items():
        if needed and importlib.util.find_spec(package) is None:
            line = f"{setting}: {package} is not installed; {mend}, or switch it off"
            _lacks(parts, findings, package, line)
    try:
        Trainer.get_optimizer_cls_and_kwargs(args, parts.model)
    except ImportError as error:
        _lacks(parts, findings, f"what optim={word(args.optim)} needs", f"optim: {reason(error)}")
    except ValueError as error:
        if parts.model is not None:  # some optimizers ask for it
            findings.refuse(f"optim: {reason(error)}")
    for setting, name in (
        ("model_init_kwargs.attn_implementation", parts.model_options.get("attn_implementation")),
        ("sampler_attn_implementation", args.sampler_attn_implementation),
    ):
        if name is not None and parts.model is not None:
            _check_attention(parts, findings, setting, str(name))


def check_reporters(parts: RunParts, findings: Findings) -> None:
    """Check where the log goes to."""
    for name in parts.args.report_to or []:
        if name not in INTEGRATION_TO_CALLBACK:
            known = ("none", "all", *INTEGRATION_TO_CALLBACK)
            findings.refuse(f"report_to: {name} is unknown; choose one of {', '.join(known)}{nearest(name, known)}")
        elif name not in (*get_available_reporting_integrations(), *UNTOLD):
            line = f"report_to: {name} is not installed; pip install it, or set report_to: none"
            _lacks(parts, findings, name, line)


def check_upload(parts: RunParts, findings: Findings) -> None:
    """Check that what is to be uploaded can be."""
    args = parts.args
    uploads = {
        "push_to_hub": (args.push_to_hub, "hub_model_id", args.hub_model_id),
        "log_completions_hub_repo": (
            args.log_completions_hub_repo is not None,
            "log_completions_hub_repo",
            args.log_completions_hub_repo,
        ),
    }
    for setting, (wanted, name, repository) in uploads.items():
        if not wanted:
            continue
        try:
            validate_repo_id(repository or "name")
        except HFValidationError as error:
            findings.refuse(f"{name}: {reason(error)}")
        if constants.HF_HUB_OFFLINE:
            _lacks(parts, findings, "a way to the Hub", f"{setting}: HF_HUB_OFFLINE keeps this machine from the Hub")
        elif not (args.hub_token or get_token()):
            line = f"{setting}: no token of the Hub is at hand; run `hf auth login`, or set HF_TOKEN"
            _lacks(parts, findings, "a token of the Hub", line)


def check_output(parts: RunParts, findings: Findings) -> None:
    """Check that the output folder can be written; it is not made where it can be."""
    folder = Path(parts.args.output_dir)
    existing = next(parent for parent in (folder, *folder.absolute().parents) if parent.exists())
    with findings.catching():
        if existing == folder or not existing.is_dir():
            prepare_output_dir(folder)
        elif not os.access(existing, os.W_OK):
            raise OutputError(
                f"{folder}: cannot write into this output folder ({existing} is not yours); choose another one"
            )


def check_resume(parts: RunParts, findings: Findings) -> None:
    """Check that there is a checkpoint to go on from, where one is named."""
    with findings.catching():
        checkpoint = last_checkpoint(parts.args)
        if checkpoint is None:
            return
        findings.facts["resume"] = f"goes on from {checkpoint}"
        made = json.loads((Path(checkpoint) / STATE).read_text(encoding="utf-8"))["global_step"]
        plan = planned(parts)
        if plan is not None and made >= plan.updates:
            findings.note(f"resume_from_checkpoint: {checkpoint} has made all {plan.updates} updates; none is left")


def _check_attention(parts: RunParts, findings: Findings, setting: str, name: str) -> None:
    if "/" in name:  # a kernel of the Hub, which is downloaded when the model is loaded
        return
    try:
        with torch.device("meta"):
            AutoModelForCausalLM.from_config(
                deepcopy(parts.config), attn_implementation=name, trust_remote_code=parts.args.trust_remote_code
            )
    except ImportError as error:
        _lacks(parts, findings, name, f"{setting}: {name}: {reason(error)}")
    except ValueError as error:
        findings.refuse(f"{setting}: {reason(error)}")


def _lacks(parts: RunParts, findings: Findings, what: str, line: str) -> None:
    """Refuse what this machine lacks; of another one, say that it will be needed."""
    if parts.here:
        findings.refuse(line)
    else:
        findings.note(f"not here, needed where the run takes place: {what}")
