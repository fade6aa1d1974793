"""A batch of responses as credits see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.attention import Head
from attnpo.credit import Policy, build_method
from attnpo.credit.layout import pack_scores
from attnpo.credit.methods.base import Method
from attnpo.credit.replay import Replay, replay
from attnpo.errors import DataError
from attnpo.rollouts import Rollout
from attnpo.signals import Signal

Scores = NDArray[np.float32]
HEADS = "heads"
"""The signal that `Batch.heads` are."""


@dataclass
class Batch:
    """Whole groups of responses, one after the other.

    Attributes:
        rollouts: segmented, verified responses.
        group_size: G, responses a group.
        number: number of the batch; seeds what credits draw.
        progress_step: optimizer step t that credit is given at.
        max_length: limit on a response in tokens, where known.
        read_scores: scores the steps of the responses, per response (K, H); None where there are no heads.
        heads: the H heads.
        signals: other step signals.
        read_signals: scores the steps by them, by name per response (K,); None where there are none.
        policy: lends the policy to methods that probe; None where there is none.
        prompt_ids: what the model reads for each response.
    """

    rollouts: Sequence[Rollout]
    group_size: int
    number: int = 0
    progress_step: int = 0
    max_length: int | None = None
    read_scores: Callable[[Sequence[Rollout]], list[Scores]] | None = None
    heads: Sequence[Head] = ()
    signals: Sequence[Signal] = ()
    read_signals: Callable[[Sequence[Rollout]], Mapping[str, list[Scores]]] | None = None
    policy: Callable[[Batch], Policy] | None = None
    prompt_ids: Sequence[tuple[int, ...]] = ()

    @cached_property
    def plain(self) -> Replay:
        """The responses under RLOO: verdicts, steps, labels, places of tokens."""
        return self.replayed(build_method("rloo"))

    @cached_property
    def inside_BT(self) -> Tensor:
        """(B, T) bool, the tokens of responses."""
        step_index_BT = self.plain.step_index_BT
        return torch.arange(step_index_BT.shape[1]) < self.plain.steps.response_lengths_B[:, None]

    @cached_property
    def labels_BT(self) -> Tensor:
        """(B, T) integer, the label of each token's step; -1 outside the steps."""
        labels_BK = self.plain.steps.labels_BK
        assert labels_BK is not None
        outside_B1 = labels_BK.new_full((len(labels_BK), 1), -1)
        return torch.cat([outside_B1, labels_BK], dim=1).gather(1, self.plain.step_index_BT.long() + 1)

    def replayed(self, method: Method, signal: str | None = None) -> Replay:
        """Return the credit that a method gives these responses, by its own step signal or the one named.

        Raises:
            DataError: it needs what is not given.
        """
        probes = method.overrides("probe")
        return replay(
            method,
            self.rollouts,
            self.group_size,
            scores=self._scores_for(method, signal or method.signal) if method.needs_scores else None,
            progress_step=self.progress_step,
            max_length=self.max_length,
            policy=self.policy(self) if probes and self.policy is not None else None,
            prompt_ids=self.prompt_ids,
        )

    @cached_property
    def _scores(self) -> list[Scores]:
        if self.read_scores is None:
            raise DataError("no heads are given to score steps with")
        return self.read_scores(self.rollouts)

    @cached_property
    def _signal_scores(self) -> Mapping[str, list[Scores]]:
        assert self.read_signals is not None
        return self.read_signals(self.rollouts)

    def _scores_for(self, method: Method, name: str) -> list[Scores]:
        if name != HEADS:
            steps, signal = self.plain.steps, next(signal for signal in self.signals if signal.name == name)
            known_BK = pack_scores(self._signal_scores[name], steps.step_mask_BK.shape[1])
            return list(signal.for_credit(known_BK, steps).numpy())
        columns = [self.heads.index(head) for head in method.select_heads(self.heads)]
        return [scores_KH[:, columns].mean(axis=1) for scores_KH in self._scores]
