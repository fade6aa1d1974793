"""Step-GRPO: paths of thought that leave at the first "Wait" at which the policy is sure of its answer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, SWITCH, TEXT, TOKENS, setting
from attnpo.credit.exits import CLOSING, FORCED, Exit, exit_at, without_closing
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Continuation, Drawn, Policy, Requests
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import GRPOSettings
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
from attnpo.segmentation import OffsetDecoder
from attnpo.think import THINK_CLOSE, final_answer, has_think_part

SEMANTIC_STEPS: Final = "semantic_steps"
"""Fact: 1 + how often the word stands in the response, k."""
BOXED: Final = "boxed"
"""Fact: 1 where what follows the think part holds a box."""


@dataclass(frozen=True)
class StepGRPOSettings(GRPOSettings):
    """Settings of Step-GRPO."""

    word: str = setting("Wait", TEXT, "Word that opens a step, and before which the thought may be left.")
    sure: float = setting(0.95, SHARE, "The thought is left where the answer's mean probability is above this.")
    closing: str = setting(
        "\n</think>\n\n", CLOSING, "What closes a thought that is left (the published text is not known)."
    )
    answer_tokens: int = setting(32, TOKENS, "Limit on an answer after an exit in tokens (not published).")
    credit_closing: bool = setting(
        True, SWITCH, "Give the closing its response's advantage, so that leaving is learnt (the paper does not say)."
    )
    format_weight: float = setting(0.1, SHARE, "Part of the reward that a box earns; the rest is the answer's.")
    penalty: float = setting(0.5, AT_LEAST_0, "Weight of tanh((k - mean k) / mean k).")


class StepGRPO(Method):
    """r = 0.9 1[correct] (1 - tanh((k - m) / m) / 2) + 0.1 1[boxed], on paths that may leave early (arXiv 2604.16890).

    Secondary notes. k counts semantic steps, 1 + how often "Wait" stands in the response; m is the mean k of the
    group's correct responses. A sampled path is probed before each "Wait": its thought is closed there and answered,
    and the first answer whose tokens have a geometric mean of top-1 probabilities above 0.95 ends the response. Here
    the path is sampled whole before it is probed, and the answer drawn at the run's temperature. A path that the limit
    cut in its thought is probed like any other; a box inside a thought is no answer.

    Published with 5 responses of at most 16,384 tokens to 512 prompts, TRL's `beta` 0.01, learning rate 1e-6.
    """

    name = "step_grpo"
    paper = "Step-GRPO"
    arxiv = "2604.16890"
    source = "secondary notes"
    formula = "leave at the first sure Wait; r = 0.9 1[correct] (1 - tanh((k - m) / m) / 2) + 0.1 1[boxed]; GRPO"
    extra_tokens = "a short answer at each Wait; what an exit cuts off was sampled"
    extra_passes = "one over these answers, for their probabilities"
    settings_type = StepGRPOSettings
    logged_facts = (SEMANTIC_STEPS,)
    settings: StepGRPOSettings

    @cached_property
    def _word(self) -> re.Pattern[str]:
        return re.compile(rf"\b{re.escape(self.settings.word)}\b")

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return how many semantic steps the response has, and whether its answer is boxed."""
        return {
            SEMANTIC_STEPS: 1.0 + len(self._word.findall(rollout.response)),
            BOXED: float("\\boxed" in (final_answer(rollout.full_text) or "")),
        }

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return the paths, those that could be left early as they were left; two draws and a pass in all."""
        responses = list(super().sample(requests, policy).responses)
        decode = OffsetDecoder(policy.tokenizer)
        exits = [
            each
            for row, (path, prompt) in enumerate(zip(responses, requests.prompt_ids, strict=True))
            for each in self._exits(row, path.ids, policy.opens_think(prompt), decode, policy)
        ]
        answers = (
            policy.draw([Continuation(each.row, self.settings.answer_tokens, each.prefix_ids) for each in exits])
            if exits
            else []
        )
        facts = {name: [0.0] * len(responses) for name in FORCED}
        left: set[int] = set()
        for each, answer, sure in zip(exits, answers, self._confidences(exits, answers, requests, policy), strict=True):
            if each.row not in left and answer.finished and sure > self.settings.sure:
                left.add(each.row)
                start, end = len(each.thought), len(each.prefix_ids)
                responses[each.row] = SampledResponse([*each.prefix_ids, *answer.ids], True, answer.exact_ids)
                facts[FORCED[0]][each.row], facts[FORCED[1]][each.row] = float(start), float(end)
        return Drawn(responses, facts)

    def _exits(
        self, row: int, path: Sequence[int], in_think: bool, decode: OffsetDecoder, policy: Policy
    ) -> list[Exit]:
        """Return the places before each word in the thought at which an answer is shorter than what follows."""
        text, tokens = decode(path)
        thought = text.partition(THINK_CLOSE)[0] if has_think_part(text, in_think) else ""
        places = [
            next(number for number, (_, end) in enumerate(tokens) if end > match.start())
            for match in self._word.finditer(thought)
        ]
        exits = [exit_at(row, path, place, self.settings.closing, policy) for place in places if place > 0]
        return [each for each in exits if len(each.prefix_ids) + self.settings.answer_tokens <= len(path)]

    def _confidences(
        self, exits: Sequence[Exit], answers: Sequence[SampledResponse], requests: Requests, policy: Policy
    ) -> list[float]:
        """Return the geometric mean of the top-1 probabilities of each answer's tokens."""
        if not exits:
            return []
        contexts = [(*requests.prompt_ids[each.row], *each.prefix_ids) for each in exits]
        stats: Any = policy.token_stats(contexts, [answer.ids for answer in answers])
        return [float(each.top_log_probs_T.double().mean().exp()) for each in stats]

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards.

        Raises:
            DataError: the semantic steps were not counted.
        """
        own = self.settings
        steps_PG, boxed_PG = (self.known(groups.facts.get(name), "semantic steps") for name in (SEMANTIC_STEPS, BOXED))
        correct_PG = outcome_rewards(groups.correct_PG)
        mean_P1 = (steps_PG * correct_PG).sum(dim=1, keepdim=True) / correct_PG.sum(dim=1, keepdim=True).clamp(min=1)
        relative_PG = (steps_PG - mean_P1) / torch.where(mean_P1 > 0, mean_P1, 1.0)
        answer_PG = correct_PG * (1 - own.penalty * relative_PG.tanh())
        return (1 - own.format_weight) * answer_PG + own.format_weight * boxed_PG

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) advantage of each token, 0 on a forced closing where it is to get no credit.

        Raises:
            DataError: the spans of the closings are not given.
        """
        advantages_BT = super().spread(steps, gamma_BK, step_index_BT)
        return advantages_BT if self.settings.credit_closing else without_closing(advantages_BT, steps.facts)
