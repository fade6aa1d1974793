from __future__ import annotations

import pytest

from attnpo.attention import Head
from attnpo.errors import ConfigError
from attnpo.gradients import method_credits, parse_wanted
from attnpo.gradients.wanted import check_heads, check_run, parse_all, reason_to_leave_out


def test_strengths_go_to_methods_with_a_length_term():
    found = parse_wanted("attnpo", [0.1, 0.6])
    assert [(w.name, w.family, w.strength, dict(w.settings)) for w in found] == [
        ("attnpo 0.1", "attnpo", 0.1, {"alpha_len": 0.1}),
        ("attnpo 0.6", "attnpo", 0.6, {"alpha_len": 0.6}),
    ]
    (alone,) = parse_wanted("rloo", [0.1, 0.6])
    assert (alone.name, alone.strength) == ("rloo", None)


def test_settings_are_fixed_or_varied():
    both = parse_wanted("attnpo+lam=0+alpha_len=0.2,0.4", [0.9])
    assert [w.name for w in both] == ["attnpo lam=0 0.2", "attnpo lam=0 0.4"]
    (fixed,) = parse_wanted("attnpo+alpha_len=0.3", [0.9])
    assert (fixed.name, fixed.strength, fixed.alpha_len) == ("attnpo 0.3", 0.3, 0.3)
    varied = parse_wanted("alp+beta=1e-3,0.01", [0.9])
    assert [(w.name, w.strength) for w in varied] == [("alp 0.001", 0.001), ("alp 0.01", 0.01)]
    lists = parse_wanted("thinkprune+limits=[208],[176]", [0.9])
    assert [(w.name, w.strength, w.settings["limits"]) for w in lists] == [
        ("thinkprune 208", 208, [208]),
        ("thinkprune 176", 176, [176]),
    ]
    (stages,) = parse_wanted("thinkprune+limits=[208,176]", [0.9])
    assert stages.settings["limits"] == [208, 176]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ppo", "--methods ppo: method: 'ppo' is unknown"),
        ("attnpo+alpha=1", "alpha: method 'attnpo' has no such setting"),
        ("thinkprune+limits=[208", r"limits=\[208 cannot be read"),
        ("attnpo+lam", r"write METHOD\+setting=value"),
        ("attnpo+lam=0,1+alpha_len=0,1", "lam and alpha_len both vary"),
        ("attnpo+alpha_len=0.2,3", "alpha_len: 3 is not allowed"),
    ],
)
def test_what_cannot_be_meant_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_wanted(text, [0.2])


def test_tlmre_is_there_at_every_strength_once():
    names = [c.name for c in method_credits([*parse_wanted("attnpo", [0.4]), *parse_wanted("tlmre", [0.4, 0.6])])]
    assert names == ["tlmre 0.2", "tlmre 0.4", "tlmre 0.6", "attnpo 0.4"]
    beside = {c.name: c.beside for c in method_credits(parse_wanted("attnpo", [0.0, 0.4]))}
    assert beside["attnpo 0.4"] == "tlmre 0.4"
    assert beside["attnpo 0"] == "accuracy"
    assert [c.beside for c in method_credits(parse_wanted("alp+beta=0.1,0.2", [])) if c.method == "alp"] == ["", ""]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("attnpo", None),
        ("lcr1", "draws responses of its own"),
        ("l1_max", "asks for other responses"),
        ("step_grpo", "draws responses of its own"),
        ("adaptthink", "draws responses of its own"),
        *((name, None) for name in ("thinkprune", "dler", "da_dler", "siri", "sas", "dot")),
        ("oracle", "reads labels"),
    ],
)
def test_why_a_method_is_left_out(name, reason):
    found = reason_to_leave_out(asked(name), labelled=False, scored=True)
    assert found is None if reason is None else found.startswith(reason)
    assert reason_to_leave_out(asked("attnpo"), labelled=True, scored=False).startswith("reads heads")


def asked(text):
    """The first of what it asks for."""
    return parse_wanted(text, [0.2])[0]


def test_a_signal_takes_the_place_of_the_methods_own():
    found = parse_wanted("sas+limit=208,152+signal=random,heads", [])
    assert [(w.name, w.strength, w.family, w.reads, dict(w.settings)) for w in found] == [
        ("sas 208 by random", 208, "sas by random", "random", {"limit": 208}),
        ("sas 152 by random", 152, "sas by random", "random", {"limit": 152}),
        ("sas 208 by heads", 208, "sas by heads", "heads", {"limit": 208}),
        ("sas 152 by heads", 152, "sas by heads", "heads", {"limit": 152}),
    ]
    assert [asked(text).reads for text in ("sas", "attnpo", "rloo")] == ["log_prob", "heads", None]
    assert [credit.signal for credit in method_credits(found) if credit.method == "sas"] == ["random"] * 2 + [
        "heads"
    ] * 2
    assert reason_to_leave_out(asked("sas+signal=heads"), labelled=True, scored=False).startswith("reads heads")
    assert reason_to_leave_out(asked("attnpo+signal=oracle"), labelled=False, scored=True).startswith("reads labels")
    assert reason_to_leave_out(asked("attnpo+signal=random"), labelled=False, scored=False) is None


def test_labels_of_what_is_cut_have_to_come_from_a_labeler():
    cut = asked("sas+limit=208+signal=oracle")
    assert reason_to_leave_out(cut, labelled=True, scored=False, relabels=True) is None
    assert reason_to_leave_out(cut, labelled=True, scored=False, relabels=False).startswith("reads labels of responses")
    whole = asked("sas+signal=oracle")
    assert reason_to_leave_out(whole, labelled=True, scored=False, relabels=False) is None


def test_a_signal_that_reads_all_heads_goes_with_all_heads():
    heads = [Head(2, 3), Head(2, 1)]
    check_heads([asked("attnpo+num_heads=1"), asked("attnpo+signal=heads_ranked")], heads)
    with pytest.raises(ConfigError, match="num_heads: heads_ranked reads all 2 heads here"):
        check_heads([asked("attnpo+num_heads=1+signal=heads_ranked")], heads)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("attnpo+signal=luck", r"--methods attnpo\+signal=luck: signal: 'luck' is unknown"),
        ("rloo+signal=random", "method 'rloo' reads no step scores"),
        ("attnpo+signal=", "write signal=name"),
        ("attnpo+signal=random,", "write signal=name"),
        ("attnpo+signal=random+signal=heads", "once"),
    ],
)
def test_a_signal_that_cannot_be_meant_is_refused(text, said):
    with pytest.raises(ConfigError, match=said):
        parse_wanted(text, [0.2])


def test_what_would_calibrate_itself_on_its_own_batch_is_left_out():
    found = reason_to_leave_out(asked("gr3"), labelled=True, scored=True)
    assert found == "calibrates alpha on earlier groups, and there are none; name an alpha: gr3+alpha=0.33"
    (named,) = parse_wanted("gr3+alpha=0.33", [0.2])
    assert reason_to_leave_out(named, labelled=True, scored=True) is None


@pytest.mark.parametrize("name", ["dler+limit=300", "laser_d", "dapo_overlong", "siri", "thinkprune"])
def test_what_does_not_fit_the_limit_is_refused_by_name(name):
    wanted = parse_wanted(name, [0.2])
    with pytest.raises(ConfigError, match=rf"^--methods {name.split('+')[0]}[ =0-9a-z_]*: .*256"):
        check_run(wanted, 256, 8, "exact")
    check_run(parse_wanted("l1_max", [0.2]), 256, 8, "exact")  # is left out whatever its limit


@pytest.mark.parametrize("name", ["dot", "gfpo"])
def test_groups_in_which_nothing_can_be_cut_or_chosen_are_refused(name):
    wanted = parse_wanted(name, [0.2])
    check_run(wanted, 256, 16, "exact")
    with pytest.raises(ConfigError, match=rf"^--methods {name}: .* 8 responses .*, or raise --samples_per_problem$"):
        check_run(wanted, 256, 8, "exact")


@pytest.mark.parametrize(
    ("name", "flag"),
    [(n, "max_new_tokens") for n in ("dler+limit=300", "siri", "siri+longest=200+shortest=100", "thinkprune")]
    + [("dot", "samples_per_problem"), ("gfpo", "samples_per_problem")],
)
def test_what_would_help_is_a_flag_of_the_command(name, flag):
    limit = 80 if name.startswith("siri+") else 256
    for sampled, helps in ((True, f"or raise --{flag}"), (False, f"or sample anew with more --{flag}")):
        with pytest.raises(ConfigError) as error:
            check_run(parse_wanted(name, [0.2]), limit, 8, "exact", sampled=sampled)
        assert helps in str(error.value)
        assert "max_completion_length" not in str(error.value)


def test_a_credit_that_is_asked_for_twice_is_refused():
    assert [w.name for w in parse_all(["attnpo", "rloo"], [0.2])] == ["attnpo 0.2", "rloo"]
    with pytest.raises(ConfigError, match=r"^--methods attnpo\+alpha_len=0\.2: attnpo 0\.2 is asked for twice"):
        parse_all(["attnpo", "attnpo+alpha_len=0.2"], [0.2])
