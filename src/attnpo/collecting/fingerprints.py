"""What tells one model and one data set from another."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Iterable

import torch

from attnpo.datasets import ProblemRow


def problems_fingerprint(problems: Iterable[ProblemRow]) -> str:
    """Return a hash of ids, prompts and solutions in order; it does not depend on how solutions are packed."""
    digest = hashlib.sha256()
    for problem in problems:
        digest.update(json.dumps([problem.problem_id, problem.prompt, _unpacked(problem.solution)]).encode())
    return digest.hexdigest()[:16]


def model_fingerprint(model: torch.nn.Module, elements: int = 1024) -> str:
    """Return a hash over a strided sample of every parameter.

    It tells a retrained checkpoint from the one before it under the same name, at a cost that does not grow with the
    size of the parameters.
    """
    digest = hashlib.sha256()
    for name, parameter in sorted(model.named_parameters()):
        flat = parameter.detach().flatten()
        stride = max(1, flat.numel() // elements)
        digest.update(f"{name}{tuple(parameter.shape)}".encode())
        digest.update(flat[::stride].double().cpu().numpy().tobytes())
    return digest.hexdigest()[:16]


def _unpacked(solution: str) -> str:
    """Return what a packed reference of a code problem holds (another zlib packs otherwise), any other as it is."""
    if not solution.startswith("zlib:"):
        return solution
    try:
        return zlib.decompress(base64.b64decode(solution.removeprefix("zlib:"), validate=True)).decode()
    except (ValueError, zlib.error):
        return solution
