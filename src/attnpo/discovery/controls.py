"""Head sets for experiments beside the chosen one: heads that rank nothing, and the best heads one by one."""

from __future__ import annotations

from attnpo.attention import Head, HeadSet
from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError

CHANCE, MARGIN = 0.5, 0.1
"""A head whose Step Ranking Accuracy lies this near to chance does not rank steps."""


def choose_wrong_head(result: DiscoveryResult, chosen: HeadSet) -> HeadSet:
    """Return the control: of the heads that do not rank steps, the one nearest to the chosen set in attention mass.

    A wrong head whose scores are all low would damp every positive credit and be one more length penalty.

    Args:
        result: what discovery measured of every head.
        chosen: the head set that it chose.

    Raises:
        DataError: every head ranks steps, one way or the other, or attention mass is not known.
    """
    heads = [tuple(head) for head in result.chosen]
    drawn = {
        (layer, head): mass
        for layer, masses in enumerate(result.relative_attention)
        for head, mass in enumerate(masses)
        if mass is not None
    }
    masses = [drawn[layer, head] for layer, head in heads if (layer, head) in drawn]
    if not masses:
        raise DataError("wrong head: discovery did not measure the attention mass of the chosen heads; discover again")
    mass = sum(masses) / len(masses)
    candidates = [
        (abs(drawn[layer, head] - mass), layer, head)
        for layer, head in drawn
        if (layer, head) not in heads and _ranks_nothing(result.sra_select[layer][head])
    ]
    if not candidates:
        raise DataError(
            f"wrong head: no head of {result.model} has a Step Ranking Accuracy within {MARGIN} of {CHANCE}; "
            "discover on more problems, or leave the control with wrong heads out"
        )
    _, layer, head = min(candidates)
    return chosen.model_copy(
        update={
            "heads": [Head(layer, head)],
            "sra": result.sra_report[layer][head],
            "found_by": f"control: SRA near 0.5, {drawn[layer, head] / mass:.2f} of the chosen heads' attention mass",
            "evidence": {
                "relative_attention": drawn[layer, head],
                "relative_attention_of_chosen": mass,
            },
        }
    )


def best_heads(result: DiscoveryResult, chosen: HeadSet, number: int) -> HeadSet:
    """Return the heads with the highest Step Ranking Accuracy of their own, the best first.

    They are taken whether or not they help the set, so that its size can be varied.

    Args:
        result: what discovery measured of every head.
        chosen: the head set that it chose.
        number: how many; fewer where fewer were measured.
    """
    ranked = sorted(
        (-sra, layer, head)
        for layer, row in enumerate(result.sra_select)
        for head, sra in enumerate(row)
        if sra is not None
    )
    heads = [Head(layer, head) for _, layer, head in ranked[:number]]
    return chosen.model_copy(update={"heads": heads, "sra": None, "found_by": "best single heads", "evidence": {}})


def _ranks_nothing(sra: float | None) -> bool:
    return sra is not None and abs(sra - CHANCE) <= MARGIN
