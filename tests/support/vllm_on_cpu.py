"""What TRL and vLLM take for granted of a GPU, stood in for on the CPU; everything else is theirs.

- TRL names no type, and vLLM would compute a float32 checkpoint in a half type.
- vLLM packs the weights of linear layers for its CPU kernels after loading and drops the originals, into which TRL
  then writes; its own `reload_weights` leaves the packed ones as they were (0.31).
- TRL's weights go to a server over NCCL, which the CPU lacks: here they go through a file, which the server's worker
  reads (`vllm_worker.py`).
"""

from __future__ import annotations

import functools
import itertools
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file


def keep_weights(layer: Any, remove_weight: bool) -> None:
    """Stands in for vLLM's `dispatch_cpu_unquantized_gemm`."""
    layer.cpu_linear = torch.nn.functional.linear


def colocates_without_a_gpu(patch: pytest.MonkeyPatch) -> None:
    """Lift the refusal of what only works with these stand-ins."""
    patch.setattr("attnpo.training.checks.vllm.can_colocate", lambda: True)


def colocate(patch: pytest.MonkeyPatch) -> None:
    from trl.generation import vllm_generation
    from vllm.model_executor.layers import utils

    colocates_without_a_gpu(patch)
    patch.setattr(utils, "dispatch_cpu_unquantized_gemm", keep_weights)
    exact = functools.partial(vllm_generation.LLM, dtype="float32", enforce_eager=True)
    patch.setattr(vllm_generation, "LLM", exact)


def weights_over_files(patch: pytest.MonkeyPatch, folder: Path) -> list[str]:
    """Send weights through files in a folder; return the list in which every opening and every sending is noted."""
    from trl.generation.vllm_client import VLLMClient

    events: list[str] = []
    numbers = itertools.count()

    def init_communicator(self: Any, device: Any = 0) -> None:
        events.append("open")

    def close_communicator(self: Any) -> None:
        events.append("close")

    def update_named_params(self: Any, metadata: Any, named_params: Iterable[tuple[str, torch.Tensor]]) -> None:
        file = folder / f"weights-{next(numbers)}.safetensors"
        tensors = {name: tensor.detach().clone().contiguous() for name, tensor in named_params}
        assert [name for name, *_ in metadata] == list(tensors)
        save_file(tensors, file)
        self._post(f"{self.base_url}/collective_rpc", json={"method": "load_file", "args": [str(file)]})
        events.append("send")

    patch.setattr(VLLMClient, "init_communicator", init_communicator)
    patch.setattr(VLLMClient, "close_communicator", close_communicator)
    patch.setattr(VLLMClient, "update_named_params", update_named_params)
    return events


def serve(model: Path, port: int, extension: str | None = None) -> list[str]:
    """Return the command of a vLLM server that computes in float32.

    Args:
        model: what it serves, under the name `tinyworld`.
        port: where it listens.
        extension: what its worker is given beside, module and class; `TAKES_WEIGHTS`.
    """
    options = {
        "--host": "127.0.0.1",
        "--port": port,
        "--model": model,
        "--served-model-name": "tinyworld",
        "--dtype": "float32",
        "--max-model-len": 512,
        "--max-num-seqs": 8,
        "--gpu-memory-utilization": 0.1,
        "--logprobs-mode": "processed_logprobs",
        "--max-logprobs": -1,
        **({"--worker-extension-cls": extension} if extension else {}),
    }
    given = [str(part) for pair in options.items() for part in pair]
    return [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--enforce-eager", *given]


TAKES_WEIGHTS = "vllm_worker.TakesWeights"
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",  # lets it say what it is, and its worker be spoken to
    "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]),
}
