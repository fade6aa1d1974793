"""`attnpo signals`: what may score the steps of a response (`attnpo train --signal`), what each needs and costs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field

from rich.table import Table as RichTable
from rich.text import Text

from attnpo.cli.console import console
from attnpo.cli.methods import words_table
from attnpo.cli.parsing import parse
from attnpo.cli.shown import Card, shown_signal, shown_signals

EXAMPLE = """  attnpo signals
  attnpo signals log_prob
  attnpo signals --json | jq '.signals[].name'"""


@dataclass
class SignalsArguments:
    """What to show."""

    signal: str | None = field(
        default=None, metadata={"help": "Show one signal, all of it; the first argument will do."}
    )
    json: bool = field(default=False, metadata={"help": "Print everything as JSON, for other programs."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    description = "List the step signals: what may score the steps of a response, what each needs and costs."
    (arguments,) = parse("signals", (SignalsArguments,), argv, description, EXAMPLE, first="signal").parts
    if arguments.signal is not None:
        show_signal(arguments.signal, arguments.json)
    elif arguments.json:
        print(json.dumps({"signals": shown_signals()}, indent=2))
    else:
        console.print(signals_table(shown_signals()))


def show_signal(name: str, as_json: bool = False) -> None:
    """Print one signal.

    Raises:
        ConfigError: there is none of that name.
    """
    card = shown_signal(name)
    if as_json:
        print(json.dumps(card, indent=2))
        return
    console.print(Text(f"{card['name']}: {card['paper']}, arXiv {card['arxiv'] or '–'}; formula from {card['source']}"))
    console.print(Text(card["description"] + "\n"))
    console.print(Text(f"score: {card['formula']}\nneeds: {_needs(card)}\nextra cost: {card['extra_cost']}"))
    console.print(Text(f"PA and NA go by: {card['scale']}"))


def signals_table(cards: Sequence[Card]) -> RichTable:
    """Return one row a signal."""
    rows = []
    for card in cards:
        paper = card["paper"] + ("" if card["arxiv"] is None else f"\n{card['arxiv']} ({card['source']})")
        rows.append((card["name"], paper, card["formula"], _needs(card), card["extra_cost"], card["scale"]))
    headings = ("name", "paper", "score, high is kept", "needs", "extra cost", "credit by")
    return words_table("Step signals (attnpo train --signal NAME)", headings, rows).terminal(show_lines=True)


def _needs(card: Card) -> str:
    return ", ".join(card["needs"]) or "the steps"
