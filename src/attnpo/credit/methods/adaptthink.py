"""AdaptThink: half of a group is made to think, half not to; each is held against the untrained policy's accuracy."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, TEXT, TOKENS, one_of, optional, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.modes import NO_THINK, draw_without, forced_log_probs, is_no_think
from attnpo.credit.policy import Continuation, Drawn, Policy, Requests
from attnpo.credit.reference import given_accuracies, measured_accuracies
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.seeding import stream
from attnpo.credit.settings import MethodSettings
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.think import THINK_CLOSE, THINK_OPEN

REFERENCE, RATIO = "reference_accuracy", "mixture_ratio"
_TO_BE_DRAWN = -1
"""Stands for a first token of the thinking half that is not known yet; no token has this id."""


@dataclass(frozen=True)
class AdaptThinkSettings(MethodSettings):
    """Settings of AdaptThink."""

    delta: float = setting(0.05, AT_LEAST_0, "What a response without thinking earns on top.")
    think_opening: str = setting(
        "Alright",
        TEXT,
        "What a response that is made to think begins with: a word with which the model often begins (Alright: "
        "DeepSeek-R1-Distill). Empty: its first token is drawn from the policy, </think> excluded.",
    )
    ratio: str = setting(
        "response",
        one_of("response", "token"),
        "Ratio of the policy to what was sampled: response (published) or token.",
    )
    clip: float = setting(0.2, AT_LEAST_0, "PPO's clip range of a response's ratio; token ratios take the run's.")
    reference_samples: int = setting(
        16, TOKENS, "Responses a problem that the untrained policy's accuracy is measured with, before the first step."
    )
    reference_rollouts: str | None = setting(
        None,
        optional(TEXT, "measuring all of them"),
        "rollouts.jsonl of `attnpo evaluate` with the untrained model: problems in it (by problem_id) are not measured "
        "again.",
    )


class AdaptThink(Method):
    """A = 1[correct] - acc_ref + delta * 1[no thinking] (arXiv 2505.13417, official code), no further baseline.

    Half of a group is forced to begin with `</think>`, the other half to think; a fair coin a group says which half,
    so that in groups of odd size either mode has probability 1/2, too. acc_ref is the untrained policy's accuracy on
    the problem, free to think as it likes, measured before the first step.

    The loss sees what was really sampled: the mixture of the two modes. With c the token `</think>`, it had the
    probability 1/2 where it was forced; so had the first token of `think_opening`. Forced tokens after that, and a
    `<think>` that both halves begin with where the prompt does not open the think part, were certain (log-probability
    0). Without `think_opening` the thinking half begins with a token a != c of the probability 1/2 pi(a) / (1 - pi(c)).
    All other tokens are the policy's own.

    How the policy's ratio to that mixture enters is `ratio`. "response", the official code: one ratio for a response,
    e to the mean of its tokens' log-ratios, clipped as a whole; put into the advantage here, which is the same
    gradient as long as each batch is used for one update. "token": at the forced tokens alone, through the loss's
    old log-probabilities; near 0 at a `</think>` that the policy hardly ever begins with, and so is its gradient.

    A response counts as one without thinking if its think part turns out empty, so one of the thinking half that
    closes it at once does, too; the official code goes by the half.
    """

    name = "adaptthink"
    paper = "AdaptThink"
    arxiv = "2505.13417"
    source = "official code"
    formula = "A = 1[correct] - acc_ref + 0.05 1[no thinking]; half of the group begins with </think>"
    idle_settings = ("advantage", "scale_advantages")
    extra_tokens = "16 responses a problem before the first step, for acc_ref; none if they are given"
    extra_passes = (
        "one over the prompts, for the policy's probability of the first tokens; none with ratio token and a word"
    )
    settings_type = AdaptThinkSettings
    logged_facts = (NO_THINK,)
    settings: AdaptThinkSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        super().__init__(settings)
        self.reference: dict[str, float] = {}

    def begin_preparing(self, keys: Sequence[str], kept: Mapping[str, Any] | None) -> set[str]:
        """Take over the accuracies that are given or were measured, and return the problems that lack one.

        Raises:
            DataError: the file of given responses is missing, malformed, or has none of the problems.
        """
        path = self.settings.reference_rollouts
        known = {**(kept or {}).get(REFERENCE, {}), **({} if path is None else given_accuracies(path, keys))}
        self.reference = {key: known[key] for key in keys if key in known}
        return set(keys) - self.reference.keys()

    def prepare(self, requests: Requests, policy: Policy) -> None:
        """Measure the policy's accuracy on each problem."""
        self.reference |= measured_accuracies(requests, self.settings.reference_samples, policy)

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return the responses, half of each group without thinking.

        Raises:
            ConfigError: an opening does not fit into a response, or does not tell the modes apart.
            DataError: a problem was not measured before.
        """
        openings, log_probs = self._openings(requests, policy)
        longest = max(map(len, openings), default=0)
        if longest >= requests.max_new_tokens:
            raise ConfigError(
                f"think_opening: it takes {longest} of {requests.max_new_tokens} response tokens and leaves none; "
                "raise max_completion_length"
            )
        # A first token that is drawn may end the response.
        rows = [row for row, opening in enumerate(openings) if opening[-1] != policy.tokenizer.eos_token_id]
        drawn = policy.draw(
            [
                Continuation(
                    row, requests.max_new_tokens - len(openings[row]), tuple(openings[row]), requests.samples[row]
                )
                for row in rows
            ]
        )
        responses = [SampledResponse(opening, finished=True) for opening in openings]
        for row, rest in zip(rows, drawn, strict=True):
            responses[row] = SampledResponse([*openings[row], *rest.ids], rest.finished, rest.exact_ids)
        facts = {REFERENCE: [self._reference(key) for key in requests.keys]}
        if self.settings.ratio == "token":
            return Drawn(responses, facts, log_probs)
        return Drawn(responses, facts | {RATIO: self._ratios(requests, responses, log_probs, policy)})

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return whether the response answers without thinking."""
        return {NO_THINK: float(is_no_think(rollout.full_text))}

    def thinks(self, group_id: int, sample: int, progress_step: int) -> bool:
        """Return whether a response is of the thinking half."""
        coin = stream(self.name, self.settings.seed, progress_step, group_id).randrange(2)
        return (sample + coin) % 2 == 1

    def _openings(self, requests: Requests, policy: Policy) -> tuple[list[list[int]], list[dict[int, float]]]:
        """The tokens that each response begins with, and the log-probabilities under which they were drawn."""
        close, word = policy.encode(THINK_CLOSE), policy.encode(self.settings.think_opening) or [_TO_BE_DRAWN]
        openings, log_probs = [], []
        for prompt_ids, group, sample in zip(requests.prompt_ids, requests.group_ids, requests.samples, strict=True):
            common = [] if policy.opens_think(prompt_ids) else policy.encode(f"{THINK_OPEN}\n")
            own, other = [*common, *close], [*common, *word]
            if self.thinks(group, sample, requests.progress_step):
                own, other = other, own
            openings.append(own)
            log_probs.append(forced_log_probs(own, other))
        rows = [row for row, opening in enumerate(openings) if opening[-1] == _TO_BE_DRAWN]
        first = (
            policy.next_log_probs([[*requests.prompt_ids[row], *openings[row][:-1]] for row in rows]) if rows else ()
        )
        for row, log_probs_V in zip(rows, first, strict=True):
            place = (requests.progress_step, requests.group_ids[row], requests.samples[row])
            rng = stream(self.name, "first token", self.settings.seed, *place)
            openings[row][-1], log_prob = draw_without(log_probs_V, close[0], rng)
            log_probs[row][len(openings[row]) - 1] += log_prob
        return openings, log_probs

    def _ratios(
        self, requests: Requests, responses: list[SampledResponse], log_probs: list[dict[int, float]], policy: Policy
    ) -> list[float]:
        """The policy's ratio to the mixture, a response: e to the mean over its tokens of the log-ratios."""
        forced = [(row, place) for row, places in enumerate(log_probs) for place in places]
        own = policy.next_log_probs([[*requests.prompt_ids[row], *responses[row].ids[:place]] for row, place in forced])
        totals = [0.0] * len(responses)
        for (row, place), log_probs_V in zip(forced, own, strict=True):
            totals[row] += float(log_probs_V[responses[row].ids[place]]) - log_probs[row][place]
        return [math.exp(total / len(response.ids)) for total, response in zip(totals, responses, strict=True)]

    def _reference(self, key: str) -> float:
        if key not in self.reference:
            raise DataError(
                f"method {self.name}: the untrained policy was not measured on problem {key[:60]!r}; train on the data "
                "that the run was started with"
            )
        return self.reference[key]

    def state_dict(self) -> dict[str, Any]:
        """Return the untrained policy's accuracy by problem."""
        return {REFERENCE: dict(self.reference)}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.reference = dict(state[REFERENCE])

    def metrics(self) -> dict[str, float]:
        """Return the mean of the untrained policy's accuracies."""
        if not self.reference:
            return {}
        return {REFERENCE: sum(self.reference.values()) / len(self.reference)}

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards 1[correct] + delta * 1[no thinking].

        Raises:
            DataError: the modes are not given.
        """
        no_think_PG = self.known(groups.facts.get(NO_THINK), "the modes of the responses")
        return outcome_rewards(groups.correct_PG) + self.settings.delta * no_think_PG.float()

    @torch.no_grad()
    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) rewards minus the untrained policy's accuracy, weighted where the ratio is a response's.

        Raises:
            DataError: the groups, the accuracies or the ratios are not given.
        """
        facts = self.known(groups, "groups").facts
        advantages_PG = rewards_PG - self.known(facts.get(REFERENCE), "the accuracies of the untrained policy")
        if self.settings.ratio == "token":
            return advantages_PG
        # PPO's min(ratio A, clip(ratio) A): its gradient is ratio A, or 0 where the clipped one is taken.
        ratio_PG = self.known(facts.get(RATIO), "the policy's ratios to what was sampled")
        clip = self.settings.clip
        clipped_PG = torch.where(advantages_PG > 0, ratio_PG > 1 + clip, ratio_PG < 1 - clip)
        return torch.where(clipped_PG, 0.0, ratio_PG * advantages_PG)
