from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method

# right ones of 10 and 30 tokens: z = -1, 1; s = 0.2689, 0.7311
GROUP = [(True, 10), (True, 30), (False, 10), (False, 99)]


def advantages(groups, **settings):
    method = build_method("ddca", settings)
    return method.advantages(method.rewards(groups), groups)[0].tolist()


def test_worked_example(make_groups):
    # A_acc: +-1/2 over std sqrt(1/3); A_len: +-0.2311, times p = 1/2 and beta = 0.2
    base, half = 0.5 / (math.sqrt(1 / 3) + 1e-4), (0.7310586 - 0.2689414) / 2
    expected = [base + 0.1 * half, base - 0.1 * half, -base, -base]
    assert advantages(make_groups(GROUP)) == pytest.approx(expected, abs=1e-6)
    # leave one out: the other correct one is the baseline, and A_acc = 1 - 1/3
    got = advantages(make_groups(GROUP), advantage="rloo", scale_advantages=False, dynamic=False, beta=1)
    assert got == pytest.approx([2 / 3 + 2 * half, 2 / 3 - 2 * half, -2 / 3, -2 / 3], abs=1e-6)


def test_beta_zero_is_grpo(make_groups):
    grpo = build_method("grpo-std")
    groups = make_groups(GROUP)
    assert advantages(groups, beta=0) == grpo.advantages(grpo.rewards(groups), groups)[0].tolist()


def slow(group, beta, leave_one_out, dynamic):
    right = [length for ok, length in group if ok]
    base = [float(ok) for ok, _ in group]
    size = len(group)
    mean = [(sum(base) - own) / (size - 1) for own in base] if leave_one_out else [sum(base) / size] * size
    result = [own - baseline for own, baseline in zip(base, mean, strict=True)]
    if not right:
        return result
    middle = sum(right) / len(right)
    std = math.sqrt(sum((n - middle) ** 2 for n in right) / len(right))
    score = {i: 1 / (1 + math.exp(-(n - middle) / std if std else 0)) for i, (ok, n) in enumerate(group) if ok}
    for i, own in score.items():
        others = [s for j, s in score.items() if j != i] if leave_one_out else list(score.values())
        baseline = sum(others) / len(others) if others else own
        result[i] -= beta * (len(right) / size if dynamic else 1) * (own - baseline)
    return result


@given(
    st.lists(st.tuples(st.booleans(), st.integers(1, 60)), min_size=2, max_size=7),
    st.floats(0, 2),
    st.booleans(),
    st.booleans(),
)
def test_against_the_definition(make_groups, group, beta, leave_one_out, dynamic):
    got = advantages(
        make_groups(group),
        beta=beta,
        dynamic=dynamic,
        advantage="rloo" if leave_one_out else "grpo",
        scale_advantages=False,
    )
    assert got == pytest.approx(slow(group, beta, leave_one_out, dynamic), abs=1e-5)
    # the length's advantage moves credit between correct responses: the group's sum stays
    assert sum(got) == pytest.approx(0, abs=1e-5)
