"""Comparison of two mathematical answers through math-verify; runs inside a worker process."""

from __future__ import annotations

import logging

from math_verify import parse, verify

# math-verify warns once that its own limits are off; the worker's hard limit stands in for them.
logging.getLogger("math_verify").setLevel(logging.ERROR)


def same_answer(answer: str, reference: str) -> bool:
    r"""Return whether two answers are mathematically equal.

    Args:
        answer: the response's final answer, a single `\boxed{…}` or a whole text to find the answer in.
        reference: the reference answer in `\boxed{…}`.
    """
    # Its own limits use signals with whole seconds, which C code such as a huge power can delay without bound.
    return verify(parse(reference, parsing_timeout=None), parse(answer, parsing_timeout=None), timeout_seconds=None)


# The first comparison builds grammar and patterns: done on import, it costs no answer any of its time.
same_answer(r"\boxed{\frac{1}{2}}", r"\boxed{0.5}")
