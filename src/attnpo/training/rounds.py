"""One generation batch, stage by stage: ask, draw, segment, verify, probe, gather, credit.

Nothing here knows TRL: the trainer calls the stages where TRL's step has their place.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from typing import Any, Protocol

import torch
from torch import Tensor

from attnpo.credit import GroupBatch, Method, Policy, Requests, Sampled
from attnpo.credit.layout import (
    group_steps,
    lay_out,
    lay_out_facts,
    lay_out_probed,
    lay_out_tokens,
    outcome,
    outcome_advantages,
    step_batch,
)
from attnpo.labeling import Labeler, label_steps
from attnpo.rollouts import Rollout, SegmentedResponse
from attnpo.sampling import SampledResponse
from attnpo.training.overlap import BackgroundChecks
from attnpo.training.round_log import RoundLog
from attnpo.training.run_meter import RunMeter


class OpenPolicy(Protocol):
    """Gives the policy for a while."""

    def __call__(
        self, prompt_ids: Sequence[Sequence[int]], group_ids: Sequence[int], *, extra: bool = False
    ) -> AbstractContextManager[Policy]:
        """Return the policy; `extra` is whether what it draws goes beyond the responses that are trained on."""
        ...


@dataclass
class RoundParts:
    """What the rounds of a run have in common.

    Attributes:
        method: decides credit.
        checks: cuts and verifies responses, in the background once they have ended.
        in_background: whether responses are handed to `checks` as they end.
        opens_think: says of a prompt's ids whether it leaves a think part open.
        verdicts: (completions, solutions) -> 1 for a correct response, else 0 or None.
        labeler: labels steps where the truth is known.
        meter: counts what is logged.
        log: writes down what became of responses.
        policy: opens the policy that responses are drawn from.
        group_size: responses a prompt.
        max_length: the run's limit on a response in tokens.
        solution_column: column of the reference answers.
        opening: the run's own text behind every prompt.
        ends_itself: whether the model ended a response.
        gather: puts a tensor's rows of all processes together.
        process: number of this process.
        device: where tensors go.
    """

    method: Method
    checks: BackgroundChecks
    in_background: bool
    opens_think: Callable[[Sequence[int]], bool]
    verdicts: Callable[..., Sequence[float | None]]
    labeler: Labeler | None
    meter: RunMeter
    log: RoundLog
    policy: OpenPolicy
    group_size: int
    max_length: int
    solution_column: str
    opening: str
    ends_itself: Callable[[Sequence[int]], bool]
    gather: Callable[[Tensor], Tensor]
    process: int
    device: torch.device


class Round:
    """A generation batch of this process.

    Attributes:
        rows: data set rows as the method asks them, one a response.
        row_ids: number of each response within the run; the same however the work is split over processes.
        keys: name of each response's problem (`problem_key`), as the data set has it.
        prompt_ids, response_ids: what the model read, and what was sampled.
        drawn: the responses, where they were drawn by the method.
        rollouts: the responses, once segmented.
        tensors: one row a response; they travel beside TRL's own.
        facts: numbers of a response by name that whole groups are judged by; the same names on every process.
        sampling_log_probs: for each response, place of a token -> log-probability it was really drawn with, where
            that is not the policy's own.
        scores_BK: step scores, once a pass under the sampling policy has read them.
    """

    def __init__(
        self, parts: RoundParts, rows: Sequence[dict[str, Any]], row_ids: Sequence[int], progress_step: int
    ) -> None:
        """Ask what the method asks."""
        size = parts.group_size
        self.parts, self.row_ids, self.progress_step = parts, list(row_ids), progress_step
        self.keys = list(map(problem_key, rows))
        self.asks = [
            parts.method.ask(row["prompt"], row_id // size, row_id % size, progress_step)
            for row, row_id in zip(rows, row_ids, strict=True)
        ]
        self.rows = [{**row, "prompt": ask.prompt} for row, ask in zip(rows, self.asks, strict=True)]
        self.prompt_ids: list[list[int]] = []
        self.response_ids: list[list[int]] = []
        self.drawn: list[SampledResponse] | None = None
        self.rollouts: list[Rollout] = []
        self.tensors: dict[str, Tensor] = {}
        self.facts: dict[str, list[float]] = {}
        self.sampling_log_probs: list[Mapping[int, float]] | None = None
        self.scores_BK: Tensor | None = None

    @property
    def openings(self) -> list[str]:
        """What the run and the method put behind each generation prompt."""
        return [self.parts.opening + ask.opening for ask in self.asks]

    @property
    def solutions(self) -> list[Any]:
        """Reference answers."""
        return [row[self.parts.solution_column] for row in self.rows]

    @property
    def group_ids(self) -> list[int]:
        """Number of each response's group within the run."""
        return [row_id // self.parts.group_size for row_id in self.row_ids]

    def draw(self, policy: Policy, prompt_ids: Sequence[Sequence[int]], limit: int) -> list[SampledResponse]:
        """Return what the method wants drawn, at most `limit` tokens a response; it is `drawn` from then on."""
        self.prompt_ids = [list(ids) for ids in prompt_ids]
        requests = Requests(
            prompt_ids=[tuple(ids) for ids in prompt_ids],
            solutions=list(map(str, self.solutions)),
            group_ids=self.group_ids,
            samples=[row_id % self.parts.group_size for row_id in self.row_ids],
            max_new_tokens=limit,
            progress_step=self.progress_step,
            keys=self.keys,
        )
        drawn = self.parts.method.sample(requests, policy)
        self.facts |= {name: list(values) for name, values in drawn.facts.items()}
        log_probs = drawn.sampling_log_probs
        self.sampling_log_probs = None if log_probs is None else list(log_probs)
        self.drawn = list(drawn.responses)
        return self.drawn

    def take(self, prompt_ids: Sequence[Sequence[int]], response_ids: Sequence[Sequence[int]]) -> None:
        """Take the sampled ids, whoever drew them."""
        self.prompt_ids, self.response_ids = [list(p) for p in prompt_ids], [list(ids) for ids in response_ids]
        for row, ids in enumerate(self.response_ids):
            self.ended(row, ids)

    def ended(self, row: int, response_ids: Sequence[int]) -> None:
        """Let a response be segmented and verified in the background; a second time is free."""
        if self.parts.in_background:
            in_think = self.parts.opens_think(self.prompt_ids[row])
            self.parts.checks.submit(response_ids, in_think, self.solutions[row])

    def cut(self) -> None:
        """Cut the responses into steps, and let the method note facts."""
        segmented = [
            self.parts.checks.segmented(ids, self.parts.opens_think(prompt), solution)
            for prompt, ids, solution in zip(self.prompt_ids, self.response_ids, self.solutions, strict=True)
        ]
        self.rollouts = [self._rollout(row, response) for row, response in enumerate(segmented)]
        noted = [self.parts.method.facts(rollout, ask) for rollout, ask in zip(self.rollouts, self.asks, strict=True)]
        self.facts |= {name: [own[name] for own in noted] for name in noted[0]}

    def groups_without_advantage(self) -> list[int]:
        """Return which of this process's groups the method's own reward leaves without advantage; nothing is learnt.

        The responses are drawn and taken, the groups whole.
        """
        self.cut()
        verdicts = self.parts.verdicts(
            completions=[rollout.full_text for rollout in self.rollouts], solutions=self.solutions
        )
        correct_BF = torch.tensor([[float(verdict or 0)] for verdict in verdicts], device=self.parts.device)
        groups = self.gather(correct_BF, gather=lambda table: table)
        rewards_PG = self.parts.method.rewards(groups)
        carries_P = (outcome_advantages(self.parts.method, rewards_PG, groups) != 0).any(dim=1)
        return [group for group, carries in enumerate(carries_P.tolist()) if not carries]

    def tokens(self, group: int) -> int:
        """Return how many tokens the responses of one of this process's groups have."""
        size = self.parts.group_size
        return sum(map(len, self.response_ids[group * size : (group + 1) * size]))

    def take_over(self, group: int, other: Round, place: int) -> None:
        """Put another round's group in the place of one of this round's, both drawn, judged and on this process."""
        size = self.parts.group_size
        for sample in range(size):
            mine, theirs = group * size + sample, place * size + sample
            self.rows[mine], self.asks[mine] = other.rows[theirs], other.asks[theirs]
            self.keys[mine] = other.keys[theirs]
            self.prompt_ids[mine], self.response_ids[mine] = other.prompt_ids[theirs], other.response_ids[theirs]
            if self.drawn is not None and other.drawn is not None:
                self.drawn[mine] = other.drawn[theirs]
            if self.sampling_log_probs is not None and other.sampling_log_probs is not None:
                self.sampling_log_probs[mine] = other.sampling_log_probs[theirs]
            for name, values in other.facts.items():
                self.facts[name][mine] = values[theirs]

    def segment(self, width: int) -> None:
        """Cut the responses into steps and lay them out, T = `width`; let the method note facts, and probe."""
        parts, device = self.parts, self.parts.device
        self.cut()
        lengths = [len(ids) for ids in self.prompt_ids]
        self.tensors = lay_out_tokens(self.rollouts, width, device)
        self.tensors |= lay_out(self.rollouts, lengths, self.row_ids, device, labelled=parts.labeler is not None)
        if parts.method.overrides("probe"):
            self._probe(width)
        self.tensors |= lay_out_facts(self.facts, device)
        parts.meter.add_responses(self.rollouts, self.tensors)
        parts.log.add_first(self.rollouts)

    def verify(self, solutions: Sequence[Any]) -> None:
        """Judge the responses."""
        texts = [rollout.full_text for rollout in self.rollouts]
        verdicts = self.parts.verdicts(completions=texts, solutions=list(solutions))
        self.parts.checks.forget()
        self.rollouts = [replace(r, correct=bool(ok)) for r, ok in zip(self.rollouts, verdicts, strict=True)]
        if self.parts.labeler is not None:
            self.parts.meter.add_verified(self.rollouts)

    def gather(self, rewards_BF: Tensor, gather: Callable[[Tensor], Tensor] | None = None) -> GroupBatch:
        """Return the whole groups of all processes.

        Args:
            rewards_BF: rewards of all processes, one column a function; the first is the verdict.
            gather: puts the rows of fewer processes together, those of `rewards_BF`.
        """
        columns = [
            [len(ids) for ids in self.response_ids],
            [int(self.parts.ends_itself(ids)) for ids in self.response_ids],
            self.row_ids,
            [int(r.answer_tokens[1] > r.answer_tokens[0]) for r in self.rollouts],
            *self.facts.values(),
        ]
        table = torch.tensor(columns, dtype=torch.float64, device=self.parts.device)
        whole = (gather or self.parts.gather)(table.T.contiguous())
        lengths, finished, row_ids, answered, *facts = whole.T.reshape(len(columns), -1, self.parts.group_size)
        groups = GroupBatch(
            correct_PG=(rewards_BF[:, 0] > 0.5).view(-1, self.parts.group_size),
            lengths_PG=lengths.long(),
            finished_PG=finished.bool(),
            progress_step=self.progress_step,
            max_length=self.parts.max_length,
            answered_PG=answered.bool(),
            group_ids_P=row_ids[:, 0].long() // self.parts.group_size,
            facts={name: fact.float() for name, fact in zip(self.facts, facts, strict=True)},
        )
        if not self.parts.method.judges_steps:
            return groups
        return replace(groups, steps=group_steps(self.tensors, self.scores_BK, groups, self.parts.gather))

    def judge(self, groups: GroupBatch, more_PG: Tensor | float = 0.0) -> Tensor:
        """Give whole groups their rewards and advantages (AttnPO, Eq. 3, 4), and keep those of this process.

        Args:
            groups: the groups of all processes.
            more_PG: rewards of other functions.

        Returns:
            (P, G) outcome advantages of all processes.
        """
        method = self.parts.method
        rewards_PG, found = outcome(method, groups, more_PG)
        self.parts.meter.add_groups(groups, rewards_PG, float(self.parts.process == 0), method.logged_facts)
        self.parts.meter.add_mass(groups, found["advantages"].view_as(rewards_PG), float(self.parts.process == 0))
        own = slice(self.parts.process * len(self.rows), (self.parts.process + 1) * len(self.rows))
        self.tensors |= {name: tensor[own] for name, tensor in found.items()}
        return found["advantages"].view_as(groups.correct_PG)

    def finish(self, rewards_BF: Tensor, weights_F: Tensor) -> None:
        """Judge whole groups, and write down what became of them.

        Args:
            rewards_BF: rewards of all processes, one column a function; the first is the verdict.
            weights_F: weight of each function; the verdict's is not read.
        """
        groups = self.gather(rewards_BF)
        more_PG = (rewards_BF * weights_F)[:, 1:].nansum(dim=1).view_as(groups.correct_PG)
        advantages_PG = self.judge(groups, more_PG)
        self.parts.log.add_groups(self.progress_step, self.rollouts, groups.correct_PG, advantages_PG)
        self.parts.log.keep(self.rollouts, self.tensors["pass_rate"].tolist())

    def _probe(self, width: int) -> None:
        self.verify([rollout.solution for rollout in self.rollouts])
        prompt_ids = [tuple(ids) for ids in self.prompt_ids]
        with self.parts.policy(prompt_ids, self.group_ids, extra=True) as policy:
            probed = self.parts.method.probe(Sampled(self.rollouts, prompt_ids, self.progress_step), policy)
        self.facts |= {name: list(values) for name, values in probed.facts.items()}
        self.tensors |= lay_out_probed(probed, self.tensors["step_mask"].size(1), width, self.parts.device)

    def _rollout(self, number: int, response: SegmentedResponse) -> Rollout:
        row, row_id, ids = self.rows[number], self.row_ids[number], self.response_ids[number]
        size = self.parts.group_size
        rollout = Rollout(
            problem_id=str(row.get("problem_id", row_id // size)),
            prompt=row["prompt"],
            solution=str(row[self.parts.solution_column]),
            sample=row_id % size,
            response_ids=tuple(ids),
            response=response.text,
            finished=self.parts.ends_itself(ids),
            steps=response.steps,
            answer_tokens=response.answer_tokens,
            difficulty=None if row.get("difficulty") is None else str(row["difficulty"]),
            extra={"train_step": self.progress_step},
            opening=self.openings[number],
            in_think=response.in_think,
        )
        return rollout if self.parts.labeler is None else label_steps(self.parts.labeler, rollout)


def plain_verdicts(
    parts: RoundParts,
    prompt_ids: Sequence[Sequence[int]],
    response_ids: Sequence[Sequence[int]],
    solutions: Sequence[Any],
) -> list[float]:
    """Return 1 for a correct response, else 0, outside a round: where nothing is trained on."""
    texts = [
        parts.checks.segmented(ids, parts.opens_think(prompt), None).full_text
        for prompt, ids in zip(prompt_ids, response_ids, strict=True)
    ]
    return [float(ok or 0) for ok in parts.verdicts(completions=texts, solutions=list(solutions))]


def token_credit(
    method: Method,
    meter: RunMeter,
    tensors: Mapping[str, Tensor],
    advantages_B: Tensor,
    scores_BK: Tensor | None,
    progress_step: int,
) -> Tensor:
    """Return the (B, T) advantage of every token (AttnPO, Eq. 5-8), for any slice of a round.

    Args:
        method: decides credit.
        meter: counts what it did.
        tensors: a round's tensors.
        advantages_B: outcome advantage of each response.
        scores_BK: step scores; None where the method reads none.
        progress_step: optimizer step t.
    """
    batch = step_batch(tensors, advantages_B, scores_BK, progress_step)
    gamma_BK = method.gamma(batch)
    meter.add_factors(batch, gamma_BK)
    advantages_BT = method.spread(batch, gamma_BK, tensors["step_index"])
    meter.add_credit(batch, advantages_BT, tensors["step_index"])
    return advantages_BT


def problem_key(row: Mapping[str, Any]) -> str:
    """Return the name by which a problem is remembered: its `problem_id`, else its prompt."""
    return str(row["problem_id"] if row.get("problem_id") is not None else row["prompt"])
