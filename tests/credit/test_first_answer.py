"""The detector: hand-written sentences and traces, the small world's oracle, and worked solutions of GSM8K."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit.first_answer import Trace, first_answer, first_answers, load_detector
from attnpo.credit.first_answer.sentences import sentences
from attnpo.credit.first_answer.statements import statements
from attnpo.credit.first_answer.subjects import Subjects
from attnpo.errors import ConfigError, DataError
from attnpo.tinyworld import generate_problems
from attnpo.tinyworld.oracle import describe_steps
from attnpo.tinyworld.traces import reference_trace
from attnpo.verification import ChoiceVerifier, ExactVerifier, MathVerifier
from attnpo.verification.code.tests import CodeTest, CodeTests

DATA = Path(__file__).parents[3] / "shared" / "data"
KIM = "Suppose Gus has 8 shells. Kim has 5 more than Gus. How many shells does Kim have?"


def stated(sentence, numeric=True, letter=False, known=()):
    return [s.content for s in statements(sentence, numeric=numeric, letter=letter, known=frozenset(known))]


def trace(question, solution, think, steps=None):
    spans = steps or sentences(think, (0, len(think)))
    return Trace(question, solution, think, (0, len(think)), spans, range(len(think)))


def paragraphs(think):
    spans, at = [], 0
    for part in re.split(r"(?<=\n\n)", think):
        spans.append((at, at + len(part)))
        at += len(part)
    return spans


def found(question, solution, think, verify):
    answer = first_answer(trace(question, solution, think, paragraphs(think)), verify)
    return None if answer is None else think[slice(*answer.chars)]


@pytest.fixture(scope="module")
def math():
    with MathVerifier(timeout=60) as verifier:
        yield verifier.verify


@pytest.mark.parametrize(
    ("sentence", "values"),
    [
        ("So Kim has 8+5=13.", ["13"]),
        ("x = 5 + 3 = 8", ["8"]),
        (r"Therefore, $x = \frac{1}{2}$.", [r"\frac{1}{2}"]),
        (r"\( 3 \times 4 = 12 \)", ["12"]),
        ("48/2 = $24 per month", ["24"]),
        ("The sum is 1,234.50.", ["1234.50"]),
        ("11250/150 = 75mm long", ["75"]),
        ("She has 7 apples left.", ["7"]),
        ("If x = 7, then y = 9.", ["9"]),
        ("So 12 - 5 = 7, not 8.", ["7"]),
        (r"Thus the share is 50\%.", [r"50\%"]),
        ("The answer is **42**.", ["42", "42"]),
        ("**Final answer: 42**", ["42"]),
        ("So she has **42** apples left.", ["42"]),
        ("12 + 30 = **42**", ["42"]),
        ("**12 + 30 = 42**", ["42"]),
        ("The answer is _42_", ["42", "42"]),
        ("= 5*3", []),
        ("y = 2 ** 3", []),
        ("y = 2 * n", []),
        ("y = 2*n", []),
        ("y = 12 * 3 = 36", ["36"]),
        ("That is 3 1/2 hours.", []),
        (r"Thus $N = 1\,000$.", ["1000"]),
        (r"Thus $N = 12{,}500$.", ["12500"]),
        ("10 * 100 = 1\u202f000", ["1000"]),
        ("10 * 100 = 1 000", []),
        ("P = 5! / 3!", []),
        ("P = 5! = 120", ["120"]),
        ("So there are 2 + 3 = 5!", ["5"]),
        ("So there are 2 + 3 = **5!**", ["5"]),
        ("y = 12 / n", []),
        ("60/2 = 30 /h", ["30"]),
        ("So it is 5 million.", []),
        ("The total is 3:30.", []),
        ("a = 2x + 1", []),
        ("y = 7x", []),
        ("n = 7^2", []),
        ("What if x = 7?", []),
        ("Suppose it is 7.", []),
        ("It is not 7.", []),
        ("Step 7 is next.", []),
        ("Kim has 7 more than Gus.", []),
        ("If the total is 9", []),
    ],
)
def test_values_of_a_sentence(sentence, values):
    assert stated(sentence) == values


def test_numbers_of_the_question_must_be_derived_or_concluded():
    assert stated("Gus has 8 shells.", known={"8"}) == []
    assert stated("Gus has 9 shells.", known={"8"}) == ["9"]
    assert stated("Therefore, Gus has 8 shells.", known={"8"}) == ["8"]
    assert [s.source for s in statements("So Gus has 8.", numeric=True, letter=False, known=frozenset("8"))] == [
        "repeated"
    ]
    assert stated("Gus has 3+5=8.", known={"8"}) == ["8"]
    assert set(stated("The answer is 8.", known={"8"})) == {"8"}
    assert set(stated(r"\boxed{8}", known={"8"})) == {"8"}


def test_formulas_and_letters():
    assert "x^2 + 1" in stated(r"So $f(x) = x^2 + 1$.", numeric=False)
    assert r"(3, \frac{\pi}{2})" in stated(r"r = 3, so the point is $(3, \frac{\pi}{2})$.", numeric=False)
    assert stated("So the answer is Tuesday.", numeric=False) == ["Tuesday"]
    assert stated("Option B is correct.", numeric=False, letter=True) == ["B"]
    assert stated("So the correct answer must be (C).", numeric=False, letter=True) == ["C"]
    for listed in ("(B) 12", "Option B says 12.", "B is not correct.", "Is B correct?"):
        assert stated(listed, numeric=False, letter=True) == []


def test_whom_the_question_asks_about():
    assert Subjects.of(KIM).asked == {"Kim"}
    assert Subjects.of("Ann has 2. How many more does Bob have than Ann?").asked == {"Bob", "Ann"}
    assert Subjects.of("Alicia lives in A. How many miles from City A will they meet?").asked == frozenset()
    subjects = Subjects.of("Suppose Leo has 2. Dan and Ivy have 3. How many does Leo have?")
    for text, name in [
        ("I think that Leo has 2+", "Leo"),
        ("Leo has 5 more than Dan, so 2+", "Leo"),
        ("Dan has 7, and Leo has ", "Leo"),
        ("If Leo gave Ivy all, then he has ", "Leo"),
        ("Leo knows, but Ivy has ", "Ivy"),
        ("Ivy has ", "Ivy"),
        ("Remaining: ", None),
    ]:
        assert subjects.subject(text) == name, text


@given(st.text(alphabet="ab 3.!?\n)*", max_size=60), st.data())
def test_sentences_cover_everything_but_white_space(text, data):
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    spans = sentences(text, (start, end))
    assert "".join("".join(text[slice(*s)].split()) for s in spans) == "".join(text[start:end].split())
    assert all(a < b and text[a:b] == text[a:b].strip() for a, b in spans)
    assert list(spans) == sorted(spans)


def test_a_sentence_is_not_cut_in_a_number():
    text = "It is 3.5 or so. (Really!) Then 4.\n5"
    assert [text[slice(*span)] for span in sentences(text, (0, len(text)))] == [
        "It is 3.5 or so.",
        "(Really!)",
        "Then 4.",
        "5",
    ]


def test_the_right_value_of_somebody_else_is_not_the_answer():
    verify = ExactVerifier().verify
    think = "We know that Gus has 10+3=13.\n\nLet me verify. 10+3=13.\n\nHmm, Kim has 8+5=13.\n\nKim has 13."
    assert found(KIM, "13", think, verify) == "Hmm, Kim has 8+5=13."
    assert found(KIM, "14", think, verify) is None
    assert found(KIM, "8", "So Gus has 8 shells.\n\nSo Kim has 8 shells.", verify) == "So Kim has 8 shells."


def test_traces_in_the_form_of_real_ones(math):
    question = "A rope of 20 m is cut. A quarter is used. How many meters are left?"
    think = (
        "Okay, so the rope is 20 m long. A quarter is used, which is 20/4 = 5 m.\n\nSo what is left is 20 - 5 = 15 m. "
        "Wait, is it 15? Let me double-check: 20 * 0.75 = 15. Yes.\n\n**Final Answer**\nIt is \\(\\boxed{15}\\)."
    )
    assert found(question, "15", think, math) == "So what is left is 20 - 5 = 15 m."
    assert found(question, "15.0", think, math) == "So what is left is 20 - 5 = 15 m."
    assert found(question, "20", think, math) is None
    polar = (
        "The point is (0, 3). First, \\(r = \\sqrt{0^2 + 3^2} = 3\\). The angle is \\(\\theta = \\frac{\\pi}{2}\\).\n"
        "So the polar coordinates are \\((3, \\frac{\\pi}{2})\\).\nBut wait, is the angle right?"
    )
    reference = r"\left( 3, \frac{\pi}{2} \right)"
    assert found("Convert (0,3).", reference, polar, math) == r"So the polar coordinates are \((3, \frac{\pi}{2})\)."


def test_choices():
    think = "Options:\n(A) 3\n(B) 5\nA is too small. So the answer is B. Let me check option A again."
    assert found("Which?", "B", think, ChoiceVerifier().verify) == "So the answer is B."
    assert found("Which?", "(A)", think, ChoiceVerifier().verify) is None


def test_programs_are_refused():
    tests = CodeTests(kind="stdin", tests=[CodeTest(input="", output="1")])
    for solution in (tests.model_dump_json(), tests.pack()):
        with pytest.raises(ConfigError, match=r"^detector: the references are tests of programs"):
            first_answer(trace("Print 1.", solution, "So print(1) = 1."), ExactVerifier().verify)


def test_all_statements_are_verified_in_one_call_each_different_one_once():
    calls = []

    def verify(responses, solutions):
        calls.append(list(zip(responses, solutions, strict=True)))
        return ExactVerifier().verify(responses, solutions)

    traces = [trace("How many?", "13", "It is 5+8=13. Yes, 13 = 13. So 13.")] * 3
    assert [answer.chars for answer in first_answers(traces, verify)] == [(0, 13)] * 3
    ((pair,),) = calls
    assert pair == (r"</think>The answer is \boxed{13}.", "13")


def test_places_in_tokens_and_steps():
    think = "One.\n\nIt is 5+8=13. Yes.\n\nDone."
    starts = [0, 4, 6, 14, 18, 20, 24, 26]  # a token begins before the sentence's end at 19 and ends behind it
    at = Trace("How many?", "13", think, (0, len(think)), [(0, 6), (6, 26), (26, 31)], starts)
    answer = first_answer(at, ExactVerifier().verify)
    assert (think[slice(*answer.chars)], answer.tokens, answer.step, answer.content) == ("It is 5+8=13.", 5, 1, "13")


def test_a_users_function():
    assert load_detector("verifier") is None
    with pytest.raises(ConfigError, match=r"^detector: 'judge' is not allowed"):
        load_detector("judge")
    with pytest.raises(ConfigError, match=r"^detector 'no_such:thing'"):
        load_detector("no_such:thing")
    at = Trace("Q", "S", "<think>One. Two. Three.", (7, 23), [(7, 12), (12, 23)], range(23))

    def detect(questions, thoughts, solutions):
        assert (questions, thoughts, solutions) == (["Q"], ["One. Two. Three."], ["S"])
        return [9]

    answer = first_answer(at, ExactVerifier().verify, detect)
    assert (answer.chars, answer.tokens, answer.step) == ((12, 16), 16, 1)
    assert first_answer(at, ExactVerifier().verify, lambda *_: [None]) is None
    for places in ([], [0], [17], ["1"]):
        with pytest.raises(DataError, match=r"^detector: returned"):
            first_answer(at, ExactVerifier().verify, lambda *_, places=places: places)


def test_against_the_small_worlds_oracle():
    problems = generate_problems("heldout", 150, seed=77)
    traces, truth = [], []
    for problem in problems:
        text = reference_trace(problem, 3)
        think = text.index("\n</think>")
        steps = paragraphs(text[:think])
        described = describe_steps(problem.question, text, steps)
        truth.append(max(k for k, step in enumerate(described) if problem.target in step.establishes))
        traces.append(Trace(problem.question, problem.solution, text, (0, think), steps, range(len(text))))
    answers = first_answers(traces, ExactVerifier().verify)
    assert all(answer is not None for answer in answers)
    same = sum(answer.step == step for answer, step in zip(answers, truth, strict=True))
    assert same / len(problems) >= 0.97


def test_worked_solutions_of_gsm8k(math):
    path = DATA / "gsm8k_test.jsonl"
    if not path.is_file():
        pytest.skip(f"no {path.name} in ../shared/data")
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    traces = []
    for row in random.Random(0).sample(rows, 300):
        text = re.sub(r"<<[^>]*>>", "", row["answer"].rpartition("####")[0].strip())
        ends = [match.end() for match in re.finditer(r"\n|\Z", text)]
        lines = list(zip([0, *ends[:-1]], ends, strict=True))
        traces.append(trace(row["question"], row["answer"], text, [span for span in lines if span[0] < span[1]]))
    answers = first_answers(traces, math)
    detected = [(t, a) for t, a in zip(traces, answers, strict=True) if a is not None]
    # right: nothing is worked out in the lines behind it
    right = [not any("=" in t.text[slice(*span)] for span in t.steps[a.step + 1 :]) for t, a in detected]
    assert len(detected) >= 0.95 * len(traces)
    assert sum(right) >= 0.93 * len(detected)
