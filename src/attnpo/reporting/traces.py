"""One response as it is shown: steps shaded by score over the mean of the response, factor gamma, label and mark.

The baseline of Eq. 6 shades nothing: lowered on hard prompts, it would call every step of theirs essential.

The same view feeds the report, the standalone page and the terminal.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from attnpo.collecting import failure_of
from attnpo.credit import CreditSettings, StepBatch, step_baseline
from attnpo.reporting.palette import bin_of
from attnpo.rollouts import Rollout, Step, prompt_text
from attnpo.think import THINK_CLOSE, THINK_OPEN

Mark = Literal["attenuated", "protected", "untouched"]


@dataclass(frozen=True)
class StepView:
    """One step as it is shown.

    Attributes:
        index: position in the response, from 0.
        text: its text.
        tokens: its length in tokens.
        family: phrase family that opened it.
        label: whether the answer needed it, where known.
        score: step score (AttnPO, Eq. 2), where computed.
        ratio: score over baseline, where both are known and the baseline is not 0.
        gamma: factor on the advantage, where computed.
        mark: what credit did to it.
        shade: colour bin of the score over the mean of the response's steps; None without a score.
        signals: by name of a rival signal, its score over its mean.
    """

    index: int
    text: str
    tokens: int
    family: str
    label: str | None
    score: float | None
    ratio: float | None
    gamma: float | None
    mark: Mark
    shade: int | None
    signals: Mapping[str, float] = field(default_factory=dict)

    @property
    def tip(self) -> str:
        """What the pointer shows."""
        rows = [f"step {self.index + 1} · {self.tokens} tokens · {self.family}"]
        if self.score is not None:
            rows.append(f"score {self.score:.4g}")
        if self.ratio is not None:
            rows.append(f"{self.ratio:.2f} × baseline")
        if self.gamma is not None:
            rows.append(f"γ {self.gamma:.2f} · {self.mark}")
        rows += [f"{name} {ratio:.2f} × mean" for name, ratio in self.signals.items()]
        if self.label is not None:
            rows.append(f"label: {self.label}")
        return "\n".join(rows)


@dataclass(frozen=True)
class TraceView:
    """One response as it is shown.

    `head` and `tail` are the text before and after the steps; `failure` is why a server gave none of use.
    """

    problem_id: str
    prompt: str
    solution: str
    difficulty: str | None
    correct: bool | None
    finished: bool
    n_tokens: int
    answer_tokens: int
    pass_rate: float | None
    advantage: float | None
    baseline: float | None
    head: str
    steps: tuple[StepView, ...]
    tail: str
    closed: bool
    failure: str | None = None

    @property
    def verdict(self) -> str:
        """The verdict in a word."""
        return "not verified" if self.correct is None else "correct" if self.correct else "wrong"

    @property
    def strips(self) -> dict[str, list[tuple[int, int | None]]]:
        """By name of a rival signal, tokens and colour bin of each step that owns tokens."""
        names = dict.fromkeys(name for step in self.steps for name in step.signals)
        return {
            name: [(step.tokens, shade_of(step.signals.get(name))) for step in self.steps if step.tokens]
            for name in names
        }

    @property
    def judged(self) -> tuple[int, int]:
        """How many touched steps with a decided label there are, and for how many of them credit was right."""
        touched = [s for s in self.steps if s.mark != "untouched" and s.label in ("essential", "redundant")]
        right = [s for s in touched if (s.mark == "attenuated") == (s.label == "redundant")]
        return len(touched), len(right)

    @property
    def characters(self) -> int:
        """Length of all text."""
        return len(self.head) + len(self.tail) + sum(len(step.text) for step in self.steps)


def trace_baseline(rollout: Rollout, settings: CreditSettings | None = None) -> float | None:
    """Return the response's score baseline S_base (AttnPO, Eq. 6); None where its pass rate is not known.

    The rollout does not hold the prompt's length, so the denominator is the response length whatever the settings say.
    """
    if rollout.pass_rate is None:
        return None
    settings = settings or CreditSettings()
    length = torch.tensor([rollout.n_tokens])
    nothing = torch.zeros(1, 0)
    batch = StepBatch(
        scores_BK=nothing,
        step_mask_BK=nothing.bool(),
        step_lengths_BK=nothing.long(),
        answer_lengths_B=torch.tensor([rollout.answer_tokens[1] - rollout.answer_tokens[0]]),
        response_lengths_B=length,
        prompt_lengths_B=torch.zeros_like(length),
        advantages_B=torch.zeros(1),
        correct_B=torch.tensor([bool(rollout.correct)]),
        pass_rate_B=torch.tensor([rollout.pass_rate]),
        progress_step=0,
        row_ids_B=torch.zeros(1, dtype=torch.long),
        labels_BK=None,
    )
    return float(step_baseline(batch, settings)[0])


def mark_of(step: Step, advantage: float | None, baseline: float | None) -> Mark:
    """Return what credit did to a step.

    A factor below 1 attenuates where the advantage is positive (PA) and protects where it is negative (NA). Where the
    advantage is not known, the side of the baseline that the score lies on decides: PA acts below it, NA above.
    """
    if step.gamma is None or step.gamma >= 1:
        return "untouched"
    if advantage is None:
        above = step.score is not None and baseline is not None and step.score > baseline
        return "protected" if above else "attenuated"
    return "attenuated" if advantage > 0 else "protected"


def shade_of(ratio: float | None) -> int | None:
    """Return the colour bin of score over mean: its logarithm, a factor of 4 either way at the ends."""
    if ratio is None:
        return None
    return bin_of(math.log2(max(ratio, 1e-6)), 2.0)


def trace_view(rollout: Rollout, baseline: float | None = None) -> TraceView:
    """Return a response as it is shown.

    Args:
        rollout: the response; scores, factors and labels may be missing.
        baseline: S_base of the response; by default Eq. 6 with the published settings, from the rollout's own fields.
    """
    baseline = trace_baseline(rollout) if baseline is None else baseline
    scores = _over_mean([step.score for step in rollout.steps])
    names = dict.fromkeys(name for step in rollout.steps for name in step.signals or {})
    signals = {name: _over_mean([(step.signals or {}).get(name) for step in rollout.steps]) for name in names}
    text = rollout.response
    start, end = (rollout.steps[0].chars[0], rollout.steps[-1].chars[1]) if rollout.steps else (0, 0)
    tail = text[end:]
    closed = THINK_CLOSE in tail or not rollout.has_think_part
    return TraceView(
        problem_id=rollout.problem_id,
        prompt=prompt_text(rollout.prompt),
        solution=str(rollout.solution),
        difficulty=None if rollout.difficulty is None else str(rollout.difficulty),
        correct=rollout.correct,
        finished=rollout.finished,
        failure=failure_of(rollout),
        n_tokens=rollout.n_tokens,
        answer_tokens=rollout.answer_tokens[1] - rollout.answer_tokens[0],
        pass_rate=rollout.pass_rate,
        advantage=rollout.advantage,
        baseline=baseline,
        head=text[:start].replace(THINK_OPEN, "", 1).strip(),
        steps=tuple(
            _step_view(
                i,
                step,
                rollout,
                baseline,
                scores[i],
                {name: found for name, by_step in signals.items() if (found := by_step[i]) is not None},
            )
            for i, step in enumerate(rollout.steps)
        ),
        tail=tail.partition(THINK_CLOSE)[2].strip() if THINK_CLOSE in tail else tail.strip(),
        closed=closed,
    )


def _over_mean(values: Sequence[float | None]) -> list[float | None]:
    """Return each value over the mean of those that are known; None where it is not, or the mean is 0."""
    known = [value for value in values if value is not None]
    mean = sum(known) / len(known) if known else 0.0
    return [value / mean if value is not None and mean else None for value in values]


def _step_view(
    index: int,
    step: Step,
    rollout: Rollout,
    baseline: float | None,
    over_mean: float | None,
    signals: Mapping[str, float],
) -> StepView:
    return StepView(
        index=index,
        text=rollout.response[step.chars[0] : step.chars[1]].strip("\n"),
        tokens=step.tokens[1] - step.tokens[0],
        family=step.family,
        label=step.label,
        score=step.score,
        ratio=step.score / baseline if step.score is not None and baseline else None,
        gamma=step.gamma,
        mark=mark_of(step, rollout.advantage, baseline),
        shade=shade_of(over_mean),
        signals=signals,
    )


@dataclass(frozen=True)
class TraceCase:
    """One problem with the response of every arm that has one: `(arm name, view)`."""

    prompt: str
    solution: str
    difficulty: str | None
    columns: tuple[tuple[str, TraceView], ...]


def trace_cases(
    traces: Mapping[str, Iterable[Rollout]], most: int = 12, most_characters: int = 500_000
) -> tuple[list[TraceCase], int]:
    """Put the arms' responses to the same problem side by side.

    An arm's first responses to all problems come before its second ones. Problems that more arms answered come first,
    and of these the ones on whose responses credit acts: steps with a share of their own, or at least an advantage.

    Args:
        traces: arm name → annotated responses.
        most: how many cases to keep.
        most_characters: bound on the text of all cases together, so that the page stays small.

    Returns:
        The cases, and how many were left out.
    """
    cases: dict[tuple[int, str], dict[str, Rollout]] = defaultdict(dict)
    for arm, rollouts in traces.items():
        seen: dict[str, int] = defaultdict(int)
        for rollout in rollouts:
            cases[seen[rollout.problem_id], rollout.problem_id][arm] = rollout
            seen[rollout.problem_id] += 1
    order = sorted(cases.items(), key=lambda item: (item[0][0], -len(item[1]), _idleness(item[1].values())))
    kept: list[TraceCase] = []
    budget = most_characters
    for _, by_arm in order:
        if len(kept) == most:
            break
        views = tuple((arm, trace_view(rollout)) for arm, rollout in by_arm.items())
        size = sum(view.characters for _, view in views)
        if size > budget:
            continue
        budget -= size
        first = views[0][1]
        kept.append(TraceCase(first.prompt, first.solution, first.difficulty, views))
    return kept, len(order) - len(kept)


def _idleness(rollouts: Collection[Rollout]) -> int:
    """Return 0 where some step has another share than the response's, 1 where all share an advantage, 2 where there is
    none: every response right, or every one wrong.
    """
    if all(rollout.advantage == 0 for rollout in rollouts):
        return 2
    return int(all(step.gamma in (None, 1.0) for rollout in rollouts if rollout.advantage for step in rollout.steps))
