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
        - `think_closed`: share of responses whose think part ends.
    """
    last: dict[str, bool] = {}
    slipped: set[str] = set()
    equations = [equation for start, stop in steps for equation in find_equations(response[start:stop])]
    for equation in equations:
        key = equation.left.replace(" ", "")
        last[key] = equation.right
        if not equation.right:
            slipped.add(key)
    return {
        "equations": len(equations),
        "slips": len(slipped),
        "slips_mended": (sum(last[key] for key in slipped), len(slipped)),
        "think_closed": (int(THINK_CLOSE in response), 1),
    }
