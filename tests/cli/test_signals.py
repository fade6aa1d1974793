from __future__ import annotations

import json

import pytest

from attnpo.cli import signals
from attnpo.errors import ConfigError
from attnpo.signals import SIGNALS


@pytest.fixture(autouse=True)
def wide(monkeypatch):
    monkeypatch.setattr(signals.console, "_width", 200)


def test_the_table_names_every_signal_with_its_paper(capsys):
    signals.run([])
    shown = capsys.readouterr().out
    for name, signal in SIGNALS.items():
        assert name in shown
        assert (signal.arxiv or name) in shown


def test_json_is_json(capsys):
    signals.run(["--json"])
    assert [entry["name"] for entry in json.loads(capsys.readouterr().out)["signals"]] == list(SIGNALS)


def test_one_signal_shows_all_of_it(capsys):
    signals.run(["log_prob"])
    shown = capsys.readouterr().out
    assert "log_prob: SAS, arXiv 2604.24003" in shown
    assert "needs: log-probabilities\nextra cost: none\nPA and NA go by: order" in shown
    signals.run(["attnpo.signals.length:Longer", "--json"])
    assert json.loads(capsys.readouterr().out)["name"] == "longer"


def test_an_unknown_signal_is_one_line():
    with pytest.raises(
        ConfigError, match=r"^signal: 'logprob' is unknown; use one of heads, .* did you mean log_prob\?"
    ):
        signals.run(["logprob"])
