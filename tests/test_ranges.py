from __future__ import annotations

import importlib
import math
import pkgutil
import re
import typing
from dataclasses import MISSING, dataclass, fields, is_dataclass, make_dataclass
from typing import Annotated, Any, Literal

import pytest

import attnpo
from attnpo.errors import ConfigError
from attnpo.ranges import LARGEST, MOST, Range, Words, check, check_settings, conditions

ENDINGS = ("Settings", "Arguments", "Params", "Config", "Endpoint", "Sizes", "Intervals", "Bootstrap")
NOT_NUMBERS = (math.nan, math.inf, -math.inf)


def settings_types() -> list[type]:
    """Every dataclass of settings in the package, by its name."""
    found = set()
    for module in pkgutil.walk_packages(attnpo.__path__, "attnpo."):
        if module.name.endswith("__main__"):
            continue
        for name, value in vars(importlib.import_module(module.name)).items():
            is_own = isinstance(value, type) and is_dataclass(value) and value.__module__.startswith("attnpo.")
            if is_own and name.endswith(ENDINGS):
                found.add(value)
    return sorted(found, key=lambda each: (each.__module__, each.__name__))


def holds_numbers(hint: Any) -> bool:
    """Whether a type allows a number."""
    if typing.get_origin(hint) in (typing.Literal, dict):
        return False
    return hint in (int, float) or any(map(holds_numbers, typing.get_args(hint)))


def numeric_fields(settings_type: type) -> list[str]:
    hints = typing.get_type_hints(settings_type)
    return [entry.name for entry in fields(settings_type) if entry.init and holds_numbers(hints[entry.name])]


TYPES = settings_types()
FIELDS = [(each, name) for each in TYPES for name in numeric_fields(each)]


def test_the_settings_are_found():
    names = {each.__name__ for each in TYPES}
    assert {
        "AttnPOConfig", "EngineSettings", "SamplingParams", "EvaluationSettings", "DiscoverySettings", "ProbeSettings",
        "JudgeSettings", "CausalSettings", "InterventionSettings", "ReproduceArguments", "TrainArguments", "L1Settings",
        "EvaluateArguments", "DataArguments", "QuickstartSizes", "ColdStartConfig", "InspectArguments", "Endpoint",
        "Sizes",
    } <= names  # fmt: skip
    assert len(FIELDS) > 200


@pytest.mark.parametrize(("settings_type", "name"), FIELDS, ids=lambda each: getattr(each, "__name__", each))
def test_every_number_has_a_range_that_excludes_what_is_none(settings_type, name):
    condition = conditions(settings_type).get(name)
    assert condition is not None, f"{settings_type.__name__}.{name} has no range; see attnpo.ranges"
    wrong = [*NOT_NUMBERS, True, "many"]
    if isinstance(condition, Range):
        wrong += [condition.most * 2 + 1]
        wrong += [] if condition.low is None else [condition.low - 1]
        wrong += [condition.low] if condition.above else []
        wrong += [condition.high] if condition.below else []
        wrong += [condition.most - 0.5] if condition.whole else []
    for value in wrong:
        if isinstance(condition, Range) and not isinstance(value, bool) and value in condition.also:
            continue
        assert not condition.holds(value), f"{value!r} is allowed; {condition.text}"


@pytest.mark.parametrize(("settings_type", "name"), FIELDS, ids=lambda each: getattr(each, "__name__", each))
def test_defaults_lie_in_their_ranges(settings_type, name):
    (entry,) = (entry for entry in fields(settings_type) if entry.name == name)
    if entry.default_factory is not MISSING:
        assert all(conditions(settings_type)[name].holds(value) for value in entry.default_factory())
    elif entry.default is not MISSING:
        assert conditions(settings_type)[name].holds(entry.default)


CHECKED = [each for each in TYPES if not each.__name__.endswith("Arguments")]


@pytest.mark.parametrize(
    ("settings_type", "name"),
    [(each, name) for each, name in FIELDS if each in CHECKED and each.__name__ != "Endpoint"],
    ids=lambda each: getattr(each, "__name__", each),
)
def test_settings_check_themselves_when_made(settings_type, name):
    needed = {"max_new_tokens": 8} if settings_type.__name__ == "SamplingParams" else {}
    needed |= (
        {"output_dir": "unused", "use_cpu": True, "bf16": False}
        if settings_type.__name__ in ("AttnPOConfig", "ColdStartConfig")
        else {}
    )
    with pytest.raises(ConfigError) as caught:
        settings_type(**{**needed, name: math.nan})
    said = str(caught.value)
    assert f"{name}: " in said or f"{name.removeprefix('n_')}: " in said or f"_{name}: " in said
    assert "nan is not allowed; use " in said
    assert "\n" not in said


@pytest.mark.parametrize(
    ("numbers", "allowed", "refused", "text"),
    [
        (Range(), (-5, 0, 1.5, 1e30), (1e39,), "a number"),
        (Range(0), (0, 0.0, 2), (-1e-9, None), "a number of at least 0"),
        (Range(0, above=True), (1e-9,), (0, -1), "a number above 0"),
        (Range(0, 1), (0, 1, 0.5), (-0.1, 1.1), "a number from 0 to 1"),
        (Range(0, 1, below=True), (0, 0.999), (1, 1.0), "a number from 0 to 1, 1 excluded"),
        (Range(0, 1, above=True), (1, 0.1), (0,), "a number from 0 to 1, 0 excluded"),
        (Range(0, 1, above=True, below=True), (0.5,), (0, 1), "a number between 0 and 1, both excluded"),
        (Range(high=3), (3, -7), (3.5,), "a number of at most 3"),
        (Range(1, whole=True), (1, MOST), (0, 1.0, 1.5, MOST + 1, "1", False), "an integer of at least 1"),
        (Range(1, whole=True, also=(-1, None)), (-1, 1, None), (0, -2), "an integer of at least 1, or -1"),
        (Range(1, note="why"), (1,), (0,), "a number of at least 1 (why)"),
    ],
)
def test_a_range(numbers, allowed, refused, text):
    assert numbers.text == text
    for value in allowed:
        check("name", value, numbers)
    for value in (*refused, *NOT_NUMBERS, True):
        with pytest.raises(ConfigError, match=r"^name: .* is not allowed; use an? (number|integer)"):
            check("name", value, numbers)


def test_a_slip_of_the_hand_is_told_the_largest_number():
    with pytest.raises(ConfigError, match=f"^tokens: {10**12} is not allowed; use an integer of at most {MOST}$"):
        check("tokens", 10**12, Range(1, whole=True))
    with pytest.raises(
        ConfigError, match=re.escape(f"beta: 1e+39 is not allowed; use a number of at most {LARGEST:g}")
    ):
        check("beta", 1e39, Range(0))


@dataclass
class Many:
    shares: list[Annotated[float, Range(0, 1)]] | None = None
    word: str = "free"
    order: Literal["first", "last"] = "first"
    unit: Annotated[str, Words(("s", "ms"))] = "s"


def test_each_element_of_a_list_is_checked():
    check_settings(Many(None))
    check_settings(Many([0.1, 1]))
    with pytest.raises(ConfigError, match=r"^shares: 2 is not allowed; use a number from 0 to 1"):
        check_settings(Many([0.1, 2]))


def test_words_are_those_of_the_type():
    with pytest.raises(ConfigError, match=r"^order: 'middle' is not one of first, last$"):
        check_settings(Many(order="middle"))
    with pytest.raises(ConfigError, match=r"^unit: 's, ms' is not one of s, ms$"):
        check_settings(Many(unit="s, ms"))


def test_a_field_without_a_range_would_be_found():
    forgot = make_dataclass("ForgotSettings", [("share", float), ("name", str)])
    assert numeric_fields(forgot) == ["share"]
    assert conditions(forgot) == {}
