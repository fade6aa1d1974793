"""Verifiers by name."""

from __future__ import annotations

import sys

from attnpo.errors import ConfigError, nearest
from attnpo.verification.base import Verifier
from attnpo.verification.choice import ChoiceVerifier
from attnpo.verification.exact import ExactVerifier
from attnpo.verification.function import FunctionVerifier
from attnpo.verification.math_verifier import MathVerifier


def build_verifier(name: str, timeout: float = 5.0, workers: int = 1, *, allow_weak_sandbox: bool = False) -> Verifier:
    """Build a verifier from settings.

    Args:
        name: `math`, `exact`, `choice`, `code`, or `module:function` of a function `(response, solution) -> bool`.
        timeout: seconds after which an answer is interrupted and counted wrong; for `code`, the seconds of each test
            where the problem sets none (not used by `exact` and `choice`).
        workers: number of worker processes (not used by `exact` and `choice`).
        allow_weak_sandbox: for `code`, run programs even where the kernel cannot keep them from the network, other
            processes or other files.

    Raises:
        ConfigError: unknown name, a function that cannot be imported, a limit that is not positive, or a system that
            cannot contain code.
    """
    if name == "math":
        return MathVerifier(timeout, workers)
    if name == "exact":
        return ExactVerifier()
    if name == "choice":
        return ChoiceVerifier()
    if name == "code":
        if sys.platform != "linux":
            raise ConfigError(f"verifier code: programs can be contained on Linux only, this is {sys.platform}")
        from attnpo.verification.code.verifier import CodeVerifier  # needs modules that only Linux has

        verifier = CodeVerifier(timeout, workers, allow_weak_sandbox=allow_weak_sandbox)
        verifier.check_ready()
        return verifier
    if ":" in name:
        return FunctionVerifier(name, timeout, workers)
    known = ("math", "exact", "choice", "code")
    raise ConfigError(f"verifier: unknown {name!r}; choose {', '.join(known)} or module:function{nearest(name, known)}")
