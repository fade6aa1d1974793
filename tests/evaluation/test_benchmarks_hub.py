"""Every Hub data set, from small files in the very layout it has there."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import fake_hub
import pytest
from datasets.exceptions import DatasetNotFoundError

import attnpo.hub
from attnpo.errors import DataError
from attnpo.evaluation.benchmarks import Benchmark, load_benchmark
from attnpo.verification import build_verifier

INSTRUCTION = "\nPlease reason step by step, and put your final answer within \\boxed{}."


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> fake_hub.FakeHub:
    hub = fake_hub.FakeHub(tmp_path)
    monkeypatch.setattr(attnpo.hub, "load_dataset", hub.load_dataset)
    return hub


def few(name: str, count: int) -> Benchmark:
    """The entry as it is, but for a data set of `count` problems."""
    return load_benchmark(name).model_copy(update={"num_problems": count})


def test_gsm8k(hub: fake_hub.FakeHub) -> None:
    rows = [{"question": "How many?", "answer": "There are 9 * 2 = <<9*2=18>>18.\n#### 1,018"}]

    def write(folder: Path) -> None:
        fake_hub.parquet(folder, "main/test-00000-of-00001.parquet", rows)
        fake_hub.card(folder, "main", "test", "main/test-*")

    hub.write("openai/gsm8k", write)
    (problem,) = few("gsm8k", 1).problems()
    assert problem.prompt == [{"role": "user", "content": "How many?" + INSTRUCTION}]
    assert problem.solution == "1,018"
    assert hub.asked == [("openai/gsm8k", "main", "test", "cc7b047b6e5bb11b4f1af84efc572db110a51b3c")]
    with pytest.raises(DataError, match="benchmark gsm8k: expected 1319 problems, openai/gsm8k has 1; the data set is"):
        load_benchmark("gsm8k").problems()


def test_math500(hub: fake_hub.FakeHub) -> None:
    row = {
        "problem": "Convert $(0,3)$.",
        "solution": "We have $r = 3$, so the answer is $\\boxed{(3, 0)}$.",
        "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
        "subject": "Precalculus",
        "level": 2,
        "unique_id": "test/precalculus/807.json",
    }
    hub.write("HuggingFaceH4/MATH-500", lambda folder: fake_hub.jsonl(folder, "test.jsonl", [row]))
    (problem,) = few("math500", 1).problems()
    assert problem.solution == row["answer"]
    assert (problem.problem_id, problem.subject, problem.difficulty) == (row["unique_id"], "Precalculus", "2")


@pytest.mark.parametrize(
    ("name", "dataset", "file", "rows", "solutions"),
    [
        (
            "amc23",
            "math-ai/amc23",
            "test-00000-of-00001.parquet",
            [{"id": 0, "answer": "27.0", "url": "https://…", "question": "How far?"}],
            ["27.0"],
        ),
        (
            "aime24",
            "HuggingFaceH4/aime_2024",
            "data/train-00000-of-00001.parquet",
            [{"id": 60, "problem": "Find.", "solution": "…", "answer": "025", "url": "https://…", "year": "2024"}],
            ["025"],
        ),
    ],
)
def test_parquet_repositories(hub: fake_hub.FakeHub, name, dataset, file, rows, solutions) -> None:
    hub.write(dataset, lambda folder: fake_hub.parquet(folder, file, rows))
    problems = few(name, len(rows)).problems()
    assert [problem.solution for problem in problems] == solutions
    assert [problem.problem_id for problem in problems] == [str(row["id"]) for row in rows]
    assert problems[0].prompt[0]["content"].endswith(INSTRUCTION)


def test_aime25(hub: fake_hub.FakeHub) -> None:
    rows = [{"problem": f"Find {n}.", "answer": str(n), "id": str(n)} for n in range(3)]
    hub.write("math-ai/aime25", lambda folder: fake_hub.jsonl(folder, "test.jsonl", rows))
    assert [problem.solution for problem in few("aime25", 3).problems()] == ["0", "1", "2"]


def olympiad_row(number: int, **changes: object) -> dict:
    images = {f"image_{n}": None for n in range(1, 6)}
    fields = {
        "id": number,
        "question": f"Compute {number}.",
        "solution": ["Long."],
        "final_answer": [f"${number}$"],
        "context": None,
        "modality": "Text-only",
        "difficulty": "Competition",
        "is_multiple_answer": False,
        "unit": None,
        "answer_type": "Numerical",
        "error": None,
        "question_type": "Open-ended",
        "subfield": "Algebra",
        "subject": "Math",
        "language": "English",
    }
    return {**fields, **images, **changes}


def test_olympiadbench_keeps_single_answers_and_reads_its_file_without_the_card(hub: fake_hub.FakeHub) -> None:
    rows = [
        olympiad_row(1),
        olympiad_row(2, is_multiple_answer=True, final_answer=["$1$,$2$"], answer_type="Numerical"),
        olympiad_row(3, context="Let $T = 3$.", subfield="Geometry"),
    ]
    file = "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"
    hub.write("Hothan/OlympiadBench", lambda folder: fake_hub.parquet(folder, file, rows))
    first, second = few("olympiadbench", 2).problems()
    assert (first.problem_id, first.solution, first.subject) == ("1", "$1$", "Algebra")
    assert first.prompt[0]["content"] == "Compute 1." + INSTRUCTION
    assert second.prompt[0]["content"] == "Let $T = 3$.\nCompute 3." + INSTRUCTION
    revision = "91184b52131e7fc9455fef848035173aea8cc01a"
    assert hub.asked == [("parquet", f"hf://datasets/Hothan/OlympiadBench@{revision}/{file}")]


def test_several_answers_where_one_is_expected(hub: fake_hub.FakeHub) -> None:
    file = "OlympiadBench/OE_TO_maths_en_COMP/OE_TO_maths_en_COMP.parquet"
    rows = [olympiad_row(1, final_answer=["$1$", "$2$"])]
    hub.write("Hothan/OlympiadBench", lambda folder: fake_hub.parquet(folder, file, rows))
    with pytest.raises(DataError, match="row 1: 'final_answer' holds 2 values, not one text"):
        few("olympiadbench", 1).problems()


def gpqa_row(number: int) -> dict[str, object]:
    return {
        "Pre-Revision Question": "old",
        "Question": f"Which one, {number}?\n",
        "Correct Answer": "right one\n",
        "Incorrect Answer 1": "B",
        "Incorrect Answer 2": "second, wrong",
        "Incorrect Answer 3": "third",
        "Subdomain": "Genetics",
        "Writer's Difficulty Estimate": "Hard undergraduate level",
        "Record ID": f"rec{number}",
        "High-level domain": "Biology",
    }


def test_gpqa_shuffles_the_options_of_every_problem(hub: fake_hub.FakeHub) -> None:
    rows = [gpqa_row(number) for number in range(40)]

    def write(folder: Path) -> None:
        from datasets import Dataset

        Dataset.from_list(rows).to_csv(folder / "gpqa_diamond.csv")
        (folder / "gpqa_main.csv").write_text("Question\nnot this one\n")
        fake_hub.card(folder, "gpqa_diamond", "train", "gpqa_diamond.csv")

    hub.write("Idavidrein/gpqa", write)
    entry = few("gpqa-diamond", 40)
    problems = entry.problems()
    for number, problem in enumerate(problems):
        assert (problem.problem_id, problem.subject) == (f"rec{number}", "Biology")
        lines = problem.prompt[0]["content"].split("\n")
        assert lines[0] == f"Which one, {number}?"
        assert sorted(line[3:] for line in lines[2:6]) == ["B", "right one", "second, wrong", "third"]
        assert lines[2 + "ABCD".index(problem.solution)] == f"{problem.solution}. right one"
        assert lines[7].endswith("put the letter of your final answer within \\boxed{}.")
    assert {problem.solution for problem in problems} == set("ABCD")
    assert problems == entry.problems()
    assert problems != entry.problems(seed=1)
    # The order of one problem's options depends on no other problem, nor on its place.
    assert entry.problems(limit=3) == problems[:3]
    hub.write("reversed/gpqa", lambda folder: fake_hub.jsonl(folder, "rows.jsonl", rows[::-1]))
    reversed_file = str(hub.root / "reversed" / "gpqa" / "rows.jsonl")
    assert entry.problems(data=reversed_file) == problems[::-1]


def test_mmlu_draws_fifty_of_each_subject(hub: fake_hub.FakeHub) -> None:
    rows = [
        {"question": f"{subject} {n}?", "subject": subject, "choices": ["w", "x", "y", "z"], "answer": n % 4}
        for subject in ("anatomy", "law", "virology")
        for n in range(60)
    ]

    def write(folder: Path) -> None:
        fake_hub.parquet(folder, "all/test-00000-of-00001.parquet", rows, fake_hub.mmlu_features())
        fake_hub.card(folder, "all", "test", "all/test-*")

    hub.write("cais/mmlu", write)
    entry = few("mmlu", 150)
    problems = entry.problems()
    assert [problem.subject for problem in problems] == ["anatomy"] * 50 + ["law"] * 50 + ["virology"] * 50
    for problem in problems:
        text = problem.prompt[0]["content"]
        number = int(text.split("?")[0].split()[-1])
        assert problem.solution == "ABCD"[number % 4]
        assert "\nA. w\nB. x\nC. y\nD. z\n" in text
    assert problems == entry.problems()
    assert problems != entry.problems(seed=3)
    # A local file may have the letter where the data set has the index.
    hub.write(
        "local/mmlu", lambda f: fake_hub.jsonl(f, "r.jsonl", [{**row, "answer": "abcd"[row["answer"]]} for row in rows])
    )
    assert entry.problems(data=str(hub.root / "local" / "mmlu" / "r.jsonl")) == problems


def test_the_choice_verifier_takes_the_right_letter_only(tmp_path: Path) -> None:
    fake_hub.jsonl(tmp_path, "gpqa.jsonl", [gpqa_row(number) for number in range(8)])
    entry = load_benchmark("gpqa-diamond")
    problems = entry.problems(data=str(tmp_path / "gpqa.jsonl"))
    solutions = [problem.solution for problem in problems]
    with build_verifier(entry.verifier) as verifier:
        for letter in "ABCD":
            responses = [f"<think>\nhm\n</think>\nIt is \\boxed{{{letter}}}."] * len(problems)
            assert verifier.verify(responses, solutions) == [letter == solution for solution in solutions]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"answer": 4}, "row 1: expected the index of one of 4 options, found '4'"),
        ({"answer": None}, "row 1: expected the index of one of 4 options, found ''"),
        ({"choices": "w, x"}, "row 1: choices: expected a list of 2 to 26 options"),
        ({"choices": ["w", " "]}, "row 1: choices: option 2 is empty"),
    ],
)
def test_malformed_choices(tmp_path: Path, change: dict, message: str) -> None:
    row = {"question": "q?", "subject": "law", "choices": ["w", "x", "y", "z"], "answer": 1, **change}
    fake_hub.jsonl(tmp_path, "rows.jsonl", [row])
    with pytest.raises(DataError, match=message):
        load_benchmark("mmlu").problems(data=str(tmp_path / "rows.jsonl"))


def test_a_column_that_is_gone_from_the_hub(hub: fake_hub.FakeHub) -> None:
    hub.write("math-ai/aime25", lambda folder: fake_hub.jsonl(folder, "test.jsonl", [{"problem": "1?", "answer": "1"}]))
    with pytest.raises(DataError, match=r"math-ai/aime25: benchmark aime25 needs the column 'id' \(problem_id\)"):
        few("aime25", 1).problems()


def test_a_gated_data_set_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise DatasetNotFoundError(
            "Dataset 'Idavidrein/gpqa' is a gated dataset on the Hub. You must be authenticated to access it."
        )

    monkeypatch.setattr(attnpo.hub, "load_dataset", refuse)
    with pytest.raises(
        DataError, match=r"gated: accept its terms at https://\S+/Idavidrein/gpqa, then set HF_TOKEN .*--data"
    ):
        load_benchmark("gpqa-diamond").problems()


def test_a_hub_out_of_reach_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(
        DataError, match=r"benchmark gsm8k: data set .* cannot be loaded .*; or give a local copy"
    ) as caught:
        load_benchmark("gsm8k").problems()
    assert "\n" not in str(caught.value)


def test_an_entry_without_revision_takes_and_records_the_newest(
    hub: fake_hub.FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = iter(["a" * 40, "b" * 40])
    api = SimpleNamespace(dataset_info=lambda dataset: SimpleNamespace(sha=next(commits)))
    monkeypatch.setattr(attnpo.hub, "HfApi", lambda: api)
    attnpo.hub.resolve_revision.cache_clear()
    (tmp_path / "mine.yaml").write_text(
        "name: mine\ntitle: Mine\ndataset: me/mine\nsplit: train\nnum_problems: 5\n"
        "columns: {question: q, solution: a}\ntemplate: '{{ q }}'\n"
    )
    hub.write("me/mine", lambda folder: fake_hub.jsonl(folder, "train.jsonl", [{"q": "1?", "a": "1"}]))
    entry = load_benchmark(str(tmp_path / "mine.yaml"))
    assert len(entry.problems()) == 1
    assert hub.asked == [("me/mine", None, "train", "a" * 40)]
    assert entry.context()["revision"] == "a" * 40
    attnpo.hub.resolve_revision.cache_clear()
