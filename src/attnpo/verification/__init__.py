"""Is the answer right: math, exact match, multiple choice, code, a user's own function."""

from attnpo.think import final_answer
from attnpo.verification.answer import boxed_answer, reference_answer
from attnpo.verification.base import Verifier
from attnpo.verification.choice import ChoiceVerifier, chosen_letter
from attnpo.verification.exact import ExactVerifier
from attnpo.verification.function import FunctionVerifier
from attnpo.verification.math_verifier import MathVerifier
from attnpo.verification.verifiers import build_verifier

__all__ = [
    "ChoiceVerifier",
    "ExactVerifier",
    "FunctionVerifier",
    "MathVerifier",
    "Verifier",
    "boxed_answer",
    "build_verifier",
    "chosen_letter",
    "final_answer",
    "reference_answer",
]
