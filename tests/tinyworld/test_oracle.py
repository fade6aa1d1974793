from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.tinyworld import check_usefulness, describe_steps, label_steps
from attnpo.tinyworld.oracle import equations, find_slips, first_error, merged_steps

QUESTION = (
    "Leo has 9 coins. Bob has 2 fewer than Leo. Gus has 3 more than Bob. Ann has 4 more than Bob. "
    "How many coins does Ann have?"
)


def spans(paragraphs: list[str]) -> tuple[str, list[tuple[int, int]]]:
    text, steps = "", []
    for paragraph in paragraphs:
        steps.append((len(text), len(text) + len(paragraph) + 2))
        text += paragraph + "\n\n"
    return text, steps


def labels(*paragraphs: str, question: str = QUESTION) -> str:
    text, steps = spans(list(paragraphs))
    return "".join(label[0] for label in label_steps(question, text, steps))


def verdicts(*paragraphs: str) -> list[tuple[int, str | None, str, bool]]:
    text, steps = spans(list(paragraphs))
    return [(c.step, c.name, c.verdict, c.useful) for c in check_usefulness(QUESTION, text, steps)]


def test_clean_derivation_is_essential() -> None:
    assert labels("First, Bob has 9-2=7.", "So we know that Ann has 7+4=11.") == "ee"


def test_equations_with_how_many_numbers_they_have() -> None:
    text = "9-2 = 7, 7+3=11. So Bob has 11-3-5+2=5, not 12."
    assert [(found.numbers, text[slice(*found.result)], found.holds) for found in equations(text)] == [
        (2, "7", True),
        (2, "11", False),
        (4, "5", True),
    ]


def test_the_first_error_is_the_first_wrong_value_of_a_name_or_result() -> None:
    for paragraphs, expected in (
        (["Leo has 9 coins.", "Bob has 9-2=6.", "Ann has 6+4=10."], 1),
        (["Gus has 7+3=11.", "Bob has 9-2=7."], 0),
        # A wrong sum in a check, which names nobody, stands before the wrong value that comes of it.
        (["Bob has 9-2=7.", "Let me verify. 7+2=8, yes.", "Ann has 7+4=12."], 1),
        (["Bob has 9-2=7.", "Let me verify. 7+2=9, yes.", "Ann has 7+4=12."], 2),
        # A slip's check holds: the slip is the error. A check that denies by a wrong sum is one.
        (["Bob has 9-2=6.", "Let me verify. 6+2=8, not 9. So Bob has 7."], 0),
        (["Bob has 9-2=7.", "Let me verify. 7+2=8, not 9. So Bob has 6."], 1),
        # A value of nobody's whose equation holds, and a wrong value without an equation.
        (["Bob sold 9-3=6.", "Bob has 6."], 1),
        # All steps are right, so the error stands behind them.
        (["First, Bob has 9-2=7.", "So we know that Ann has 7+4=11."], 2),
        ([], 0),
    ):
        text, steps = spans(paragraphs)
        assert first_error(QUESTION, text + "</think>\n\n\\boxed{12}", steps) == expected


def test_slips_are_told_by_how_they_come_about_and_whether_the_last_value_is_right() -> None:
    for paragraphs, expected in (
        (["Bob has 9-2=7.", "Ann has 7+4=11."], []),
        # A given number under another name, put right by deriving it.
        (["Bob has 9 coins.", "Hold on, Bob has 9-2=7."], [("Bob", 0, "stated", 1)]),
        # The right equation under another name; one from a wrong number; both stay.
        (["Ann has 9-2=7.", "Bob has 9-1=8."], [("Ann", 0, "derived", None), ("Bob", 1, "derived", None)]),
        # A wrong sum, mended by a check, spoilt again, and mended in one step that says both.
        (
            [
                "Bob has 9-2=6.",
                "Let me verify: 6+2=8, not 9, so Bob has 7.",
                "Thus Bob has 6.",
                "Bob has 6, Bob has 7.",
            ],
            [("Bob", 0, "miscalculated", 3)],
        ),
        (["Bob has 9-2=7.", "Bob has 8."], [("Bob", 1, "stated", None)]),
        # A given name counts where the answer needs it; Gus is not needed.
        (["Leo has 8 coins.", "Gus has 3.", "Leo has 9 coins."], [("Leo", 0, "stated", 2)]),
    ):
        text, steps = spans(paragraphs)
        found = [(slip.name, slip.step, slip.kind, slip.mended_at) for slip in find_slips(QUESTION, text, steps)]
        assert found == expected


def test_of_a_question_that_cannot_be_read_only_wrong_results_are_errors() -> None:
    text, steps = spans(["Bob has 9-2=7.", "Ann has 7+4=12."])
    assert first_error("What is love?", text, steps) == 1
    assert first_error("What is love?", text, steps[:1]) is None


def test_direct_and_merged_statements_are_essential() -> None:
    assert labels("Bob has 7.", "Then Ann has 11 coins.") == "ee"
    assert labels("Bob has 9-2=7, so Ann has 7+4=11.") == "e"


def test_steps_taken_together_and_their_checks_part_by_part() -> None:
    check = "Let me verify. 9-2=7, 7+4=11"
    right = ("So Ann has 9-2+4=11.", f"{check}, yes.")
    assert labels(*right) == "er"
    assert verdicts(*right) == [(1, "Ann", "confirms", False)]
    mended = ("So Ann has 9-2+4=12.", f"{check}, not 12. So Ann has 11.")
    assert labels(*mended) == "ue"
    assert verdicts(*mended) == [(1, "Ann", "corrects", True)]
    missed = ("So Ann has 9-2+4=12.", f"{check}, right.")
    assert labels(*missed) == "ur"
    assert verdicts(*missed) == [(1, "Ann", "misses", False)]
    for paragraphs, expected in (
        (right, [(True, True)]),
        (mended, [(False, False)]),
        (("Bob has 9-2+4=11.",), [(False, True)]),  # Ann's value
        (("Bob has 9-2=7.", "Gus has 9-2+3=10."), []),
    ):
        text, steps = spans(list(paragraphs))
        assert [(step.right, step.holds) for step in merged_steps(QUESTION, text, steps)] == expected


def test_merged_steps_that_name_whom_they_are_about_behind_the_result() -> None:
    check = "Let me verify. 9-2=7, 7+4=11"
    right = ("So 9-2+4=11. So Ann has 11.", f"{check}, yes.")
    assert labels(*right) == "er"
    assert verdicts(*right) == [(1, "Ann", "confirms", False)]
    mended = ("Then 9-2+4=12. So Ann has 12.", f"{check}, not 12. So Ann has 11.")
    assert labels(*mended) == "ue"
    assert verdicts(*mended) == [(1, "Ann", "corrects", True)]
    for paragraphs, expected, kinds in (
        (right, [(True, True)], []),
        (mended, [(False, False)], [("miscalculated", 1)]),
        (("Then 9-2+4=11, so Bob has 11.",), [(False, True)], [("derived", None)]),
        (("Then 9-2+4=12. So Ann has 11.",), [(True, True)], []),
        # Two numbers are a check's.
        (("Bob has 9-2=7.", "Let me verify. 7+2=9. So Bob has 7."), [], []),
    ):
        text, steps = spans(list(paragraphs))
        assert [(step.right, step.holds) for step in merged_steps(QUESTION, text, steps)] == expected
        assert [(slip.kind, slip.mended_at) for slip in find_slips(QUESTION, text, steps)] == kinds


def test_restatements_are_redundant() -> None:
    assert (
        labels(
            "We want to know how many coins Ann has.",
            "Leo has 9 coins.",
            "Bob has 2 fewer than Leo.",
            "Now, Bob has 9-2=7.",
            "Wait, Bob has 9-2=7.",
            "Bob has 7.",
        )
        == "rrrerr"
    )


def test_distractors_are_redundant() -> None:
    assert labels("Bob has 9-2=7.", "Next, Gus has 7+3=10.", "Let me verify. 10-3=7.") == "err"


def test_what_somebody_sold_or_paid_is_redundant() -> None:
    question = QUESTION.replace("How many", "Gus paid 3 more than Bob. Ivy sold 4 coins. How many")
    steps = ("Hmm, Ivy sold 4 coins.", "Bob has 9-2=7.", "Gus paid 3 more than Bob.", "So Gus paid 7+3=10.")
    assert labels(*steps, question=question) == "rerr"
    assert labels("Bob paid 9-2=7.", "Bob has 9-2=7.", question=question) == "re"


def test_a_check_that_agrees_is_redundant_and_not_useful() -> None:
    steps = ("Bob has 9-2=7.", "Wait, let me double-check. 7+2=9, yes.")
    assert labels(*steps) == "er"
    assert verdicts(*steps) == [(1, "Bob", "confirms", False)]


def test_a_slip_is_undecided_and_its_correction_essential() -> None:
    steps = ("Bob has 9-2=6.", "Hmm, let me verify. 6+2=8, not 9. So Bob has 7.", "Ann has 7+4=11.")
    assert labels(*steps) == "uee"
    assert verdicts(*steps) == [(1, "Bob", "corrects", True)]
    text, where = spans(list(steps))
    assert [s.establishes for s in describe_steps(QUESTION, text, where)] == [(), ("Bob",), ("Ann",)]


def test_a_slip_nobody_catches() -> None:
    steps = ("Bob has 9-2=6.", "Let me verify. 6+2=9, yes.", "Ann has 6+4=10.")
    assert labels(*steps) == "uru"
    assert verdicts(*steps) == [(1, "Bob", "misses", False)]


def test_a_slip_that_is_only_noticed() -> None:
    steps = ("Bob has 9-2=6.", "Let me verify. 6+2=8, not 9.", "So Bob has 9-2=7.")
    assert labels(*steps) == "uue"
    assert verdicts(*steps) == [(1, "Bob", "detects", False)]


def test_a_false_alarm_is_undecided_and_the_return_essential() -> None:
    steps = ("Bob has 9-2=7.", "Let me verify. 7+2=8, not 9. So Bob has 8.", "Wait, Bob has 9-2=7.")
    assert labels(*steps) == "eue"
    assert verdicts(*steps) == [(1, "Bob", "false alarm", False)]


def test_checks_of_an_earlier_value_are_told_apart() -> None:
    steps = ("Bob has 9-2=7.", "Ann has 7+4=11.", "Hmm, let me make sure. 7+2=9.")
    assert labels(*steps) == "eer"
    assert verdicts(*steps) == [(2, "Bob", "confirms", False)]


def test_summaries_are_undecided_unless_they_say_something_new() -> None:
    assert labels("Bob has 9-2=7.", "Ann has 7+4=11.", "Therefore, Ann has 11 coins.") == "eeu"
    assert labels("Bob has 9-2=7.", "Therefore, Ann has 11 coins.") == "ee"


def test_unreadable_steps_are_undecided() -> None:
    assert labels("colourless green ideas", "", "Bob has 9 - 2 =") == "uuu"


def test_a_truncated_step_keeps_the_others() -> None:
    text = "Bob has 9-2=7.\n\nAnn has 7 +"
    assert label_steps(QUESTION, text, [(0, 20), (20, len(text))]) == ["essential", "undecided"]


def test_without_a_readable_question_all_is_undecided() -> None:
    assert labels("Bob has 9-2=7.", "Let me verify. 7+2=9.", question="What is love?") == "uu"


def test_facts_after_the_target_and_others_names_do_not_matter() -> None:
    assert labels("Zed has 4+4=8.", "Bob has 9-2=7.") == "re"


pieces = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["Bob has ", "9-2=7", "Ann", " = ", "not 9", "So ", "\n\n", ".", "more than", "1" * 5000, "٣"]),
)


@given(st.lists(pieces, max_size=12), st.lists(pieces, max_size=6), st.data())
@settings(max_examples=200, deadline=None)
def test_never_raises_and_labels_every_step(body: list[str], head: list[str], data: st.DataObject) -> None:
    text, question = "".join(body), "".join(head) + data.draw(st.sampled_from(["", QUESTION]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=5)))
    steps = list(zip([0, *cuts], [*cuts, len(text)], strict=True))
    got = label_steps(question, text, steps)
    assert len(got) == len(steps)
    assert set(got) <= {"essential", "redundant", "undecided"}
    check_usefulness(question, text, steps)
    assert first_error(question, text, steps) in {None, *range(len(steps) + 1)}
