"""How numbers, intervals and arms are written, everywhere in the report."""

from __future__ import annotations

import re

from attnpo.statistics import Interval

NBSP = "\u00a0"
MINUS = "\u2212"

ARM_TITLES = {
    "base": "Starting model",
    "attnpo": "AttnPO",
    "tlmre": "TLMRE",
    "rloo": "RLOO",
    "grpo": "GRPO",
    "attnpo_shuffled": "AttnPO, shuffled scores",
    "attnpo_wrong_head": "AttnPO, wrong head",
    "wrong_head": "AttnPO, wrong head",
    "oracle": "Oracle labels",
    "oracle_reversed": "Oracle reversed",
}
ARM_NOTES = {
    "base": "before any reinforcement learning",
    "attnpo": "length penalty, credit by step score",
    "tlmre": "length penalty alone",
    "rloo": "correctness alone",
    "grpo": "correctness alone",
    "attnpo_shuffled": "control: scores permuted among the steps",
    "attnpo_wrong_head": "control: a head that ranks nothing",
    "wrong_head": "control: a head that ranks nothing",
    "oracle": "credit by the true labels",
    "oracle_reversed": "control: true labels swapped",
}
SEED_SUFFIX = re.compile(r"[-_.]?(?:seed|s)[-_]?(\d+)$")


def method_of(arm: str) -> str:
    """Return the arm's name without a seed suffix (`attnpo-seed2` → `attnpo`)."""
    return SEED_SUFFIX.sub("", arm) or arm


def arm_title(arm: str) -> str:
    """Return the name of an arm for people; an arm that is not known keeps its folder's name."""
    method, seed = method_of(arm), SEED_SUFFIX.search(arm)
    title = ARM_TITLES.get(method, method)
    return f"{title}, seed {seed[1]}" if seed and method != arm else title


def arm_note(arm: str) -> str:
    """Return what an arm is, in a few words; empty for an arm that is not known."""
    return ARM_NOTES.get(method_of(arm), "")


def percent(share: float, decimals: int = 1) -> str:
    """Return a share as percent, `93.5 %`."""
    return f"{100 * share:.{decimals}f}{NBSP}%"


def count(value: float) -> str:
    """Return a count or a length: no decimals from 100 on, one below, two below 10."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def signed(text: str, value: float) -> str:
    """Return `text`, the written magnitude of `value`, with a plus or a true minus sign; a written zero has none."""
    if not any(digit in text for digit in "123456789"):
        return text
    return f"{'+' if value >= 0 else MINUS}{text}"


def bounds(interval: Interval, as_percent: bool = False) -> str:
    """Return the two bounds, `92.0–94.9`."""
    if as_percent:
        return f"{100 * interval.low:.1f}–{100 * interval.high:.1f}"
    return f"{count(interval.low)}–{count(interval.high)}"


def signed_bounds(interval: Interval, scale: float = 1.0) -> str:
    """Return the two bounds of a difference with their signs, `−0.8 to +2.0`."""
    low, high = scale * interval.low, scale * interval.high
    return f"{signed(f'{abs(low):.1f}', low)} to {signed(f'{abs(high):.1f}', high)}"


def direction(difference: Interval) -> int:
    """Return the sign of a difference, and 0 where its interval holds 0: no measurable difference."""
    return 1 if difference.low > 0 else -1 if difference.high < 0 else 0


def tokens_pair(first: float, second: float) -> tuple[str, str]:
    """Return two lengths in whole tokens, or with decimals where whole tokens would hide that they differ."""
    whole = f"{first:,.0f}", f"{second:,.0f}"
    return whole if whole[0] != whole[1] or first == second else (f"{first:,.1f}", f"{second:,.1f}")


def duration(seconds: float) -> str:
    """Return a time as `48 s`, `12 min` or `3.4 h`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def three_digits(value: float) -> str:
    """Return a ranking accuracy or a correlation, `0.976`, with a true minus sign."""
    return f"{MINUS if round(value, 3) < 0 else ''}{abs(value):.3f}"


def plural(n: int, one: str, many: str | None = None) -> str:
    """Return a count with its noun, `1 problem`, `1,000 problems`."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"
