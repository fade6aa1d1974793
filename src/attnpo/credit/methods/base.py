"""What every method answers: what is asked, a response's reward, its advantage in the group, each token's share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import Field, fields
from typing import Any, ClassVar, Final, TypeVar

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.policy import Drawn, Policy, Probed, Requests, Sampled
from attnpo.credit.rescaling import token_advantages
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import MethodSettings
from attnpo.credit.whitening import whitened
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Prompt, Rollout

T = TypeVar("T")
DRAWS: Final = ("prepare", "sample", "probe")
"""Hooks that draw from the policy; a method that overrides one needs the run's own sampler."""


class Method:
    """A way to give credit: plain outcome reward and advantage, the same for every token, unless overridden.

    All is a pure function of arguments and settings, but for what `state_dict` returns, which changes in `prepare` and
    `observe` alone. What a method draws depends on its seed, the optimizer step and the group or response only.
    """

    name: ClassVar[str] = "own"
    paper: ClassVar[str] = "not published"
    arxiv: ClassVar[str | None] = None
    source: ClassVar[str] = "this project"  # where the formula was read off, one of `catalogue.SOURCES`
    formula: ClassVar[str] = "see its docstring"  # reward, advantage or factor in a line
    extra_tokens: ClassVar[str] = "none"  # sampled beyond G responses a prompt
    extra_passes: ClassVar[str] = "none"  # beyond training's own
    also_needs: ClassVar[tuple[str, ...]] = ()  # what else a run has to give it, in words
    settings_type: ClassVar[type[MethodSettings]] = MethodSettings  # its defaults are the published ones
    idle_settings: ClassVar[tuple[str, ...]] = ()  # those inherited that do nothing here: neither shown nor taken
    needs_scores: ClassVar[bool] = False  # `gamma` reads `StepBatch.scores_BK`; else no signal is read
    signal: ClassVar[str] = "heads"  # the step signal (`attnpo signals`) that fills them unless the run names another
    needs_labels: ClassVar[bool] = False  # `gamma` reads `StepBatch.labels_BK`
    only_cuts: ClassVar[bool] = False  # `sample` draws free responses and at most cuts them short
    needs_whole_groups: ClassVar[bool] = False  # `sample` or `probe` wants a group's responses on one process
    credits_zero: ClassVar[bool] = False  # a token may have an advantage where its response's own is 0
    logged_facts: ClassVar[tuple[str, ...]] = ()  # facts of responses whose means are logged
    settings: MethodSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        self.settings = self.settings_type() if settings is None else settings
        if not isinstance(self.settings, self.settings_type):
            wanted, given = self.settings_type.__name__, type(settings).__name__
            raise ConfigError(f"method '{self.name}' takes {wanted}, not {given}; give its settings by name")

    @classmethod
    def own_settings(cls) -> dict[str, Field[Any]]:
        """Return the settings that it takes, by name."""
        return {entry.name: entry for entry in fields(cls.settings_type) if entry.name not in cls.idle_settings}

    @classmethod
    def overrides(cls, *hooks: str) -> bool:
        """Whether the method has a hook of its own of any of these names."""
        return any(getattr(cls, hook) is not getattr(Method, hook) for hook in hooks)

    @classmethod
    def reads(cls, given: str | None = None) -> str | None:
        """Return the name of the step signal that scores its steps: the given one, else its own; None for no scores."""
        return (given or cls.signal) if cls.needs_scores else None

    @property
    def learns_from_groups(self) -> bool:
        """Whether `observe` changes what it knows: then it has to see every group that is sampled."""
        return self.overrides("observe")

    @property
    def judges_steps(self) -> bool:
        """Whether rewards, advantages or facts of groups read `GroupBatch.steps`: scores are then read before them."""
        return False

    # Before the run

    def check(self, max_length: int, group_size: int, verifier: str = "math") -> None:
        """Raise `ConfigError` where a setting does not fit a run's limit in tokens, responses a prompt, or verifier."""

    def select_heads(self, heads: Sequence[T]) -> Sequence[T]:
        """Return those of a head set that the method reads, in the set's order."""
        return heads

    def begin_preparing(self, keys: Sequence[str], kept: Mapping[str, Any] | None) -> Collection[str]:
        """Return which of the problems (`Requests.keys`) that training can reach `prepare` is to be given.

        `kept` is the `state_dict` of an interrupted preparation of this run, or of the checkpoint that it goes on from:
        then none may be missing, for the policy is trained.
        """
        return keys

    def prepare(self, requests: Requests, policy: Policy) -> None:
        """Learn from the untrained policy, some problems at a time, before a run that begins.

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
        return Drawn(policy.draw(requests.free()))

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

    def select(self, rewards_PG: Tensor, groups: GroupBatch) -> Tensor | None:
        """Return (P, G) bool, the responses that are compared and trained on; the others get no credit. None: all."""
        return None

    def whiten(self, advantages_PG: Tensor, groups: GroupBatch, taking_part_PG: Tensor) -> Tensor:
        """Return (P, G) float32 advantages held against the whole batch, where `settings.whiten` asks for it.

        `taking_part_PG` (bool) names the selected responses of groups that carry an advantage.
        """
        return whitened(advantages_PG, groups.lengths_PG, taking_part_PG) if self.settings.whiten else advantages_PG

    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return by name (P, G, ...) float32 facts of whole groups that `gamma` or `spread` want of each response."""
        return {}

    # Steps and tokens, in any slice of the batch

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float32 factors on the advantage of each step (Eq. 5)."""
        return torch.ones_like(steps.step_mask_BK, dtype=torch.float32)

    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return (B, T) float32 advantages: gamma of a token's step times A_i; a step of -1 is none (Eq. 5)."""
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
