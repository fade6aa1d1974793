from __future__ import annotations

import json
from dataclasses import fields, replace

import pytest
import torch
from hypotheses_tried import HYPOTHESES
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import METHODS, PRESETS, CreditSettings, MethodSettings, build_method, method_class
from attnpo.credit.methods import find_preset
from attnpo.credit.methods.catalogue import SOURCES, as_json, method_cards, preset_cards
from attnpo.errors import ConfigError


@pytest.mark.parametrize("name", list(METHODS))
def test_every_method_documents_itself(name):
    method = METHODS[name]
    assert method.name == name
    for attribute in ("name", "formula"):
        assert attribute in vars(method), f"{name} has no {attribute} of its own"
    assert method.__doc__ != method.__mro__[1].__doc__
    assert method.source in SOURCES
    assert method.arxiv
    if method.source != "this project":
        assert any(method.arxiv in (doc or "") for doc in (base.__doc__ for base in method.__mro__))
    assert all(getattr(method, text) for text in ("paper", "formula", "extra_tokens", "extra_passes"))
    for entry in fields(method.settings_type):
        assert entry.metadata["help"].endswith("."), entry.name
        assert entry.metadata["allowed"].holds(entry.default), entry.name


def test_the_methods_of_the_comparison_are_all_there():
    wanted = {"rloo", "grpo", "tlmre", "thinkprune", "kimi", "laser", "laser_d", "laser_de", "diet", "alp", "l1_exact"}
    assert wanted | {"l1_max", "grpo_lead", "dapo_overlong", "attnpo"} <= set(METHODS)


def test_needs_follow_from_the_classes():
    needs = {card.name: set(card.needs) for card in method_cards()}
    assert needs["tlmre"] == set()
    assert needs["attnpo"] == {"heads"}
    assert needs["oracle"] == {"step labels"}
    assert needs["l1_max"] == {"chat prompts that take a suffix"}
    assert needs["laser_de"] == {"state saved with checkpoints"}
    assert needs["sgrpo"] == {"group_sampler", "whole groups on each process"}
    assert needs["vsrm"] == needs["drpo"] == {"group_sampler"}
    assert needs["dler"] == needs["dot"] == {"group_sampler", "whole groups on each process"}
    assert needs["leash"] == needs["gfpo"] == {"state saved with checkpoints"}


IDLE = {name: method.idle_settings for name, method in METHODS.items() if method.idle_settings}
TRIED = {name: method_class(name) for name in HYPOTHESES}
STEPWISE = {name: method for name, method in {**METHODS, **TRIED}.items() if method.idle_settings}
OTHERWISE = {
    "alpha_base": 0.5,
    "difficulty_baseline": False,
    "baseline_denominator": "prompt+response",
    "num_heads": 1,
    "graded": False,
    "scale_advantages": True,
    "whiten": True,
}


@pytest.mark.parametrize("name", IDLE)
def test_settings_that_do_nothing_are_neither_shown_nor_taken(name):
    (card,) = [card for card in method_cards() if card.name == name]
    assert not {setting.name for setting in card.settings} & set(IDLE[name])
    with pytest.raises(ConfigError, match=rf"^{IDLE[name][0]}: method '{name}' has no such setting"):
        build_method(name, {IDLE[name][0]: OTHERWISE.get(IDLE[name][0], "grpo")})


@pytest.mark.parametrize("name", [name for name, method in STEPWISE.items() if method.overrides("gamma")])
@given(data=st.data())
def test_they_do_nothing_to_steps(make_steps, name, data):
    def table(values):
        return data.draw(st.lists(st.lists(values, min_size=3, max_size=3), min_size=4, max_size=4))

    rows = {
        "labels": table(st.integers(0, 2)),
        "pass_rate": [0.25, 0.5, 0.75, 1.0],
        "advantage": [1.0, -1.0, 1.0, -1.0],
    }
    steps = make_steps(table(st.floats(0, 1)), correct=[True, True, False, True], **rows)
    effects = {"deletion_effect": torch.tensor(table(st.floats(-1, 3)))}
    steps = replace(steps, step_values=effects, facts={"measured": torch.tensor([1.0, 1.0, 1.0, 0.0])})
    method, settings = STEPWISE[name], STEPWISE[name].settings_type()
    changes = {setting: OTHERWISE[setting] for setting in method.idle_settings}
    torch.testing.assert_close(method(replace(settings, **changes)).gamma(steps), method(settings).gamma(steps))


@pytest.mark.parametrize("name", [name for name in IDLE if METHODS[name].overrides("advantages")])
def test_they_do_nothing_to_advantages(make_groups, name):
    groups = make_groups([(True, 10), (False, 20), (False, 40)], limit=50)
    known = ("mean_log_prob", "reference_accuracy", "mixture_ratio")
    groups = replace(groups, facts={fact: torch.tensor([[-0.5, -1.0, -2.0]]) for fact in known})
    method, settings = METHODS[name], METHODS[name].settings_type()
    changes = {"advantage": "grpo" if settings.advantage == "rloo" else "rloo"}
    changes |= {"scale_advantages": True} if "scale_advantages" in IDLE[name] else {}
    rewards = torch.tensor([[1.0, 0.0, 0.5]])
    found = [method(own).advantages(rewards, groups) for own in (settings, replace(settings, **changes))]
    assert torch.equal(*found)


def test_json_holds_everything():
    known = json.loads(json.dumps(as_json()))
    assert [entry["name"] for entry in known["methods"]] == list(METHODS)
    assert [entry["name"] for entry in known["presets"]] == [*PRESETS, "attnpo-N-heads"]
    (laser,) = [entry for entry in known["methods"] if entry["name"] == "laser"]
    (target,) = [setting for setting in laser["settings"] if setting["name"] == "target_length"]
    assert target["default"] == 4096
    assert target["allowed"] == "an integer of at least 1"


@pytest.mark.parametrize("name", [*PRESETS, "attnpo-1-head", "attnpo-12-heads"])
def test_a_preset_is_its_method_with_its_settings_changed(name):
    preset = find_preset(name)
    method = build_method(name)
    assert type(method) is METHODS[preset.method] is method_class(name)
    defaults = method.settings_type()
    changed = {
        entry.name: getattr(method.settings, entry.name)
        for entry in fields(defaults)
        if getattr(method.settings, entry.name) != getattr(defaults, entry.name)
    }
    assert changed == dict(preset.settings)
    assert preset.purpose


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("attnpo-pa-only", {"negative_attenuation": False}),
        ("attnpo-na-only", {"positive_attenuation": False}),
        ("attnpo-no-difficulty", {"difficulty_baseline": False}),
        ("attnpo-no-magnitude", {"magnitude_modulation": False}),
        ("attnpo-no-schedule", {"schedule": False}),
        ("attnpo-no-length", {"alpha_len": 0.0}),
        ("attnpo-3-heads", {"num_heads": 3}),
    ],
)
def test_the_ablations_by_name(name, changes):
    assert build_method(name).settings == CreditSettings(**changes)


@pytest.mark.parametrize(
    "name", ["attnpo-0-heads", "attnpo-heads", "attnpo--1-heads", "attnpo-N-heads", "tlmre-2-heads"]
)
def test_names_that_look_like_presets(name):
    with pytest.raises(ConfigError, match=f"^method: '{name}' is unknown"):
        build_method(name)


def test_explicit_settings_go_before_a_presets_and_those_before_an_objects():
    assert build_method("attnpo-pa-only", {"negative_attenuation": True, "lam": 1}).settings == CreditSettings(lam=1)
    made = build_method("attnpo-pa-only", CreditSettings(lam=1, negative_attenuation=True)).settings
    assert made == CreditSettings(lam=1, negative_attenuation=False)
    assert build_method("grpo-std").settings == MethodSettings(scale_advantages=True)


def test_an_unknown_setting_is_named_beside_the_known_ones():
    with pytest.raises(ConfigError, match=r"^target: method 'laser' has no such setting; it has .*, target_length$"):
        build_method("laser", {"target": 5})


def test_the_heads_that_are_read():
    heads = [(2, 0), (1, 1), (3, 2)]
    assert build_method("attnpo").select_heads(heads) == heads
    assert build_method("attnpo-2-heads").select_heads(heads) == heads[:2]
    with pytest.raises(ConfigError, match=r"^num_heads: 4 are asked for and the head set holds 3; .*--num_heads$"):
        build_method("attnpo-4-heads").select_heads(heads)


def test_preset_cards_say_what_they_change():
    cards = {card.name: card for card in preset_cards()}
    assert cards["attnpo-wrong-heads"].settings == {}
    assert "choose_wrong_head" in cards["attnpo-wrong-heads"].purpose
    assert cards["attnpo-oracle"].needs == ("step labels",)
