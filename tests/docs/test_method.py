"""docs/method.md says what the code does: each equation once, settings by their names, published values as defaults."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from attnpo.credit.settings import CreditSettings
from attnpo.discovery import DiscoverySettings
from attnpo.training import AttnPOConfig

PAGE = (Path(__file__).parents[2] / "docs" / "method.md").read_text(encoding="utf-8")
SYMBOLS = re.findall(r"^\| (.+) \| (.+) \| (.*) \| ?(.*) \| ?(.*) \|$", PAGE.replace("\\|", "¦"), re.MULTILINE)


def test_every_equation_stands_in_a_code_block_once_and_in_order():
    blocks = "\n".join(line for line in PAGE.splitlines() if line.startswith("    "))
    assert re.findall(r"\(Eq\. (\d)\)", blocks) == [str(number) for number in range(1, 9)]


def test_published_values_are_the_defaults():
    stated = {}
    for row in SYMBOLS:
        setting, number = re.match(r"`(\w+)`", row[-1]), re.search(r"\d[\d.,]*", row[3])
        if setting and number:
            stated[setting[1]] = float(number[0].replace(",", ""))
    credit = {entry.name: entry.default for entry in fields(CreditSettings)}
    assert {name: value for name, value in stated.items() if name in credit} == {
        **{name: credit[name] for name in ("alpha_len", "alpha_base", "lam", "gamma_floor", "schedule_steps")},
        "num_heads": DiscoverySettings().num_heads,  # of the method None: all that the head set holds
    }
    assert stated["num_generations"] == AttnPOConfig.num_generations


def test_settings_exist():
    last = [row[-1] for row in SYMBOLS if row[0] != "symbol"]
    named = {name for cell in last for name in re.findall(r"`([a-z_]+)`", cell)}
    known = {entry.name for type_ in (AttnPOConfig, DiscoverySettings) for entry in fields(type_)}
    assert len(named) > 15
    assert named <= known
