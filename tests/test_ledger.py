from __future__ import annotations

import json

import pytest

from attnpo.errors import DataError, OutputError
from attnpo.ledger import Ledger, json_row, settings_path

PARSE = json_row("a number", lambda row: int(row["n"]), "remove it to count again")


def open_ledger(path, settings=None):
    return Ledger(path, PARSE, settings)


def numbers(path):
    return [row for _, row in open_ledger(path).rows()]


def test_what_is_appended_is_there_and_its_settings_beside_it(tmp_path):
    path = tmp_path / "new" / "counts.jsonl"
    ledger = open_ledger(path, {"seed": 1})
    assert (list(ledger.rows()), path.exists()) == ([], False)
    ledger.append('{"n": 1}')
    ledger.append('{"n": 2}', '{"n": 3}')
    assert path.read_bytes() == b'{"n": 1}\n{"n": 2}\n{"n": 3}\n'
    assert list(ledger.rows()) == [(f"{path}, row {n}", n) for n in (1, 2, 3)]
    assert json.loads(settings_path(path).read_text()) == {"seed": 1}
    with pytest.raises(OutputError, match=r"other settings: seed \(there 1, asked 2\)"):
        open_ledger(path, {"seed": 2})


def test_while_there_are_no_rows_other_settings_take_the_place_of_those_written(tmp_path):
    """As after a call that was ended before its first response; a journal holds rows, too."""
    path, journal = tmp_path / "counts.jsonl", tmp_path / "counts.samples.jsonl"
    for seed in (1, 2):
        Ledger(path, PARSE, {"seed": seed}, beside=[journal])
        journal.touch()
    assert json.loads(settings_path(path).read_text()) == {"seed": 2}
    journal.write_text('{"n": 1}\n')
    with pytest.raises(OutputError, match=r"other settings: seed \(there 2, asked 3\)"):
        Ledger(path, PARSE, {"seed": 3}, beside=[journal])


def test_rows_of_which_nothing_says_how_they_were_made_are_refused_and_stay(tmp_path):
    path, journal = tmp_path / "counts.jsonl", tmp_path / "counts.samples.jsonl"
    for stray in (path, journal):
        stray.write_text('{"n": 1}\n')
        with pytest.raises(
            OutputError, match=rf"/{stray.name}: there, and counts.settings.json, .* is not; move the f"
        ):
            Ledger(path, PARSE, {"seed": 1}, beside=(journal,))
        assert {file.name: file.read_text() for file in tmp_path.iterdir()} == {stray.name: '{"n": 1}\n'}
        stray.unlink()
    Ledger(path, PARSE, {"seed": 1}, beside=(journal,)).append('{"n": 1}')
    Ledger(path, PARSE, {"seed": 1}, beside=(journal,))


@pytest.mark.parametrize("long", [1, 70_000])
def test_wherever_a_kill_cut_the_file_whole_rows_stay_and_the_next_one_stands_alone(tmp_path, long):
    path = tmp_path / "counts.jsonl"
    rows = [json.dumps({"n": n, "text": "ä" * long}, ensure_ascii=False) for n in range(3)]
    open_ledger(path).append(*rows)
    data, length = path.read_bytes(), len(rows[0].encode()) + 1
    for cut in {0, 1, length - 1, length, length + 9, 2 * length - 2, len(data) - 1, len(data)}:
        path.write_bytes(data[:cut])
        ledger = open_ledger(path)
        assert path.read_bytes() == data[: cut // length * length]
        ledger.append('{"n": 7}')
        assert numbers(path) == [*range(cut // length), 7]


def test_a_malformed_row_is_named_with_what_to_do(tmp_path):
    path = tmp_path / "counts.jsonl"
    for wrong in ('{"m": 1}', "[]", "{", '{"n": "x"}', "[" * 100_000):
        path.write_text('{"n": 1}\n' + wrong + "\n")
        with pytest.raises(DataError, match=r"counts.jsonl, row 2: not a number \(.*\); remove it to count again"):
            numbers(path)


def test_rows_that_are_not_wanted_are_dropped_and_the_others_keep_their_bytes(tmp_path):
    path = tmp_path / "counts.jsonl"
    path.write_text('{"n":1}\n{"n": 2}\n{ "n": 3}\n')
    open_ledger(path).keep(lambda n: n != 2)
    assert path.read_text() == '{"n":1}\n{ "n": 3}\n'
    assert [file.name for file in tmp_path.iterdir()] == ["counts.jsonl"]
