"""What a method may draw from the policy: free responses, continuations of a prefix, answers to probe with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor
from transformers import PreTrainedTokenizerBase

from attnpo.markers import markers_of
from attnpo.rollouts import Rollout, SegmentedResponse
from attnpo.sampling import SampledResponse
from attnpo.think import ThinkOpening


@dataclass(frozen=True)
class Continuation:
    """What follows some tokens of a response.

    Attributes:
        row: index of the prompt, among those of this process.
        max_new_tokens: limit on what is drawn, in tokens, the prefix not counted.
        prefix_ids: response tokens that stand already.
        sample: tells continuations of the same prefix apart; with the row and the place of the call within the step
            it decides what is drawn.
    """

    row: int
    max_new_tokens: int
    prefix_ids: tuple[int, ...] = ()
    sample: int = 0


class Draw(Protocol):
    """Draws from the policy as it is."""

    def __call__(self, wanted: Sequence[Continuation]) -> list[SampledResponse]:
        """Return what follows each prefix: new tokens alone. Every one of them is counted as sampled."""
        ...


@dataclass(frozen=True)
class TokenStats:
    """What the policy thinks of each token of a response, at the temperature of sampling.

    Attributes:
        log_probs_T: (T,) float32, log-probability of the token.
        top_log_probs_T: (T,) float32, that of the likeliest token in its place.
        entropies_T: (T,) float32, entropy in nats of the distribution that it was drawn from.
    """

    log_probs_T: Tensor
    top_log_probs_T: Tensor
    entropies_T: Tensor


@dataclass(frozen=True)
class Policy:
    """What a method may do with the policy while responses are made.

    Attributes:
        tokenizer: the model's.
        draw: draws continuations.
        segment: cuts sampled ids into steps and answer, told whether they begin inside a think part; see `cut`.
        verify: says of each (response text, reference answer) whether it is correct.
        token_stats: (prompts' ids, responses' ids) -> what it thinks of each response's tokens; costs a forward pass,
            which is counted.
        next_log_probs: contexts' ids -> (N, V) float32, log-probabilities of the token that follows each context at
            the temperature of sampling (before top-p and top-k); costs a forward pass, which is counted.
    """

    tokenizer: PreTrainedTokenizerBase
    draw: Draw
    segment: Callable[[Sequence[int], bool], SegmentedResponse]
    verify: Callable[[Sequence[str], Sequence[str]], list[bool]]
    token_stats: Callable[[Sequence[Sequence[int]], Sequence[Sequence[int]]], list[TokenStats]]
    next_log_probs: Callable[[Sequence[Sequence[int]]], Tensor]

    @cached_property
    def opens_think(self) -> ThinkOpening:
        """Says of a prompt's ids whether it leaves a think part open."""
        return ThinkOpening(self.tokenizer)

    def entropies(self, prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> list[Tensor]:
        """Return for each response the entropy of each token (`TokenStats.entropies_T`)."""
        return [stats.entropies_T for stats in self.token_stats(prompts, responses)]

    def cut(self, prompt_ids: Sequence[int], response_ids: Sequence[int]) -> SegmentedResponse:
        """Return a response cut into steps and answer."""
        return self.segment(response_ids, self.opens_think(prompt_ids))

    def encode(self, text: str) -> list[int]:
        """Return the ids of a piece of a response; special tokens and think tags that it names become the model's."""
        ids: list[int] = self.tokenizer(markers_of(self.tokenizer).write(text), add_special_tokens=False)["input_ids"]
        return ids


@dataclass(frozen=True)
class Requests:
    """The responses that are wanted of this process, one an entry; those of a group stand together.

    Attributes:
        prompt_ids: what the model reads.
        solutions: reference answers.
        group_ids: number of each response's group within the run.
        samples: number of each response within its group.
        max_new_tokens: limit on a response, in tokens.
        progress_step: optimizer step t, counted from 0.
        keys: name of each problem, for what is remembered of it: its `problem_id`, else its prompt.
    """

    prompt_ids: list[tuple[int, ...]]
    solutions: list[str]
    group_ids: list[int]
    samples: list[int]
    max_new_tokens: int
    progress_step: int = 0
    keys: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.prompt_ids)

    def free(self) -> list[Continuation]:
        """Return one whole response a request."""
        return [Continuation(row, self.max_new_tokens, sample=sample) for row, sample in enumerate(self.samples)]


@dataclass(frozen=True)
class Drawn:
    """Responses to train on.

    Attributes:
        responses: their ids, prefixes included.
        facts: by name one number a response, for `GroupBatch.facts` and `StepBatch.facts`.
        sampling_log_probs: for each response, place of a token -> log-probability under which it was really drawn,
            where that is not the policy's own: the loss takes it as the old log-probability.
    """

    responses: list[SampledResponse]
    facts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    sampling_log_probs: Sequence[Mapping[int, float]] | None = None


@dataclass(frozen=True)
class Sampled:
    """The responses of this process, segmented and verified, before their rewards.

    Attributes:
        rollouts: the responses.
        prompt_ids: what the model read for each; index of a response = `Continuation.row`.
        progress_step: optimizer step t, counted from 0.
    """

    rollouts: Sequence[Rollout]
    prompt_ids: Sequence[tuple[int, ...]]
    progress_step: int = 0


@dataclass(frozen=True)
class Probed:
    """What was found out about responses.

    Attributes:
        facts: by name one number a response, for `GroupBatch.facts` and `StepBatch.facts`.
        step_values: by name one number a step of each response, for `StepBatch.step_values`.
        token_values: by name one number a token of each response, for `StepBatch.token_values`.
    """

    facts: Mapping[str, Sequence[float]] = field(default_factory=dict)
    step_values: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    token_values: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
