"""A card's figures, as PNG files beside it."""

from __future__ import annotations

from contextlib import suppress

from attnpo.errors import DataError
from attnpo.reporting.card.facts import CardFacts
from attnpo.reporting.figures import save_frontiers, save_stability, save_training_curves

FOLDER = "figures"


def draw_figures(facts: CardFacts) -> dict[str, str]:
    """Draw what there is; return name of the figure → its path relative to the card.

    Raises:
        OutputError: a file cannot be written.
    """
    folder = facts.folder / FOLDER
    drawn: dict[str, str] = {}
    if facts.measured:
        sides = {
            m.title: {**({} if m.before is None else {"base": m.before}), facts.record.method: m.after}
            for m in facts.measured
        }
        drawn["frontier"] = save_frontiers(sides, folder / "frontier.png").name
    with suppress(DataError):  # nothing was logged twice: the card says so
        drawn["training"] = save_training_curves(facts.log, folder / "training.png").name
    if facts.stability is not None and facts.stability.points:
        drawn["stability"] = save_stability(facts.stability, folder / "stability.png").name
    return {name: f"{FOLDER}/{file}" for name, file in drawn.items()}
