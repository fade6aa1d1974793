"""What every method answers: what is asked, a response's reward, its advantage in the group, each token's share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.policy import Continuation, Drawn, Policy, Probed, Requests, Sampled
from attnpo.credit.rescaling import token_advantages
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import MethodSettings
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Prompt, Rollout

T = TypeVar("T")
SOURCES: Final = ("the paper", "official code", "code of others", "secondary notes", "this project")
"""Where a formula may have been read off."""
DRAWS: Final = ("prepare", "sample", "probe")
"""Hooks that draw from the policy; a method that overrides one needs the run's own sampler."""


class Method:
    """A way to give credit: plain outcome reward and advantage, the same for every token, unless overridden.

    Everything is a pure function of the arguments and the settings, but for methods that override `state_dict`, whose
    state changes in `prepare` and `observe` alone. Groups are always whole, steps may come in any slice of the batch.
    What a method draws depends on its seed, the optimizer step and the number of the group or the response only.

    Attributes:
        name, paper, arxiv: its name here and in the literature; number of the paper, where there is one.
        source: where the formula was read off, one of `SOURCES`.
        formula: reward, advantage or factor in a line.
        extra_tokens, extra_passes: what it samples beyond G responses a prompt, and passes beyond training's own.
        settings_type: the dataclass of its settings, whose defaults are the published ones.
        needs_scores: whether `gamma` reads `StepBatch.scores_BK`; where not, no head is read.
        needs_labels: whether `gamma` reads `StepBatch.labels_BK`.
        needs_whole_groups: whether `sample` or `probe` wants all responses of a group on one process.
        also_needs: what else a run has to give it, in words.
        logged_facts: facts of responses whose means are logged.
    """

    name: ClassVar[str] = "own"
    paper: ClassVar[str] = "not published"
    arxiv: ClassVar[str | None] = None
    source: ClassVar[str] = "this project"
    formula: ClassVar[str] = "see its docstring"
    extra_tokens: ClassVar[str] = "none"
    extra_passes: ClassVar[str] = "none"
    settings_type: ClassVar[type[MethodSettings]] = MethodSettings
    needs_scores: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_whole_groups: ClassVar[bool] = False
    also_needs: ClassVar[tuple[str, ...]] = ()
    logged_facts: ClassVar[tuple[str, ...]] = ()
    settings: MethodSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        settings = self.settings_type() if settings is None else settings
        if not isinstance(settings, self.settings_type):
            wanted, given = self.settings_type.__name__, type(settings).__name__
            raise ConfigError(f"method '{self.name}' takes {wanted}, not {given}; give its settings by name")
        self.settings = settings

    @classmethod
    def overrides(cls, *hooks: str) -> bool:
        """Whether the method has a hook of its own of any of these names."""
        return any(getattr(cls, hook) is not getattr(Method, hook) for hook in hooks)

    # Before the run

    def check_limit(self, max_length: int) -> None:
        """Raise `ConfigError` where a setting does not fit the run's limit on a response, in tokens."""

    def check_verifier(self, verifier: str) -> None:
        """Raise `ConfigError` where the method cannot work with a verifier, by its name in the configuration."""

    def select_heads(self, heads: Sequence[T]) -> Sequence[T]:
        """Return those of a head set that the method reads, in the set's order."""
        return heads

    def begin_preparing(self, keys: Sequence[str], kept: Mapping[str, Any] | None) -> Collection[str]:
        """Return the problems (`Requests.keys`) that `prepare` is to be given: here all of them.

        Args:
            keys: the problems that training can reach, this process's share of them.
            kept: the `state_dict` of a preparation of this run that was interrupted; None where there was none.
        """
        return keys

    def prepare(self, requests: Requests, policy: Policy) -> None:
        """Learn from the untrained policy, some problems at a time; not called when a run is resumed.

        What is learnt belongs in `state_dict`, by `Requests.keys`: the states of several processes are united.
        """

    # A generation batch, on each process

    def ask(self, prompt: Prompt, group_id: int, sample: int, progress_step: int) -> Ask:
        """Return what response number `sample` of group `group_id` of the run is sampled from at optimizer step t."""
        return Ask(prompt)

    def response_limit(self, progress_step: int) -> int | None:
        """Return the limit on a response at this step in tokens, where the method sets one below the run's."""
        return None

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        """Return the responses to train on: here one free response a request."""
        free = [
            Continuation(row, requests.max_new_tokens, sample=requests.samples[row]) for row in range(len(requests))
        ]
        return Drawn(policy.draw(free))

    def facts(self, rollout: Rollout, ask: Ask) -> dict[str, float]:
        """Return what the method wants to know of a segmented response; the same names for all: here `ask.facts`."""
        return dict(ask.facts)

    def probe(self, sampled: Sampled, policy: Policy) -> Probed:
        """Find out more about verified responses from the policy that drew them."""
        return Probed()

    # Whole groups, gathered; the same on every process

    def observe(self, groups: GroupBatch) -> None:
        """Learn from the groups of a generation batch, just before their rewards."""

    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 rewards r_i."""
        return outcome_rewards(groups.correct_PG)

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) float32 outcome advantages A_i; `rewards_PG` includes further reward functions."""
        return group_advantages(rewards_PG, self.settings.advantage, self.settings.scale_advantages)

    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return by name (P, G, ...) float32 facts of whole groups that `gamma` or `spread` want of each response."""
        return {}

    # Steps and tokens, in any slice of the batch

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float32 factors on the advantage of each step (Eq. 5)."""
        return torch.ones_like(steps.step_mask_BK, dtype=torch.float32)

    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) float32 advantage of each token: gamma of its step times A_i (Eq. 5).

        `step_index_BT` is the step of each response token, -1 outside the steps.
        """
        return token_advantages(steps.advantages_B, gamma_BK, step_index_BT)

    # State from step to step

    def state_dict(self) -> dict[str, Any]:
        """Return as JSON values what the method has learnt; it is saved with checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""

    def metrics(self) -> dict[str, float]:
        """Return what is worth logging of the state."""
        return {}

    def known(self, value: T | None, what: str) -> T:
        """Return a value that the method cannot do without; raise `DataError` where there is none."""
        if value is None:
            raise DataError(f"method {self.name}: needs {what}, which the groups do not carry")
        return value
