"""Help and lists are quick: they load neither torch nor numpy, and what they show ahead is what the classes say."""

from __future__ import annotations

import subprocess
import sys

import pytest
from trl import TrlParser

from attnpo.cli import shown
from attnpo.cli.flags import OneLineParser, add_flags, dataclass_flags
from attnpo.cli.main import COMMANDS

LISTS = (
    "methods",
    "methods laser_d",
    "methods attnpo-pa-only",
    "methods --json",
    "evaluate --list",
    "reproduce --list",
)
SCRIPT = """
import sys
from attnpo.cli.main import main
for line in sys.argv[1:]:
    try:
        main(line.split())
    except SystemExit as exit:
        assert not exit.code, line
    assert not {"numpy", "torch", "transformers", "trl"} & sys.modules.keys(), line
"""


def test_help_and_lists_load_neither_torch_nor_numpy():
    lines = ["--help", *LISTS]
    if shown._shown()["versions"] == shown._versions():  # else help reads the classes
        lines += [f"{command} --help" for command in COMMANDS]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *lines], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


def test_what_is_shown_is_what_the_classes_say():
    made, stored = shown.make(), dict(shown._shown())
    if made["versions"] != stored["versions"]:  # help then reads the classes themselves
        del made["settings"], stored["settings"], made["versions"], stored["versions"]
    assert made == stored, "run `python -m attnpo.cli.shown`"


def test_help_of_other_versions_reads_the_classes(monkeypatch):
    (spec,) = (spec for spec in shown.SETTINGS if spec.endswith("JudgeSettings"))
    stored = shown.shown_flags(spec)
    monkeypatch.setattr(shown, "_versions", lambda: {"trl": "9"})
    assert [names for names, _ in shown.shown_flags(spec)] == [names for names, _ in stored]


@pytest.mark.parametrize("spec", shown.SETTINGS)
def test_flags_are_made_as_trl_makes_them(spec):
    dataclass_type = shown.load_class(spec)
    ours, theirs = OneLineParser(), TrlParser(dataclass_type)
    add_flags(ours, dataclass_flags(dataclass_type))
    wanted = {action.option_strings[0]: action for action in theirs._actions}
    assert [action.option_strings[0] for action in ours._actions] == list(wanted)
    for action in ours._actions:
        other = wanted[action.option_strings[0]]
        names = ("option_strings", "dest", "nargs", "const", "default", "required", "help")
        for name in names:
            assert getattr(action, name) == getattr(other, name), action.dest
        assert list(action.choices or ()) == list(other.choices or ())
        for text in ("3", "true", "no", "word") if action.type is not None else ():
            assert _read(action.type, text) == _read(other.type, text), action.dest


def _read(convert, text):
    try:
        return convert(text)
    except Exception as error:
        return type(error)
