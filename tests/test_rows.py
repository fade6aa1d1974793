from __future__ import annotations

import json

import pyarrow
import pyarrow.parquet
import pytest

from attnpo.errors import DataError
from attnpo.rows import column_names, column_value, has_column, read_rows


def test_a_folders_files_are_read_in_order_of_their_names(tmp_path):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{"n": n} for n in range(700)]), tmp_path / "b.parquet")
    (tmp_path / "a.jsonl").write_text('{"n": -2}\n\n{"n": -1}\n')
    (tmp_path / "c.json").write_text('[{"n": 700}]')
    (tmp_path / "readme.md").write_text("no rows")
    assert [row["n"] for row in read_rows(tmp_path)] == list(range(-2, 701))


def test_json_lines_are_read_one_at_a_time(tmp_path):
    (tmp_path / "d.jsonl").write_text('{"n": 1}\n{"n": 2}\n{"n"\n')
    rows = read_rows(tmp_path / "d.jsonl")
    assert [next(rows), next(rows)] == [{"n": 1}, {"n": 2}]
    with pytest.raises(DataError, match=r"d\.jsonl, row 3: not valid JSON"):
        next(rows)


@pytest.mark.parametrize(
    ("name", "text"), [("d.csv", "n\n1\n"), ("d.jsonl", '{"n": "1"}\n'), ("d.json", '[{"n": "1"}]')]
)
def test_a_byte_order_mark_is_no_part_of_the_rows(tmp_path, name, text):
    (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert list(read_rows(tmp_path / name)) == [{"n": "1"}]


def test_cells_of_any_length(tmp_path):
    (tmp_path / "d.csv").write_text(f"text\n{'x' * 300_000}\n")
    assert len(next(read_rows(tmp_path / "d.csv"))["text"]) == 300_000


@pytest.mark.parametrize(("name", "message"), [("gone.jsonl", "no such file"), ("d.txt", r"expected a \.jsonl")])
def test_what_is_no_data_file(tmp_path, name, message):
    (tmp_path / "d.txt").write_text("x")
    with pytest.raises(DataError, match=message):
        list(read_rows(tmp_path / name))


def test_nested_columns():
    row = {"a.b": 1, "a": {"b": 2, "c": {"d": None}}, "e": [3]}
    assert column_value(row, "a.b") == 1
    assert column_value(row, "a.c.d") is None
    assert has_column(row, "a.c.d")
    assert not has_column(row, "a.c.e")
    assert not has_column(row, "e.0")
    assert column_names(json.loads(json.dumps(row))) == ["a.b", "a.b", "a.c.d", "e"]
