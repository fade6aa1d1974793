"""Head sets beside the chosen one."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from attnpo.attention import Head, HeadSet
from attnpo.discovery import best_heads, choose_wrong_head
from attnpo.errors import DataError

CHOSEN = HeadSet(
    model_id="toy", config_fingerprint="toy", num_layers=3, num_heads=2, heads=[Head(1, 0), Head(2, 1)], found_by="hand"
)


def found(sra, mass):
    return SimpleNamespace(
        model="toy", chosen=[(1, 0), (2, 1)], sra_select=sra, sra_report=sra, relative_attention=mass
    )


SRA = [[0.52, None], [0.95, 0.45], [0.41, 0.88]]
MASS = [[0.2, None], [1.0, 1.9], [1.6, 2.0]]


def test_the_wrong_head_is_the_nearest_in_mass_among_those_that_rank_nothing():
    # Mass of the chosen: 1.5. (2,0) is nearest with 1.6, then (1,1) with 1.9, then (0,0).
    control = choose_wrong_head(found(SRA, MASS), CHOSEN)
    assert control.heads == [Head(2, 0)]
    assert control.sra == 0.41
    assert control.evidence == {"relative_attention": 1.6, "relative_attention_of_chosen": 1.5}
    ranks = [[0.52, None], [0.95, 0.45], [0.39, 0.88]]
    assert choose_wrong_head(found(ranks, MASS), CHOSEN).heads == [Head(1, 1)]


def test_a_chosen_head_is_no_control():
    sra = [[0.9, None], [0.5, 0.9], [0.9, 0.5]]
    with pytest.raises(DataError, match="no head of toy has a Step Ranking Accuracy within"):
        choose_wrong_head(found(sra, MASS), CHOSEN)


def test_without_attention_mass():
    with pytest.raises(DataError, match="did not measure the attention mass"):
        choose_wrong_head(found(SRA, []), CHOSEN)


def test_the_best_single_heads():
    assert best_heads(found(SRA, MASS), CHOSEN, 3).heads == [Head(1, 0), Head(2, 1), Head(0, 0)]
    assert len(best_heads(found(SRA, MASS), CHOSEN, 9).heads) == 5
