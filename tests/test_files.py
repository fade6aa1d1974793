from __future__ import annotations

import pytest

from attnpo.errors import ConfigError, DataError
from attnpo.files import UserFile


@pytest.fixture
def file(tmp_path):
    def write(content: str | bytes) -> UserFile:
        path = tmp_path / "f"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return UserFile(path, "recipe", ConfigError, "--recipe f", "write one")

    return write


def said(read) -> str:
    with pytest.raises(ConfigError) as error:
        read()
    return str(error.value)


def test_what_is_there_is_read(file):
    assert file("é\n").text() == "é\n"
    assert file('{"a": [1, null]}').json() == {"a": [1, None]}
    assert file("base: &b {x: 1}\nother: {<<: *b, y: 2}\nsame: [*b, *b]\n").yaml() == {
        "base": {"x": 1},
        "other": {"x": 1, "y": 2},
        "same": [{"x": 1}, {"x": 1}],
    }
    # Only a line feed ends a row: other separators may stand inside a string.
    assert list(file("a\u2028b\n\n c").lines()) == [("--recipe f, row 1", "a\u2028b\n"), ("--recipe f, row 3", " c")]


@pytest.mark.parametrize("read", ["text", "json", "yaml", "lines"])
def test_no_text_is_refused_by_every_reader(file, tmp_path, read):
    def reading(one: UserFile):
        return lambda: list(getattr(one, read)())

    def at(name: str) -> UserFile:
        return UserFile(tmp_path / name, "recipe", ConfigError)

    assert said(reading(at("gone"))) == f"{tmp_path / 'gone'}: no such recipe"
    (tmp_path / "folder").mkdir()
    assert said(reading(at("folder"))) == f"{tmp_path / 'folder'}: is a folder, not a recipe"
    assert said(reading(file(b"\xff\xfe"))) == "--recipe f: not a text file in UTF-8; write one"


@pytest.mark.parametrize(
    ("read", "content", "reason"),
    [
        ("json", "{", "not valid JSON (Expecting property name"),
        ("json", "[" * 100_000, "not valid JSON (nested too deeply)"),
        ("yaml", "a: [", "not valid YAML (line 1: "),
        ("yaml", "[" * 2000, "not valid YAML (nested too deeply)"),
        ("yaml", "a: 1\nb:\n  c: 1\n  c: 2\n", "not valid YAML (line 4: c is set twice"),
        ("yaml", "a: &x {b: [*x]}", "not valid YAML (line 1: *x contains itself"),
        ("yaml", "? {a: 1}\n: 2", "unhashable key"),
        ("yaml", "a: !!python/name:os.system", "not valid YAML (line 1: could not determine a constructor"),
        ("yaml", "a: \x00", "not valid YAML ("),
    ],
)
def test_malformed_content_is_one_line_with_the_fix(file, read, content, reason):
    line = said(getattr(file(content), read))
    assert line.startswith("--recipe f: ")
    assert reason in line
    assert line.endswith("; write one")
    assert "\n" not in line


def test_data_is_the_usual_kind(tmp_path):
    with pytest.raises(DataError, match=r"no such file$"):
        UserFile(tmp_path / "gone").check()
