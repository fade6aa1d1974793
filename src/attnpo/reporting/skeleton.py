"""What every page shares: one file, style and script inside it, nothing loaded, readable in light and dark.

A page's template extends `_page.html.jinja` (it fills the block `body`) and may import the macros of
`_parts.html.jinja`: `omitted` (why something is not there), `cell` (a value with its interval), `grid` (a row of
panels).
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

import attnpo
from attnpo.errors import OutputError
from attnpo.output import write_atomically
from attnpo.reporting.palette import palette_css
from attnpo.reporting.wording import bounds, count, percent, signed, three_digits


@cache
def environment() -> Environment:
    """Return the templates' environment: everything is escaped, an undefined name is an error.

    Templates see `css`, `script` and `version`, and the functions `percent`, `count`, `bounds`, `signed` and
    `three_digits` of `wording`.
    """
    made = Environment(
        loader=PackageLoader("attnpo.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True
    )
    # Shades come last: they overrule the plain backgrounds.
    css = template_text("figure.css") + template_text("report.css") + palette_css()
    made.globals.update(
        css=Markup(css),
        script=Markup(template_text("report.js")),
        version=attnpo.__version__,
        percent=percent,
        count=count,
        bounds=bounds,
        signed=signed,
        three_digits=three_digits,
    )
    return made


def template_text(name: str) -> str:
    """Return a file beside the templates."""
    return (files("attnpo.reporting") / "templates" / name).read_text(encoding="utf-8")


def write_page(page: str, output: Path) -> Path:
    """Write a page to a file and return the file.

    Raises:
        OutputError: the file cannot be written.
    """
    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        # A response cut inside a character may hold a lone surrogate, which UTF-8 cannot write.
        write_atomically(output, page.encode("utf-8", "replace").decode("utf-8"))
    except OSError as error:
        raise OutputError(f"{output}: cannot write the report ({error.strerror}); choose another file") from error
    return output
