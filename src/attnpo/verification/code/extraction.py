"""Where in a response its code stands."""

from __future__ import annotations

import re
import textwrap

# A fence may stand behind a byte-order mark, and the opening one behind the mark of a list's item.
_FENCE = re.compile(
    r"\ufeff?(?P<indent>[ \t]*(?P<item>(?:(?:[-*+]|\d{1,9}[.)])[ \t]+)*))(?P<marks>`{3,}|~{3,})(?P<info>.*)"
)
_LINE_END = re.compile(r"\r\n?|\n")


def last_code_block(text: str) -> str | None:
    """Return the content of the last closed fenced block in `text`, None where there is none.

    A fence is a line that starts with three or more backticks or tildes; the closing one has as many of the same and
    nothing after them. Content loses the indentation of its opening fence, as in CommonMark, and what its lines share
    beyond that. Only line feeds and carriage returns end a line: other separators may stand in a string.
    """
    block: str | None = None
    fence, indent, lines = "", "", list[str]()
    for line in _LINE_END.split(text):
        match = _FENCE.match(line)
        if not fence:
            if match and "`" not in match["info"]:
                fence, indent, lines = match["marks"], re.sub(r"\S", " ", match["indent"]), []
        elif (
            match
            and not match["item"]
            and match["marks"][0] == fence[0]
            and len(match["marks"]) >= len(fence)
            and not match["info"].strip()
        ):
            block, fence = _dedented(lines), ""
        else:
            lines.append(_without_indent(line, indent))
    return block


def _without_indent(line: str, indent: str) -> str:
    """Return the line without this indentation, or as much of it as the line has; a tab reaches four columns."""
    if line.startswith(indent):
        return line.removeprefix(indent)
    content = line.lstrip(" \t")
    columns = len(line.removesuffix(content).expandtabs(4)) - len(indent.expandtabs(4))
    return " " * columns + content


def _dedented(lines: list[str]) -> str:
    code = "\n".join(lines) + "\n"
    first = next((line for line in lines if line.strip()), "")
    # Only where the code would not run else: dedent also empties lines of white space, and those may stand in a string.
    return textwrap.dedent(code) if first[:1] in (" ", "\t") else code
