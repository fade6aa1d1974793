"""Where in a think part the answer stands first: the verifier run over prefixes, nothing sampled."""

from attnpo.credit.first_answer.detector import (
    DETECTOR,
    Detector,
    FirstAnswer,
    Trace,
    first_answer,
    first_answers,
    load_detector,
)

__all__ = ["DETECTOR", "Detector", "FirstAnswer", "Trace", "first_answer", "first_answers", "load_detector"]
