"""Worked solutions → token ids to train on: the prompt and the slips of a trace are read, not learnt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

from attnpo.errors import ConfigError
from attnpo.gsmworld.traces import PLAIN, Trace, TraceStyle, write_trace
from attnpo.sampling.prompts import rendered_text
from attnpo.think import THINK_OPEN

CHATML = Path(__file__).with_name("chatml.jinja")
"""ChatML without the system message that some models' templates put in front of every prompt."""
WINDOW = 50
"""Batches whose rows are sorted by length together."""

Row = dict[str, list[int]]


@dataclass(frozen=True)
class WorkedProblem:
    """A problem with its worked solution.

    Attributes:
        prompt: chat messages, or text.
        question: the question's text.
        worked: the worked solution, a line a step.
        answer: the answer in figures.
    """

    prompt: Any
    question: str
    worked: str
    answer: str


def write_traces(
    problems: Sequence[WorkedProblem], seed: int = 0, style: TraceStyle | None = None, plain: int = 0
) -> list[Trace]:
    """Write one trace a problem, those of the first `plain` problems without detours."""
    rng = Random(f"attnpo.coldstart/{seed}")
    return [
        write_trace(p.question, p.worked, p.answer, Random(rng.getrandbits(64)), PLAIN if number < plain else style)
        for number, p in enumerate(problems)
    ]


def open_think_part(tokenizer: Any, chat_template: str | None = None) -> None:
    """Make a tokenizer's chat template end its generation prompt in `<think>`, as R1's does.

    Args:
        tokenizer: the tokenizer; changed in place.
        chat_template: a template to use instead of its own.

    Raises:
        ConfigError: there is no template.
        DataError: it cannot render a message.
    """
    template = chat_template or tokenizer.chat_template
    if not template:
        raise ConfigError("--chat_template: the tokenizer has none; name a file, or chatml")
    tokenizer.chat_template = template
    if not _prompt(tokenizer, [{"role": "user", "content": "?"}]).rstrip().endswith(THINK_OPEN):
        tokenizer.chat_template = template + "{% if add_generation_prompt %}{{ '" + THINK_OPEN + "\\n' }}{% endif %}"


def training_rows(problems: Sequence[WorkedProblem], traces: Sequence[Trace], tokenizer: Any) -> list[Row]:
    """Return rows as TRL's SFTTrainer takes them when they are tokenized already.

    Returns:
        One row a problem: `input_ids` (L,) of prompt, trace and end token; `completion_mask` (L,), 1 where a token is
        learnt: those of the trace outside its masked spans.
    """
    rows = []
    for problem, trace in zip(problems, traces, strict=True):
        prompt = tokenizer(_prompt(tokenizer, problem.prompt), add_special_tokens=False)["input_ids"]
        encoded = tokenizer(trace.text, add_special_tokens=False, return_offsets_mapping=True)
        learnt = [
            int(not any(start < stop and first < end for first, stop in trace.masked))
            for start, end in encoded["offset_mapping"]
        ]
        rows.append(
            {
                "input_ids": [*prompt, *encoded["input_ids"], tokenizer.eos_token_id],
                "completion_mask": [*([0] * len(prompt)), *learnt, 1],
            }
        )
    return rows


def order_rows(rows: Sequence[Row], batch: int, seed: int = 0, stages: Sequence[int] = ()) -> list[Row]:
    """Return the rows in batches of like length, the batches in random order, stage after stage.

    The order depends on nothing else, so that a run that was ended goes on with the rows that it had not seen.

    Args:
        rows: rows in random order.
        batch: rows a batch.
        seed: seed of the order.
        stages: rows of each stage but the last, which has the rest.
    """
    if stages:
        first, *others = stages
        return [*order_rows(rows[:first], batch, seed), *order_rows(rows[first:], batch, seed, others)]
    window = batch * WINDOW
    ordered: list[Row] = []
    for first in range(0, len(rows), window):
        ordered += sorted(rows[first : first + window], key=lambda row: len(row["input_ids"]))
    batches = [ordered[first : first + batch] for first in range(0, len(ordered), batch)]
    ends = [] if len(ordered) % batch == 0 else [batches.pop()]  # only the last batch may be short
    Random(f"attnpo.coldstart/order/{seed}").shuffle(batches)
    return [row for each in (*batches, *ends) for row in each]


def _prompt(tokenizer: Any, prompt: Any) -> str:
    if isinstance(prompt, str):
        prompt = [{"role": "user", "content": prompt}]
    return rendered_text(tokenizer, prompt)
