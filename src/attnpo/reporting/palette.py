"""Colours of the report: colour-blind-safe, for light and dark pages, with legible text on every shade.

Arms take hues near Okabe and Ito's (darker on the light page, lighter on the dark one). Scores take a diverging scale,
orange below and blue above the middle, in `2 * BINS + 1` shades; their CSS classes are `q-10 … q10` in figures and
`s-10 … s10` behind text.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

BINS = 10
"""Shades on either side of the middle of the diverging scale."""

TEXT_STRENGTH = 0.5
"""Strength of the shades behind text: body text on the strongest still has a contrast above 4.5 : 1 in both themes."""

RGB = tuple[float, float, float]

LIGHT = {
    "page": "#fbfaf7",
    "card": "#ffffff",
    "ink": "#1b1c1f",
    "soft": "#5a5d66",
    "faint": "#c9c8c2",
    "rule": "#e5e3dc",
    "accent": "#0a5c9c",
    "good": "#00694c",
    "bad": "#a63c00",
}
DARK = {
    "page": "#131416",
    "card": "#1b1d20",
    "ink": "#ecebe6",
    "soft": "#a3a6ad",
    "faint": "#4a4d53",
    "rule": "#2c2f34",
    "accent": "#74b9ee",
    "good": "#3fc79d",
    "bad": "#ff9557",
}
LIGHT_SCALE = ("#8f4300", "#d9780f", "#fbb562", "#fde2bd", "#f3f1ec", "#d2e4f2", "#8fc1e2", "#3886c0", "#084f96")
DARK_SCALE = ("#ffb45c", "#d07f24", "#8f5718", "#55391c", "#292b2f", "#213d54", "#285f8c", "#3c8bc9", "#83c6f7")
"""Stops of the diverging scale from far below to far above, evenly spaced."""
ARMS_LIGHT = ("#6b6e76", "#0a6ab0", "#c25700", "#00805c", "#a8508a", "#1f8fc4", "#8f7a00", "#7a4fb5")
ARMS_DARK = ("#a9acb3", "#5ab0f2", "#f29140", "#35c596", "#e08cc4", "#7fd0f5", "#e6d34a", "#b795ee")


def rgb(colour: str) -> RGB:
    """Return the three channels of `#rrggbb` in 0…1."""
    return tuple(int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))  # type: ignore[return-value]


def hexadecimal(channels: RGB) -> str:
    """Return `#rrggbb` for three channels in 0…1."""
    return "#" + "".join(f"{round(255 * min(max(c, 0.0), 1.0)):02x}" for c in channels)


def mix(start: str, end: str, share: float) -> str:
    """Return the colour that lies `share` (0…1) of the way from `start` to `end`."""
    return hexadecimal(tuple(x + (y - x) * share for x, y in zip(rgb(start), rgb(end), strict=True)))  # type: ignore[arg-type]


def luminance(colour: str) -> float:
    """Return the relative luminance of a colour (WCAG 2)."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in rgb(colour)]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours (WCAG 2), 1…21."""
    bright, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (bright + 0.05) / (dark + 0.05)


def text_on(background: str) -> str:
    """Return the near-black or near-white that reads better on `background`."""
    return max(("#0a0b0d", "#ffffff"), key=lambda colour: contrast(colour, background))


def diverging(stops: Sequence[str], strength: float = 1.0) -> dict[int, str]:
    """Return the shade of every bin -BINS…BINS.

    Args:
        stops: colours from far below to far above, evenly spaced; the middle one stands for the middle.
        strength: how far towards the outermost stops the end bins go (0…1).
    """
    shades = {}
    for k in range(-BINS, BINS + 1):
        position = (k / BINS * strength + 1) / 2 * (len(stops) - 1)
        before = min(int(position), len(stops) - 2)
        shades[k] = mix(stops[before], stops[before + 1], position - before)
    return shades


def bin_of(value: float, half_range: float) -> int:
    """Return the bin of a signed value; values at or beyond ±`half_range` fall in the end bins."""
    share = max(-1.0, min(1.0, value / half_range))
    return round(share * BINS)


def _variables(theme: dict[str, str], arms: Sequence[str], scale: Sequence[str]) -> dict[str, str]:
    found = {**theme, **{f"arm{i}": colour for i, colour in enumerate(arms)}}
    for k, colour in diverging(scale).items():
        found |= {f"q{k}": colour, f"t{k}": text_on(colour)}
    return found | {f"s{k}": colour for k, colour in diverging(scale, TEXT_STRENGTH).items()}


def _shades_css() -> str:
    """Return the classes of shades and arms."""
    bins = range(-BINS, BINS + 1)
    return "\n".join(
        (
            *(f".q{k}{{fill:var(--q{k});background-color:var(--q{k})}}.plot .t{k}{{fill:var(--t{k})}}" for k in bins),
            *(f".s{k}{{background-color:var(--s{k})}}" for k in bins),
            *(f".arm{i}{{--arm:var(--arm{i})}}" for i in range(len(ARMS_LIGHT))),
        )
    )


def palette_css() -> str:
    """Return the CSS that declares the colour variables of both themes and the classes of shades and arms."""
    light, dark = (
        f"color-scheme:{name};" + "".join(f"--{variable}:{colour};" for variable, colour in variables.items())
        for name, variables in (
            ("light", _variables(LIGHT, ARMS_LIGHT, LIGHT_SCALE)),
            ("dark", _variables(DARK, ARMS_DARK, DARK_SCALE)),
        )
    )
    return "\n".join(
        (
            f":root{{{light}}}",
            f"@media screen and (prefers-color-scheme:dark){{:root:not([data-theme=light]){{{dark}}}}}",
            f"@media screen{{:root[data-theme=dark]{{{dark}}}}}",
            _shades_css(),
        )
    )


def light_css(css: str) -> str:
    """Return CSS and the classes of shades and arms with the light theme's colours on white in place of variables.

    The colour of an arm, which elements inherit, becomes `currentColor`.
    """
    colours = _variables(LIGHT | {"page": "#ffffff"}, ARMS_LIGHT, LIGHT_SCALE)
    css = f"{css}\n{_shades_css()}".replace("var(--arm)", "currentColor").replace("--arm:", "color:")
    return re.sub(r"var\(--([\w-]+)\)", lambda found: colours[found[1]], css)
