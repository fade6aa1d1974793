"""How every measured quantity is called and written, and which way is better: for terminal, files and pages alike."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

COUNT = "count:"
"""Prefix of what a user's counter counted: `count:NAME`."""
NUMBERED: Mapping[str, str] = {
    "pass": "pass@k, %",
    "majority": "majority vote of k, %",
    "accuracy": "accuracy within a token budget, %",
    "tokens": "tokens spent within a budget",
}
"""Metrics with a number behind `@`: `pass@k`, `majority@k`, and `accuracy@b` and `tokens@b` under a budget of b."""


@dataclass(frozen=True)
class Metric:
    """A measured quantity.

    Attributes:
        title: what the head of a column calls it, without its unit.
        words: what a row of its own calls it.
        scale: factor it is written with; 100 for shares, which people read in percent.
        digits: decimals.
        better: which way its best values lie.
        bare: whether it is written without its interval where nothing varies, as of one run.
        bound_digits: decimals of the bounds on a page, where they differ.
    """

    title: str
    words: str = ""
    scale: float = 1.0
    digits: int = 2
    better: Literal["high", "low"] = "high"
    bare: bool = False
    bound_digits: int | None = None

    @property
    def column(self) -> str:
        """The head of its column, with the unit."""
        return f"{self.title}, %" if self.scale == 100 else self.title

    @property
    def row(self) -> str:
        """The head of its row, with the unit."""
        words = self.words or self.title
        return f"{words}, %" if self.scale == 100 else words

    def bound(self, value: float, beside: float) -> str:
        """Return a bound of the value `beside` as a page writes it."""
        if self.bound_digits is None:
            return self.number(value, beside=beside)
        return f"{self.scale * value:,.{self.bound_digits}f}"

    def number(self, value: float, sign: str = "", beside: float | None = None) -> str:
        """Return a value as it is written; long lengths without decimals.

        Args:
            value: the value.
            sign: "+" to write a plus, too.
            beside: the value whose bound it is: with as many decimals as that.
        """
        long = abs(self.scale * (value if beside is None else beside)) >= 1000
        return f"{self.scale * value:{sign},.{0 if self.digits == 1 and long else self.digits}f}"


def _share(title: str, words: str = "", better: Literal["high", "low"] = "high", bare: bool = False) -> Metric:
    return Metric(title, words, 100.0, 1, better, bare)


METRICS: Mapping[str, Metric] = {
    "accuracy": _share("accuracy", "answered right"),
    "response_tokens": Metric("tokens", "tokens a response", digits=1, better="low"),
    "think_tokens": Metric("think tokens", digits=1, better="low"),
    "answer_tokens": Metric("answer tokens", digits=1, better="low"),
    "steps": Metric("steps", "steps a response", better="low"),
    "truncated": _share("cut off", "cut at the token limit", "low"),
    "confused_phrases": Metric("confused phrases", "confused phrases a response", better="low"),
    "progression_phrases": Metric("progression phrases", "progression phrases a response"),
    "summary_phrases": Metric("summary phrases", "summary phrases a response"),
    "confused_per_1k_tokens": Metric("confused per 1k tokens", "confused phrases in 1,000 tokens", better="low"),
    "progression_per_1k_tokens": Metric("progression per 1k tokens", "progression phrases in 1,000 tokens"),
    "summary_per_1k_tokens": Metric("summary per 1k tokens", "summary phrases in 1,000 tokens"),
    "essential_steps": Metric("essential steps", "essential steps a response"),
    "redundant_steps": Metric("redundant steps", "redundant steps a response", better="low"),
    "undecided_steps": Metric("undecided steps", "undecided steps a response"),
    "redundant_token_share": _share("redundant token share", "share of think tokens in redundant steps", "low"),
    "pass": _share("pass"),
    "majority": _share("majority"),
    "tokens": Metric("tokens", digits=1, better="low"),
    "response_tokens_saved": _share("tokens saved"),
    "efficiency": Metric("AES"),
    "count:useful_checks": Metric("useful checks", digits=3),
    "count:slips_mended": _share("slips mended"),
    "count:slips_mended_next": _share("slips mended next"),
    "extra_tokens": Metric("extra tokens", digits=1, better="low", bare=True),
    "extra_pass_tokens": Metric("extra pass tokens", digits=1, better="low", bare=True),
    "optimizer_steps": Metric("steps", digits=0, bare=True),
    "essential_punished": _share("essential steps punished", better="low", bare=True),
    "redundant_rewarded": _share("redundant steps rewarded", better="low", bare=True),
}
SRA = Metric("SRA", digits=3, bound_digits=2)
"""Step Ranking Accuracy, and correlations."""


def split_name(metric: str) -> tuple[str, int | None]:
    """Return `("pass", 8)` of `pass@8` and `("steps", None)` of `steps`."""
    name, _, number = metric.partition("@")
    return name, int(number) if number else None


def metric_of(name: str) -> Metric:
    """Return a metric by its name; what a counter counted is a mean a response or a share, which may both be small."""
    name = split_name(name)[0]
    return METRICS.get(name) or Metric(name.removeprefix(COUNT).replace("_", " "), digits=3)
