from __future__ import annotations

import pytest

from attnpo.credit import build_method
from attnpo.errors import ConfigError, DataError

GROUP = [(True, 100), (True, 150), (True, 40), (False, 100), (False, 300)]
QUESTION = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]


def rewards(name, groups, **settings):
    return build_method(name, settings).rewards(groups)[0].tolist()


def test_exact_worked_example(make_groups):
    # |100 - L|: 0, 50, 60, 0, 200 at 0.001 each
    groups = make_groups(GROUP, target=100)
    assert rewards("l1_exact", groups, alpha=0.001) == pytest.approx([1.0, 0.95, 0.94, 0.0, -0.2])


def test_max_worked_example(make_groups):
    # correct: 0.001 (100 - L) + 1/2; wrong: 0
    groups = make_groups(GROUP, target=100)
    assert rewards("l1_max", groups, alpha=0.001) == pytest.approx([0.5, 0.45, 0.56, 0.0, 0.0])
    # 0.01 (100 - 40) + 1/2 = 1.1 and 0.01 (100 - 150) + 1/2 = 0: clipped to [0, 1]
    assert rewards("l1_max", groups, alpha=0.01) == pytest.approx([0.5, 0.0, 1.0, 0.0, 0.0])


def test_alpha_zero_is_the_outcome(make_groups):
    groups = make_groups(GROUP, target=100)
    assert rewards("l1_exact", groups, alpha=0) == [1, 1, 1, 0, 0]
    assert rewards("l1_max", groups, alpha=0, delta=1) == [1, 1, 1, 0, 0]


def test_the_request_stands_at_the_end_of_the_question():
    for name, words in (("l1_exact", "Think for"), ("l1_max", "Think for maximum")):
        ask = build_method(name).ask(QUESTION, group_id=3, sample=0, progress_step=5)
        target = ask.facts["target_length"]
        assert ask.prompt == [
            QUESTION[0],
            {"role": "user", "content": f"1 + 1? {words} {ask.facts['target_length']} tokens."},
        ]
        assert 100 <= target <= 4000
    assert QUESTION[1]["content"] == "1 + 1?"


def test_the_request_depends_on_seed_step_and_group_not_on_the_sample():
    def target(group=3, sample=0, step=5, **settings):
        return build_method("l1_exact", settings).ask(QUESTION, group, sample, step).facts["target_length"]

    assert len({target(sample=sample) for sample in range(8)}) == 1
    assert len({target(), target(group=4), target(step=6), target(seed=1)}) == 4
    assert {target(group=g, shortest_request=5, longest_request=7) for g in range(50)} == {5, 6, 7}


@pytest.mark.parametrize("prompt", ["1 + 1?", [], [{"role": "assistant", "content": "2"}]])
def test_a_prompt_without_a_users_end_is_refused(prompt):
    with pytest.raises(DataError, match=r"^prompt: the requested length belongs at the end of the question"):
        build_method("l1_exact").ask(prompt, 0, 0, 0)


def test_the_requests_must_be_known(make_groups):
    for name in ("l1_exact", "l1_max"):
        with pytest.raises(DataError, match=f"^method {name}: needs the lengths that were asked for"):
            rewards(name, make_groups(GROUP))


@pytest.mark.parametrize(
    ("field", "value"),
    [("alpha", -1), ("delta", 1.5), ("shortest_request", 0), ("suffix", "Be brief."), ("shortest_request", 4001)],
)
def test_values_out_of_range(field, value):
    with pytest.raises(ConfigError, match=f"^{field}: {value!r} is not allowed"):
        build_method("l1_max", {field: value})


def test_requests_above_the_response_limit_are_refused():
    with pytest.raises(ConfigError, match=r"^longest_request: 4000 is above the response limit of 256 tokens"):
        build_method("l1_exact").check(256, 8)
    build_method("l1_exact", {"longest_request": 256}).check(256, 8)
