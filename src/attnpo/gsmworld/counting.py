"""What an evaluation counts in responses to word problems: wrong equations, those mended, think parts that close."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.gsmworld.equations import find_equations
from attnpo.think import THINK_CLOSE


def count_slips(question: str, response: str, steps: Sequence[tuple[int, int]]) -> dict[str, int | tuple[int, int]]:
    """Count the slips of a response (`attnpo evaluate --counter attnpo.gsmworld:count_slips`).

    Args:
        question: text of the question.
        response: text of the response.
        steps: half-open character spans of its steps.

    Returns:
        - `equations`: equations that the steps state.
        - `slips`: expressions whose value was stated wrong, each once.
        - `slips_mended`: share of them whose last value among the steps is right.
        - `slips_mended_next`: share of those stated again whose next value is right.
        - `think_closed`: share of responses whose think part ends.
    """
    stated: dict[str, list[bool]] = {}
    equations = [equation for start, stop in steps for equation in find_equations(response[start:stop])]
    for equation in equations:
        stated.setdefault(equation.left.replace(" ", ""), []).append(equation.right)
    # From the first wrong statement of an expression on.
    slips = [rights[rights.index(False) :] for rights in stated.values() if not all(rights)]
    next_rights = [rights[1] for rights in slips if len(rights) > 1]
    return {
        "equations": len(equations),
        "slips": len(slips),
        "slips_mended": (sum(rights[-1] for rights in slips), len(slips)),
        "slips_mended_next": (sum(next_rights), len(next_rights)),
        "think_closed": (int(THINK_CLOSE in response), 1),
    }
