from __future__ import annotations

from attnpo.attention import HeadSet, other_model

HEADS = HeadSet(model_id="owner/one", config_fingerprint="x", num_layers=2, num_heads=2, heads=[(0, 1)])


def test_heads_of_another_model_are_said_with_both_names_and_what_measures_them():
    line = other_model(HEADS, ["owner/two", ""], "--model owner/two")
    assert line is not None
    assert line.startswith("heads: found on owner/one; --model owner/two is neither that model nor")
    assert "`attnpo discover --verify`" in line


def test_nothing_is_said_of_their_own_model_or_of_one_without_a_name():
    assert other_model(HEADS, ["runs/mine", "owner/one"], "--model runs/mine") is None
    assert other_model(HEADS, ["", ""], "a model made in memory") is None
