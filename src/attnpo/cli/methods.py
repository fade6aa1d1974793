"""`attnpo methods`: the methods that `attnpo train --method` knows, what each does, needs and costs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rich.table import Table as RichTable
from rich.text import Text

from attnpo.cli.console import console
from attnpo.cli.parsing import parse
from attnpo.cli.shown import Card, shown_method, shown_methods
from attnpo.tables import Column, Table

EXAMPLE = """  attnpo methods
  attnpo methods laser_d
  attnpo methods --json | jq '.methods[].name'"""


@dataclass
class MethodsArguments:
    """What to show."""

    method: str | None = field(
        default=None,
        metadata={"help": "Show one method or preset, all of it and its settings; the first argument will do."},
    )
    json: bool = field(default=False, metadata={"help": "Print everything as JSON, for other programs."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    description = "List the methods and presets, what each does, needs and costs."
    (arguments,) = parse("methods", (MethodsArguments,), argv, description, EXAMPLE, first="method").parts
    if arguments.method is not None:
        show_method(arguments.method, arguments.json)
        return
    known = shown_methods()
    if arguments.json:
        print(json.dumps(known, indent=2))
    else:
        console.print(methods_table(known["methods"]), presets_table(known["presets"]), sep="\n")


def show_method(name: str, as_json: bool = False) -> None:
    """Print one method with its settings.

    Raises:
        ConfigError: there is none of that name.
    """
    card, preset = shown_method(name)
    if as_json:
        print(json.dumps(preset or card, indent=2))
        return
    if preset is not None:
        console.print(Text(f"{name}: {preset['method']} with {_changes(preset['settings'])}; {preset['purpose']}\n"))
    console.print(Text(f"{card['name']}: {card['paper']}, arXiv {card['arxiv'] or '–'}; formula from {card['source']}"))
    console.print(Text(card["description"] + "\n"))
    console.print(Text(f"needs: {_list(card['needs'])}\nextra tokens: {card['extra_tokens']}"))
    console.print(Text(f"extra passes: {card['extra_passes']}\n"))
    changes = {} if preset is None else preset["settings"]
    rows = [(s["name"], changes.get(s["name"], s["default"]), s["allowed"], s["help"]) for s in card["settings"]]
    console.print(words_table("settings", ("name", "default", "allowed", "meaning"), rows))


def methods_table(cards: Sequence[Card]) -> RichTable:
    """Return one row a method."""
    rows = []
    for card in cards:
        paper = card["paper"] + ("" if card["arxiv"] is None else f"\n{card['arxiv']} ({card['source']})")
        rows.append((card["name"], paper, card["formula"], _list(card["needs"]), extra_cost(card)))
    headings = ("name", "paper", "reward, advantage, factor", "needs", "extra cost")
    return words_table("Methods (attnpo train --method NAME)", headings, rows).terminal(show_lines=True)


def presets_table(cards: Sequence[Card]) -> Table:
    """Return one row a preset."""
    rows = [(c["name"], c["method"], _changes(c["settings"]), _list(c["needs"]), c["purpose"]) for c in cards]
    title = "Presets: a method with settings changed; your own flags go first"
    return words_table(title, ("name", "method", "changes", "needs", "for"), rows)


def words_table(title: str, headings: Sequence[str], rows: Iterable[Iterable[object]]) -> Table:
    """Return a table whose cells are words."""
    columns = [Column(heading, words=True) for heading in headings]
    return Table.of(title, columns, [map(str, row) for row in rows])


def extra_cost(card: Card) -> str:
    """Return what a method samples and passes beyond GRPO, in two lines."""
    if card["extra_tokens"] == card["extra_passes"] == "none":
        return "none"
    return f"tokens: {card['extra_tokens']}\npasses: {card['extra_passes']}"


def _list(words: Sequence[str]) -> str:
    return ", ".join(words) or "nothing"


def _changes(settings: Mapping[str, Any]) -> str:
    return ", ".join(f"{name}={value}" for name, value in settings.items()) or "nothing changed"
