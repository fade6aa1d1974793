"""A toy world for rooms that need a whole pipeline: tokens are ASCII characters, responses come from a seed."""

from __future__ import annotations

import random
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from attnpo.collecting import collect_rollouts, read_groups
from attnpo.datasets import ProblemRow
from attnpo.rollouts import Rollout, SegmentedResponse, Step
from attnpo.sampling import SampledResponse, SampleRequest, SamplingParams

CLOSE = "</think>"


class Interrupted(Exception):
    """Stands for a kill."""


class ToyTokenizer:
    pad_token_id = 0
    eos_token_id = 1

    def __call__(self, text: str) -> dict[str, list[int]]:
        return {"input_ids": [ord(c) for c in text]}


def toy_cut(response_ids: Sequence[int]) -> SegmentedResponse:
    """Paragraphs are steps; one character is one token, the end token has no text."""
    text = "".join(chr(i) for i in response_ids if i != 1)
    closed = CLOSE in text
    think_end = text.index(CLOSE) if closed else len(text)
    steps, start = [], 0
    while start < think_end:
        stop = text.find("\n\n", start, think_end)
        stop = think_end if stop < 0 else stop + 2
        steps.append(Step((start, stop), (start, stop), "confused" if text.startswith("Wait", start) else "plain"))
        start = stop
    answer = (think_end + len(CLOSE), len(text)) if closed else (len(text), len(text))
    return SegmentedResponse(text, len(response_ids), tuple(steps), (0, think_end), answer, answer, closed)


class ToySegmenter:
    """Every prompt leaves a think part open."""

    def opens_think(self, prompt_ids: Sequence[int]) -> bool:
        return True

    def __call__(self, response_ids: Sequence[int], in_think: bool = True) -> SegmentedResponse:
        assert in_think
        return toy_cut(response_ids)


toy_segmenter = ToySegmenter()


class ToyVerifier:
    """The text after `</think>` is the answer."""

    calls = 0

    def verify(self, responses: Sequence[str], solutions: Sequence[str]) -> list[bool]:
        self.calls += 1
        return [CLOSE in r and r.split(CLOSE)[1].strip() == s for r, s in zip(responses, solutions, strict=True)]

    def answers(self, responses: Sequence[str]) -> list[str | None]:
        return [r.split(CLOSE)[1].strip() if CLOSE in r else None for r in responses]


def toy_labeler(question: str, response: str, steps: Sequence[tuple[int, int]]) -> list[str]:
    words = {"So": "essential", "Wait": "redundant"}
    return [words.get(response[a:b].split()[0].strip(","), "undecided") for a, b in steps]


@dataclass
class ToySampler:
    """Draws a response from (seed, key, sample) alone; may break off after some, or take an order of its own."""

    interrupt_after: int | None = None
    backwards: bool = False
    error: Exception = field(default_factory=Interrupted)
    sampled: list[tuple[str, int]] = field(default_factory=list)

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        order = range(len(requests))
        for done, index in enumerate(reversed(order) if self.backwards else order):
            if done == self.interrupt_after:
                raise self.error
            request = requests[index]
            question = "".join(map(chr, request.prompt_ids))
            self.sampled.append((question, request.sample))
            yield index, self._draw(question, random.Random(f"{params.seed}/{request.key}/{request.sample}"), params)

    def _draw(self, question: str, rng: random.Random, params: SamplingParams) -> SampledResponse:
        hard, number = question.split()
        answer = int(number) if rng.random() < {"easy": 0.9, "hard": 0.4}[hard] else -1
        steps = [f"So it is {answer}.", *("Wait, is it?" + "?" * rng.randrange(4) for _ in range(rng.randrange(3)))]
        steps += ["Hm."] * rng.randrange(2)
        rng.shuffle(steps)
        ids = [ord(c) for c in "\n\n".join(steps) + f"{CLOSE}{answer}"] + [1]
        return SampledResponse(ids[: params.max_new_tokens], len(ids) <= params.max_new_tokens)


def toy_problems(n: int) -> list[ProblemRow]:
    levels = ("easy", "hard")
    return [ProblemRow(f"p{i}", f"{levels[i % 2]} {i}", str(i), levels[i % 2]) for i in range(n)]


def toy_rollouts(folder: Path, problems: int, samples: int) -> list[Rollout]:
    chosen = toy_problems(problems)
    collected = collect_rollouts(
        folder / "toy_rollouts.jsonl",
        chosen,
        tokenizer=ToyTokenizer(),
        sampler=ToySampler(),
        segmenter=toy_segmenter,
        verifier=ToyVerifier(),
        samples=samples,
        params=SamplingParams(200),
        settings={},
    )
    return read_groups(collected.path, chosen)


@pytest.fixture
def toy() -> SimpleNamespace:
    return SimpleNamespace(
        tokenizer=ToyTokenizer(),
        segmenter=toy_segmenter,
        verifier=ToyVerifier(),
        labeler=toy_labeler,
        Sampler=ToySampler,
        Interrupted=Interrupted,
        problems=toy_problems,
        rollouts=toy_rollouts,
    )


@pytest.fixture
def heard() -> Iterator[None]:
    """Have Ctrl-C heard, which what a shell puts into the background ignores."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)
