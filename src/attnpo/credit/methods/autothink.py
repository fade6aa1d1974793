"""AutoThink: under an ellipsis a model thinks or not by chance; three stages balance, reinforce and shorten."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, COUNT, NUMBER, SHARE, TEXT, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.modes import NO_THINK, is_no_think
from attnpo.credit.rewards import length_z_scores
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError
from attnpo.rollouts import Prompt, Rollout


@dataclass(frozen=True)
class AutoThinkSettings(GRPOSettings):
    """Settings of AutoThink."""

    opening: str = setting(
        "...\n",
        TEXT,
        "Text behind the generation prompt, inside the think part; where the chat template does not open one, write "
        "'<think>\\n...\\n'. Evaluate under the same (`attnpo evaluate --opening`).",
    )
    stage_2_from: int = setting(
        200, COUNT, "Optimizer step at which balancing the modes ends. Not published as a number; 200 is a guess."
    )
    stage_3_from: int = setting(
        600, COUNT, "Optimizer step from which length counts. Not published as a number; 600 is a guess."
    )
    think_correct: float = setting(1.0, NUMBER, "Reward of a correct response that thinks.")
    think_wrong: float = setting(0.0, NUMBER, "Reward of an incorrect response that thinks.")
    no_think_correct: float = setting(2.0, NUMBER, "Reward of a correct response without thinking.")
    no_think_wrong: float = setting(-1.0, NUMBER, "Reward of an incorrect response without thinking.")
    balance: float = setting(0.5, SHARE, "Stage 1: share of the batch above which a mode is punished.")
    balance_slope: float = setting(2.0, AT_LEAST_0, "Stage 1: punishment a unit of share above `balance`, up to 1.")
    alpha: float = setting(0.05, AT_LEAST_0, "Stage 3: strength of the length term of correct responses.")
    beta: float = setting(0.05, AT_LEAST_0, "Stage 3: strength of the length term of incorrect responses.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stage_2_from > self.stage_3_from:
            raise ConfigError(
                f"stage_2_from: {self.stage_2_from} is not allowed; use at most stage_3_from, {self.stage_3_from}"
            )


class AutoThink(Method):
    """r by mode: thinking +1 / 0, no thinking +2 / -1 (arXiv 2505.10832, official code), with GRPO's advantage.

    The prompt ends in `opening`, an ellipsis in the think part, after which distilled models skip thinking at times.

    - Stage 1 keeps either mode from dying out: (1 - u) r + u (r - 1) = r - u, u = clip(2 (share - 1/2), 0, 1), with
      the mode's share of the generation batch, all processes' responses.
    - Stage 2: r.
    - Stage 3: correct responses e^(-0.05 z) - 1 on top, incorrect ones 1 - e^(-0.05 z), z the length standardized
      among the correct, or the incorrect, responses of the group (population std; 0 where it is not defined).

    Stages begin at optimizer steps that are settings. The official runs start anew at each stage and raise the response
    limit (8,192 tokens in stage 1, 24,576 in stage 3); here the limit is the run's. Whatever text a model reads as an
    invitation to stop thinking will do as `opening`: one that it never follows leaves stage 1 without effect.
    """

    name = "autothink"
    paper = "AutoThink"
    arxiv = "2505.10832"
    source = "official code"
    formula = (
        "r = think +1/0, no think +2/-1; stage 1: - clip(2 (share - 1/2), 0, 1); stage 3: +- (e^(-0.05 z) - 1); GRPO"
    )
    extra_tokens = "none; prompts longer by the opening"
    settings_type = AutoThinkSettings
    logged_facts = (NO_THINK,)
    settings: AutoThinkSettings

    def ask(self, prompt: Prompt, group_id: int, sample: int, progress_step: int) -> Ask:
        """Return the prompt with the opening behind it."""
        return Ask(prompt, opening=self.settings.opening)

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return whether the response answers without thinking."""
        return {NO_THINK: float(is_no_think(rollout.full_text))}

    def stage(self, progress_step: int) -> int:
        """Return the stage, 1 to 3, of an optimizer step."""
        return 1 + (progress_step >= self.settings.stage_2_from) + (progress_step >= self.settings.stage_3_from)

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards of the groups' stage.

        Raises:
            DataError: the modes are not given.
        """
        rewards_PG = self.mode_rewards(groups)
        stage = self.stage(groups.progress_step)
        if stage == 1:
            return rewards_PG - self.imbalance(groups)
        return rewards_PG if stage == 2 else rewards_PG + self.length_terms(groups)

    def mode_rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 rewards by mode and verdict."""
        own, correct_PG = self.settings, groups.correct_PG.bool()
        thinking_PG = torch.where(correct_PG, own.think_correct, own.think_wrong)
        answering_PG = torch.where(correct_PG, own.no_think_correct, own.no_think_wrong)
        return torch.where(self._no_think(groups), answering_PG, thinking_PG)

    def imbalance(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 u in [0, 1]: how much too frequent each response's mode is in the batch."""
        no_think_PG = self._no_think(groups)
        share = no_think_PG.float().mean()
        share_PG = torch.where(no_think_PG, share, 1 - share)
        return (self.settings.balance_slope * (share_PG - self.settings.balance)).clamp(0, 1)

    def length_terms(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 what length adds: short correct and long incorrect responses gain."""
        correct_PG = groups.correct_PG.bool()
        right_PG = (-self.settings.alpha * length_z_scores(correct_PG, groups.lengths_PG)).exp() - 1
        wrong_PG = 1 - (-self.settings.beta * length_z_scores(~correct_PG, groups.lengths_PG)).exp()
        return torch.where(correct_PG, right_PG, wrong_PG)

    def _no_think(self, groups: GroupBatch) -> Tensor:
        return self.known(groups.facts.get(NO_THINK), "the modes of the responses").bool()
