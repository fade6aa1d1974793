from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from datasets import Dataset, DatasetDict

import attnpo.hub
from attnpo.datasets import load_problems
from attnpo.errors import ConfigError, DataError

DATA = Path(__file__).parents[2] / "shared" / "data"
ROWS = [
    {"prompt": "1 + 1?", "solution": "2", "problem_id": "a", "difficulty": 1, "source": {"page": 3}},
    {"prompt": [{"content": "2 + 3?", "role": "user"}], "solution": 5, "problem_id": "b", "difficulty": None},
]


def write(path: Path, rows: list[dict]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def rows_from_function(limit: int, seed: int = 7) -> Dataset:
    return Dataset.from_list([{"prompt": f"{seed} + {i}?", "solution": str(seed + i)} for i in range(limit + 3)])


def number_of_rows() -> int:
    return 3


def test_jsonl_rows_keep_messages_ids_difficulty_and_other_columns(tmp_path):
    first, second = load_problems(write(tmp_path / "d.jsonl", ROWS))
    assert (first.problem_id, first.prompt, first.solution, first.difficulty) == ("a", "1 + 1?", "2", "1")
    assert first.extra == {"source": {"page": 3}}
    assert second.prompt == [{"role": "user", "content": "2 + 3?"}]
    assert (second.solution, second.difficulty) == ("5", None)


def test_every_local_format_gives_the_same_problems(tmp_path):
    rows = [{"prompt": 'a, "b"\nc?', "solution": "025"}, {"prompt": "d\u2028e?", "solution": "\\frac{1}{2}"}]
    (tmp_path / "d.json").write_text(json.dumps(rows))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "d.parquet")
    with (tmp_path / "d.csv").open("w", newline="") as file:
        file.write('prompt,solution\n"a, ""b""\nc?",025\nd\u2028e?,\\frac{1}{2}\n')
    (tmp_path / "d.jsonl").write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
    loaded = [load_problems(str(tmp_path / f"d.{suffix}")) for suffix in ("jsonl", "json", "parquet", "csv")]
    assert [p.solution for p in loaded[0]] == ["025", "\\frac{1}{2}"]
    assert all(problems == loaded[0] for problems in loaded)


def test_an_id_is_made_from_the_prompt_where_there_is_none(tmp_path):
    spec = write(tmp_path / "d.jsonl", [{"prompt": p, "solution": "1"} for p in ("x", "y")])
    ids = [p.problem_id for p in load_problems(spec)]
    assert ids == [p.problem_id for p in load_problems(spec)]
    assert len(set(ids)) == 2


def test_numbers_of_a_column_with_gaps_are_the_integers_they_were(tmp_path):
    rows = [
        {"prompt": "a", "solution": 3, "problem_id": 1, "difficulty": 5, "subject": "x"},
        {"prompt": "b", "solution": 4, "problem_id": 2, "difficulty": None, "subject": ["y"]},
    ]
    floats = {"solution": [3.0, 4.0], "problem_id": [1.0, 2.0], "difficulty": [5.0, float("nan")]}
    table = pyarrow.table({"prompt": ["a", "b"], "subject": ["x", "y"], **floats})
    pyarrow.parquet.write_table(table, tmp_path / "d.parquet")
    assert load_problems(write(tmp_path / "d.jsonl", rows)) == load_problems(str(tmp_path / "d.parquet"))
    first, second = load_problems(str(tmp_path / "d.parquet"))
    assert (first.solution, first.problem_id, first.difficulty, first.subject) == ("3", "1", "5", "x")
    assert (second.solution, second.problem_id, second.difficulty, second.subject) == ("4", "2", None, "y")


def test_what_is_no_solution_is_refused_or_left_out(tmp_path):
    bad = [["6", "7"], {"value": 6}, float("nan"), True, float("inf"), "", [], None]
    for value in bad:
        rows = [{"prompt": "good", "solution": "1"}, {"prompt": "bad", "solution": value}]
        left_out: list[str] = []
        spec = write(tmp_path / "d.jsonl", rows)
        assert [problem.prompt for problem in load_problems(spec, left_out=left_out)] == ["good"]
        assert len(left_out) == 1
        assert re.search(r"d.jsonl, row 2: 'solution' (is|holds) ", left_out[0])
        with pytest.raises(DataError) as caught:
            load_problems(spec)
        assert str(caught.value) == left_out[0]


def test_an_id_that_is_missing_is_made(tmp_path):
    rows = [
        {"prompt": p, "solution": "1", "problem_id": i} for p, i in zip("abc", (None, float("nan"), ""), strict=True)
    ]
    made = load_problems(write(tmp_path / "d.jsonl", rows))
    unnamed = [{"prompt": p, "solution": "1"} for p in "abc"]
    assert [p.problem_id for p in made] == [p.problem_id for p in load_problems(write(tmp_path / "e.jsonl", unnamed))]
    with pytest.raises(DataError, match=r"row 1: 'problem_id' holds 2 values"):
        load_problems(write(tmp_path / "d.jsonl", [{"prompt": "a", "solution": "1", "problem_id": [1, 2]}]))


def test_repeated_rows_count_once_and_contradicting_ones_are_refused(tmp_path):
    rows = [{"prompt": "x", "solution": "1"}, {"prompt": "y", "solution": "2"}] * 4
    assert [p.prompt for p in load_problems(write(tmp_path / "d.jsonl", rows))] == ["x", "y"]
    with pytest.raises(DataError, match=r"d.jsonl, row 9: problem id .* already belongs"):
        load_problems(write(tmp_path / "d.jsonl", [*rows, {"prompt": "x", "solution": "3"}]))


def test_limit_takes_the_first_or_a_seeded_sample_in_file_order(tmp_path):
    spec = write(tmp_path / "d.jsonl", [{"prompt": f"{i:02}", "solution": "1"} for i in range(50)])
    assert [p.prompt for p in load_problems(spec, limit=3)] == ["00", "01", "02"]
    drawn = [p.prompt for p in load_problems(spec, limit=10, seed=1)]
    assert drawn == sorted(drawn) == [p.prompt for p in load_problems(spec, limit=10, seed=1)]
    assert drawn != [p.prompt for p in load_problems(spec, limit=10, seed=2)]
    assert len(load_problems(spec, limit=99, seed=1)) == 50
    with pytest.raises(DataError, match="limit of 0"):
        load_problems(spec, limit=0)


def test_a_function_gets_the_arguments_it_names(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    problems = load_problems("test_datasets:rows_from_function", limit=4)
    assert [p.solution for p in problems] == ["7", "8", "9", "10"]
    assert load_problems("test_datasets:rows_from_function", limit=4, seed=1)[0].prompt.startswith("1 + ")
    with pytest.raises(DataError, match=r"^test_datasets:rows_from_function: takes no split, and split 'test'"):
        load_problems("test_datasets:rows_from_function", split="test")
    with pytest.raises(DataError, match=r"returned int; return a datasets.Dataset"):
        load_problems("test_datasets:number_of_rows")
    with pytest.raises(ConfigError, match="no function 'nothing'"):
        load_problems("test_datasets:nothing")
    with pytest.raises(ConfigError, match="module 'no_such_module' cannot be imported"):
        load_problems("no_such_module:rows")


def test_hub_ids_carry_revision_and_configuration(monkeypatch):
    asked = []

    def fake(name, config, split, revision):
        asked.append((name, config, split, revision))
        return DatasetDict(train=Dataset.from_list(ROWS[:1]), test=Dataset.from_list(ROWS[:1]))

    monkeypatch.setattr(attnpo.hub, "load_dataset", fake)
    with pytest.raises(DataError, match="has the splits train, test; choose one with --split"):
        load_problems("openai/gsm8k@abc:main")
    assert asked == [("openai/gsm8k", "main", None, "abc")]


def test_a_hub_data_set_that_cannot_be_had_is_one_line(monkeypatch):
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    with pytest.raises(DataError, match=r"data set 'no-one/no-such-set': cannot be loaded from the Hub \(.+\)$"):
        load_problems("no-one/no-such-set")


@pytest.mark.parametrize(
    ("text", "suffix", "message"),
    [
        ("", "jsonl", "has no rows"),
        ("[]", "json", "has no rows"),
        ('{"prompt": "x", "solution": "1"}', "json", "expected a list of rows, found dict"),
        ('{"prompt": "x", "solution": "1"}\n{"prompt"\n', "jsonl", r"row 2: not valid JSON"),
        ('{"prompt": "x", "solution": "1"}\n3\n', "jsonl", r"row 2: expected an object"),
        (
            '{"question": "x", "a": {"b": 1}}\n',
            "jsonl",
            r"no column 'prompt'; the columns are a.b, question; .*--prompt_column",
        ),
        ('{"prompt": "x", "answer": "1"}\n', "jsonl", r"no column 'solution'; .*--solution_column"),
        ('{"prompt": "x", "solution": "1"}\n{"prompt": " ", "solution": "1"}\n', "jsonl", r"row 2: 'prompt'"),
        ('{"prompt": "x", "solution": "1"}\n{"prompt": "y"}\n', "jsonl", r"row 2: 'solution' is empty"),
        pytest.param('{"solution": ' + "1" * 5000 + "}\n", "jsonl", "row 1: not valid JSON", id="digits"),
        pytest.param('{"solution": ' + "[" * 200_000, "jsonl", "row 1: not valid JSON", id="brackets"),
        ("not parquet", "parquet", "not a readable parquet file"),
    ],
)
def test_malformed_files_are_named_with_row_and_fix(tmp_path, text, suffix, message):
    path = tmp_path / f"bad.{suffix}"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        load_problems(str(path))
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "'prompt' is empty"),
        ([], "'prompt' is empty"),
        (float("nan"), "'prompt' is empty"),
        ({"role": "user", "content": "x"}, "'prompt' is neither text nor a list of messages"),
        (["x", "y"], "'prompt' is neither text nor a list of messages"),
        (True, "'prompt' is true or false"),
        ("half \ud83d", "'prompt' holds half a character"),
        ([{"role": "user"}], "'prompt': message 1 has no text as content"),
        ([{"role": "user", "content": None}], "message 1 has no text as content"),
        ([{"role": "user", "content": 5}], "message 1 has no text as content"),
        ([{"role": "user", "content": "half \ud83d"}], "message 1: 'content' holds half a character"),
        ([{"role": "user", "content": "x"}, {"content": "y"}], "message 2 has no role"),
        ([{"from": "human", "value": "x"}], "message 1 has no role"),
        ([{"role": "user", "content": "x"}, "y"], "message 2 has no role"),
        ([{"role": "user", "content": [{"type": "image_url"}, {"type": "text"}]}], "message 1 holds .* image_url"),
        ([{"role": "user", "content": [{"type": "text"}]}], "message 1 holds a part without text"),
    ],
)
def test_prompts_of_the_wrong_shape_are_refused(tmp_path, prompt, message):
    good = {"prompt": "good", "solution": "1"}
    spec = write(tmp_path / "d.jsonl", [good, {"prompt": prompt, "solution": "1"}])
    with pytest.raises(DataError, match=rf"d.jsonl, row 2: .*{message}") as caught:
        load_problems(spec)
    assert "\n" not in str(caught.value)
    left_out: list[str] = []
    assert [problem.prompt for problem in load_problems(spec, left_out=left_out)] == ["good"]
    assert left_out == [str(caught.value)]


def test_half_a_character_where_nothing_is_asked_is_replaced(tmp_path):
    unused = {
        "note": "half \ud83d",
        "more": {"key\udc00": ["\udc00", "\U0001f600"]},
        "name\ud83d": 1,
        "pair": "\ud83d\ude00",
    }
    (problem,) = load_problems(write(tmp_path / "d.jsonl", [{"prompt": "q", "solution": "1", **unused}]))
    assert problem.extra == {
        "note": "half \ufffd",
        "more": {"key\ufffd": ["\ufffd", "\U0001f600"]},
        "name\ufffd": 1,
        "pair": "\U0001f600",
    }


@pytest.mark.parametrize(
    ("prompt", "read"),
    [
        (["x"], "x"),
        (" x ", " x "),
        (
            [{"role": "user", "content": [{"type": "text", "text": "a "}, {"type": "text", "text": "b"}]}],
            [{"role": "user", "content": "a b"}],
        ),
        (
            [{"role": "system", "content": ""}, {"role": "user", "content": "x", "name": "n"}],
            [{"role": "system", "content": ""}, {"role": "user", "content": "x"}],
        ),
    ],
)
def test_prompts_are_text_or_messages(tmp_path, prompt, read):
    (problem,) = load_problems(write(tmp_path / "d.jsonl", [{"prompt": prompt, "solution": "1"}]))
    assert problem.prompt == read


def test_missing_file_and_nonsense_spec(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        load_problems(str(tmp_path / "gone.jsonl"))
    with pytest.raises(DataError, match="or a Hub id such as owner/name"):
        load_problems("what is this?")


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared benchmark files are not beside the repository")
@pytest.mark.parametrize(
    ("name", "problems"),
    [
        ("aime2024_16", 30),
        ("aime2025_16", 30),
        ("amc_16", 40),
        ("gsm8k_4", 1319),
        ("math_4", 500),
        ("olympiadbench_4", 581),
    ],
)
def test_benchmark_files_give_each_problem_once(name, problems):
    loaded = load_problems(str(DATA / f"{name}.parquet"), solution_column="reward_model.ground_truth")
    assert len(loaded) == problems
    assert all(p.prompt[0]["role"] == "user" and p.solution for p in loaded)
    assert loaded[0].extra["ability"] == "math"


@pytest.mark.skipif(not DATA.is_dir(), reason="the shared benchmark files are not beside the repository")
def test_gsm8k_answers_are_cut_out_of_the_worked_solution():
    columns = {"prompt_column": "question", "solution_column": "answer", "solution_after": "####"}
    loaded = load_problems(str(DATA / "gsm8k_test.jsonl"), **columns)
    assert len(loaded) == 1319
    assert loaded[0].solution == "18"
    with pytest.raises(DataError, match=r"row 1: 'answer' does not contain '@@'"):
        load_problems(str(DATA / "gsm8k_test.jsonl"), **{**columns, "solution_after": "@@"})


def test_a_template_makes_the_prompt_from_any_columns(tmp_path):
    rows = [{"q": "1 + 1?", "solution": "2", "hint": {"text": "add"}, "topic": "sums"}]
    spec = write(tmp_path / "d.jsonl", rows)
    template = "{{ q }} ({{ hint.text }}, {{ row['topic'] }})"
    (problem,) = load_problems(spec, prompt_template=template, subject_column="topic")
    assert problem.prompt == [{"role": "user", "content": "1 + 1? (add, sums)"}]
    assert problem.subject == "sums"
    assert problem.extra == {"q": "1 + 1?", "hint": {"text": "add"}}


@pytest.mark.parametrize(
    ("template", "error", "message"),
    [
        (
            "{{ question }}",
            DataError,
            r"row 2: --prompt_template: 'question' is undefined; the columns are q, solution",
        ),
        ("{{ q }", ConfigError, "--prompt_template: not a jinja2 template"),
        ("{{ q.__class__.__mro__ }}", DataError, "row 1: --prompt_template cannot be filled in .*unsafe"),
        ("{{ q / 2 }}", DataError, "row 1: --prompt_template cannot be filled in"),
    ],
)
def test_a_template_that_does_not_fit_is_named_with_row_and_columns(tmp_path, template, error, message):
    rows = [{"question": "x", "q": "1?", "solution": "1"}, {"q": "2?", "solution": "2"}]
    with pytest.raises(error, match=message) as caught:
        load_problems(write(tmp_path / "d.jsonl", rows), prompt_template=template)
    assert "\n" not in str(caught.value)
