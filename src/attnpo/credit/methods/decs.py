"""DECS: token rewards that part the necessary reasoning from the rest, and a share of easy prompts that grows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.checks import AT_LEAST_0, SHARE, SWITCH, one_of, setting
from attnpo.credit.methods.with_detector import REDUNDANT_FROM, REDUNDANT_TO, GRPODetectorSettings, WithDetector
from attnpo.credit.policy import Policy, Probed, Sampled
from attnpo.credit.seeding import stream

NECESSARY: Final = "necessary_share"
"""Fact: share of a correct response's steps up to the one that reveals its answer; 0 where there is none."""
_EPSILON = 1e-6
_PARTS = ("step", "sentence")
_FROM, _TO, _INSIDE, _OUTSIDE, _PLACE, _ADMITTED = (
    "decs_from", "decs_to", "decs_inside", "decs_outside", "decs_place", "decs_admitted"
)  # fmt: skip


@dataclass(frozen=True)
class DECSSettings(GRPODetectorSettings):
    """Settings of DECS."""

    beta: float = setting(0.1, AT_LEAST_0, "What a correct response's necessary tokens earn above 1.")
    unit: str = setting(
        "step", one_of(*_PARTS), "The necessary part ends with the step (published: the judged chunk) or sentence."
    )
    curriculum: bool = setting(True, SWITCH, "Admit all-correct prompts by the share kappa; off: all of them.")
    kappa_rate: float = setting(0.2, AT_LEAST_0, "What kappa gains with the mean necessary share, a step.")
    first_share: float = setting(0.5, SHARE, "Mean necessary share that the first step's is compared with.")


@dataclass(frozen=True)
class Curriculum:
    """What DECS knows from one step to the next.

    Attributes:
        kappa: share of all-correct prompts among those that are trained on.
        share: mean necessary share of the last step.
        mixed: prompts with right and wrong responses since an all-correct one was last due, admitted or not.
        admitted: numbers of the all-correct groups that the current step trains on.
    """

    kappa: float = 0.0
    share: float | None = None
    mixed: int = 0
    admitted: tuple[int, ...] = ()


class DECS(WithDetector):
    """GRPO by token: 1.1 up to the answer, 1 + 0.1 (1 - L / L_max) behind it (arXiv 2509.25827, official code).

    A correct response of L tokens earns 1 + beta at each token, but 1 + beta (1 - L / L_max) at those of its think part
    behind the step that reveals its answer first; L_max is the response limit. Closing tag and final answer earn
    1 + beta, and so does a correct response in which no answer is found; an incorrect one earns 0. Rewards reach past a
    response's own end. At each place the reward is standardized over the group (std of a sample, n - 1, plus 1e-6), so
    that the redundant tokens of a prompt that is always solved are punished against the others' necessary ones.

    Prompts that are always solved are admitted by a share: with m prompts of right and wrong responses seen,
    floor(kappa m / (1 - kappa)) of them, drawn at random; the others train nothing. Where that is 1 or more m begins
    anew, as in the official code, even if fewer were there to be admitted. kappa starts at 0 and moves by 0.2 times the
    change of the mean necessary share R (steps up to the answer / all steps, over correct responses with an answer
    found), whose first value is compared with 0.5; so kappa = 0.2 (R - 0.5).

    Different here: the paper asks a small judge model of each chunk, here the verifier is run over what the sentences
    state (see `attnpo.credit.first_answer`), or a `module:function`; the official code goes on sampling until 64
    prompts are admitted, here nothing is sampled in place of what is left out, and m is counted over steps instead.
    Published with 16 responses a prompt.
    """

    name = "decs"
    paper = "DECS"
    arxiv = "2509.25827"
    source = "official code"
    formula = (
        "token reward 1.1, behind the answer 1 + 0.1 (1 - L / L_max); GRPO per place; all-correct prompts by kappa"
    )
    idle_settings = ("advantage", "scale_advantages", "whiten")
    extra_tokens = "none: the verifier stands in for the judge; nothing is sampled in place of prompts left out"
    settings_type = DECSSettings
    settings: DECSSettings
    state: Curriculum = Curriculum()

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Find each correct response's redundant part and the share of its steps that is necessary."""
        rollouts = sampled.rollouts
        facts = {name: [0.0] * len(rollouts) for name in (REDUNDANT_FROM, REDUNDANT_TO, NECESSARY)}
        for number, thought in self.thoughts_of(rollouts, policy).items():
            if thought.answer is None:
                continue
            steps, answer = rollouts[number].steps, thought.answer
            needed = answer.tokens if self.settings.unit == "sentence" else steps[answer.step].tokens[1]
            facts[REDUNDANT_FROM][number], facts[REDUNDANT_TO][number] = needed, thought.end
            facts[NECESSARY][number] = (answer.step + 1) / len(steps)
        return Probed(facts)

    def observe(self, groups: GroupBatch) -> None:
        """Choose which all-correct prompts are trained on, then move kappa.

        Raises:
            DataError: necessary shares or the groups' numbers are not given.
        """
        if self.settings.curriculum:
            shares_PG = self.known(groups.facts.get(NECESSARY), "necessary shares")
            ids_P = self.known(groups.group_ids_P, "the groups' numbers")
            self.state = advanced(self.state, groups, shares_PG, ids_P, self.settings)

    def state_dict(self) -> dict[str, Any]:
        """Return the curriculum as JSON values."""
        return asdict(self.state)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""
        self.state = Curriculum(**{**state, "admitted": tuple(state["admitted"])})

    def metrics(self) -> dict[str, float]:
        """Return kappa and the mean necessary share."""
        share = {} if self.state.share is None else {"necessary_share": self.state.share}
        return {"kappa": self.state.kappa, **share} if self.settings.curriculum else {}

    @torch.no_grad()
    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return for each response its whole group's rewards by place, as (P, G, G) pieces.

        Raises:
            DataError: the redundant parts or the response limit are not given.
        """
        start_PG, stop_PG = (self.known(groups.facts.get(n), "redundant parts") for n in (REDUNDANT_FROM, REDUNDANT_TO))
        limit, beta = self.known(groups.max_length, "the response limit"), self.settings.beta
        correct_PG = groups.correct_PG.bool()
        outside_PG = rewards_PG.float() + beta * correct_PG
        inside_PG = torch.where(correct_PG, rewards_PG + beta * (1 - groups.lengths_PG / limit), rewards_PG).float()
        admitted_P = ~correct_PG.all(dim=1) | (not self.settings.curriculum)
        if groups.group_ids_P is not None:
            admitted_P |= torch.isin(groups.group_ids_P, groups.group_ids_P.new_tensor(self.state.admitted))
        pieces = {_FROM: start_PG, _TO: stop_PG, _INSIDE: inside_PG, _OUTSIDE: outside_PG}
        size = correct_PG.shape[1]
        places_PG = torch.arange(size, device=correct_PG.device).expand_as(correct_PG)
        return {
            **{name: piece_PG.float()[:, None, :].repeat(1, size, 1) for name, piece_PG in pieces.items()},
            _PLACE: places_PG.float().clone(),
            _ADMITTED: admitted_P[:, None].expand_as(correct_PG).float().clone(),
        }

    @torch.no_grad()
    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) each token's reward, standardized over the group at its place.

        Raises:
            DataError: the groups' rewards are not given.
        """
        start_BG, stop_BG, inside_BG, outside_BG, own_B, admitted_B = (
            self.known(steps.facts.get(name), "the groups' rewards")
            for name in (_FROM, _TO, _INSIDE, _OUTSIDE, _PLACE, _ADMITTED)
        )
        places_T = torch.arange(step_index_BT.size(1), device=start_BG.device)
        redundant_BGT = (places_T >= start_BG[:, :, None]) & (places_T < stop_BG[:, :, None])
        rewards_BGT = torch.where(redundant_BGT, inside_BG[:, :, None], outside_BG[:, :, None]).double()
        own_B1T = rewards_BGT.gather(1, own_B.long()[:, None, None].expand(-1, 1, places_T.numel()))
        # Differences to the own reward: where all are equal the advantage is exactly 0, whatever 1.1 is as a float.
        above_BGT = rewards_BGT - own_B1T
        mean_BT = above_BGT.mean(dim=1)
        spare = max(rewards_BGT.size(1) - 1, 1)
        std_BT = ((above_BGT - mean_BT[:, None]).square().sum(dim=1) / spare).sqrt()
        return (-mean_BT / (std_BT + _EPSILON) * admitted_B[:, None]).float()


@torch.no_grad()
def advanced(
    state: Curriculum, groups: GroupBatch, shares_PG: Tensor, ids_P: Tensor, settings: DECSSettings
) -> Curriculum:
    """Return the curriculum after a batch of groups: admitted by the old kappa, which then moves.

    Args:
        state: the curriculum before.
        groups: the groups.
        shares_PG: (P, G) necessary shares, 0 where there is none.
        ids_P: (P,) numbers of the groups.
        settings: rate, first share and seed are read.
    """
    correct_PG = groups.correct_PG.bool()
    solved = sorted(ids_P[correct_PG.all(dim=1)].tolist())
    admitted: list[int] = []
    mixed = state.mixed
    if 0 < state.kappa < 1:
        mixed += int((correct_PG.any(dim=1) & ~correct_PG.all(dim=1)).sum())
        wanted = int(state.kappa * mixed / (1 - state.kappa))
        mixed = 0 if wanted > 0 else mixed
        admitted = stream("decs", settings.seed, groups.progress_step).sample(solved, min(wanted, len(solved)))
    elif state.kappa >= 1:
        admitted = solved
    found = shares_PG > 0
    if not found.any():
        return Curriculum(state.kappa, state.share, mixed, tuple(sorted(admitted)))
    share = float(shares_PG[found].double().mean())
    before = settings.first_share if state.share is None else state.share
    return Curriculum(state.kappa + settings.kappa_rate * (share - before), share, mixed, tuple(sorted(admitted)))
