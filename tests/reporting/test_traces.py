"""One response: its view, the terminal, the standalone page."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from rich.console import Console
from run_folders import trace

from attnpo.credit import CreditSettings
from attnpo.reporting import render_trace_html, render_trace_terminal, trace_baseline
from attnpo.reporting.traces import mark_of, shade_of, trace_cases, trace_view
from attnpo.rollouts import Rollout, Step


def rollout(**more: object) -> Rollout:
    """Two steps of 4 and 2 tokens, an answer of 3 of 12 tokens, p = 1/2: S_base = 1/4 · 3/12 = 0.0625."""
    text = "First one.\n\nWait, two.\n\n</think>\n\nIt is 3."
    steps = (
        Step((0, 12), (0, 4), "progression", "essential", 0.125, 1.0),
        Step((12, 24), (4, 6), "confused", "redundant", 0.03125, 0.875),
    )
    row = Rollout(
        "p",
        "How many?",
        "3",
        0,
        tuple(range(12)),
        text,
        True,
        True,
        steps,
        (8, 11),
        difficulty="2",
        pass_rate=0.5,
        advantage=0.3,
    )
    return replace(row, **more)


def test_view_of_a_response_worked_by_hand() -> None:
    view = trace_view(rollout())
    assert view.baseline == pytest.approx(0.0625)
    assert [(s.text, s.tokens, s.ratio, s.mark, s.shade) for s in view.steps] == [
        ("First one.", 4, pytest.approx(2.0), "untouched", 3),  # 0.125 over the mean, 0.078125, is 1.6
        ("Wait, two.", 2, pytest.approx(0.5), "attenuated", -7),  # 0.4
    ]
    assert (view.head, view.tail, view.closed, view.verdict) == ("", "It is 3.", True, "correct")
    assert view.judged == (1, 1)


@pytest.mark.parametrize("pass_rate", [None, 0.0, 0.125, 1.0])
def test_shades_tell_steps_apart_whatever_the_pass_rate(pass_rate: float | None) -> None:
    view = trace_view(rollout(correct=False, pass_rate=pass_rate, advantage=0.0))
    assert [step.shade for step in view.steps] == [3, -7]
    assert [step.ratio is None for step in view.steps] == [not pass_rate] * 2


def test_steps_without_scores_or_with_none_but_0_are_not_shaded() -> None:
    plain = rollout()
    for score in (None, 0.0):
        steps = tuple(replace(step, score=score) for step in plain.steps)
        assert [step.shade for step in trace_view(replace(plain, steps=steps)).steps] == [None, None]


def test_problems_on_which_credit_acts_come_first() -> None:
    alike = tuple(replace(step, gamma=1.0) for step in rollout().steps)
    rows = [
        rollout(problem_id="none", advantage=0.0),
        rollout(problem_id="alike", advantage=-0.5, steps=alike),
        rollout(problem_id="attenuated", advantage=0.5),
        rollout(problem_id="unknown", advantage=None),
    ]
    cases, _ = trace_cases({"base": rows})
    order = [view.problem_id for case in cases for _, view in case.columns]
    assert order == ["attenuated", "alike", "unknown", "none"]


def test_rival_signals_are_drawn_under_the_heads() -> None:
    plain = rollout()
    first, second = plain.steps
    steps = (replace(first, signals={"log_prob": 0.03125}), replace(second, signals={"log_prob": 0.25, "fai": 0.125}))
    view = trace_view(replace(plain, steps=steps))
    assert view.strips == {"log_prob": [(4, -10), (2, 4)], "fai": [(4, None), (2, 0)]}
    assert "log_prob 1.78 × mean\nfai 1.00 × mean" in view.steps[1].tip
    page = render_trace_html(replace(plain, steps=steps))
    assert page.index("<dt>log_prob</dt>") < page.index("<dt>fai</dt>")
    assert '<i class="q-10" style="width:33.33%"></i><i class="q4" style="width:16.67%"></i>' in page
    assert "<dl" not in render_trace_html(plain)


def test_baseline_follows_the_settings_and_needs_a_pass_rate() -> None:
    assert trace_baseline(rollout(), CreditSettings(alpha_base=1.0)) == pytest.approx(0.125)
    assert trace_baseline(rollout(), CreditSettings(difficulty_baseline=False)) == pytest.approx(0.25)
    assert trace_baseline(rollout(pass_rate=None)) is None


def test_given_baseline_wins() -> None:
    assert trace_view(rollout(), baseline=0.125).steps[0].ratio == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("gamma", "score", "advantage", "expected"),
    [
        (0.4, 0.1, 0.2, "attenuated"),
        (0.0, 0.1, 0.2, "attenuated"),
        (0.0, 0.9, -0.2, "protected"),
        (1.0, 0.1, 0.2, "untouched"),
        (None, 0.1, 0.2, "untouched"),
        (0.0, 0.9, None, "protected"),
        (0.4, 0.1, None, "attenuated"),
        (0.4, None, None, "attenuated"),
    ],
)
def test_marks(gamma: float | None, score: float | None, advantage: float | None, expected: str) -> None:
    assert mark_of(Step((0, 1), (0, 1), score=score, gamma=gamma), advantage, baseline=0.5) == expected


def test_shades_of_score_over_mean() -> None:
    assert [shade_of(r) for r in (None, 0.0, 0.25, 0.5, 1.0, 2.0, 4.0, 99.0)] == [None, -10, -10, -5, 0, 5, 10, 10]


@pytest.mark.parametrize(
    ("response", "steps", "head", "tail", "closed"),
    [
        ("<think>First one.</think>3", ((7, 17),), "", "3", True),
        ("Hm. <think>First one.</think>3", ((11, 21),), "Hm.", "3", True),
        ("First one.", ((0, 10),), "", "", False),
        ("</think>3", (), "", "3", True),
        ("just 3", (), "", "just 3", False),
    ],
)
def test_text_around_the_steps(response: str, steps: tuple, head: str, tail: str, closed: bool) -> None:
    view = trace_view(rollout(response=response, steps=tuple(Step(chars, (0, 1)) for chars in steps)))
    assert (view.head, view.tail, view.closed) == (head, tail, closed)
    assert all(step.text == "First one." for step in view.steps)


def printed(row: Rollout, **more: object) -> str:
    console = Console(file=io.StringIO(), width=100, **more)  # type: ignore[arg-type]
    render_trace_terminal(row, console)
    return console.file.getvalue()  # type: ignore[attr-defined]


def test_terminal_says_everything_without_colours() -> None:
    text = printed(rollout())
    rows = [line.split() for line in text.splitlines()]
    assert ["1", "4", "progression", "0.1250", "2.00", "1.00", "essential", "untouched"] in rows
    assert ["2", "2", "confused", "0.0312", "0.50", "0.88", "redundant", "▽", "attenuated"] in rows
    assert "pass rate 0.5" in text
    assert "S_base 0.0625" in text
    assert "final answer: It is 3." in text
    assert "\x1b" not in text


def test_terminal_shades_steps() -> None:
    text = printed(rollout(), force_terminal=True, color_system="truecolor")
    plain = printed(rollout(steps=tuple(replace(s, score=None) for s in rollout().steps)), force_terminal=True)
    assert "48;2;" in text
    assert "48;2;" not in plain


def test_terminal_cannot_be_steered_by_a_response() -> None:
    row = rollout(
        response="First\x1b]0;owned\x07 [bold]one.</think>\x1b[2J3", steps=(Step((0, 24), (0, 3)),), solution="\x9b2J"
    )
    text = printed(row)
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "\x9b" not in text
    assert "[bold]" in text


def test_terminal_without_steps_scores_or_verdict() -> None:
    text = printed(rollout(steps=(), correct=None, pass_rate=None, advantage=None, finished=False))
    assert "not verified, cut at the token limit" in text
    refused = printed(rollout(steps=(), correct=False, finished=False, extra={"failure": "refused: 400"}))
    assert "wrong, came to nothing (refused: 400)" in refused
    assert "baseline" not in text


def test_page_of_one_response() -> None:
    page = render_trace_html(rollout(response="First <b>one.\n</think>3", steps=(Step((0, 13), (0, 4)),)))
    assert "First &lt;b&gt;one." in page
    assert "<b>one" not in page
    assert page.count("<!doctype html>") == 1
    assert "http" not in page.replace("http-equiv", "")


def test_page_of_one_response_marks_and_table() -> None:
    page = render_trace_html(rollout(), title="A title")
    assert "<title>A title</title>" in page
    assert "▽ attenuated γ 0.88" in page
    assert '<td class="n">0.0312</td><td class="n">0.50</td>' in page
    assert "Credit agrees with the known label on <b>1 of 1</b> touched steps." in page


def test_cases_put_arms_side_by_side_and_stay_small() -> None:
    rows = {arm: [trace(arm, i) for i in range(3)] for arm in ("base", "attnpo")}
    rows["attnpo"] = rows["attnpo"][1:]
    cases, left_out = trace_cases(rows, most=2)
    assert left_out == 1
    assert [[name for name, _ in case.columns] for case in cases] == [["base", "attnpo"]] * 2
    assert cases[0].columns[0][1].problem_id == cases[0].columns[1][1].problem_id == "p1"
    assert trace_cases(rows, most_characters=10) == ([], 3)


def test_second_samples_come_after_all_first_ones() -> None:
    rows = {"base": [trace("base", 0), replace(trace("base", 0), sample=1), trace("base", 1)]}
    cases, _ = trace_cases(rows)
    assert [case.columns[0][1].problem_id for case in cases] == ["p0", "p1", "p0"]
