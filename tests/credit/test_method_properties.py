"""What holds for every method, whatever its formula."""

from __future__ import annotations

from dataclasses import fields, replace

import pytest
import torch
from hypotheses_tried import HYPOTHESES, JUDGES, SETTINGS
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.credit import METHODS, GroupBatch, Method, build_method
from attnpo.credit.layout import outcome_advantages
from attnpo.errors import ConfigError

LIMIT = 64
SCALED = {
    "thinkprune": {"limits": [40, 20], "stage_steps": 3},
    "kimi": {"warmup_steps": 2},
    "laser": {"target_length": 20},
    "laser_d": {"grid_start": 8, "grid_step": 8, "monitor_steps": 3},
    "laser_de": {"grid_start": 8, "grid_step": 8, "monitor_steps": 3},
    "alp": {"beta": 0.01},
    "l1_exact": {"alpha": 0.01, "shortest_request": 4, "longest_request": 60},
    "l1_max": {"alpha": 0.01, "shortest_request": 4, "longest_request": 60},
    "dapo_overlong": {"buffer": 16},
    "dler": {"limit": 30, "whiten": False},  # whitening looks at the whole batch by design
    "da_dler": {"limit": 40, "easy_limit": 20, "whiten": False},
    "siri": {"longest": 60, "shortest": 10, "cycle_steps": 8},
    "shorterbetter": {"price": 0.02},
    "leash": {"target_length": 20},
    "arlcp": {"word_bounds": [3, 8]},
    "gfpo": {"keep": 3},
    "autothink": {"stage_2_from": 0, "stage_3_from": 5},  # stage 1 looks at the whole batch by design
}
"""Published settings are for thousands of tokens; these make every term of the formulas count here."""
FACTS = {
    "exit_place": st.integers(0, 12),
    "reference_accuracy": st.sampled_from([0, 0.25, 1]),
    "mixture_ratio": st.sampled_from([0.5, 1, 2]),
    "one_closing_tag": st.integers(0, 1),
    "mean_log_prob": st.floats(-3, 0),
    "semantic_steps": st.integers(1, 6),
    "boxed": st.integers(0, 1),
    "reflection_words": st.integers(0, 12),
    "necessary_share": st.sampled_from([0, 0.5, 1]),
}
"""What methods note of each response when it is sampled or probed, and read in rewards or advantages."""
OF_GROUPS = [name for name in HYPOTHESES if name not in JUDGES]
"""Hypotheses whose rewards need no steps."""
OF_THE_GROUP = [name for name in (*METHODS, *OF_GROUPS) if name != "adaptthink"]
"""Methods that hold a response against its group, not against the untrained policy."""


def build(name: str) -> Method:
    method = build_method(name, {**SETTINGS, **SCALED}.get(name, {}))
    method.check(LIMIT, 16)
    return method


def credit(method: Method, groups: GroupBatch) -> torch.Tensor:
    return outcome_advantages(method, method.rewards(groups), groups)


def along_responses(groups: GroupBatch, order: list[int]) -> GroupBatch:
    names = [f.name for f in fields(groups) if f.name.endswith("_PG")]
    facts = {name: fact[:, order] for name, fact in groups.facts.items()}
    return replace(groups, facts=facts, **{name: getattr(groups, name)[:, order] for name in names})


def one_group(groups: GroupBatch, index: int) -> GroupBatch:
    names = [f.name for f in fields(groups) if f.name.endswith(("_PG", "_P"))]
    facts = {name: fact[index : index + 1] for name, fact in groups.facts.items()}
    return replace(groups, facts=facts, **{name: getattr(groups, name)[index : index + 1] for name in names})


def without_facts(groups: GroupBatch) -> GroupBatch:
    """The groups where every fact is 0."""
    return replace(groups, facts=dict(groups.facts) | {name: torch.zeros(groups.correct_PG.shape) for name in FACTS})


@st.composite
def group_batches(draw: st.DrawFn) -> GroupBatch:
    shape = draw(st.integers(1, 3)), draw(st.integers(2, 6))

    def mask() -> torch.Tensor:
        return torch.tensor(draw(st.lists(st.booleans(), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1])))

    lengths = draw(st.lists(st.integers(1, LIMIT), min_size=shape[0] * shape[1], max_size=shape[0] * shape[1]))
    targets = draw(st.lists(st.integers(4, 60), min_size=shape[0], max_size=shape[0]))
    size = shape[0] * shape[1]
    facts = {name: draw(st.lists(values, min_size=size, max_size=size)) for name, values in FACTS.items()}
    return GroupBatch(
        correct_PG=mask().reshape(shape),
        lengths_PG=torch.tensor(lengths).reshape(shape),
        finished_PG=mask().reshape(shape),
        progress_step=draw(st.integers(0, 9)),
        max_length=LIMIT,
        answered_PG=mask().reshape(shape),
        group_ids_P=torch.arange(shape[0]) + draw(st.integers(0, 99)),
        facts={
            **{name: torch.tensor(values, dtype=torch.float32).reshape(shape) for name, values in facts.items()},
            "repetitive": mask().reshape(shape).float(),
            "no_think": mask().reshape(shape).float(),
            "target_length": torch.tensor(targets).float()[:, None].expand(shape),
        },
    )


@pytest.mark.parametrize("name", [*METHODS, *OF_GROUPS])
@settings(max_examples=25)
@given(groups=group_batches(), data=st.data())
def test_order_within_the_group_does_not_matter(name, groups, data):
    order = data.draw(st.permutations(range(groups.correct_PG.shape[1])))
    plain, permuted = build(name), build(name)
    plain.observe(groups)
    permuted.observe(along_responses(groups, order))
    torch.testing.assert_close(
        credit(permuted, along_responses(groups, order)), credit(plain, groups)[:, order], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("name", [*METHODS, *OF_GROUPS])
@settings(max_examples=25)
@given(groups=group_batches())
def test_a_groups_credit_is_its_own(name, groups):
    method = build(name)
    method.observe(groups)
    together = credit(method, groups)
    assert together.shape == groups.correct_PG.shape
    assert together.dtype == torch.float32
    assert torch.isfinite(together).all()
    for index in range(len(together)):
        torch.testing.assert_close(credit(method, one_group(groups, index)), together[index : index + 1])


@pytest.mark.parametrize("name", OF_THE_GROUP)
@settings(max_examples=15)
@given(groups=group_batches(), correct=st.booleans())
def test_equal_responses_have_nothing_to_learn_from(name, groups, correct):
    names = [f.name for f in fields(groups) if f.name.endswith("_PG")]
    same = {name: getattr(groups, name)[:, :1].expand_as(groups.correct_PG) for name in names}
    facts = {name: fact[:, :1].expand_as(groups.correct_PG) for name, fact in groups.facts.items()}
    equal = replace(groups, facts=facts, **same)
    equal = replace(equal, correct_PG=torch.full_like(equal.correct_PG, correct))
    method = build(name)
    method.observe(equal)
    assert (credit(method, equal) == 0).all()


@pytest.mark.parametrize("name", OF_THE_GROUP)
def test_whole_groups_of_one_response_are_no_error(name, make_groups):
    groups = without_facts(make_groups([(True, 5)], limit=LIMIT, target=9))
    method = build(name)
    method.observe(groups)
    assert credit(method, groups).tolist() == [[0]]


@pytest.mark.parametrize("name", list(METHODS))
def test_the_seed_changes_nothing_but_draws(name, make_groups):
    groups = without_facts(make_groups([(True, 30), (True, 40), (False, 50)], limit=LIMIT, target=20))
    one, two = (build_method(name, {**SCALED.get(name, {}), "seed": seed}) for seed in (0, 1))
    for method in (one, two):
        method.observe(groups)
    same = torch.equal(credit(one, groups), credit(two, groups))
    assert same or name == "diet"


@pytest.mark.parametrize("name", list(METHODS))
def test_settings_of_another_method_are_refused(name):
    from attnpo.credit.settings import MethodSettings

    class Other(MethodSettings):
        pass

    expected = METHODS[name].settings_type
    if expected is MethodSettings:
        METHODS[name](Other())
        return
    with pytest.raises(ConfigError, match=f"^method '{name}' takes {expected.__name__}, not Other"):
        METHODS[name](Other())
