from __future__ import annotations

from typing import ClassVar

import pytest
from pydantic import BaseModel

from attnpo.documents import Document
from attnpo.errors import DataError


class Part(BaseModel):
    n: int


class Measured(Document):
    MAKE: ClassVar[str] = "measure it"
    MEND: ClassVar[str] = "measure it again"
    parts: list[Part]


def test_a_document_comes_back_as_it_was(tmp_path):
    path, document = tmp_path / "a.json", Measured(parts=[Part(n=1)])
    document.save(path)
    assert path.read_text() == '{\n  "parts": [\n    {\n      "n": 1\n    }\n  ]\n}\n'
    assert Measured.load(path) == document


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "not valid JSON"),
        (
            '{"parts": [{"n": 1}, {"n": "x"}]}',
            r"field parts\.1\.n: Input should be a valid integer.*; measure it again",
        ),
        ("{}", "field parts: Field required; measure it again"),
        (None, "no such file; measure it"),
    ],
)
def test_what_is_wrong_is_named_in_one_line(tmp_path, content, words):
    path = tmp_path / "a.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=rf"^{path}: {words}"):
        Measured.load(path)
