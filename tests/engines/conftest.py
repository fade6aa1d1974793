"""Engines as they are; `make test-vllm` and `make test-llama` install them into environments of their own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.datasets import ProblemRow, load_problems
from attnpo.sampling import SampleRequest, SamplingParams, TransformersSampler, render_prompt
from attnpo.tinyworld import checkpoint_path

GREEDY = SamplingParams(192, temperature=0.0, seed=1)
FIGURES: list[str] = []


@pytest.fixture(scope="session")
def figure() -> Callable[[str], None]:
    """Notes what was measured; it is printed below the tests."""
    return FIGURES.append


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if FIGURES:
        terminalreporter.section("measured")
        for line in FIGURES:
            terminalreporter.write_line(line)


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def greedy() -> SamplingParams:
    return GREEDY


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(checkpoint_path())


@pytest.fixture(scope="session")
def problems() -> list[ProblemRow]:
    return load_problems("attnpo.tinyworld:heldout_dataset", limit=20)


@pytest.fixture(scope="session")
def asked(tokenizer: Any, problems: list[ProblemRow]) -> list[SampleRequest]:
    return [
        SampleRequest(problem.prompt, tuple(render_prompt(tokenizer, problem.prompt)), key, 0)
        for key, problem in enumerate(problems)
    ]


@pytest.fixture(scope="session")
def ours(tokenizer: Any, asked: list[SampleRequest]) -> list[list[int]]:
    """The ids of the project's own sampler, greedy, in float32."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32).eval()
    found = dict(TransformersSampler(model, tokenizer).sample(asked, GREEDY))
    return [list(found[index].ids) for index in range(len(asked))]
