from __future__ import annotations

import random
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import DataError
from attnpo.verification import ChoiceVerifier, build_verifier, chosen_letter

letters = st.sampled_from(string.ascii_uppercase)


@pytest.mark.parametrize(
    ("text", "letter"),
    [
        # boxes
        (r"\boxed{B}", "B"),
        (r"so $\boxed{\text{B}}$.", "B"),
        (r"\boxed{(B)}", "B"),
        (r"\boxed{B. the second text}", "B"),
        (r"\boxed{B: 12}", "B"),
        (r"\boxed{\text{(C) }5}", "C"),
        (r"\boxed{\textbf{(E)}\ 12}", "E"),
        (r"\boxed{\mathrm{d}}", "D"),
        (r"\boxed{\text{Option F}}", "F"),
        (r"The answer is A. \boxed{B}", "B"),
        (r"\boxed{A}, no: \boxed{B}", "B"),
        (r"\boxed{5}. The answer is C.", "C"),
        (r"$\boxed{(\text{B})}$", "B"),
        (r"\boxed{\left(B\right)}", "B"),
        (r"\boxed{\left( \mathbf{B} \right)\ 12}", "B"),
        (r"\boxed{\bigl[B\bigr]}", "B"),
        (r"\boxed{\boldsymbol{B}}", "B"),
        (r"\boxed{\bm{(B)}}", "B"),
        (r"\boxed{\textsf{B}}", "B"),
        (r"\boxed{\textit{B. the second text}}", "B"),
        (r"\boxed{\mathtt{b}}", "B"),
        (r"\boxed{\boldsymbol{b}}", None),
        (r"\boxed{\mathbb{R}}", None),
        (r"\boxed{\mathcal{C}}", None),
        (r"\boxed{\vec{B}}", None),
        (r"\boxed{\left(A, B\right)}", None),
        (r"\boxed{\left(A\right)^2}", None),
        (r"\boxed{\left(A\right)B}", None),
        (r"\boxed{\left(A\right) \cup \left(B\right)}", None),
        (r"\boxed{(\mathbf{A}) \mathbf{x}}", None),
        (r"\boxed{(A) and (B)}", None),
        (r"\boxed{(\text{B}) \text{ and } (\text{C})}", None),
        (r"\boxed{\text{(B) and }\text{(C)}}", None),
        (r"\boxed{A car}", None),
        (r"\boxed{A} or \boxed{B}", None),
        (r"\boxed{A, C}", None),
        (r"\boxed{AB}", None),
        (r"\boxed{5}", None),
        (r"\boxed{}", None),
        # statements
        ("The answer is B.", "B"),
        ("The answer is B", "B"),
        ("the answer is **B**, since A is wrong.", "B"),
        ("Answer: (C)", "C"),
        ("**Answer: D**", "D"),
        ("**Answer:** D", "D"),
        ("### Answer:\nC", "C"),
        ("Answer:\n**(B) A car**", "B"),
        ("The answer is: \n\nB) stuff", "B"),
        ("Answer: B: text", "B"),
        ("The final answer is $\\text{Z}$.", "Z"),
        (r"The answer is \(\mathrm{B}\)", "B"),
        ('The answer is "C".', "C"),
        ("The answer is (b)", "B"),
        ("the best answer is therefore option D", "D"),
        ("The correct choice is C) 42", "C"),
        ("Therefore, the answer is choice (A): a car", "A"),
        ("The answer to question A is (B)", "B"),
        ("So I choose D.", "D"),
        ("I'd go with option C", "C"),
        ("the answer is D, not C", "D"),
        ("First the answer is A. But no: the answer is C.", "C"),
        ("A. one\nB. two\nThe answer is B", "B"),
        ("the answer is A because it is", "A"),
        # called right
        ("option B is correct", "B"),
        ("Choice B is the right answer", "B"),
        ("(B) is correct, as (A) is false", "B"),
        ("B is the correct answer.", "B"),
        ("Among these, only B is true", "B"),
        # alone
        ("**D**", "D"),
        ("**D. the text**", "D"),
        ("D", "D"),
        ("(J)", "J"),
        ("It follows that\n\nC", "C"),
        # no choice
        ("A car drives by.", None),
        ("The answer is a car.", None),
        ("The answer is A car", None),
        ("I think so. I am sure.", None),
        ("The answer is I think B.", None),
        ("The answer is not B.", None),
        ("Option A is incorrect", None),
        ("Vitamin C is the best.", None),
        ("Plan B is correct", None),
        ("The answer is B-cells", None),
        ("answer is E=mc^2", None),
        ("The answer is C++", None),
        ("the answer is X-ray", None),
        ("The answer is B or C", None),
        ("Answer: A, B", None),
        ("", None),
    ],
)
def test_chosen_letter(text, letter) -> None:
    assert chosen_letter(text) == letter


CHOOSES_C = [
    "<answer>C</answer>", "<answer> C </answer>", "The rest.\n<answer>(C)</answer>", "<answer>C. text</answer>",
    "<answer>c</answer>", "<ANSWER>C</ANSWER>", "<final_answer>C</final_answer>", "<answer>\nC\n</answer>", "<answer>C",
    r"<answer>\boxed{C}</answer>", "<answer>The answer is C because</answer>",
    "<answer>B</answer> no: <answer>C</answer>", "<answer>C</answer> <answer>C</answer>",
    "<answer>C</answer> as B is wrong. The answer is B or D.", "[[C]]", "My final verdict is: [[C]]", "[[ c ]]",
    "so [[C]].", "Answer: [[C]]", "Answer: c", "answer: c.", "**Answer:** c", "**Answer: c**", "Answer: c) red",
    "Answer: c. red", "Answer: c: red", "Answer:\nc", "The answer is c.", "the answer is **c**",
    "The answer is option c", "ANSWER: c\n\nThanks.", "Ans: c", "Ans: C", "Answer = c", "Answer: (c)",
    "Final answer - C", "Final answer – C", "Final answer — C", "**Final answer** - C", "Final answer - c",
    "Final answer -> C", "Final answer: C", "Answer → C", "Final answer - option C", "Final answer - C) red",
    "Final answer - (C)", "答案：C", "答案:C", "答案：C。", "正确答案是C", "正确答案是 C。", "答案为C", "故选C。",
    "应选C", "选C", "选择C选项", "答案：（C）", "【答案】C", "答案是选项C", "答案：Ｃ", "所以答案是C，因为", "答：C",
    "只能选C。", "故应选C", "选C，因为", "答案是C选项", "答案是C因为A错", "Answer: 'C'", "我选 C", "答案: **C**",
    "Respuesta: C", "Réponse : C", "Antwort: C", "**Antwort:** C", "Ответ: C", "정답: C", "回答：C", "答え：C",
    "Resposta: c", "Đáp án: C", r"\boxed{C - text}", r"\boxed{C – 12}", r"\boxed{C — text}",
    r"\boxed{\text{C} - \text{it}}", r"\boxed{\text{C - the red one}}", r"\boxed{C - No}", r"\boxed{(C) - text}",
    r"\boxed{Ｃ}", r"\boxed{C. text}", r"\boxed{Option C - text}", "{\"answer\": \"C\"}", "Answer: c\nHope that helps",
    "A. x\nB. y\nC. z\nD. w\n\nAnswer: c", "{'answer': 'C'}",
]  # fmt: skip


@pytest.mark.parametrize("text", CHOOSES_C)
def test_how_people_and_models_state_a_choice(text) -> None:
    assert chosen_letter(text) == "C"
    assert chosen_letter(f"A and B are wrong, I think.\n\n{text}") == "C"


CHOOSES_NOTHING = [
    "Answer: a car", "Answer: a\u00a0car", "The answer is a car.", "answer: i", "The answer is i.", "answer: a, b",
    "Answer: c or d", "Answer: c) red or d) blue", "Answer: c) red and (d) blue", "The answer is (b) or (c)",
    "answer: c and d", "<answer>A</answer> or <answer>B</answer>", "<answer>A</answer><answer>B</answer>",
    "<answer>A, B</answer>", "<answer>A or B</answer>", "<answer>A car</answer>", "<answer>a car</answer>",
    "<answer>42</answer>", "<answer></answer>", "[[A]] or [[B]]", "[[1, 2], [3, 4]]", "[[AB]]", "[[A, B]]", "[[a car]]",
    r"\boxed{E - mc^2}", r"\boxed{x - 1}", r"\boxed{A - B}", r"\boxed{n - 1}", r"\boxed{E - \frac{1}{2}}",
    r"\boxed{A-text}", r"\boxed{a - text}", r"\boxed{A - \sin x}", r"\boxed{A - xy}", r"\boxed{A - x_1}",
    r"\boxed{A, C - both}", "答案：A、C", "答案：AC", "答案：A和C", "答案：A或B", "选AB", "答案是A-B", "答案：42",
    "不选C", "所以不应选C", "不能选A。", "选择A的人很多", "答案是A类", "答案不是C", "选项A是错的",
    "The answer is 'A car'", "answer is 'A'-like", "选a", "Answer: e.g. this", "Answer: i.e. this", "Answer: x = 5",
    "Answer: x+1", "The options - A is wrong", "answer - a car", "Answer - B cells", "Final answer - A car",
    "The answer is not c.", "the answer, a car, is here.", "An answer is a must.", "Means: c", "Answer: c++",
    "Answer: c#", "Answer: d'Alembert", "Answer: B and/or C", "Answer: n-1", "Question-answer - a pair",
    "Respuesta: a la derecha", "Réponse : a priori", "Antwort: A oder B",
]  # fmt: skip


@pytest.mark.parametrize("text", CHOOSES_NOTHING)
def test_letters_in_prose_formulas_and_several_letters_are_no_choice(text) -> None:
    assert chosen_letter(text) is None


STATEMENTS = [
    r"\boxed{%s}", r"\boxed{\text{(%s)}}", r"$\boxed{%s. it is so}$", "The answer is %s.", "Answer: %s", "Answer: (%s)",
    "**Answer:** %s", "The correct option is **%s**.", "I choose (%s).", "**%s**", "option %s is correct.",
]  # fmt: skip


@given(letter=letters, statement=st.sampled_from(STATEMENTS))
def test_every_letter_is_read_from_every_statement(letter, statement) -> None:
    assert chosen_letter("It is a matter of taste.\n\n" + statement % letter) == letter


@given(first=letters, last=letters, statement=st.sampled_from(STATEMENTS[3:8]))
def test_the_last_statement_counts(first, last, statement) -> None:
    assert chosen_letter(f"{statement % first}\nWait, no.\n{statement % last}\n") == last


PROSE = ["a", "car", "i", "think", "it", "is", "so", "was", "the", "plan", "of", "and", "then", "b", "c", "d", ",", "."]


@given(st.lists(st.sampled_from(PROSE)))
def test_lower_case_prose_chooses_nothing(words) -> None:
    assert chosen_letter(" ".join(words)) is None


@given(st.text(alphabet="AB (){}\\boxedtansweri:*$.\n", max_size=200))
def test_any_text_is_read(text) -> None:
    assert chosen_letter(text) in {None, *string.ascii_uppercase}


@pytest.mark.parametrize(
    "text",
    [
        *("answer is " * 20_000, "*" * 100_000, "\\text{" * 30_000, "$ " * 50_000, "A. " * 30_000, "答案" * 50_000),
        *("<answer>" * 20_000, "[[" * 50_000, "Answer - " * 20_000, "选择" * 50_000),
    ],
)
def test_long_texts_are_read(text) -> None:
    assert chosen_letter(text + r" \boxed{C}") == "C"
    assert chosen_letter(text + "\n\nThe answer is C.") == "C"


def test_verdicts_and_answers() -> None:
    responses = [
        r"<think>x</think>\boxed{B}", "</think>The answer is A.", "<think>The answer is B", r"\boxed{B}</think>none",
        "</think>b", "The answer is B",
    ]  # fmt: skip
    with build_verifier("choice") as verifier:
        assert isinstance(verifier, ChoiceVerifier)
        assert verifier.verify(responses, ["B", "(A)", "B", r"\boxed{B}", "B", "B"]) == [
            True, True, False, False, False, True,
        ]  # fmt: skip
        assert verifier.answers(responses) == ["B", "A", None, None, None, "B"]


def test_a_reference_must_be_a_letter() -> None:
    with pytest.raises(DataError, match="'42' is no single letter"):
        ChoiceVerifier().verify(["</think>B"], ["42"])
    with pytest.raises(ValueError, match="shorter"):
        ChoiceVerifier().verify(["</think>B", "</think>B"], ["B"])


def test_shuffled_options_keep_the_verdict() -> None:
    options = [f"option {n}" for n in range(26)]
    for seed in range(20):
        order = random.Random(seed).sample(range(26), 26)
        letter = string.ascii_uppercase[order.index(7)]
        text = "\n".join(f"{string.ascii_uppercase[n]}. {options[o]}" for n, o in enumerate(order))
        assert chosen_letter(f"{text}\n\nThe answer is {letter}.") == letter
