"""The responses that `credit_audit.py` holds methods against: one set for all, others where a method draws its own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_table import SLIPS
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.attention import Head, HeadSet, resolve_heads
from attnpo.credit import Method, Policy, Requests
from attnpo.labeling import label_steps
from attnpo.output import prepare_output_dir
from attnpo.rollouts import Rollout, prompt_text
from attnpo.sampling import SamplingParams, TransformersSampler, render_prompt
from attnpo.signals import score_steps
from attnpo.study.worlds import TINYWORLD
from attnpo.tinyworld import check_usefulness
from attnpo.tinyworld.oracle import find_slips
from attnpo.training.budget import TokenCount
from attnpo.training.policy import PolicyDraws, build_policy
from attnpo.verification import Verifier
from attnpo.workbench.annotating import sample_groups
from attnpo.workbench.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import Session, open_session, open_verifier

PROBLEMS_SEED = 2_000_003
"""Problems that neither training, nor discovery, nor the table of results was made with."""
LABELER = "attnpo.tinyworld:label_steps"
KINDS = ("useful_check", "useless_check", *(kind for _, kind in SLIPS), "mends_otherwise")
"""Kinds of steps that are marked beside their labels: checks by what they do, slips by kind and by whether a later step
puts them right, and what does so without being a check."""

Floats = NDArray[np.float32]
Facts = Mapping[str, Sequence[float]]


@dataclass(frozen=True)
class Responses:
    """Labelled responses, the groups one after the other, and what the model read for each."""

    rollouts: list[Rollout]
    prompt_ids: list[tuple[int, ...]]

    def groups(self, size: int) -> list[int]:
        """Return the number of each response's group."""
        return [row // size for row in range(len(self.rollouts))]

    @cached_property
    def marks(self) -> dict[str, torch.Tensor]:
        """Kind of `KINDS` → (B, K) bool: its steps. A slip is the step that first gives a needed name a wrong value."""
        width = max(len(rollout.steps) for rollout in self.rollouts)
        marks = {kind: torch.zeros(len(self.rollouts), width, dtype=torch.bool) for kind in KINDS}
        for row, rollout in enumerate(self.rollouts):
            said = prompt_text(rollout.prompt), rollout.response, [step.chars for step in rollout.steps]
            for check in check_usefulness(*said):
                marks["useful_check" if check.useful else "useless_check"][row, check.step] = True
            for slip in find_slips(*said):
                marks[f"{slip.kind}_{'left' if slip.mended_at is None else 'mended'}"][row, slip.step] = True
                if slip.mended_at is not None and not marks["useful_check"][row, slip.mended_at]:
                    marks["mends_otherwise"][row, slip.mended_at] = True
        return marks

    def describe(self) -> dict[str, Any]:
        """Return what there is, as plain numbers."""
        labels = [step.label for rollout in self.rollouts for step in rollout.steps]
        return {
            "problems": len({rollout.problem_id for rollout in self.rollouts}),
            "responses": len(self.rollouts),
            "accuracy": sum(bool(rollout.correct) for rollout in self.rollouts) / len(self.rollouts),
            "tokens": sum(rollout.n_tokens for rollout in self.rollouts) / len(self.rollouts),
            "essential_steps": labels.count("essential"),
            "redundant_steps": labels.count("redundant"),
            "marked": {kind: int(mark_BK.sum()) for kind, mark_BK in self.marks.items()},
        }


@dataclass
class World:
    """The untrained model of the small world and its responses."""

    session: Session
    verifier: Verifier
    size: int
    params: SamplingParams
    base: Responses
    progress: Progress | None = None
    _head_sets: dict[str, HeadSet] = field(default_factory=dict)
    _scores: dict[int, list[Floats]] = field(default_factory=dict)

    def first(self, problems: int) -> World:
        """Return the world with the responses to its first problems alone."""
        rows = problems * self.size
        return replace(self, base=Responses(self.base.rollouts[:rows], self.base.prompt_ids[:rows]))

    def heads(self, spec: str) -> HeadSet:
        """Return a head set by file or by pairs."""
        if spec not in self._head_sets:
            self._head_sets[spec] = resolve_heads(spec, self.session.model.config)
        return self._head_sets[spec]

    def scores(self, responses: Responses, heads: Sequence[Head]) -> list[Floats]:
        """Return per response (K,) the mean score of some heads; all heads are read in one pass."""
        model = self.session.model
        if id(responses) not in self._scores:
            self._scores[id(responses)] = score_steps(
                model, self.session.tokenizer, responses.rollouts, batch_size=64, progress=self.progress
            )
        columns = [layer * model.config.num_attention_heads + head for layer, head in heads]
        return [scores_KN[:, columns].mean(axis=1) for scores_KN in self._scores[id(responses)]]

    def asks_otherwise(self, method: Method, step: int) -> bool:
        """Whether the model reads something else than the data set's prompt."""
        first = self.base.rollouts[0]
        ask = method.ask(first.prompt, 0, first.sample, step)
        return bool(ask.opening) or ask.prompt != first.prompt

    def policy(self, prompt_ids: Sequence[tuple[int, ...]], groups: Sequence[int], *, extra: bool) -> Policy:
        """Return the untrained policy as a method may use it; extra draws do not repeat the free ones."""
        sampler = TransformersSampler(self.session.model, self.session.tokenizer)
        draws = PolicyDraws(sampler, self.params, prompt_ids, groups, TokenCount(), extra)
        return build_policy(draws, self.session.segmenter, self.verifier.verify, micro_batch=64)

    def responses_of(self, method: Method, step: int) -> tuple[Responses, Facts]:
        """Return what a method trains on at a step, with its facts: the base responses unless it changes something."""
        rollouts, groups = self.base.rollouts, self.base.groups(self.size)
        if method.overrides("prepare"):
            firsts = [self.base.prompt_ids[row] for row in range(0, len(rollouts), self.size)]
            requests = self._requests(firsts, rollouts[:: self.size], groups[:: self.size], step)
            method.prepare(requests, self.policy(firsts, requests.group_ids, extra=True))
        asks = [method.ask(r.prompt, group, r.sample, step) for r, group in zip(rollouts, groups, strict=True)]
        if method.overrides("sample") or self.asks_otherwise(method, step):
            tokenizer = self.session.tokenizer
            prompt_ids = [
                (*render_prompt(tokenizer, ask.prompt), *tokenizer(ask.opening, add_special_tokens=False)["input_ids"])
                for ask in asks
            ]
            requests = self._requests(prompt_ids, rollouts, groups, step)
            drawn = method.sample(requests, self.policy(prompt_ids, groups, extra=False))
            made = [self._rollout(r, s.ids, s.finished) for r, s in zip(rollouts, drawn.responses, strict=True)]
            return self._judged(made, prompt_ids), drawn.facts
        limit = method.response_limit(step)
        if limit is not None and any(r.n_tokens > limit for r in rollouts):
            cut = [self._rollout(r, r.response_ids[:limit], r.finished and r.n_tokens <= limit) for r in rollouts]
            return self._judged(cut, self.base.prompt_ids), {}
        return self.base, {}

    def _requests(
        self, prompt_ids: Sequence[tuple[int, ...]], rollouts: Sequence[Rollout], groups: Sequence[int], step: int
    ) -> Requests:
        return Requests(
            prompt_ids=list(prompt_ids),
            solutions=[rollout.solution for rollout in rollouts],
            group_ids=list(groups),
            samples=[rollout.sample for rollout in rollouts],
            max_new_tokens=self.params.max_new_tokens,
            progress_step=step,
            keys=[rollout.problem_id for rollout in rollouts],
        )

    def _rollout(self, like: Rollout, ids: Sequence[int], finished: bool) -> Rollout:
        segmented = self.session.segmenter(list(ids))
        made = Rollout(
            like.problem_id, like.prompt, like.solution, like.sample, tuple(ids), segmented.text, finished
        ).with_segmentation(segmented)
        assert self.session.labeler is not None
        return label_steps(self.session.labeler, made)

    def _judged(self, rollouts: list[Rollout], prompt_ids: Sequence[tuple[int, ...]]) -> Responses:
        verdicts = self.verifier.verify([r.response for r in rollouts], [r.solution for r in rollouts])
        judged = [replace(r, correct=ok) for r, ok in zip(rollouts, verdicts, strict=True)]
        return Responses(judged, list(prompt_ids))


def open_world(folder: Path, problems: int, size: int, max_length: int, seed: int, progress: Progress | None) -> World:
    """Load the shipped model and sample the base responses, or read them off disk."""
    steps = StepArguments(labeler=LABELER, **TINYWORLD.steps)
    data = DataArguments(data="attnpo.tinyworld:train_dataset", num_problems=problems, problems_seed=PROBLEMS_SEED)
    session: Any = open_session(ModelArguments(model="tinyworld", device="cpu"), data, steps)
    params = SamplingParams(max_new_tokens=max_length, seed=seed)
    verifier = open_verifier(steps)
    path = prepare_output_dir(folder) / f"responses-{problems}x{size}.jsonl"
    rollouts = sample_groups(path, session, verifier, problems=problems, samples=size, params=params, progress=progress)
    prompt_ids = [tuple(render_prompt(session.tokenizer, rollout.prompt)) for rollout in rollouts]
    return World(session, verifier, size, params, Responses(rollouts, prompt_ids), progress)
