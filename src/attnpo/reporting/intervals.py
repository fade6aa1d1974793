"""Intervals drawn in table rows: dots with whiskers on a shared scale, and bars of shares."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from attnpo.reporting.svg import Scale, element, picture
from attnpo.reporting.wording import bounds, percent, three_digits
from attnpo.statistics import Interval
from attnpo.tables import Column

WIDTH = 360.0
SHARE_COLUMNS = (Column(""), Column("", drawing=True), Column(""))
"""Of a table that draws shares: what it is, a bar, the share."""


@dataclass(frozen=True)
class Dots:
    """A shared scale for the rows of a table, from a little below the lowest value to 1."""

    x: Scale

    @classmethod
    def over(cls, intervals: Sequence[Interval], lowest: float = 0.45) -> Dots:
        """Return the scale that holds all intervals and chance, 0.5."""
        return cls(Scale(min((lowest, *(i.low for i in intervals))) - 0.02, 1.0, 6.0, WIDTH - 6.0))

    def draw(
        self,
        name: str,
        full: Interval,
        hollow: Interval | None,
        ours: bool,
        dots: tuple[str, str] = ("all pairs", "length-matched"),
    ) -> Markup:
        """Return one row: a full dot, a hollow one below it where there is one, and the line of chance.

        Args:
            name: what the row is, for screen readers.
            full: the main value.
            hollow: the second one, such as that on length-matched pairs.
            ours: colour it as the chosen heads.
            dots: what the full and the hollow dot are, for screen readers.
        """
        css = "ours" if ours else "theirs"
        parts = [element("line", x1=self.x(0.5), x2=self.x(0.5), y1=0.0, y2=26.0, class_="chance")]
        for y, interval, is_hollow in ((8.0, full, False), (18.0, hollow, True)):
            if interval is None:
                continue
            low, high = self.x(interval.low), self.x(interval.high)
            parts.append(element("line", x1=low, x2=high, y1=y, y2=y, class_=f"{css} cross"))
            kind = "hollow" if is_hollow else "full"
            parts.append(element("circle", cx=self.x(interval.value), cy=y, r=4.0, class_=f"{css} {kind}"))
        said = f"{name}: {dots[0]} {written(full)}" + (f", {dots[1]} {written(hollow)}" if hollow else "")
        return picture(WIDTH, 26, said, *parts, class_="plot rule")


def written(interval: Interval) -> str:
    """Return an SRA with its interval, `0.976 (0.97–0.98)`."""
    return f"{three_digits(interval.value)} ({interval.low:.2f}–{interval.high:.2f})"


def share_bar(title: str, share: Interval, wanted: bool = True) -> Markup:
    """Return a bar of a share with its interval; `wanted` says whether a high share is good."""
    x = Scale(0.0, 1.0, 1.0, 239.0)
    whisker = element("line", x1=x(share.low), x2=x(share.high), y1=9.0, y2=9.0, class_="whisker")
    return _bar(
        f"{title}: {percent(share.value)}, interval {bounds(share, True)}", share.value, wanted, 18, 2.0, whisker
    )


def plain_bar(title: str, share: float, kept: bool = False) -> Markup:
    """Return a bar of a share without interval."""
    return _bar(f"{title}: {percent(share)}", share, kept, 12, 1.0)


def counted(number: int, share: float) -> Markup:
    """Return the cell of a count and its share of all."""
    return Markup("<b>{:,}</b> <small>{}</small>").format(number, percent(share))


def _bar(said: str, share: float, wanted: bool, height: float, y: float, *more: Markup) -> Markup:
    size = {"x": 1.0, "y": y, "height": float(height - 2 * y), "rx": 2.0}
    track = element("rect", **size, width=238.0, class_="track")
    bar = element("rect", **size, width=max(238.0 * share, 0.5), class_="wanted" if wanted else "unwanted")
    return picture(240, height, said, track, bar, *more, class_="plot share")
