from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from attnpo.gsmworld import count_slips, label_steps
from attnpo.gsmworld.oracle import first_error

QUESTION = "A baker has 12 trays of 8 rolls. She sells 30 rolls and gives 6 to friends. How many rolls are left?"
FINAL = "</think>\n\nSo \\boxed{60}."


def labels(*paragraphs: str, final: str = FINAL, question: str = QUESTION) -> str:
    text, steps = "", []
    for paragraph in paragraphs:
        steps.append((len(text), len(text) + len(paragraph) + 2))
        text += paragraph + "\n\n"
    return "".join(label[0] for label in label_steps(question, text + final, steps))


def test_a_clean_derivation_is_essential() -> None:
    assert labels("12 trays * 8 rolls = 96 rolls.", "30 + 6 = 36 are gone.", "So 96 - 36 = 60 are left.") == "eee"


def test_the_first_error_is_the_first_equation_that_does_not_hold() -> None:
    text = "12*8=96.\n\n30+6=35 and 1+1=2.\n\n96-35=62.\n\n"
    assert first_error(QUESTION, text, [(0, 10), (10, 30), (30, len(text))]) == 1
    assert first_error(QUESTION, text[:10], [(0, 10)]) is None
    assert first_error(QUESTION, "", []) is None


def test_an_error_behind_the_steps_is_told_where_it_shows() -> None:
    steps = "12*8=96.\n\n30+6=36.\n\n"
    spans = [(0, 10), (10, len(steps))]
    for final, expected in (
        ("</think>\n\n96-36=60. \\boxed{60}", None),
        ("</think>\n\n96-36=62. \\boxed{62}", 2),  # an equation there does not hold
        ("</think>\n\n96-36=60. \\boxed{66}", 2),  # the answer is nobody's value
        ("</think>\n\n\\boxed{36}", None),  # a wrong one of the right values: which step misled is not told
        ("</think>\n\nNothing is left.", None),
    ):
        assert first_error(QUESTION, steps + final, spans) == expected


def test_restatements_and_inverses_are_redundant() -> None:
    assert (
        labels(
            "How many rolls are left?",
            "She has 12 trays.",
            "12*8=96.",
            "Check: 12*8=96.",
            "Going back: 96/8=12.",
            "Hmm, let me think.",
            "30+6=36",
            "96-36=60",
            "Everything once more: 12*8=96. 30+6=36. 96-36=60.",
            "The answer should be 60.",
        )
        == "rrerrreerr"
    )


def test_a_wrong_equation_that_is_mended_is_undecided_and_its_mending_essential() -> None:
    assert labels("12*8=86.", "Check: 12*8=96, not 86. So it is 96.", "30+6=36.", "96-36=60.") == "ueee"
    assert labels("12*8=86.", "Check: 12*8=86. Yes.", "12*8=96, not 86.", "30+6=36.", "96-36=60.") == "uueee"


def test_a_wrong_equation_that_the_answer_rests_on_is_essential_and_its_check_redundant() -> None:
    assert labels("12*8=86.", "Check: 12*8=86. Yes.", "30+6=36.", "86-36=50.", final="\\boxed{50}") == "eree"
    assert labels("12*8=96.", "30+6=36.", "Check: 30+6=36.", "96-36=70.", final="96-36=70. \\boxed{70}") == "eere"
    # A denied value that is kept all the same, and a wrong value that nothing rests on.
    assert labels("12*8=86.", "30+6=37.", "30+6=36.", "86-36=50.", final="\\boxed{50}") == "euee"


def test_a_right_equation_that_comes_to_a_value_is_followed_before_a_wrong_one() -> None:
    assert labels("30+6=96.", "12*8=96.", "30+6=36.", "96-36=60.") == "ueee"


def test_a_value_comes_of_what_stands_before_its_use_not_of_a_later_check() -> None:
    assert labels("96-30=62.", "62-6=56.", "Check: 56+6=62.", final="62-6=56. \\boxed{56}") == "eer"


def test_an_answer_comes_of_what_is_stated_behind_the_steps() -> None:
    assert labels("12*8=96.", "Back: 96/12=8.", "30+6=36.", final="44-36=8. \\boxed{8}") == "ure"
    assert labels("12*8=96.", "30+6=36.", "96-36=61.", final="97-36=60. \\boxed{61}") == "eee"


def test_a_check_of_a_wrong_equation_that_the_answer_rests_on_is_redundant() -> None:
    assert labels("12*8=86.", "Back: 86/8=12.", "86-36=50.", final="\\boxed{50}")[:2] == "er"


def test_a_wrong_equation_with_the_numbers_of_a_right_one_checks_nothing() -> None:
    assert labels("12*8=96.", "30+6=36.", "36+6=30.", "96-36=60.") == "eeue"


def test_a_value_without_its_equation_is_essential_where_it_is_needed() -> None:
    assert labels("There are 96 rolls at first.", "30+6=36.", "96-36=60.") == "eee"


def test_a_value_that_the_answer_does_not_use_is_redundant() -> None:
    assert labels("12*8=96.", "30-6=24 is the difference.", "30+6=36.", "96-36=60.") == "eree"


def test_nothing_unused_is_called_redundant_where_the_answer_comes_from_nowhere() -> None:
    assert labels("12*8=96.", "30-6=24.", final="\\boxed{61}") == "uu"


def test_a_check_is_no_source_of_the_numbers_that_it_checks() -> None:
    assert labels("12*8=96.", "70-10=60.", "Back: 60+10=70.", final="\\boxed{60}") == "uer"


def test_a_denial_that_mends_nothing_is_undecided() -> None:
    assert labels("12*8=96, not 86.", "12*8=96, not 95.", "30+6=36.", "96-36=60.") == "euee"


def test_two_values_in_one_step() -> None:
    assert labels("12*8=96 and 30+6=36.", "30+6=36.", "96-36=60.") == "ere"


def test_without_a_box_the_last_lines_equations_are_the_answer() -> None:
    assert labels("12*8=96.", "30+6=36.", "96-36=60.", final="</think>\n\nSo 96-36=60 rolls.") == "eee"


@given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
def test_any_text_is_labelled(question: str, step: str, final: str) -> None:
    assert len(label_steps(question, step + final, [(0, len(step))])) == 1


def test_slips_are_counted_once_and_mended_by_the_last_word() -> None:
    text = "12*8=86.\n\n12*8=96, not 86.\n\n30+6=35.\n\n30+6=35.\n\n30+6=36.\n\n96-36=61.</think>"
    counts = count_slips(QUESTION, text, [(0, text.index("</think>"))])
    assert counts == {
        "equations": 6,
        "slips": 3,
        "slips_mended": (2, 3),
        "slips_mended_next": (1, 2),
        "think_closed": (1, 1),
    }
