"""Advantage that is kept and new, by sign: hand-worked, and against a loop over tokens."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import GroupBatch, rloo_advantages
from attnpo.credit.mass import changed_mass, total_mass, verdict_advantages


def test_worked_example():
    # 4 tokens of 0.5: one halved, one doubled, one turned to punishment, one left alone; 9 is padding
    kept_new = changed_mass(torch.tensor([0.5]), torch.tensor([[0.25, 1.0, -0.3, 0.5, 9.0]]), torch.tensor([4]))
    assert [v.item() for v in kept_new["positive"]] == pytest.approx([0.25 + 0.5 + 0 + 0.5, 0.5])
    assert [v.item() for v in kept_new["negative"]] == pytest.approx([0, 0.3])


def test_all_of_an_untouched_group_is_kept():
    correct, lengths = torch.tensor([[True, False, True, False]]), torch.tensor([[3, 5, 2, 4]])
    groups = GroupBatch(correct, lengths, correct)
    advantages = verdict_advantages(correct, groups.pass_rate_P[:, None], 4)
    assert torch.allclose(advantages, rloo_advantages(correct.float()))
    total = total_mass(advantages, groups)
    assert total["positive"].item() == pytest.approx(5 * 2 / 3)
    assert total["negative"].item() == pytest.approx(9 * 2 / 3)
    after = changed_mass(advantages[0], advantages[0][:, None].expand(4, 6), lengths[0])
    for sign, (kept, new) in after.items():
        assert kept.item() == pytest.approx(total[sign].item())
        assert new.item() == 0


NUMBERS = st.floats(-2, 2, width=32)


@given(
    st.lists(st.tuples(NUMBERS, st.lists(NUMBERS, min_size=5, max_size=5), st.integers(0, 5)), min_size=1, max_size=4)
)
def test_against_a_loop(rows):
    before, after, lengths = (torch.tensor(list(v)) for v in zip(*rows, strict=True))
    found = changed_mass(before, after, lengths)
    for name, sign in (("positive", 1), ("negative", -1)):
        kept = new = 0.0
        for a, tokens, length in rows:
            for b in tokens[:length]:
                here, there = max(sign * a, 0.0), max(sign * b, 0.0)
                kept, new = kept + min(here, there), new + max(there - here, 0.0)
        assert [v.item() for v in found[name]] == pytest.approx([kept, new], abs=1e-4)
