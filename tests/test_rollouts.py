from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from attnpo.errors import DataError
from attnpo.rollouts import Rollout, Step, read_rollouts, write_rollouts

STEPS = (Step((0, 4), (0, 2), "plain", "essential", 0.5, 1.0), Step((4, 9), (2, 4), "summary"), Step((9, 9), (4, 4)))
ROLLOUT = Rollout(
    "p", [{"role": "user", "content": "q"}], "4", 0, (5, 6, 7, 8, 9, 0), "One. Two.\n</think>4 é", True, True, STEPS,
    (5, 6), "1", "sums", "4", 0.5, -1.0, {"train_step": 3, "any": [1, {"a": None}]}, "...\n",
)  # fmt: skip


def changed(**changes: Any) -> dict[str, Any]:
    return {**json.loads(ROLLOUT.to_json()), **changes}


def with_step(number: int, **changes: Any) -> dict[str, Any]:
    row = changed()
    row["steps"][number].update(changes)
    return row


def without(name: str) -> dict[str, Any]:
    row = changed()
    del row[name]
    return row


def write(path: Path, *rows: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"\n".join(row if isinstance(row, bytes) else json.dumps(row).encode() for row in rows))
    return path


def test_rollouts_come_back(tmp_path: Path) -> None:
    rollouts = [
        ROLLOUT,
        replace(ROLLOUT, sample=1, prompt="q", steps=(), answer_tokens=(0, 0), correct=None, opening=""),
    ]
    write_rollouts(tmp_path / "r.jsonl", rollouts)
    assert list(read_rollouts(tmp_path / "r.jsonl")) == rollouts
    text = (tmp_path / "r.jsonl").read_bytes()
    (tmp_path / "r.jsonl").write_bytes(b"\xef\xbb\xbf" + text.replace(b"\n", b"\r\n\r\n"))
    assert list(read_rollouts(tmp_path / "r.jsonl")) == rollouts


def test_half_a_character_of_whoever_made_the_row_can_be_written(tmp_path) -> None:
    half = replace(ROLLOUT, prompt="q \ud83d", answer="\udc00", extra={"failure": "refused: \ud83d"})
    write_rollouts(tmp_path / "r.jsonl", [half])
    whole = replace(ROLLOUT, prompt="q \ufffd", answer="\ufffd", extra={"failure": "refused: \ufffd"})
    assert list(read_rollouts(tmp_path / "r.jsonl")) == [whole]


def test_half_a_character_is_read() -> None:
    row = changed(response=ROLLOUT.response[:-1] + "\ud83d", extra={"whole": "😀"})
    rollout = Rollout.from_json(json.dumps(row))
    assert rollout == replace(ROLLOUT, response=ROLLOUT.response[:-1] + "\ufffd", extra={"whole": "😀"})


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (changed(correct="maybe"), "correct: Input should be a valid boolean, is 'maybe'"),
        (changed(correct=1), "correct: Input should be a valid boolean, is 1"),
        (changed(finished=None), "finished: Input should be a valid boolean"),
        (changed(response_ids="5 6 7"), "response_ids: Input should be a valid array, is '5 6 7'"),
        (changed(response_ids=[5, "6"]), "response_ids.1: Input should be a valid integer, is '6'"),
        (changed(response_ids=[5, 6.5]), "response_ids.1: Input should be a valid integer"),
        (changed(response_ids=[5, None]), "response_ids.1: Input should be a valid integer"),
        (changed(response_ids=[True]), "response_ids.0: Input should be a valid integer"),
        (changed(response_ids=[5, -6]), "response_ids.1: Input should be greater than or equal to 0"),
        (changed(response_ids=[10**12]), "response_ids.0: Input should be less than"),
        (changed(response_ids=[10**30]), "response_ids.0: Input should be less than"),
        (changed(sample="0"), "sample: Input should be a valid integer"),
        (changed(sample=-1), "sample: Input should be greater than or equal to 0"),
        (changed(problem_id=7), "problem_id: Input should be a valid string, is 7"),
        (changed(solution=4), "solution: Input should be a valid string"),
        (changed(response=None), "response: Input should be a valid string"),
        (changed(pass_rate=1.5), "pass_rate: Input should be less than or equal to 1"),
        (changed(pass_rate=float("nan")), "pass_rate: Input should be"),
        (changed(extra=[1]), "extra: Input should be"),
        (changed(prompt=7), r"prompt\.\S+: Input should be a valid string"),
        (changed(prompt=[{"role": "user"}]), "prompt: a message lacks role or content"),
        (changed(colour="red"), "colour: there is no such field"),
        (with_step(0, colour="red"), "steps.0.colour: there is no such field"),
        (without("response_ids"), "response_ids: Field required"),
        (without("finished"), "finished: Field required"),
        (changed(steps={}), "steps: Input should be a valid array"),
        (changed(steps=[7]), "steps.0: Input should be"),
        (with_step(1, label="vital"), "steps.1.label: Input should be 'essential', 'redundant' or 'undecided'"),
        (with_step(1, family="vital"), "steps.1.family: Input should be"),
        (with_step(1, tokens=[2]), "steps.1.tokens.1: Field required"),
        (with_step(1, tokens=[2, 3, 4]), "steps.1.tokens: Tuple should have at most 2 items"),
        (with_step(1, tokens="24"), "steps.1.tokens: Input should be a valid array"),
        (with_step(1, tokens=[2, 7]), r"steps.1.tokens: \[2, 7\] is no span of the response's 6 tokens"),
        (with_step(1, tokens=[4, 2]), r"steps.1.tokens: \[4, 2\] is no span of the response's 6 tokens"),
        (with_step(0, tokens=[-1, 2]), r"steps.0.tokens: \[-1, 2\] is no span"),
        (with_step(1, tokens=[1, 4]), r"steps.1.tokens: \[1, 4\] begins before the end of step 0, 2"),
        (with_step(2, tokens=[0, 1]), r"steps.2.tokens: \[0, 1\] begins before the end of step 1, 4"),
        (with_step(1, chars=[4, 99]), r"steps.1.chars: \[4, 99\] is no span of the response's 21 characters"),
        (with_step(1, chars=[3, 9]), r"steps.1.chars: \[3, 9\] begins before the end of step 0, 4"),
        (changed(answer_tokens=[5, 7]), r"answer_tokens: \[5, 7\] is no span of the response's 6 tokens"),
        (changed(answer_tokens=[6, 5]), r"answer_tokens: \[6, 5\] is no span"),
        (changed(answer_tokens=[3, 6]), r"answer_tokens: \[3, 6\] overlaps the last step's tokens \[4, 4\]"),
        (b"{", "Invalid JSON"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[]", "Input should be"),
    ],
    ids=lambda value: value if isinstance(value, str) else "row",
)
def test_a_malformed_row_is_one_line_with_row_and_field(
    tmp_path: Path, row: dict[str, Any] | bytes, problem: str
) -> None:
    path = write(tmp_path / "r.jsonl", changed(sample=7), b"", row)
    with pytest.raises(DataError, match=rf"r.jsonl, row 3: not a rollout row \({problem}") as caught:
        list(read_rollouts(path))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400 + len(str(path))


@pytest.mark.parametrize(
    "row", [b"\x89PNG\r\x1a\x00\xff\xfe", json.dumps(changed()).encode().replace(b"One", b"\xff\xfe\xfd")]
)
def test_a_row_of_bytes_is_named(tmp_path: Path, row: bytes) -> None:
    path = write(tmp_path / "r.jsonl", changed(sample=7), b"", row)
    with pytest.raises(DataError, match=r"r.jsonl, row 3: not text in UTF-8$"):
        list(read_rollouts(path))


def test_a_response_stands_in_a_file_once(tmp_path: Path) -> None:
    path = write(
        tmp_path / "r.jsonl", changed(), changed(sample=1), changed(problem_id="q"), b"", changed(response="0" * 21)
    )
    with pytest.raises(DataError, match=r"r.jsonl, row 5: problem_id 'p' and sample 0 are those of row 1; remove one"):
        list(read_rollouts(path))
    steps = write(tmp_path / "r.jsonl", *(changed(extra={"train_step": step}) for step in range(3)))
    assert len(list(read_rollouts(steps))) == 3
