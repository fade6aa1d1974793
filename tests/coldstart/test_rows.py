from __future__ import annotations

import pytest
from byte_tokenizer import byte_tokenizer

from attnpo.coldstart import ColdStartConfig, WorkedProblem, open_think_part, order_rows, training_rows, write_traces
from attnpo.errors import ConfigError
from attnpo.gsmworld import TraceStyle
from attnpo.gsmworld.equations import find_equations
from attnpo.gsmworld.traces import solution_steps

CHAT = "{% for m in messages %}[{{ m['content'] }}]{% endfor %}{% if add_generation_prompt %}A:{% endif %}"
PROBLEMS = [
    WorkedProblem([{"role": "user", "content": "6 cups of 7?"}], "6 cups of 7?", "6*7=42 in all.", "42"),
    WorkedProblem("10 less 3?", "10 less 3?", "10-3=7 are left.", "7"),
]


@pytest.fixture
def tokenizer():
    tokenizer = byte_tokenizer(adds_bos=False)
    tokenizer.chat_template = CHAT
    open_think_part(tokenizer)
    return tokenizer


def test_prompt_is_read_and_trace_is_learnt(tokenizer) -> None:
    traces = write_traces(PROBLEMS, 1, TraceStyle(slip=0))
    for row, problem, trace in zip(training_rows(PROBLEMS, traces, tokenizer), PROBLEMS, traces, strict=True):
        assert len(row["input_ids"]) == len(row["completion_mask"])
        learnt = [i for i, keep in zip(row["input_ids"], row["completion_mask"], strict=True) if keep]
        read = [i for i, keep in zip(row["input_ids"], row["completion_mask"], strict=True) if not keep]
        assert tokenizer.decode(read) == f"[{problem.question}]A:<think>\n"
        assert learnt.pop() == tokenizer.eos_token_id
        assert tokenizer.decode(learnt) == trace.text


def test_wrong_values_are_read_but_not_learnt(tokenizer) -> None:
    traces = write_traces(PROBLEMS, 0, TraceStyle(slip=0.99))
    for row, problem, trace in zip(training_rows(PROBLEMS, traces, tokenizer), PROBLEMS, traces, strict=True):
        (start, stop), *_ = trace.masked
        ids, mask = row["input_ids"], row["completion_mask"]
        response = len(tokenizer(f"[{problem.question}]A:<think>\n")["input_ids"])  # a byte a token up to </think>
        assert tokenizer.decode(ids[response + start : response + stop]) == trace.text[start:stop]
        assert mask[response + start : response + stop] == [0] * (stop - start)
        assert sum(mask[response:]) == len(ids) - response - sum(b - a for a, b in trace.masked)


def test_a_template_that_opens_the_think_part_stays_as_it_is(tokenizer) -> None:
    opened = tokenizer.chat_template
    open_think_part(tokenizer)
    assert tokenizer.chat_template == opened


def test_a_seed_gives_the_same_traces() -> None:
    assert write_traces(PROBLEMS, 3) == write_traces(PROBLEMS, 3)
    assert write_traces(PROBLEMS, 3) != write_traces(PROBLEMS, 4)


def test_the_first_traces_take_no_detours() -> None:
    traces = write_traces(PROBLEMS, 3, plain=1)
    steps = traces[0].text.partition("</think>")[0].strip().split("\n\n")
    assert len(steps) == len(solution_steps(PROBLEMS[0].worked))
    assert all(find_equations(step) for step in steps)
    assert not traces[0].masked
    assert traces[1:] == write_traces(PROBLEMS, 3)[1:]


def test_one_stage_comes_after_the_other() -> None:
    rows = [{"input_ids": [i] * (37 * i % 101 + 1)} for i in range(100)]
    ordered = order_rows(rows, 5, stages=(20, 30))
    parts = (rows[:20], rows[20:50], rows[50:])
    assert ordered == [row for part in parts for row in order_rows(part, 5)]
    assert order_rows(rows, 5, stages=(0, 0)) == order_rows(rows, 5)


@pytest.mark.parametrize(("number", "batch"), [(400, 5), (403, 5), (3, 5), (5, 5)])
def test_batches_hold_rows_of_like_length_and_every_row_once(number: int, batch: int) -> None:
    rows = [{"input_ids": [i] * (37 * i % 101 + 1)} for i in range(number)]
    ordered = order_rows(rows, batch)
    assert sorted(row["input_ids"][0] for row in ordered) == list(range(number))
    assert ordered == order_rows(rows, batch)

    def padded(given: list[dict[str, list[int]]]) -> int:
        batches = [given[i : i + batch] for i in range(0, number, batch)]
        return sum(len(each) * max(len(row["input_ids"]) for row in each) for each in batches)

    if number > batch:
        assert ordered != order_rows(rows, batch, seed=1)
        assert padded(ordered) < 0.75 * padded(rows)


@pytest.mark.parametrize(
    ("style", "said"),
    [
        ('{"check": 0.8', "is not JSON"),
        ('{"checks": 0.8}', "the names are slip, check"),
        ('{"check": 1.5}', "style: check is 1.5; give a share"),
        ('{"check_again": 1}', "check_again is 1, which never ends"),
        ('{"check": "often"}', "style: check is 'often'"),
    ],
)
def test_a_style_that_is_none_is_refused(style: str, said: str, tmp_path) -> None:
    with pytest.raises(ConfigError, match=said):
        ColdStartConfig(output_dir=str(tmp_path), style=style)


def test_style_differs_where_it_is_given(tmp_path) -> None:
    style = ColdStartConfig(output_dir=str(tmp_path), style='{"check": 0.9}').trace_style()
    assert (style.check, style.slip) == (0.9, TraceStyle().slip)
