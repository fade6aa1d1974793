from __future__ import annotations

import pytest
import torch

from attnpo.credit import build_method, credit_counts, credit_metrics


def test_worked_example(make_steps):
    # Ten steps. Row 0 (A > 0): steps 1, 2 attenuated (gamma 3/4, 3/4), redundant and essential. Row 1 (A < 0): step 0
    # spared, essential. Row 2: wrong, untouched. Row 3 (A > 0): step 0 attenuated, undecided.
    steps = make_steps(
        [[0.5, 0.0, 0.0], [0.5, 0.0], [0.0, 0.5, 0.5], [0.0, 0.5]],
        labels=[[1, 2, 1], [1, 2], [1, 2, 0], [0, 1]],
        advantage=[0.3, -0.3, -0.9, 0.3],
        correct=[True, True, False, True],
    )
    gamma_BK = build_method("attnpo").gamma(steps)
    counts = {name: value.item() for name, value in credit_counts(steps, gamma_BK).items()}
    assert counts == {"steps": 10, "attenuated": 3, "protected": 1, "judged": 3, "agreeing": 2, "gamma": 8.25}
    assert credit_metrics(counts) == pytest.approx(
        {"steps_attenuated": 0.3, "steps_protected": 0.1, "gamma": 0.825, "credit_agreement": 2 / 3}
    )


def test_counts_of_parts_add_up(make_steps):
    scores, advantages = [[0.5, 0.0, 0.1], [0.5, 0.0]], [1.0, -1.0]
    method = build_method("attnpo")
    whole = make_steps(scores, advantage=advantages)
    parts = [make_steps([scores[row]], advantage=[advantages[row]]) for row in (0, 1)]
    expected = credit_counts(whole, method.gamma(whole))
    first, second = (credit_counts(part, method.gamma(part)) for part in parts)
    assert all(torch.equal(first[name] + second[name], expected[name]) for name in expected)
    assert expected["attenuated"] == 1
    assert expected["protected"] == 1


def test_padding_is_not_counted(make_steps):
    steps = make_steps([[0.5, 0.0]], labels=[[1, 2]], width=5)
    counts = credit_counts(steps, torch.zeros(1, 5))
    assert {name: value.item() for name, value in counts.items()} == {
        "steps": 2, "attenuated": 2, "protected": 0, "judged": 2, "agreeing": 1, "gamma": 0,
    }  # fmt: skip


def test_nothing_to_count_is_left_out(make_steps):
    unlabelled = make_steps([[0.5, 0.0]])
    metrics = credit_metrics(credit_counts(unlabelled, build_method("attnpo").gamma(unlabelled)))
    assert set(metrics) == {"steps_attenuated", "steps_protected", "gamma"}
    empty = make_steps([[], []])
    assert credit_metrics(credit_counts(empty, build_method("attnpo").gamma(empty))) == {}
