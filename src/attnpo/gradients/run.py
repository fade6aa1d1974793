"""From batches of responses to their gradients on disk, batch by batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from rich.progress import Progress
from torch import Tensor

from attnpo.gradients.basis import independent_rows
from attnpo.gradients.batch import Batch
from attnpo.gradients.credits import Credit, token_advantages
from attnpo.gradients.passes import LogProbs, credit_gradients, response_log_probs
from attnpo.gradients.projection import CountSketch, Whole
from attnpo.gradients.store import ADAM, HALVES, PLAIN, Store, adam_weights
from attnpo.progress import bar


@dataclass(frozen=True)
class Policy:
    """What is differentiated.

    Attributes:
        model: causal language model, in evaluation mode.
        parameters: what its gradients are taken by.
        pad_id: padding token.
        temperature: softmax temperature that the responses were sampled at.
        micro_batch: responses a forward pass.
    """

    model: Any
    parameters: Sequence[Tensor]
    pad_id: int
    temperature: float = 1.0
    micro_batch: int = 32

    @property
    def size(self) -> int:
        """Number of parameters."""
        return sum(parameter.numel() for parameter in self.parameters)

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.parameters[0].device

    def gradients(self, batch: Batch, advantages_RBT: Tensor, take: Callable[[int, Tensor], None]) -> None:
        """Hand on the parts of a batch's gradients, as `credit_gradients` does."""
        sizes = [len(ids) + r.n_tokens for ids, r in zip(batch.prompt_ids, batch.rollouts, strict=True)]
        credit_gradients(self._log_probs(batch), sizes, self.parameters, advantages_RBT, self.micro_batch, take)

    def _log_probs(self, batch: Batch) -> LogProbs:
        def log_probs(rows: Sequence[int]) -> Tensor:
            prompts = [batch.prompt_ids[row] for row in rows]
            responses = [batch.rollouts[row].response_ids for row in rows]
            return response_log_probs(self.model, self.pad_id, prompts, responses, self.temperature)

        return log_probs


def fill(
    store: Store,
    make_batch: Callable[[int], Batch],
    credits: Sequence[Credit],
    policy: Policy,
    sketch: int | None = None,
    progress: Progress | None = None,
) -> None:
    """Compute the gradients of the batches that are not on disk yet, in parts by the bins of their responses.

    Takes in memory the gradients of one part of a batch: R independent credits of `width` float32 numbers. Sketched, it
    takes them for both metrics, four more numbers a parameter, and for Adam's metric a pass over all batches before.

    Args:
        store: where they go.
        make_batch: batch by number.
        credits: the credits.
        policy: what is differentiated.
        sketch: numbers that a gradient is sketched to; None keeps it whole.
        progress: display, or None.
    """
    projections = _projections(store, make_batch, credits, policy, sketch, progress)
    missing = store.missing()
    with bar(progress, "gradients", store.batches, done=store.batches - len(missing)) as advance:
        for number in missing:
            batch = make_batch(number)
            advantages_MBT = token_advantages(credits, batch)
            basis = independent_rows(advantages_MBT.flatten(1).numpy())
            kept = projections[number % len(HALVES)]
            for part in range(store.parts):
                own_RBT = advantages_MBT[list(basis.chosen)]
                if store.parts > 1:
                    own_RBT = own_RBT * (torch.tensor(batch.bins) == part)[:, None]
                store.save(number, _gradients(policy, batch, own_RBT, kept), basis, part)
            advance(1, f"{len(basis.chosen)} passes for {len(credits)} credits")


def _gradients(
    policy: Policy, batch: Batch, advantages_RBT: Tensor, projections: Mapping[str, Callable[[Tensor], Tensor]]
) -> dict[str, Tensor]:
    found: dict[str, list[Tensor | None]] = {metric: [None] * len(advantages_RBT) for metric in projections}

    def take(r: int, part_D: Tensor) -> None:
        for metric, project in projections.items():
            kept, before = project(part_D), found[metric][r]
            found[metric][r] = kept if before is None else before.add_(kept)

    policy.gradients(batch, advantages_RBT, take)
    empty = {metric: project(torch.zeros(policy.size, device=policy.device)) for metric, project in projections.items()}
    return {
        metric: torch.stack([empty[metric] if row is None else row for row in rows])
        if rows
        else empty[metric].new_zeros(0, len(empty[metric]))
        for metric, rows in found.items()
    }


def _projections(
    store: Store,
    make_batch: Callable[[int], Batch],
    credits: Sequence[Credit],
    policy: Policy,
    sketch: int | None,
    progress: Progress | None,
) -> list[dict[str, Callable[[Tensor], Tensor]]]:
    """Return for each half of the batches how its gradients are kept, by metric."""
    if sketch is None:
        return [{PLAIN: Whole(policy.size)} for _ in HALVES]
    keep = CountSketch(policy.size, sketch, policy.device)

    def weighed(moments_D: Tensor) -> Callable[[Tensor], Tensor]:
        # The metric's square root on both sides of an inner product.
        found_D = moments_D.double().numpy()
        roots_D = torch.from_numpy(adam_weights(found_D, float(found_D.mean()))).sqrt().float().to(policy.device)
        return lambda gradient_D: keep(gradient_D * roots_D)

    first_D, second_D = _second_moments(store, make_batch, credits[store.common], policy, progress)
    return [{PLAIN: keep, ADAM: weighed(others_D)} for others_D in (second_D, first_D)]


def _second_moments(
    store: Store, make_batch: Callable[[int], Batch], common: Credit, policy: Policy, progress: Progress | None
) -> Tensor:
    """Return (2, D) the mean over each half's batches of the common credit's squared gradient; goes on where killed."""
    done, sums_HD = store.kept_moments() or (0, torch.zeros(len(HALVES), policy.size))
    with bar(progress, "Adam's metric", store.batches, done=done) as advance:
        for number in range(done, store.batches):
            batch = make_batch(number)
            found = _gradients(policy, batch, token_advantages([common], batch), {PLAIN: Whole(policy.size)})
            sums_HD[number % len(HALVES)] += found[PLAIN][0].cpu() ** 2
            store.keep_moments(number + 1, sums_HD)
            advance(1)
    return sums_HD / torch.tensor([[len(range(half, store.batches, len(HALVES)))] for half in HALVES])
