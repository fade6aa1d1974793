"""A method in a file of the user's: found as `module:Class`, its settings by name."""

from __future__ import annotations

import sys

import pytest

from attnpo.credit import build_method
from attnpo.credit.methods.catalogue import method_card
from attnpo.errors import ConfigError

FILE = """
from dataclasses import dataclass

from attnpo.credit import Method, MethodSettings, outcome_rewards
from attnpo.credit.checks import SHARE, setting
from attnpo.credit.methods.tlmre import TLMRE


@dataclass(frozen=True)
class HalvedSettings(MethodSettings):
    share: float = setting(0.5, SHARE, "What a correct response earns.")


class Halved(Method):
    \"\"\"A correct response earns a share.\"\"\"

    name = "halved"
    formula = "r = share 1[correct]"
    settings_type = HalvedSettings

    def rewards(self, groups):
        return self.settings.share * outcome_rewards(groups.correct_PG)


class Nameless(TLMRE):
    pass


number = 3
"""


@pytest.fixture
def own_file(tmp_path, monkeypatch):
    (tmp_path / "my_method_file.py").write_text(FILE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "my_method_file"
    sys.modules.pop("my_method_file", None)


def test_a_method_in_a_file_of_ones_own(own_file, make_groups):
    method = build_method(f"{own_file}:Halved", {"share": 0.25})
    assert method.rewards(make_groups([(True, 5), (False, 5)])).tolist() == [[0.25, 0]]
    card = method_card(type(method))
    assert (card.name, card.needs, card.description) == ("halved", (), "A correct response earns a share.")
    assert card.settings[-1].name == "share"


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("Halve", r"^method '.*:Halve': module '.*' has no class 'Halve'; did you mean Halved"),
        ("Nameless", r"^method: .*:Nameless has the name of another, 'tlmre'; give the class a name of its own"),
        ("HalvedSettings", r"^method: .*:HalvedSettings is no method; let it inherit from attnpo\.credit\.Method"),
    ],
)
def test_what_is_no_method_is_one_line(own_file, spec, words):
    with pytest.raises(ConfigError, match=words):
        build_method(f"{own_file}:{spec}")


def test_a_setting_out_of_range_is_named(own_file):
    with pytest.raises(ConfigError, match=r"^share: 2 is not allowed"):
        build_method(f"{own_file}:Halved", {"share": 2})
