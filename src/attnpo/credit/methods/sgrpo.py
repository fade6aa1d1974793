"""S-GRPO: one path of thought, left early at several places; the earliest exit that is right earns most."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import Final, Literal, get_args

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import SHARE, SWITCH, TOKENS, one_of, optional, setting
from attnpo.credit.exits import CLOSING, FORCED, Exit, exit_at, think_tokens, without_closing
from attnpo.credit.methods.base import Method
from attnpo.credit.policy import Continuation, Drawn, Policy, Requests
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.seeding import stream
from attnpo.credit.settings import ADVANTAGE, AdvantageName, MethodSettings
from attnpo.sampling import SampledResponse

Places = Literal["random", "even"]
PLACE: Final = "exit_place"
"""Fact of a response: how many of the path's tokens stand before the closing; 0 for the whole path."""


@dataclass(frozen=True)
class SGRPOSettings(MethodSettings):
    """Settings of S-GRPO."""

    advantage: AdvantageName = setting("grpo", ADVANTAGE, "grpo (published: reward minus the group's mean) or rloo.")
    closing: str = setting(
        "Time is limited, stop thinking and start answering.\n</think>\n\n",
        CLOSING,
        "What is written behind a cut; in words that the model knows.",
    )
    decay: float = setting(0.5, SHARE, "What a correct exit earns of what the correct one before it does.")
    places: Places = setting(
        "random", one_of(*get_args(Places)), "Where the think part is cut: random (published: uniform draws) or even."
    )
    answer_tokens: int | None = setting(
        None,
        optional(TOKENS, "what the response limit leaves"),
        "Limit on an exit's answer in tokens (the published one is not known).",
    )
    credit_closing: bool = setting(
        False, SWITCH, "Give the closing its response's advantage, too, as a public re-implementation does."
    )


class SGRPO(Method):
    """A serial group: r = 1 / 2^(rank - 1) for correct exits, earliest first, 0 for wrong ones (arXiv 2505.07686).

    Secondary notes. The policy draws one whole path of thought and answer. Its think part is cut at m places drawn
    uniformly, each piece closed with a fixed text and answered. Ranks count the correct exits, the whole path last;
    A = r - mean over the serial group, without its standard deviation. Here a group of G responses is the whole path
    (its last response) and m = G - 1 exits; published are m = 8 exits, so G = 9.

    Every token of the thought before a cut and of the answer carries its response's advantage, so what a path goes on
    to think is credited by all exits behind it and the path itself. The closing is not the policy's: no credit, unless
    `credit_closing`.

    A path whose think part never closed has no exits beyond its own end. Then, and where there are fewer places than
    exits wanted, copies of the path fill the remaining responses at the path's own reward, which cost no token; a
    group of copies alone teaches nothing.
    """

    name = "sgrpo"
    paper = "S-GRPO"
    arxiv = "2505.07686"
    source = "secondary notes"
    formula = "one path and its G - 1 early exits; r = 1 / 2^(rank - 1) for correct ones, earliest first; A = r - mean"
    extra_tokens = "none: one path a group, and a short answer for each other response"
    settings_type = SGRPOSettings
    needs_whole_groups = True
    settings: SGRPOSettings

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return for each group the exits by place, then copies of the path, then the path; two draws in all."""
        groups = [list(rows) for _, rows in groupby(range(len(requests)), key=lambda row: requests.group_ids[row])]
        paths = policy.draw(
            [Continuation(rows[-1], requests.max_new_tokens, sample=requests.samples[rows[-1]]) for rows in groups]
        )
        exits = [
            each
            for rows, path in zip(groups, paths, strict=True)
            for each in self._exits(rows, path.ids, requests, policy)
        ]
        answers = policy.draw([self._answer(each, requests.max_new_tokens) for each in exits]) if exits else []
        responses = [path for rows, path in zip(groups, paths, strict=True) for _ in rows]
        facts: dict[str, list[float]] = {name: [0.0] * len(requests) for name in (PLACE, *FORCED)}
        for each, answer in zip(exits, answers, strict=True):
            start, end = len(each.thought), len(each.prefix_ids)
            responses[each.row] = SampledResponse([*each.prefix_ids, *answer.ids], answer.finished, answer.exact_ids)
            for name, value in zip((PLACE, *FORCED), (start, start, end), strict=True):
                facts[name][each.row] = float(value)
        return Drawn(responses, facts)

    def _exits(self, rows: list[int], path: list[int], requests: Requests, policy: Policy) -> list[Exit]:
        """Return the exits of a path, earliest first, one for each of the group's first rows at most."""
        segmented = policy.cut(requests.prompt_ids[rows[-1]], path)
        if not segmented.closed:
            return []
        start, end = think_tokens(segmented)
        # A cut behind which no token of an answer fits is none.
        room = requests.max_new_tokens - len(policy.encode(self.settings.closing)) - 1
        rng = stream("sgrpo", self.settings.seed, requests.progress_step, requests.group_ids[rows[0]])
        num_places, wanted = max(min(end, room) - start, 0), len(rows) - 1
        if self.settings.places == "random":
            places = sorted(rng.sample(range(1, num_places + 1), min(wanted, num_places)))
        else:
            places = [num_places * number // (wanted + 1) for number in range(1, wanted + 1)]
        cut = {len(each.thought): each for each in self._cut(path, [start + place for place in places], policy)}
        known = [each for place, each in sorted(cut.items()) if place > start]
        return [Exit(row, each.thought, each.closing) for row, each in zip(rows, known, strict=False)]

    def _cut(self, path: list[int], places: list[int], policy: Policy) -> list[Exit]:
        return [exit_at(0, path, place, self.settings.closing, policy) for place in places]

    def _answer(self, each: Exit, limit: int) -> Continuation:
        room = limit - len(each.prefix_ids)
        wanted = self.settings.answer_tokens
        return Continuation(each.row, room if wanted is None else min(wanted, room), each.prefix_ids)

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards in [0, 1].

        Raises:
            DataError: the places of the exits are not given.
        """
        places_PG = self.known(groups.facts.get(PLACE), "the places of the exits")
        order_PG = torch.where(places_PG > 0, places_PG, torch.inf)
        earlier_PGG = order_PG[:, None, :] < order_PG[:, :, None]
        before_PG = (earlier_PGG & groups.correct_PG.bool()[:, None, :]).sum(dim=2)
        return outcome_rewards(groups.correct_PG) * self.settings.decay**before_PG

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) advantage of each token: A_i, 0 on the closing that was forced.

        Raises:
            DataError: the spans of the closings are not given.
        """
        advantages_BT = super().spread(steps, gamma_BK, step_index_BT)
        return advantages_BT if self.settings.credit_closing else without_closing(advantages_BT, steps.facts)
