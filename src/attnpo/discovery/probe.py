"""The probe set of a training run: which responses, how often, and what the start said of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from attnpo.attention import Head
from attnpo.discovery.gates import has_pair
from attnpo.discovery.stability import Intervals
from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.ranges import AT_LEAST_1, AtLeast1, Correlation, Share, check, check_settings
from attnpo.rollouts import Rollout, read_rollouts


@dataclass(frozen=True)
class ProbeSettings:
    """How a training run is probed.

    Attributes:
        every: optimizer steps between two probes; the last step is probed as well.
        min_sra: SRA under which a warning is given, None for none.
        min_pearson: the same for the correlation with the start.
        reselect: choose heads anew from all heads when a number falls under its bound.
        num_heads: most heads to choose then; None for as many as there are.
        batch_size: responses a forward pass.
        intervals: how intervals are made.

    Raises:
        ConfigError: a value is out of range, or heads are to be chosen anew under no bound.
    """

    every: AtLeast1 = 20
    min_sra: Share | None = None
    min_pearson: Correlation | None = None
    reselect: bool = False
    num_heads: AtLeast1 | None = None
    batch_size: AtLeast1 = 16
    intervals: Intervals = field(default_factory=Intervals)

    def __post_init__(self) -> None:
        check_settings(self, {name: f"probe_{name}" for name in ("every", "min_sra", "min_pearson")})
        if self.reselect and self.min_sra is None and self.min_pearson is None:
            raise ConfigError("probe_reselect: heads are chosen anew under a bound; set probe_min_sra")


def read_probe(path: Path, limit: int | None = None) -> list[Rollout]:
    """Read a probe set: correct, finished responses with an essential and a redundant step.

    Args:
        path: a file of labelled rollouts, such as discovery's.
        limit: most responses to take: one of each problem in the file's order, then a second of each, and so on.

    Raises:
        ConfigError: `limit` is below 1.
        DataError: the file is missing or malformed, or holds no such response.
    """
    if limit is not None:
        check("probe_limit", limit, AT_LEAST_1)
    usable: dict[str, list[Rollout]] = {}
    for rollout in read_rollouts(path):
        if rollout.correct is not False and rollout.finished and has_pair(rollout):
            usable.setdefault(rollout.problem_id, []).append(rollout)
    if not usable:
        raise DataError(
            f"{path}: no correct response with an essential and a redundant step; give labelled rollouts, such as "
            "those that `attnpo discover` writes"
        )
    deepest = max(len(group) for group in usable.values())
    ranked = [group[place] for place in range(deepest) for group in usable.values() if place < len(group)]
    return ranked[:limit]


@dataclass(frozen=True)
class StartScores:
    """What the model said of the probe set before training: per head, per response the (K,) scores of its steps."""

    by_head: dict[Head, list[NDArray[np.float32]]]

    @classmethod
    def of(cls, heads: Sequence[Head], scores: Sequence[NDArray[np.float32]]) -> StartScores:
        """Take per response (K steps, N heads)."""
        return cls({head: [scores_KN[:, n] for scores_KN in scores] for n, head in enumerate(heads)})

    def of_heads(self, heads: Sequence[Head]) -> list[NDArray[np.float32]]:
        """Return per response (K steps, N heads) for some of the heads."""
        columns = [self.by_head[head] for head in heads]
        return [np.stack(row, axis=1) for row in zip(*columns, strict=True)]

    def save(self, path: Path, rollouts: Sequence[Rollout]) -> None:
        """Write them with a fingerprint of the probe set."""
        heads = list(self.by_head)
        np.savez(
            path,
            scores=np.concatenate(self.of_heads(heads)),
            heads=np.array(heads),
            probe=np.array(_fingerprint(rollouts)),
        )

    @classmethod
    def load(cls, path: Path, rollouts: Sequence[Rollout]) -> StartScores:
        """Read them.

        Raises:
            OutputError: they are of another probe set.
        """
        with np.load(path) as stored:
            if str(stored["probe"]) != _fingerprint(rollouts):
                raise OutputError(
                    f"{path}: holds the scores of another probe set; give the same probe and probe_limit, or choose "
                    "another output_dir"
                )
            borders = np.cumsum([len(rollout.steps) for rollout in rollouts])[:-1]
            return cls.of([Head(*pair) for pair in stored["heads"].tolist()], np.split(stored["scores"], borders))


def _fingerprint(rollouts: Sequence[Rollout]) -> str:
    digest = hashlib.sha256()
    for rollout in rollouts:
        spans = [step.tokens for step in rollout.steps]
        row = [rollout.problem_id, rollout.sample, rollout.prompt, rollout.response_ids, spans]
        digest.update(json.dumps(row).encode())
    return digest.hexdigest()[:16]
