"""The entries, one's own entries, and the errors that a user can make."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import re
from pathlib import Path

import pytest
from rich.console import Console

from attnpo.cli.evaluate import benchmark_table
from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.benchmarks import Benchmark, benchmark_rows, list_benchmarks, load_benchmark
from attnpo.progress import console_progress

PAPER = ["gsm8k", "math500", "amc23", "olympiadbench", "aime24", "aime25", "livecodebench-v6", "gpqa-diamond", "mmlu"]

OWN = """
name: mine
title: My set
dataset: mine.jsonl
columns: { question: q, solution: a, difficulty: level, subject: field }
template: "{{ q }} ({{ subject }})"
"""


def own_entry(folder: Path, text: str = OWN, rows: list[dict] | None = None) -> Benchmark:
    (folder / "mine.yaml").write_text(text)
    rows = rows if rows is not None else [{"q": "1 + 1?", "a": "2", "level": 1, "field": "sums"}]
    (folder / "mine.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return load_benchmark(str(folder / "mine.yaml"))


def test_the_papers_nine_come_first_and_each_is_pinned() -> None:
    entries = list_benchmarks()
    assert [entry.name for entry in entries[:9]] == PAPER
    for entry in entries[:9]:
        assert re.fullmatch(r"[0-9a-f]{40}", entry.revision or "")
        assert entry.citation
        assert entry.url == f"https://huggingface.co/datasets/{entry.dataset}"
    samples = {entry.name: entry.samples_per_problem for entry in entries}
    assert [samples[name] for name in PAPER[:6]] == [4, 4, 16, 4, 16, 16]


def test_math_prompts_end_in_the_papers_instruction() -> None:
    for name in PAPER[:6]:
        template = load_benchmark(name).template or ""
        assert template.endswith(
            "{{ question }}\nPlease reason step by step, and put your final answer within \\boxed{}."
        )


def test_the_table_names_every_benchmark_even_in_a_narrow_terminal() -> None:
    stream = io.StringIO()
    Console(file=stream, width=80).print(benchmark_table(benchmark_rows()))
    first_words = {line.split()[0] for line in stream.getvalue().splitlines() if line.strip()}
    names = {entry.name for entry in list_benchmarks()} - {"reasoning-gym"}
    assert names | {"reasoning-gym:<task>"} <= first_words
    stream = io.StringIO()
    Console(file=stream, width=120).print(benchmark_table(benchmark_rows()))
    assert "Idavidrein/gpqa @ 633f5ee89ab8 (gated)" in stream.getvalue()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("gsmk8", "did you mean gsm8k"),
        ("aime-24", "did you mean aime24"),
        ("math-500", "did you mean math500"),
        ("zzz", "there are gsm8k, math500"),
        ("gsm8k:test", "gsm8k has no variants"),
        ("reasoning-gym", "name a task as well, reasoning-gym:<task>"),
        ("gone.yaml", "no such benchmark entry"),
    ],
)
def test_a_wrong_name_gets_the_nearest(name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as caught:
        load_benchmark(name)
    assert "\n" not in str(caught.value)


def test_ones_own_entry_with_a_file_beside_it(tmp_path: Path) -> None:
    entry = own_entry(tmp_path)
    (problem,) = entry.problems()
    assert problem.prompt == [{"role": "user", "content": "1 + 1? (sums)"}]
    assert (problem.solution, problem.difficulty, problem.subject) == ("2", "1", "sums")
    assert [found.name for found in list_benchmarks(tmp_path)][-1] == "mine"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("columns: { question: q }", "columns: an answer of kind text needs solution"),
        ("columns: { question: q, solution: a, colour: c }", "no such role: colour"),
        ("answer: choice", "needs choices"),
        ("samples_per_problem: 0", "samples_per_problem: .*greater than 0"),
        ("splitt: test", "splitt: Extra inputs are not permitted"),
        ("template: '{% if %}'", "template: not a jinja2 template"),
        ("sample: { per: colour, count: 3 }", "sample.per: "),
        ("sample: { per: difficulty, count: 0 }", "sample.count: "),
        ("name: Bad Name", "name: "),
    ],
)
def test_a_malformed_entry_is_named_with_its_field(tmp_path: Path, change: str, message: str) -> None:
    key = change.partition(":")[0]
    lines = [line for line in OWN.splitlines() if not line.startswith(f"{key}:")]
    with pytest.raises(ConfigError, match=message) as caught:
        own_entry(tmp_path, "\n".join([*lines, change]))
    assert str(tmp_path / "mine.yaml") in str(caught.value)
    assert "\n" not in str(caught.value)


def test_what_is_no_entry_at_all(tmp_path: Path) -> None:
    for text, message in (("- a\n", "found list"), ("a: [", "not valid YAML")):
        with pytest.raises(ConfigError, match=message):
            own_entry(tmp_path, text)


def test_a_template_over_a_column_that_is_not_there(tmp_path: Path) -> None:
    entry = own_entry(tmp_path, OWN.replace("{{ q }}", "{{ question }} {{ hint }}"))
    with pytest.raises(DataError, match=r"row 1: benchmark mine: template: 'hint' is undefined; the columns are a, .*"):
        entry.problems()


def test_columns_of_a_file_that_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "other.jsonl"
    path.write_text('{"text": {"ask": "2 + 2?"}, "gold": "4"}\n')
    entry = load_benchmark("aime24")
    with pytest.raises(DataError, match=r"needs the column 'problem' \(question\), 'answer' \(solution\); .* text.ask"):
        entry.problems(data=str(path))
    (problem,) = entry.problems(data=str(path), columns={"question": "text.ask", "solution": "gold"})
    assert problem.solution == "4"
    with pytest.raises(ConfigError, match="no such role: colour"):
        entry.problems(data=str(path), columns={"colour": "gold"})
    with pytest.raises(DataError, match=r"'nothing' \(subject\)"):
        entry.problems(data=str(path), columns={"question": "text.ask", "solution": "gold", "subject": "nothing"})


def test_a_column_may_be_named_for_a_role_that_the_entry_has_none_for(tmp_path: Path) -> None:
    entry = own_entry(tmp_path, OWN.replace(", difficulty: level, subject: field", "").replace(" ({{ subject }})", ""))
    assert entry.columns.keys() == {"question", "solution"}
    path = tmp_path / "labelled.jsonl"
    path.write_text(json.dumps({"q": "1+1?", "a": "2", "key": "p7", "hardness": 3, "field": {"name": "sums"}}))
    columns = {"problem_id": "key", "difficulty": "hardness", "subject": "field.name"}
    (problem,) = entry.problems(data=str(path), columns=columns)
    assert (problem.problem_id, problem.difficulty, problem.subject) == ("p7", "3", "sums")


def test_another_number_of_problems_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text('{"problem": "2 + 2?", "answer": "4"}\n')
    with caplog.at_level(logging.WARNING):
        assert len(load_benchmark("aime24").problems(data=str(path))) == 1
    assert "benchmark aime24: expected 30 problems" in caplog.text
    assert f"{path} has 1;" in caplog.text


def test_an_instruction_that_stands_there_already_is_not_repeated(tmp_path: Path) -> None:
    instruction = "Please reason step by step, and put your final answer within \\boxed{}."
    rows = [{"problem": "2 + 2?", "answer": "4"}, {"problem": f"3 + 3? {instruction}", "answer": "6"}]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    prompts = [problem.prompt[-1]["content"] for problem in load_benchmark("aime25").problems(data=str(path))]
    assert prompts == [f"2 + 2?\n{instruction}", f"3 + 3?\n{instruction}"]


def test_a_system_message_stays_before_the_question(tmp_path: Path) -> None:
    system = {"role": "system", "content": "Be brief."}
    user = {"role": "user", "content": "2 + 2?"}
    row = {"prompt": [system, user], "reward_model": {"ground_truth": "4"}}
    path = tmp_path / "chat.json"
    path.write_text(json.dumps([row]))
    (problem,) = load_benchmark("math500").problems(data=str(path))
    assert problem.prompt[0] == system
    assert problem.prompt[1]["content"].startswith("2 + 2?\nPlease reason")
    path.write_text(json.dumps([{**row, "prompt": [user, {"role": "assistant", "content": "4"}]}]))
    with pytest.raises(DataError, match="row 1: 'prompt': the last message must be the user's"):
        load_benchmark("math500").problems(data=str(path))


def test_context_says_what_the_problems_depend_on(tmp_path: Path) -> None:
    entry = load_benchmark("gsm8k")
    context = entry.context()
    assert context["dataset"] == "openai/gsm8k"
    assert (context["revision"], context["config"], context["split"]) == (entry.revision, "main", "test")
    assert json.loads(json.dumps(context)) == context
    path = tmp_path / "stand-in.jsonl"
    path.write_text("{}\n")
    local = entry.context(data=str(path), seed=7)
    assert (local["dataset"], local["seed"]) == ("stand-in.jsonl", 7)
    assert local["revision"] == "sha256:" + hashlib.sha256(b"{}\n").hexdigest()
    assert local["template"] == context["template"]
    assert entry.model_copy(update={"template": "{{ question }}"}).context()["template"] != context["template"]


def test_a_sample_takes_the_same_number_from_every_group(tmp_path: Path) -> None:
    rows = [{"q": f"{field}{n}", "a": "1", "level": 1, "field": field} for n in range(9) for field in "abc"]
    entry = own_entry(tmp_path, OWN + "sample: { per: subject, count: 4 }\nnum_problems: 12\n", rows)
    drawn = [problem.prompt[0]["content"] for problem in entry.problems()]
    assert sorted(text[0] for text in drawn) == list("aaaabbbbcccc")
    assert drawn == [problem.prompt[0]["content"] for problem in entry.problems()]
    assert drawn != [problem.prompt[0]["content"] for problem in entry.problems(seed=1)]
    # A group's draw does not depend on the other groups.
    alone = own_entry(tmp_path, OWN + "sample: { per: subject, count: 4 }\n", [r for r in rows if r["field"] == "b"])
    assert [p.prompt[0]["content"] for p in alone.problems()] == [text for text in drawn if text[0] == "b"]


def test_limit_takes_the_first_or_draws(tmp_path: Path) -> None:
    rows = [{"q": str(n), "a": "1", "level": 1, "field": "x"} for n in range(20)] * 3
    entry = own_entry(tmp_path, rows=rows)
    assert len(entry.problems()) == 20
    assert [p.prompt[0]["content"] for p in entry.problems(limit=3)] == ["0 (x)", "1 (x)", "2 (x)"]
    drawn = [p.prompt[0]["content"] for p in entry.problems(limit=6, seed=1)]
    assert len(set(drawn)) == 6
    assert drawn != [f"{n} (x)" for n in range(6)]
    with pytest.raises(DataError, match="a limit of 0 leaves no problem"):
        entry.problems(limit=0)


def test_the_display_counts_up_to_what_is_asked_for(tmp_path: Path) -> None:
    rows = [{"q": str(n // 4), "a": "1", "level": 1, "field": "x"} for n in range(20)]
    entry = own_entry(tmp_path, rows=rows)
    progress = console_progress(Console(file=io.StringIO()))
    entry.problems(progress=progress)
    entry.model_copy(update={"num_problems": 5}).problems(progress=progress)
    entry.problems(limit=3, progress=progress)
    assert len(load_benchmark("tinyworld").problems(limit=4, progress=progress)) == 4
    assert [(task.completed, task.total) for task in progress.tasks] == [(5, None), (5, 5), (3, 3), (4, 4)]


def test_a_folder_of_files_stands_in(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl").write_text('{"problem": "2?", "answer": "2"}\n')
    (tmp_path / "a.csv").write_text("problem,answer\n1?,025\n")
    (tmp_path / "notes.txt").write_text("not data")
    problems = load_benchmark("aime25").problems(data=str(tmp_path))
    assert [problem.solution for problem in problems] == ["025", "2"]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="the folder holds no"):
        load_benchmark("aime25").problems(data=str(tmp_path / "empty"))


def test_the_small_world_makes_as_many_as_are_asked_for() -> None:
    entry = load_benchmark("tinyworld")
    problems = entry.problems(limit=5)
    assert len(problems) == 5
    assert problems == entry.problems(limit=5, seed=0)
    assert problems != entry.problems(limit=5, seed=1)
    assert entry.context()["revision"].startswith("attnpo ")


@pytest.mark.parametrize(
    ("cell", "solution"), [(["6"], "6"), (3.0, "3"), (3, "3"), ([[0.5]], "0.5"), (" 6 ", "6"), ("[6, 7]", "[6, 7]")]
)
def test_a_reference_answer_is_one_text(tmp_path: Path, cell: object, solution: str) -> None:
    (problem,) = own_entry(tmp_path, rows=[{"q": ["1 + 1?"], "a": cell, "level": 4.0, "field": ["sums"]}]).problems()
    assert (problem.solution, problem.difficulty, problem.subject) == (solution, "4", "sums")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": ["6", "7"]}, "'a' holds 2 values"),
        ({"a": {"value": 6}}, "'a' is an object, not one text; name 'a.value'"),
        ({"a": float("nan")}, "'a' is empty"),
        ({"a": []}, "'a' is empty"),
        ({"a": True}, "'a' is true or false"),
        ({"level": {"n": 1}}, "'level' is an object"),
        ({"field": ["a", "b"]}, "'field' holds 2 values"),
        ({"q": [{"role": "user"}]}, "'q': message 1 has no text as content"),
        ({"q": {"role": "user", "content": "x"}}, "'q' is neither text nor a list of messages"),
    ],
)
def test_a_cell_that_is_no_one_text_is_refused_with_row_and_column(tmp_path: Path, change: dict, message: str) -> None:
    rows = [{"q": f"{n}?", "a": "2", "level": 1, "field": "sums", **(change if n else {})} for n in range(2)]
    with pytest.raises(DataError, match=f"mine.jsonl, row 2: {message}") as caught:
        own_entry(tmp_path, rows=rows).problems()
    assert "\n" not in str(caught.value)


CHOICE = """
name: mine
title: My set
dataset: mine.jsonl
answer: choice
solution_form: index
columns: { question: q, solution: a, choices: c }
template: "{{ q }} {% for letter, option in options %}{{ letter }} {{ option }} {% endfor %}"
verifier: choice
"""


@pytest.mark.parametrize(
    ("answer", "choices", "letter"), [(1, ["x", "y"], "B"), (1.0, ["x", "y"], "B"), (["1"], [3.0, [4]], "B")]
)
def test_options_and_their_index_are_one_text_each(tmp_path: Path, answer: object, choices: list, letter: str) -> None:
    (problem,) = own_entry(tmp_path, CHOICE, [{"q": "?", "a": answer, "c": choices}]).problems()
    assert problem.solution == letter
    assert problem.prompt[0]["content"] == ("? A 3 B 4 " if choices[0] == 3 else "? A x B y ")


@pytest.mark.parametrize(
    ("answer", "choices", "message"),
    [
        (1, ["x", ["y", "z"]], "row 1: 'choices' holds 2 values"),
        (1, ["x", float("nan")], "row 1: choices: option 2 is empty"),
        ([0, 1], ["x", "y"], "row 1: 'a' holds 2 values"),
        (float("nan"), ["x", "y"], "row 1: expected the index of one of 2 options"),
    ],
)
def test_options_that_are_no_text_are_refused(tmp_path: Path, answer: object, choices: list, message: str) -> None:
    with pytest.raises(DataError, match=message):
        own_entry(tmp_path, CHOICE, [{"q": "?", "a": answer, "c": choices}]).problems()


def test_a_column_of_floats_is_filtered_by_the_integers_it_held(tmp_path: Path) -> None:
    rows = [{"q": f"{year}?", "a": "1", "level": year, "field": "x"} for year in (2023.0, 2024.0)]
    assert [p.difficulty for p in own_entry(tmp_path, OWN + "where: { level: 2024 }", rows).problems()] == ["2024"]
