"""Causal labels and the heads that they find, held against the truth of a world."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydantic import BaseModel

from attnpo.discovery import DiscoveryResult
from attnpo.labeling.store import read_labels
from attnpo.labeling.truth import decided, effects_auc
from attnpo.rollouts import Rollout
from attnpo.statistics import Interval


class CausalHeads(BaseModel):
    """Causal labels and the heads that they found, held against the truth.

    Attributes:
        heads: the heads.
        responses: responses that were labelled.
        problems: problems of the steps below.
        steps: their steps that the truth decides.
        auc: ROC AUC of the effects, essential against redundant steps.
        decided: share of these steps that causal labels decide.
        agreement: share of the decided ones that are labelled right.
        sra: SRA of the heads by the true labels, on responses to other problems.
    """

    heads: list[tuple[int, int]]
    responses: int
    problems: int
    steps: int
    auc: Interval | None
    decided: float | None
    agreement: float | None
    sra: Interval | None

    def sentence(self) -> str:
        """Return it in a sentence."""

        def share(value: float | None) -> str:
            return "unknown" if value is None else f"{value:.0%}"

        heads = ", ".join(f"{layer}.{head}" for layer, head in self.heads)
        auc = "not defined" if self.auc is None else self.auc.format(3)
        sra = "" if self.sra is None else f", which by the true labels have SRA {self.sra.format(3)} on other problems"
        return (
            f"Causal labels of {self.responses} responses to {self.problems} problems: ROC AUC {auc} of the effects "
            f"against the truth on {self.steps} steps; {share(self.decided)} of these are decided, "
            f"{share(self.agreement)} of them right. They find heads {heads}{sra}."
        )


def causal_heads(rollouts: Sequence[Rollout], folder: Path, sra: Interval | None) -> CausalHeads:
    """Hold a causal discovery against the truth.

    Args:
        rollouts: the responses that it labelled, with the true labels.
        folder: where it is.
        sra: SRA of its heads by the true labels, on other responses.
    """
    found = {key: labels for key, _, labels in read_labels(folder / "labels.jsonl") if labels.labels}
    labelled = [r for r in rollouts if (r.problem_id, r.sample) in found]
    known = [found[r.problem_id, r.sample] for r in labelled]
    labels, truth, problems = decided(labelled, [each.labels for each in known])
    agree = [(label == "essential") == (true == 1) for label, true in zip(labels, truth, strict=True)]
    both = [same for same, label in zip(agree, labels, strict=True) if label != "undecided"]
    return CausalHeads(
        heads=DiscoveryResult.load(folder / "discovery.json").chosen,
        responses=len(labelled),
        problems=len(set(problems)),
        steps=len(labels),
        auc=effects_auc(labelled, [each.evidence["effects"] for each in known]),
        decided=len(both) / len(labels) if labels else None,
        agreement=sum(both) / len(both) if both else None,
        sra=sra,
    )


def split(rollouts: Sequence[Rollout], wanted: int) -> tuple[list[Rollout], list[Rollout]]:
    """Return about `wanted` responses of the first problems, at most those of half of them, and those of the rest.

    At least two problems are taken: heads are chosen on one half of them and reported on the other.

    The samples of a problem are numbered through.
    """
    problems = list(dict.fromkeys(r.problem_id for r in rollouts))
    taken: set[str] = set()
    for problem in problems[: max(2, len(problems) // 2)]:
        if len(taken) > 1 and sum(r.problem_id in taken for r in rollouts) >= wanted:
            break
        taken.add(problem)
    seen: Counter[str] = Counter()
    parts: tuple[list[Rollout], list[Rollout]] = ([], [])
    for rollout in rollouts:
        parts[rollout.problem_id not in taken].append(replace(rollout, sample=seen[rollout.problem_id]))
        seen[rollout.problem_id] += 1
    return parts
