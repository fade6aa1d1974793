from __future__ import annotations

import pytest
from scripted_policy import ScriptedPolicy, ids_of, rollout, small_segmenter

from attnpo.credit import build_method
from attnpo.credit.exits import Exit, accuracies, exit_at, is_closed, think_tokens
from attnpo.errors import ConfigError

TEXT = "First, Gus has 4+3=7.\n\nWait, 7-3=4. Yes.\n</think>\n\nThe answer is \\boxed{7}."
CLOSING = "\n</think>\n\n"


def knows_seven(wanted, prefix):
    return "The answer is \\boxed{7}." if "=7" in prefix else "The answer is \\boxed{1}."


def decoded(ids):
    return small_segmenter()(ids).text


def test_an_exit_is_the_thought_so_far_and_the_closing():
    response, policy = rollout(TEXT), ScriptedPolicy(knows_seven).policy
    cut = exit_at(3, response.response_ids, response.steps[0].tokens[1], CLOSING, policy)
    assert cut.row == 3
    assert decoded(cut.prefix_ids) == "First, Gus has 4+3=7.\n</think>\n\n"
    bare = exit_at(3, response.response_ids, response.steps[0].tokens[1], "</think>", policy)
    assert decoded(bare.prefix_ids) == "First, Gus has 4+3=7.\n\n</think>"
    assert bare.closing == tuple(policy.encode("</think>"))
    assert len(bare.closing) == 1  # the tag's own token
    assert exit_at(0, response.response_ids, 0, CLOSING, policy).thought == ()


def test_think_part_and_closing_tag():
    response = rollout(TEXT)
    assert think_tokens(response) == (0, response.answer_tokens[0] - 1)
    assert is_closed(response)
    assert not is_closed(rollout(TEXT[:30]))
    assert think_tokens(rollout("</think>\n\n7")) == (0, 0)


def test_accuracy_is_the_share_of_answers_that_are_right():
    def sometimes(wanted, prefix):
        return "\\boxed{7}." if wanted.sample < 3 else "\\boxed{8}."

    script = ScriptedPolicy(sometimes)
    exits = [Exit(0, tuple(ids_of("Gus", ends=False)), tuple(script.policy.encode(CLOSING)))]
    assert accuracies(exits, [(1, 2)], ["7"], 4, 9, script.policy) == [0.75]
    assert accuracies(exits, [(1, 2)], ["8"], 4, 9, script.policy) == [0.25]
    ((first, *_),) = script.calls[:1]
    assert (first.row, first.max_new_tokens, first.prefix_ids) == (0, 9, exits[0].prefix_ids)
    assert [each.sample for each in script.calls[0]] == [0, 1, 2, 3]


def test_equal_prefixes_of_equal_problems_are_asked_once_in_one_call():
    script = ScriptedPolicy(knows_seven)
    closing = tuple(script.policy.encode(CLOSING))

    def cut(row, text):
        return Exit(row, tuple(ids_of(text, ends=False)), closing)

    exits = [cut(0, "4+3=7."), cut(1, "4+3=7."), cut(1, "4+3"), cut(2, "4+3=7."), cut(3, "4+3=7.")]
    prompts = [(1,), (1,), (2,), (1,)]
    found = accuracies(exits, prompts, ["7", "7", "7", "1"], 2, 20, script.policy)
    assert found == [1.0, 1.0, 0.0, 1.0, 0.0]
    (call,) = script.calls
    # row 1 shares the prefix of row 0; row 2 has another prompt, row 3 another reference answer
    assert [(each.row, each.sample) for each in call] == [(r, s) for r in (0, 1, 2, 3) for s in (0, 1)]
    assert script.drawn == sum(len(ids_of(knows_seven(each, decoded(each.prefix_ids)))) for each in call)


def test_a_limit_that_cuts_the_answer_makes_it_wrong():
    script = ScriptedPolicy(knows_seven)
    exits = [Exit(0, tuple(ids_of("4+3=7.", ends=False)), tuple(script.policy.encode(CLOSING)))]
    assert accuracies(exits, [(1,)], ["7"], 2, 4, script.policy) == [0.0]
    assert script.drawn == 8


def test_nothing_to_ask_draws_nothing():
    script = ScriptedPolicy(knows_seven)
    assert accuracies([], [(1,)], ["7"], 2, 4, script.policy) == []
    assert script.calls == []


@pytest.mark.parametrize("name", ["sgrpo", "vsrm", "shape"])
def test_a_closing_closes(name):
    with pytest.raises(ConfigError, match=r"^closing: 'Stop' is not allowed; use a text that holds </think>"):
        build_method(name, {"closing": "Stop"})
