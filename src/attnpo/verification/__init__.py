"""Is the answer right: math, exact match, a user's own function."""

from attnpo.verification.answer import boxed_answer, final_answer, reference_answer
from attnpo.verification.verifiers import (
    ExactVerifier,
    FunctionVerifier,
    MathVerifier,
    Verifier,
    build_verifier,
)

__all__ = [
    "ExactVerifier",
    "FunctionVerifier",
    "MathVerifier",
    "Verifier",
    "boxed_answer",
    "build_verifier",
    "final_answer",
    "reference_answer",
]
