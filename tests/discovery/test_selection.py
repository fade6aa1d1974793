from __future__ import annotations

import numpy as np
import pytest

from attnpo.discovery.ranking import PairTable
from attnpo.discovery.selection import Ensemble, choose, ensemble_sra, greedy_selection, top_selection


def table(differences):
    differences = np.asarray(differences, dtype=np.float32)
    m = len(differences)
    return PairTable(differences, np.arange(m), np.ones((m, 2), dtype=int))


def slow_sra(differences, heads):
    sums = [sum(float(row[h]) for h in heads) for row in differences]
    return sum(1.0 if s > 0 else 0.5 if s == 0 else 0.0 for s in sums) / len(sums)


@pytest.mark.parametrize("seed", range(5))
def test_each_greedy_step_is_the_best_of_all_extensions(seed):
    rng = np.random.default_rng(seed)
    # Small integers: sums are exact and ties frequent.
    differences = rng.integers(-3, 4, size=(60, 9))
    curve = greedy_selection(table(differences), 5)
    own = [slow_sra(differences, [h]) for h in range(9)]
    heads = []
    for ensemble in curve:
        candidates = [h for h in range(9) if h not in heads]
        best = max(candidates, key=lambda h: (slow_sra(differences, [*heads, h]), own[h], -h))
        heads.append(best)
        assert ensemble.heads == tuple(heads)
        assert ensemble.sra == pytest.approx(slow_sra(differences, heads))
    assert curve[0].sra == max(own)


def test_top_takes_the_best_single_heads_in_order():
    differences = np.random.default_rng(9).integers(-3, 4, size=(60, 6))
    own = [slow_sra(differences, [h]) for h in range(6)]
    order = sorted(range(6), key=lambda h: (-own[h], h))
    curve = top_selection(table(differences), 4)
    assert [e.heads for e in curve] == [tuple(order[:n]) for n in (1, 2, 3, 4)]
    assert [e.sra for e in curve] == pytest.approx([slow_sra(differences, order[:n]) for n in (1, 2, 3, 4)])
    assert ensemble_sra(table(differences), [4, 1]) == pytest.approx(slow_sra(differences, [4, 1]))


def test_greedy_finds_heads_that_complement_each_other():
    # Heads 0 and 1 each fail where the other is sure; head 2 is nearly as good as they are and adds nothing to 0.
    differences = [[3, -1, 3], [3, -1, 3], [3, -1, -3], [-1, 3, -1], [-1, 3, -1]]
    assert [e.heads for e in greedy_selection(table(differences), 2)] == [(0,), (0, 1)]
    assert greedy_selection(table(differences), 2)[1].sra == 1.0


def test_curves_end_with_the_model():
    differences = np.ones((3, 2))
    assert len(greedy_selection(table(differences), 10)) == len(top_selection(table(differences), 10)) == 2


def test_choose_takes_the_smallest_of_the_best_prefixes():
    curve = [Ensemble((4,), 0.90), Ensemble((4, 1), 0.94), Ensemble((4, 1, 2), 0.94), Ensemble((4, 1, 2, 3), 0.99)]
    assert choose(curve, 3).heads == (4, 1)
    assert choose(curve, 1).heads == (4,)
    assert choose(curve, 10).heads == (4, 1, 2, 3)
