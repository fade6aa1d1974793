"""What an evaluation counts in the small world: checks, those that mended an error, errors left standing, shortcuts."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.tinyworld.oracle import check_usefulness, find_slips, merged_steps


def count_checks(question: str, response: str, steps: Sequence[tuple[int, int]]) -> dict[str, int | tuple[int, int]]:
    """Count the checks and slips of a response (`attnpo evaluate --counter attnpo.tinyworld:count_checks`).

    Args:
        question: text of the question.
        response: text of the response.
        steps: half-open character spans of its steps.

    Returns:
        - `checks`: steps that check an earlier value by an equation of their own.
        - `useful_checks`: checks that put the right value of a needed name in place of a wrong one.
        - `useless_checks`: the others.
        - `useful_check_share`: useful checks of all checks.
        - `slips`: needed names that were ever given a wrong value, by an error or on top of one.
        - `unmended_slips`: those whose last value is still wrong.
        - `slips_mended`: share of the slips whose last value is right, whether a check or a new derivation mended it.
    """
    checks = check_usefulness(question, response, steps)
    useful = sum(check.useful for check in checks)
    slips = find_slips(question, response, steps)
    mended = sum(slip.mended_at is not None for slip in slips)
    return {
        "checks": len(checks),
        "useful_checks": useful,
        "useless_checks": len(checks) - useful,
        "useful_check_share": (useful, len(checks)),
        "slips": len(slips),
        "unmended_slips": len(slips) - mended,
        "slips_mended": (mended, len(slips)),
    }


def count_shortcuts(question: str, response: str, steps: Sequence[tuple[int, int]]) -> dict[str, int | tuple[int, int]]:
    """Count what `count_checks` does, and steps taken together (`--counter attnpo.tinyworld:count_shortcuts`).

    Beside the counts of `count_checks`, which takes the same arguments: `merged_steps`, steps that work a needed value
    out of three numbers or more at once, and `merged_right`, the share of them that come to the right value.
    """
    merged = merged_steps(question, response, steps)
    return {
        **count_checks(question, response, steps),
        "merged_steps": len(merged),
        "merged_right": (sum(step.right for step in merged), len(merged)),
    }
