"""A batch of responses as credits see it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.attention import Head
from attnpo.credit import Continuation, Policy, Requests, build_method
from attnpo.credit.layout import pack_scores
from attnpo.credit.methods.base import Method
from attnpo.credit.replay import Replay, replay
from attnpo.errors import DataError
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse
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
        read_signals: scores the steps by some of them, by name per response (K,); None where there are none.
        policy: gives the policy to methods that probe; None where there is none.
        prompt_ids: what the model reads for each response.
        bins: the bin of the redundant share that each response is of; empty where there are none.
        cut: cuts responses to so many tokens each, into steps again, judges what is left and labels its steps where
            that is asked; None where nothing is cut.
    """

    rollouts: Sequence[Rollout]
    group_size: int
    number: int = 0
    progress_step: int = 0
    max_length: int | None = None
    read_scores: Callable[[Sequence[Rollout]], list[Scores]] | None = None
    heads: Sequence[Head] = ()
    signals: Sequence[Signal] = ()
    read_signals: Callable[[Sequence[Rollout], Sequence[Signal]], Mapping[str, list[Scores]]] | None = None
    policy: Callable[[Batch], Policy] | None = None
    prompt_ids: Sequence[tuple[int, ...]] = ()
    bins: Sequence[int] = ()
    cut: Callable[[Sequence[Rollout], Sequence[int], bool], Sequence[Rollout]] | None = None

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

    def advantages(self, method: Method, signal: str | None = None) -> Tensor:
        """Return (B, T) the advantages that a method gives these responses' tokens; 0 behind where it cuts them.

        What stands before a cut was drawn as a run that stops there draws it, so the gradient is that run's.

        Raises:
            DataError: it needs what is not given.
        """
        advantages_BT = self.drawn_for(method, signal).replayed(method, signal).advantages_BT
        return torch.nn.functional.pad(advantages_BT, (0, self.inside_BT.shape[1] - advantages_BT.shape[1]))

    def drawn_for(self, method: Method, signal: str | None = None) -> Batch:
        """Return these responses as a run with the method draws them: cut at its limit, or where it cuts them itself.

        Of the signals it keeps what the method reads, its own or the one named.

        Raises:
            DataError: it cuts, and nothing is given that does.
        """
        limit = method.response_limit(self.progress_step)
        lengths = [min(rollout.n_tokens, limit or rollout.n_tokens) for rollout in self.rollouts]
        if method.only_cuts:
            lengths = self._cut_by(method)
        shorter = [row for row, rollout in enumerate(self.rollouts) if lengths[row] < rollout.n_tokens]
        if not shorter:
            return self
        if self.cut is None:
            raise DataError(f"method {method.name}: cuts responses, and nothing here cuts them; leave it out")
        signals = [each for each in self.signals if each.name == method.reads(signal)]
        labelled = method.needs_labels or any("labels" in each.needs for each in signals)
        cut = self.cut([self.rollouts[row] for row in shorter], [lengths[row] for row in shorter], labelled)
        rollouts = list(self.rollouts)
        for row, rollout in zip(shorter, cut, strict=True):
            rollouts[row] = rollout
        return replace(self, rollouts=rollouts, signals=signals)

    def _cut_by(self, method: Method) -> list[int]:
        """Return where `Method.sample` cuts the responses at hand, in tokens."""
        if self.policy is None:
            raise DataError(f"method {method.name}: cuts responses by the policy's own means; give one")

        def at_hand(wanted: Sequence[Continuation]) -> list[SampledResponse]:
            return [
                SampledResponse(list(self.rollouts[item.row].response_ids), self.rollouts[item.row].finished)
                for item in wanted
            ]

        count = len(self.rollouts)
        requests = Requests(
            list(self.prompt_ids),
            [rollout.solution for rollout in self.rollouts],
            [row // self.group_size for row in range(count)],
            [row % self.group_size for row in range(count)],
            max(rollout.n_tokens for rollout in self.rollouts),
            self.progress_step,
        )
        drawn = method.sample(requests, replace(self.policy(self), draw=at_hand))
        return [len(response.ids) for response in drawn.responses]

    def replayed(self, method: Method, signal: str | None = None) -> Replay:
        """Return the credit that a method gives these responses as they are, by its own step signal or the one named.

        Raises:
            DataError: it needs what is not given.
        """
        probes, read = method.overrides("probe"), method.reads(signal)
        return replay(
            method,
            self.rollouts,
            self.group_size,
            scores=None if read is None else self._scores_for(method, read),
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
        return self.read_signals(self.rollouts, self.signals)

    def _scores_for(self, method: Method, name: str) -> list[Scores]:
        if name != HEADS:
            steps, signal = self.plain.steps, next(signal for signal in self.signals if signal.name == name)
            known_BK = pack_scores(self._signal_scores[name], steps.step_mask_BK.shape[1])
            return list(signal.for_credit(known_BK, steps).numpy())
        columns = [self.heads.index(head) for head in method.select_heads(self.heads)]
        return [scores_KH[:, columns].mean(axis=1) for scores_KH in self._scores]
