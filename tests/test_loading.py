from __future__ import annotations

import sys
from types import ModuleType

import pytest

from attnpo.errors import ConfigError
from attnpo.loading import check_call, load_function


class Labeler:
    def __call__(self, question, response, steps):
        return []


def variadic(*texts): ...


def defaults(question, response, steps, more=1): ...


def keyword_only(question, response, *, steps): ...


def too_few(question): ...


@pytest.fixture(autouse=True)
def module(monkeypatch):
    own = ModuleType("own_functions")
    vars(own).update(
        {"labeler": Labeler(), "variadic": variadic, "defaults": defaults, "named": keyword_only, "few": too_few}
    )
    vars(own).update({"max": max, "cls": Labeler})
    monkeypatch.setitem(sys.modules, "own_functions", own)


ARGUMENTS = ("question", "response", "steps")


@pytest.mark.parametrize("name", ["labeler", "variadic", "defaults", "max"])  # max hides its parameters
def test_what_takes_the_arguments_is_loaded(name):
    assert callable(load_function(f"own_functions:{name}", "labeler", ARGUMENTS))


@pytest.mark.parametrize(("name", "takes"), [("named", "*, steps"), ("few", r"(question)"), ("cls", "()")])
def test_what_takes_others_is_refused_by_name(name, takes):
    with pytest.raises(ConfigError) as error:
        load_function(f"own_functions:{name}", "labeler", ARGUMENTS)
    line = str(error.value)
    assert line.startswith(f"labeler 'own_functions:{name}': is called with (question, response, steps), but takes ")
    assert takes in line


def test_arguments_by_name():
    check_call(too_few, "f", by_name={"question": 1})
    with pytest.raises(ConfigError, match=r"^f: is called with \(answer=\), but takes \(question\)"):
        check_call(too_few, "f", by_name={"answer": 1})
