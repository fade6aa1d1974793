"""What a run logs about its responses, groups and credit, as means over all processes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import torch

from attnpo.credit import ESSENTIAL, REDUNDANT, GroupBatch, StepBatch, credit_counts
from attnpo.credit.audit import audit_credit, audit_sums, audit_totals
from attnpo.credit.mass import changed_mass, total_mass, verdict_advantages
from attnpo.rollouts import Rollout, StepFamily
from attnpo.segmentation import PhraseFamilies, phrase_counts
from attnpo.training.meter import Meter

GAMMA_MINUS_ONE = "gamma_minus_one"
PHRASE_FAMILIES: tuple[StepFamily, ...] = ("confused", "progression", "summary")


class RunMeter(Meter):
    """A meter that knows what is worth counting.

    Steps are counted when responses come in and what credit did to them later, per micro-batch: rows of zero
    advantage may be packed away in between, and would add nothing.

    Args:
        phrases: phrase families whose occurrences are counted.
        device: of the sums.
    """

    def __init__(self, phrases: PhraseFamilies, device: torch.device | str = "cpu") -> None:
        super().__init__()
        self.phrases, self.device, self.group_size = phrases, device, 2

    def count(self, name: str, count: int, of: int) -> None:
        """Add `count` cases among `of`."""
        self.add(name, torch.tensor(float(count), device=self.device), float(of))

    def add_reading(self, read: int, own: int) -> None:
        """Count attention logits computed for a signal alone, and those of the pass that it was read in."""
        if own:  # else it reads no attention
            self.count("extra_attention", read, own)

    def add_responses(self, rollouts: Sequence[Rollout], tensors: Mapping[str, torch.Tensor]) -> None:
        """Count steps and phrases of new responses, given with what `credit.layout.lay_out` makes of them."""
        steps_BK, labels_BK = tensors["step_mask"], tensors.get("labels")
        device = steps_BK.device
        self.add_values("steps_per_response", steps_BK.sum(dim=1))
        self.add_values("think_part", torch.tensor([rollout.has_think_part for rollout in rollouts], device=device))
        num_owned = (steps_BK & (tensors["step_lengths"] > 0)).sum()
        for name in ("steps_attenuated", "steps_protected", GAMMA_MINUS_ONE):
            self.add(name, torch.zeros_like(num_owned), num_owned)
        counts = [phrase_counts(rollout.response, self.phrases) for rollout in rollouts]
        for family in PHRASE_FAMILIES:
            total = torch.tensor(float(sum(count[family] for count in counts)), device=device)
            self.add(f"phrases/{family}", total, float(len(counts)))
        if labels_BK is not None:
            for name, code in (("essential", ESSENTIAL), ("redundant", REDUNDANT)):
                self.add_values(f"steps/{name}", ((labels_BK == code) & steps_BK).sum(dim=1))

    def add_verified(self, rollouts: Sequence[Rollout]) -> None:
        """Count the labelled steps of verified responses."""
        for name, count in audit_totals(rollouts).items():
            self.count(f"audit/{name}", 0, count)

    def add_groups(
        self, groups: GroupBatch, rewards_PG: torch.Tensor, weight: float, logged_facts: Sequence[str] = ()
    ) -> None:
        """Count accuracy, lengths and rewards of whole groups.

        Args:
            groups: the groups; gathered, so the same on every process.
            rewards_PG: their rewards.
            weight: 1 on one process, 0 on the others, so that each is counted once.
            logged_facts: the method's own facts that are logged.
        """
        for name, values in (
            ("accuracy", groups.correct_PG),
            ("response_length", groups.lengths_PG),
            ("reward", rewards_PG),
            ("pass_rate", groups.pass_rate_P),
            ("all_correct_groups", groups.correct_PG.all(dim=1)),
            ("all_wrong_groups", ~groups.correct_PG.any(dim=1)),
            *((name, groups.facts[name]) for name in logged_facts),
        ):
            self.add(name, values.float().sum() * weight, values.numel() * weight)

    def add_mass(self, groups: GroupBatch, advantages_PG: torch.Tensor, weight: float) -> None:
        """Count the advantage that credit begins with: the verdict's alone, and the method's before steps.

        Args:
            groups: the groups; gathered, so the same on every process.
            advantages_PG: the method's outcome advantages.
            weight: as of `add_groups`.
        """
        self.group_size = groups.correct_PG.shape[1]
        verdict_PG = verdict_advantages(groups.correct_PG, groups.pass_rate_P[:, None], self.group_size)
        for before, values_PG in (("verdict", verdict_PG), ("outcome", advantages_PG)):
            for sign, total in total_mass(values_PG, groups).items():
                self.add(f"mass/{before}/{sign}_removed", total * weight, total * weight)
                self.add(f"mass/{before}/{sign}_added", 0 * total, total * weight)

    def add_factors(self, batch: StepBatch, gamma_BK: torch.Tensor) -> None:
        """Count what the factors of Eq. 5-8 did to steps."""
        counts = credit_counts(batch, gamma_BK)
        self.add("steps_attenuated", counts["attenuated"], 0.0)
        self.add("steps_protected", counts["protected"], 0.0)
        self.add(GAMMA_MINUS_ONE, counts["gamma"] - counts["steps"], 0.0)
        if batch.labels_BK is not None:
            self.add("credit_agreement", counts["agreeing"], counts["judged"])

    def add_credit(self, batch: StepBatch, advantages_BT: torch.Tensor, step_index_BT: torch.Tensor) -> None:
        """Count what final advantages keep and add of those before, and labelled steps that they punish or reward."""
        verdict_B = verdict_advantages(batch.correct_B, batch.pass_rate_B, self.group_size)
        for before, values_B in (("verdict", verdict_B), ("outcome", batch.advantages_B)):
            for sign, (kept, new) in changed_mass(values_B, advantages_BT, batch.response_lengths_B).items():
                self.add(f"mass/{before}/{sign}_removed", -kept, 0.0)
                self.add(f"mass/{before}/{sign}_added", new, 0.0)
        if batch.labels_BK is not None:
            audit = audit_credit(advantages_BT, step_index_BT, batch.labels_BK)
            for name, total in audit_sums(audit, batch.correct_B).items():
                self.add(f"audit/{name}", total, 0.0)

    def flush(self, reduce_sum: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Return the means over all processes and start again; `gamma` is the mean factor of a step."""
        means = super().flush(reduce_sum)
        if GAMMA_MINUS_ONE in means:
            means["gamma"] = 1.0 + means.pop(GAMMA_MINUS_ONE)
        return means
