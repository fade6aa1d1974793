"""What a run takes of what is asked for: names are one credit's each, and signals are read by somebody."""

from __future__ import annotations

import pytest

from attnpo.attention import Head
from attnpo.credit.methods.sas import SAS
from attnpo.gradients.chosen import choose
from attnpo.gradients.wanted import parse_all

HEADS = [Head(2, 3), Head(2, 1)]


def test_every_name_is_one_credit():
    wanted = parse_all(["attnpo", "tlmre", "sas"], [0.2, 0.4])
    chosen = choose(wanted, "heads,log_prob", HEADS, labelled=True)
    names = [credit.name for credit in chosen.credits]
    assert len(names) == len(set(names))
    assert {"attnpo 0.2 by heads", "accuracy, steps by heads", "accuracy, steps by log_prob"} <= set(names)
    assert [signal.name for signal in chosen.signals] == ["heads", "log_prob"]
    assert chosen.left_out == {}


@pytest.mark.parametrize(("signals", "heads"), [("all", HEADS), ("all", []), ("heads,oracle,random", HEADS)])
def test_every_name_is_one_credit_whatever_the_signals(signals, heads):
    names = [credit.name for credit in choose(parse_all(["attnpo"], [0.2]), signals, heads, labelled=True).credits]
    assert len(names) == len(set(names))
    assert "accuracy, steps by oracle" in names


def test_a_signal_asked_for_twice_is_one_credit():
    wanted = parse_all(["attnpo+signal=entropy_low+alpha_len=0.2", "sas+signal=random"], [])
    chosen = choose(wanted, "entropy_low", [], labelled=True)
    names = [credit.name for credit in chosen.credits]
    assert names.count("attnpo 0.2 by entropy_low") == 1
    assert "sas by random" in names
    assert {signal.name for signal in chosen.signals} == {"entropy_low", "random"}


def test_signals_are_those_of_what_is_taken(monkeypatch):
    wanted = parse_all(["sas", "oracle"], [0.2])
    assert [signal.name for signal in choose(wanted, "none", [], labelled=False).signals] == ["log_prob"]
    monkeypatch.setattr(SAS, "needs_labels", True)
    chosen = choose(wanted, "oracle,entropy_low", [], labelled=False)
    assert [signal.name for signal in chosen.signals] == ["entropy_low"]
    assert set(chosen.left_out) == {"sas", "oracle 0.2", "signal oracle"}
