from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.errors import DataError
from attnpo.verification.code import CodeTest, CodeTests
from attnpo.verification.code.comparison import same_output, same_value
from attnpo.verification.code.extraction import last_code_block

# --- tests as text ---------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.text(), st.text()), min_size=1), st.none() | st.floats(0.1, 60))
def test_tests_come_back(pairs, limit) -> None:
    tests = CodeTests(kind="stdin", tests=[CodeTest(input=a, output=b) for a, b in pairs], time_limit=limit)
    assert CodeTests.unpack(tests.model_dump_json()) == tests
    assert CodeTests.unpack(tests.pack()) == tests


def test_packing_makes_large_tests_small() -> None:
    tests = CodeTests(kind="stdin", tests=[CodeTest(input="1 2 3\n" * 10_000, output="6\n" * 10_000)])
    assert len(tests.pack()) < len(tests.model_dump_json()) / 100


@pytest.mark.parametrize(
    ("solution", "message"),
    [
        ("B", "Invalid JSON"),
        ('{"kind": "stdin"}', "tests: Field required"),
        ('{"kind": "stdin", "tests": []}', "tests: List should have at least 1 item"),
        ('{"kind": "run", "tests": [{"input": "", "output": ""}]}', "kind: Input should be 'stdin' or 'call'"),
        ('{"kind": "call", "tests": [{"input": "1", "output": "1"}]}', "must name its function"),
        ('{"kind": "call", "function": "f", "tests": [{"input": "1", "output": "x"}]}', "test 1 .* is not JSON"),
        ('{"kind": "call", "function": "f", "tests": [{"input": "a", "output": "1"}]}', "test 1 .* is not JSON"),
        ("zlib:!!", "no CodeTests"),
        ("zlib:AAAA", "no CodeTests"),
    ],
)
def test_a_broken_reference_is_one_clear_line(solution, message) -> None:
    with pytest.raises(DataError, match=message) as caught:
        CodeTests.unpack(solution)
    assert "\n" not in str(caught.value)


# --- where the code stands -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("```python\nprint(1)\n```", "print(1)\n"),
        ("```\na\n```\ntext\n```py\nb\n```\nmore", "b\n"),
        ("```python\nwhole\n```\n```python\ncut off", "whole\n"),
        ("~~~\na\n```\nb\n~~~", "a\n```\nb\n"),
        ("````\n```\na\n```\n````", "```\na\n```\n"),
        ("  ```python\n  x\n  ```", "x\n"),
        ("1. So:\n\n   ```python\n   if x:\n       y\n\n   z\n   ```\n2. Done.", "if x:\n    y\n\nz\n"),
        ("- ```python\n  if x:\n      y\n  ```", "if x:\n    y\n"),
        ("12. ```py\n    x\n    ```", "x\n"),
        ("\t```python\n\tif x:\n\t\ty\n\t```", "if x:\n\ty\n"),
        ("\t```python\n    if x:\n        y\n\t```", "if x:\n    y\n"),
        ('    ```\n  x = """\n a"""\n    ```', 'x = """\na"""\n'),
        ("```python\n    if x:\n        y\n    z\n```", "if x:\n    y\nz\n"),
        ('```\nx = """\n   \n"""\n```', 'x = """\n   \n"""\n'),
        ("```\nif x:\n    y\n  z\n```", "if x:\n    y\n  z\n"),
        ("\ufeff```python\nx\n```", "x\n"),
        ("```python\r\nx\r\n```\r\n", "x\n"),
        ("```\nx = 'a\u2028b\x0c\x85c'\n```", "x = 'a\u2028b\x0c\x85c'\n"),
        ("```\n- ```\n```", "- ```\n"),
        ("```python\n```", "\n"),
        ("use ```print``` inline", None),
        ("```python print(1)```", None),
        ("no code", None),
        ("", None),
    ],
)
def test_the_last_closed_block_counts(text, code) -> None:
    assert last_code_block(text) == code


@given(st.lists(st.text(st.characters(exclude_characters="`~", exclude_categories=["Cs"])).map(str.split)))
def test_code_comes_back(lines) -> None:
    code = "\n".join(" ".join(words) for words in lines)
    assert last_code_block(f"Here:\n```python\n{code}\n```\n") == code + "\n"


# --- what is right ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("3\n", "3", True),
        ("  3  \n\n", "\n3", True),
        ("1 \n 2\n", "1\n2", True),
        ("1\n\n2", "1\n2", False),
        ("1 2", "1\n2", False),
        ("1  2", "1 2", True),
        ("a  b", "a b", False),
        ("1.50", "1.5", True),
        ("1e3", "1000.0", True),
        ("0.1 0.2", "0.10 0.20", True),
        ("0.3333333333", "0.3333333334", False),
        ("50000000000000000", "50000000000000001", False),
        ("YES", "Yes", False),
        ("nan", "nan", True),
        ("nan 1", "nan  1", False),
        ("", "", True),
        ("", "0", False),
        ("x", "1", False),
        ("1", "x", False),
    ],
)
def test_output_is_compared_as_livecodebench_does(given, expected, same) -> None:
    assert same_output(given, expected) is same


words = st.text(st.characters(categories=["L", "N", "P"]), min_size=1)


@given(st.lists(st.lists(words, min_size=1, max_size=4), min_size=1, max_size=4), st.data())
@settings(max_examples=50)
def test_white_space_at_the_edges_does_not_matter(rows, data) -> None:
    space = st.sampled_from(["", " ", "\t", "  "])
    lines = [" ".join(row) for row in rows]
    padded = "\n".join(data.draw(space) + line + data.draw(space) for line in lines)
    assert same_output(data.draw(space) + padded + "\n\n", "\n".join(lines))
    assert not same_output(padded + "\nx", "\n".join(lines))


@pytest.mark.parametrize(
    ("given", "expected", "same"),
    [
        ("[1, 2]", "[1,2]", True),
        ("[2, 1]", "[1,2]", False),
        ("1.0", "1", True),
        ("true", "1", True),
        ("0.30000000000000004", "0.3", False),
        ('"1"', "1", False),
        ('{"a": 1, "b": 2}', '{"b": 2, "a": 1}', True),
        ("null", "null", True),
        ("NaN", "NaN", False),
        ("9" * 5000, "9" * 5000, True),
        ("9" * 5000, "9" * 4999 + "8", False),
        ("[" * 100_000, "[]", False),
        ("", "0", False),
        ("1 1", "1", False),
        ("[" + "0," * 10**6 + "0]", "0", False),
    ],
)
def test_values_are_compared_as_python_does(given, expected, same) -> None:
    assert same_value(given, expected) is same


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(values, values)
@settings(max_examples=50)
def test_values_agree_with_python(first, second) -> None:
    assert same_value(json.dumps(first), json.dumps(first))
    assert same_value(json.dumps(first), json.dumps(second)) is (first == second)
