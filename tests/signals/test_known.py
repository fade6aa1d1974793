"""Signals that read no pass: length, position, uniform, random, the truth."""

from __future__ import annotations

import numpy as np
import pytest

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


def scores_of(*names, rollouts=None):
    return known_scores([build_signal(name) for name in names], rollouts or [response()])


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


def test_random_draws_depend_on_the_response_and_the_place_alone():
    both = scores_of("random", rollouts=[response(), response()])["random"]
    alone = scores_of("random", rollouts=[response(LABELS[:3])])["random"]
    assert both[0][:3].tolist() == alone[0].tolist()
    assert len({*both[0].tolist(), *both[1].tolist()}) == 10
    assert all(0 <= draw < 1 for draw in both[0])


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
    assert [signal.name for signal in rivals("log_prob, random,log_prob,heads")] == ["log_prob", "random"]


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
