"""What every method answers: what is asked, a response's reward, its advantage in the group, each token's share."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, TypeVar

import torch
from torch import Tensor

from attnpo.credit.advantages import group_advantages
from attnpo.credit.asking import Ask
from attnpo.credit.batches import GroupBatch, StepBatch
from attnpo.credit.drawing import Continuation, Drawn, Policy, Probed, Slots
from attnpo.credit.rescaling import token_advantages
from attnpo.credit.rewards import outcome_rewards
from attnpo.credit.settings import MethodSettings
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Prompt, Rollout

T = TypeVar("T")
SOURCES: Final = ("the paper", "official code", "code of others", "secondary notes", "this project")
"""Where a formula may have been read off."""


class Method:
    """A way to give credit: plain outcome reward and advantage, the same for every token, unless overridden.

    Everything is a pure function of the arguments and the settings, but for methods with `keeps_state`, whose
    state is in `state_dict` and changes in `observe` alone. Groups are always whole, steps may come in any slice
    of the batch. What a method draws depends on its seed, the optimizer step and the number of the group or the
    response only.

    Attributes:
        name: the name under which the registry lists it.
        paper: its short name in the literature.
        arxiv: number of the paper, where there is one.
        source: where the formula was read off, one of `SOURCES`.
        formula: reward, advantage or factor in a line.
        extra_tokens: what it samples beyond G responses a prompt.
        extra_passes: forward passes beyond those that training makes anyway.
        settings_type: the dataclass of its settings, whose defaults are the published ones.
        needs_scores: whether `gamma` reads `StepBatch.scores_BK`; where not, no head is read.
        needs_labels: whether `gamma` reads `StepBatch.labels_BK`.
        needs_repetition: whether `rewards` reads `GroupBatch.repetitive_PG`.
        needs_modes: whether `rewards` reads `GroupBatch.no_think_PG`.
        asks_length: whether `ask` adds a requested length to the prompt.
        keeps_state: whether `observe` or `prepare` learns something that later steps need.
        prepares: whether `prepare` is to be called before the first step.
        draws_itself: whether `sample` does anything but draw free responses.
        probes: whether `probe` finds anything out.
        needs_whole_groups: whether `sample` or `probe` wants all responses of a group on one process.
    """

    name: ClassVar[str]
    paper: ClassVar[str]
    arxiv: ClassVar[str | None] = None
    source: ClassVar[str]
    formula: ClassVar[str]
    extra_tokens: ClassVar[str] = "none"
    extra_passes: ClassVar[str] = "none"
    settings_type: ClassVar[type[MethodSettings]] = MethodSettings
    needs_scores: ClassVar[bool] = False
    needs_labels: ClassVar[bool] = False
    needs_repetition: ClassVar[bool] = False
    needs_modes: ClassVar[bool] = False
    asks_length: ClassVar[bool] = False
    keeps_state: ClassVar[bool] = False
    prepares: ClassVar[bool] = False
    draws_itself: ClassVar[bool] = False
    probes: ClassVar[bool] = False
    needs_whole_groups: ClassVar[bool] = False
    settings: MethodSettings

    def __init__(self, settings: MethodSettings | None = None) -> None:
        """Keep the settings, the published ones by default.

        Raises:
            ConfigError: they are another method's.
        """
        settings = self.settings_type() if settings is None else settings
        if not isinstance(settings, self.settings_type):
            wanted, given = self.settings_type.__name__, type(settings).__name__
            raise ConfigError(f"method '{self.name}' takes {wanted}, not {given}; give its settings by name")
        self.settings = settings

    def check_limit(self, max_length: int) -> None:
        """Check the settings against the run's limit on a response, in tokens, before anything is sampled.

        Raises:
            ConfigError: under this limit a setting would do nothing, or something else than it says.
        """

    def ask(self, prompt: Prompt, group_id: int, sample: int, progress_step: int) -> Ask:
        """Return what a response is sampled from: here the data set's prompt as it is.

        Args:
            prompt: the data set's prompt.
            group_id: number of the group within the run.
            sample: number of the response within its group.
            progress_step: optimizer step t, counted from 0.
        """
        return Ask(prompt)

    def response_limit(self, progress_step: int) -> int | None:
        """Return the limit on a response at this step in tokens, where the method sets one below the run's."""
        return None

    def check_verifier(self, verifier: str) -> None:
        """Check that the method can work with a verifier, by its name in the configuration.

        Raises:
            ConfigError: it cannot.
        """

    def begin_preparing(self, keys: Sequence[str], kept: Mapping[str, Any] | None) -> Collection[str]:
        """Return the problems that `prepare` is to be given: here all of them.

        Args:
            keys: names of the problems that training can reach, this process's share of them.
            kept: the `state_dict` of a preparation of this run that was interrupted; None where there was none.
        """
        return keys

    def prepare(self, slots: Slots, policy: Policy) -> None:
        """Learn from the policy before its first step; called where `prepares`, and not when a run is resumed.

        What is learnt belongs in `state_dict`, by `Slots.keys`: the states of several processes are united.

        Args:
            slots: one for each problem, some of them at a time.
            policy: the untrained policy.
        """

    def sample(self, slots: Slots, policy: Policy) -> Drawn:
        """Return the responses to train on: here one free response a slot."""
        free = [Continuation(row, slots.max_new_tokens, sample=slots.samples[row]) for row in range(len(slots))]
        return Drawn(policy.draw(free))

    def probe(
        self,
        rollouts: Sequence[Rollout],
        prompt_ids: Sequence[tuple[int, ...]],
        policy: Policy,
        progress_step: int,
    ) -> Probed:
        """Find out more about sampled responses, before their rewards; called where `probes`.

        Args:
            rollouts: this process's responses, segmented and verified.
            prompt_ids: what the model read for each; index of a response = `Continuation.row`.
            policy: the policy that drew them.
            progress_step: optimizer step t, counted from 0.
        """
        return Probed()

    def select_heads(self, heads: Sequence[T]) -> Sequence[T]:
        """Return those of a head set that the method reads, in the set's order."""
        return heads

    def observe(self, groups: GroupBatch) -> None:
        """Learn from the groups of a generation batch, just before their rewards; called on every process alike."""

    def state_dict(self) -> dict[str, Any]:
        """Return as JSON values what `observe` has learnt; it is saved with checkpoints."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state_dict`."""

    def metrics(self) -> dict[str, float]:
        """Return what is worth logging of the state."""
        return {}

    def rewards(self, groups: GroupBatch) -> Tensor:
        """Return (P, G) float32 rewards r_i."""
        return outcome_rewards(groups.correct_PG)

    def advantages(self, rewards_PG: Tensor, groups: GroupBatch | None = None) -> Tensor:
        """Return (P, G) float32 outcome advantages A_i.

        Args:
            rewards_PG: (P, G) rewards, further reward functions included.
            groups: the groups, for methods whose advantage is more than a function of the rewards.
        """
        return group_advantages(rewards_PG, self.settings.advantage, self.settings.scale_advantages)

    def group_facts(self, rewards_PG: Tensor, groups: GroupBatch) -> dict[str, Tensor]:
        """Return by name (P, G, ...) float32 facts of whole groups that `gamma` or `spread` want of each response."""
        return {}

    def gamma(self, steps: StepBatch) -> Tensor:
        """Return (B, K) float32 factors on the advantage of each step (Eq. 5)."""
        return torch.ones_like(steps.step_mask_BK, dtype=torch.float32)

    def spread(self, steps: StepBatch, gamma_BK: Tensor, step_index_BT: Tensor) -> Tensor:
        """Return the (B, T) float32 advantage of each token: gamma of its step times A_i (Eq. 5).

        Args:
            steps: the responses.
            gamma_BK: (B, K) what `gamma` returned for them.
            step_index_BT: (B, T) step of each response token, -1 outside the steps.
        """
        return token_advantages(steps.advantages_B, gamma_BK, step_index_BT)

    def known(self, value: T | None, what: str) -> T:
        """Return a value that the method cannot do without.

        Raises:
            DataError: there is none.
        """
        if value is None:
            raise DataError(f"method {self.name}: needs {what}, which the groups do not carry")
        return value
