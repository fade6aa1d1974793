"""Signals that read no pass: length, position, uniform, random, the truth."""

from __future__ import annotations

import numpy as np
import pytest
from own_signals import Halves, LikeLogProb, Thirds

from attnpo.attention import Head
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout, Step
from attnpo.signals import SIGNALS, build_signal, known_scores, needs_heads, rivals, rules, signal_class, signal_of

LABELS = ("essential", "redundant", "redundant", "undecided", "essential")
TOKENS = (5, 5, 20, 5, 6)
CHARACTERS = (30, 20, 40, 5, 40)


def response(labels=LABELS):
    steps, token, place = [], 0, 0
    for label, length, width in zip(labels, TOKENS, CHARACTERS, strict=False):
        steps.append(Step((place, place + width), (token, token + length), label=label))
        token, place = token + length, place + width
    ids = tuple(range(token + 4))
    return Rollout("p", "q", "1", 0, ids, "", True, True, tuple(steps), (token + 1, token + 3), pass_rate=1.0)


def scores_of(*names, rollouts=None, seed=0, first_row_id=0):
    return known_scores([build_signal(name, seed=seed) for name in names], rollouts or [response()], first_row_id)


def test_lengths_places_and_labels_by_hand():
    found = scores_of("shorter", "longer", "fewer_characters", "more_characters", "earlier", "later", "uniform")
    found |= scores_of("oracle")
    assert {name: rows[0].tolist() for name, rows in found.items() if name != "oracle"} == {
        "shorter": [-5, -5, -20, -5, -6],
        "longer": [5, 5, 20, 5, 6],
        "fewer_characters": [-30, -20, -40, -5, -40],
        "more_characters": [30, 20, 40, 5, 40],
        "earlier": [0, -1, -2, -3, -4],
        "later": [0, 1, 2, 3, 4],
        "uniform": [0, 0, 0, 0, 0],
    }
    np.testing.assert_array_equal(found["oracle"][0], [2, 0, 0, np.nan, 2])


def test_rows_of_a_batch_keep_their_own_number_of_steps():
    found = scores_of("longer", "random", rollouts=[response(), response(LABELS[:2])])
    assert [len(row) for row in found["longer"]] == [5, 2] == [len(row) for row in found["random"]]
    assert found["longer"][1].tolist() == [5, 5]


def test_random_draws_depend_on_the_seed_the_response_and_the_place_alone():
    both = scores_of("random", rollouts=[response(), response()])["random"]
    alone = scores_of("random", rollouts=[response(LABELS[:3])])["random"]
    assert both[0][:3].tolist() == alone[0].tolist()
    assert len({*both[0].tolist(), *both[1].tolist()}) == 10
    assert all(0 <= draw < 1 for draw in both[0])
    assert scores_of("random", first_row_id=1)["random"][0].tolist() == both[1].tolist()
    others = scores_of("random", seed=1)["random"][0].tolist()
    assert len({*others, *both[0].tolist()}) == 10
    named = scores_of("attnpo.signals.random:Random")["attnpo.signals.random:Random"]
    assert named[0].tolist() == both[0].tolist()


def test_the_truth_needs_labels():
    with pytest.raises(DataError, match="signal oracle: the steps carry no labels; give a labeller"):
        scores_of("oracle", rollouts=[response([None] * 5)])


@pytest.mark.parametrize("name", ["log_prob", "entropy_high", "entropy_low"])
def test_what_reads_a_pass_says_so(name):
    with pytest.raises(DataError, match=f"signal {name}: needs a forward pass; give the model"):
        scores_of(name)


def test_the_rules_are_those_that_a_head_set_has_to_beat():
    assert {signal.rule for signal in rules()} == {
        "shorter first", "longer first", "fewer characters first", "more characters first", "earlier first",
        "later first", "uniform attention",
    }  # fmt: skip
    assert not any(signal.is_read_in_a_pass for signal in rules())


def test_rivals_are_every_signal_but_heads_and_rules():
    names = [signal.name for signal in rivals()]
    assert {"log_prob", "entropy_high", "entropy_low", "think_close", "random", "oracle"} <= set(names)
    assert not {"heads", "heads_ranked", "all_heads", "shorter", "uniform"} & set(names)
    assert rivals("none") == []
    assert "oracle" not in [signal.name for signal in rivals(labelled=False)]


def test_named_signals_are_all_there_or_refused():
    named = [signal.name for signal in rivals("log_prob, shorter,random,log_prob,all_heads,own_signals:Thirds", seed=3)]
    assert named == ["log_prob", "shorter", "random", "all_heads", "own_signals:Thirds"]
    (ranked,) = rivals("heads_ranked", [Head(1, 2)])
    assert ranked.heads == [Head(1, 2)]
    with pytest.raises(ConfigError, match=r"^--signals: heads reads a head set, which .* --heads; leave"):
        rivals("heads", flag="--signals")
    with pytest.raises(ConfigError, match=r"^signals: probe has weights of its own; give its file \(probe\.json of"):
        rivals("log_prob,probe")
    assert [signal.name for signal in rivals("log_prob,probe", fits_probe=True)] == ["log_prob"]
    with pytest.raises(ConfigError, match=r"^signals: oracle reads step labels, and nothing gives them; give a label"):
        rivals("oracle", labelled=False)


def test_what_draws_is_given_the_seed():
    assert [signal.seed for signal in rivals("random,log_prob", seed=3)] == [3, 3]
    assert {signal.seed for signal in rivals(seed=4)} == {4}


def test_signals_of_ones_own_go_by_what_they_were_asked_for_as():
    """Two without a name, and one that is named as another is."""
    found = scores_of("own_signals:Thirds", "own_signals:Halves", "longer")
    assert {name: rows[0].tolist() for name, rows in found.items()} == {
        "own_signals:Thirds": pytest.approx([n / 3 for n in TOKENS]),
        "own_signals:Halves": [-n / 2 for n in TOKENS],
        "longer": list(TOKENS),
    }
    assert build_signal("own_signals:LikeLogProb").name == "own_signals:LikeLogProb"
    assert LikeLogProb.name == "log_prob"
    with pytest.raises(ConfigError, match=r"^signals: two go by the name 'own'; give each class a `name` of its own"):
        known_scores([Thirds(), Halves()], [response()])


def test_names():
    assert all(name == signal.name for name, signal in SIGNALS.items())
    assert [needs_heads(name) for name in ("heads", "heads_ranked", "all_heads", None)] == [True, True, False, False]
    assert (signal_of("attnpo"), signal_of("attnpo", "random"), signal_of("tlmre")) == ("heads", "random", None)
    said = r"signal: 'logprob' is unknown; use one of heads, .* did you mean log_prob\?"
    with pytest.raises(ConfigError, match=said):
        signal_class("logprob")
    with pytest.raises(ConfigError, match=r"attnpo\.rollouts:Step is no signal; let it inherit from"):
        signal_class("attnpo.rollouts:Step")
    assert signal_class("attnpo.signals.length:Shorter").name == "shorter"
