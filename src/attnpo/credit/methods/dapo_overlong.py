"""DAPO's soft overlong punishment: a penalty that grows as a response nears the limit."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from attnpo.credit.batches import GroupBatch
from attnpo.credit.checks import AT_LEAST_0, NUMBER, TOKENS, optional, setting
from attnpo.credit.methods.base import Method
from attnpo.credit.settings import GRPOSettings
from attnpo.errors import ConfigError


@dataclass(frozen=True)
class OverlongSettings(GRPOSettings):
    """Settings of the soft overlong punishment."""

    max_length: int | None = setting(
        None,
        optional(TOKENS, "the response limit"),
        "Lmax in tokens (published: 20,480, the run's limit).",
    )
    buffer: int = setting(4096, TOKENS, "Lc: tokens before Lmax in which the penalty grows.")
    penalty: float = setting(1.0, AT_LEAST_0, "Penalty at Lmax.")
    wrong_reward: float = setting(-1.0, NUMBER, "Reward of an incorrect response, before the penalty.")


class DAPOOverlong(Method):
    """r = 1 if correct, -1 if not; plus 0 up to Lmax - Lc, then linear to -1 at Lmax; GRPO's advantage.

    arXiv 2503.14476, secondary notes. Of DAPO this is the reward alone; its token-mean loss is the trainer's default,
    its higher upper clip `epsilon_high`, its dynamic sampling no part of credit.
    """

    name = "dapo_overlong"
    paper = "DAPO, soft overlong punishment"
    arxiv = "2503.14476"
    source = "secondary notes"
    formula = "r = correct 1, wrong -1; + clip((Lmax - Lc - L) / Lc, -1, 0); GRPO"
    settings_type = OverlongSettings
    settings: OverlongSettings

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Refuse a buffer that does not fit below the limit, and a limit that no response reaches."""
        longest = self.settings.max_length or max_length
        if self.settings.buffer >= longest:
            raise ConfigError(
                f"buffer: {self.settings.buffer} leaves nothing of a response limit of {longest} tokens; set it lower"
            )
        if longest - self.settings.buffer >= max_length:
            raise ConfigError(
                f"max_length: the penalty would start at {longest - self.settings.buffer} tokens, and responses end at "
                f"{max_length}; set max_length lower"
            )

    @torch.no_grad()
    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) rewards.

        Raises:
            DataError: the response limit is not given.
        """
        own = self.settings
        longest = own.max_length or self.known(groups.max_length, "the response limit")
        share_PG = ((longest - own.buffer - groups.lengths_PG).float() / own.buffer).clamp(-1, 0)
        return torch.where(groups.correct_PG.bool(), 1.0, own.wrong_reward) + own.penalty * share_PG
