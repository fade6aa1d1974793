"""What a model of the small world does on problems: accuracy, length and redundancy of sampled responses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel, PreTrainedTokenizerFast

from attnpo.tinyworld.oracle import label_steps
from attnpo.tinyworld.problems import Problem

_BOXED = re.compile(r"\\boxed\{([^{}]*)\}")


def boxed_answer(response: str) -> str | None:
    """The last boxed answer after the think part, or None."""
    _, end, final = response.partition("</think>")
    found = _BOXED.findall(final) if end else []
    return found[-1].strip() if found else None


def paragraph_steps(response: str) -> list[tuple[int, int]]:
    """Half-open character spans of the think part's paragraphs, breaks included: they tile the think part."""
    end = response.find("</think>")
    end = len(response) if end < 0 else end
    steps, start = [], 0
    while start < end:
        cut = response.find("\n\n", start, end)
        stop = end if cut < 0 else cut + 2
        steps.append((start, stop))
        start = stop
    return steps


@torch.no_grad()
def sample_responses(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerFast,
    questions: Sequence[str],
    *,
    max_new_tokens: int = 384,
    batch: int = 128,
    seed: int = 0,
) -> list[list[int]]:
    """One response a question at temperature 1, as token ids without the end token."""
    generator = torch.Generator().manual_seed(seed)
    responses: list[list[int]] = [[] for _ in questions]
    for first in range(0, len(questions), batch):
        rows = list(range(first, min(first + batch, len(questions))))
        prompts = [
            tokenizer.apply_chat_template(
                [{"role": "user", "content": questions[row]}], add_generation_prompt=True, tokenize=False
            )
            for row in rows
        ]
        inputs = tokenizer(prompts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        cache = DynamicCache(config=model.config)
        for _ in range(max_new_tokens):
            logits: Tensor = model(
                input_ids=ids,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                logits_to_keep=1,
            ).logits[:, -1]
            probabilities = logits.float().softmax(-1)
            tokens = torch.multinomial(probabilities, 1, generator=generator)
            alive = (tokens[:, 0] != tokenizer.eos_token_id).nonzero()[:, 0]
            for row in alive.tolist():
                responses[rows[row]].append(int(tokens[row, 0]))
            if alive.numel() == 0:
                break
            if alive.numel() < len(rows):
                cache.batch_select_indices(alive)
                rows = [rows[row] for row in alive.tolist()]
            ids = tokens[alive]
            mask = torch.cat([mask[alive], mask.new_ones(alive.numel(), 1)], dim=1)
            positions = positions[alive][:, -1:] + 1
    return responses


@dataclass(frozen=True)
class Survey:
    """Counts over one sampled response a problem."""

    n: int
    correct_by_difficulty: dict[int, tuple[int, int]]
    """Difficulty → (correct, all)."""
    response_tokens: float
    redundant_share: float
    """Share of the think part's tokens that stand in redundant steps."""
    redundant_steps: float
    essential_steps: float

    @property
    def accuracy(self) -> float:
        """Share of problems answered correctly."""
        return sum(correct for correct, _ in self.correct_by_difficulty.values()) / max(self.n, 1)

    def table(self) -> str:
        """The figures as a Markdown table."""
        rows = ["| figure | value |", "|---|---|", f"| accuracy | {self.accuracy:.1%} |"]
        for difficulty, (correct, n) in sorted(self.correct_by_difficulty.items()):
            rows.append(f"| accuracy, {difficulty} dependent steps | {correct / n:.1%} of {n} |")
        rows += [
            f"| response tokens | {self.response_tokens:.1f} |",
            f"| think tokens in redundant steps | {self.redundant_share:.1%} |",
            f"| redundant steps a response | {self.redundant_steps:.2f} |",
            f"| essential steps a response | {self.essential_steps:.2f} |",
        ]
        return "\n".join(rows)


def survey(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerFast, problems: Sequence[Problem], seed: int = 0
) -> Survey:
    """Sample one response a problem at temperature 1 and count."""
    sampled = sample_responses(model, tokenizer, [problem.question for problem in problems], seed=seed)
    by_difficulty: dict[int, tuple[int, int]] = {}
    think_tokens = redundant_tokens = redundant = essential = 0
    for problem, ids in zip(problems, sampled, strict=True):
        response = str(tokenizer.decode(ids, skip_special_tokens=True))
        correct, n = by_difficulty.get(problem.difficulty, (0, 0))
        right = boxed_answer(response) == problem.solution
        by_difficulty[problem.difficulty] = (correct + right, n + 1)
        steps = paragraph_steps(response)
        for (start, stop), label in zip(steps, label_steps(problem.question, response, steps), strict=True):
            tokens = len(tokenizer(response[start:stop], add_special_tokens=False)["input_ids"])
            think_tokens += tokens
            redundant_tokens += tokens * (label == "redundant")
            redundant += label == "redundant"
            essential += label == "essential"
    n = len(problems)
    return Survey(
        n,
        by_difficulty,
        sum(map(len, sampled)) / max(n, 1),
        redundant_tokens / max(think_tokens, 1),
        redundant / max(n, 1),
        essential / max(n, 1),
    )
