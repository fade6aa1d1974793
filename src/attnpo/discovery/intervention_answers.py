"""Answers drawn anew to cut traces, on disk as they are made."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.collecting.journal import Clock
from attnpo.discovery.deletion import Deleted, kept_ids
from attnpo.errors import DataError, OutputError
from attnpo.ledger import Ledger, json_row
from attnpo.progress import bar
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, Sampler, SampleRequest, SamplingParams, render_prompt, request_key
from attnpo.segmentation import Segmenter
from attnpo.verification import Verifier

Trace = tuple[str, int]
"""Problem id and sample number."""


@dataclass(frozen=True)
class Answers:
    """The answers to one trace without some steps: verdict of each, and whether the model ended it itself."""

    correct: tuple[bool, ...]
    finished: tuple[bool, ...]


class AnswerStore:
    """Groups of answers on disk, one line a (trace, set of deleted steps), and what it took to make them."""

    def __init__(self, path: Path, samples: int, settings: Mapping[str, Any], rollouts: Sequence[Rollout]) -> None:
        """Claim the file for its settings, and read the groups made before.

        Raises:
            DataError: two traces share problem id and sample number, or a row is malformed.
            OutputError: the folder holds answers of other settings, or to other traces of the same problems.
        """
        self._ledger = Ledger(path, json_row("a group of answers", _group), settings)
        self._samples = samples
        self.clock = Clock(path)
        """Time and tokens that all groups took, over all runs."""
        self.answers: dict[Trace, dict[Deleted, Answers]] = {}
        traces = {_trace(rollout): _fingerprint(rollout) for rollout in rollouts}
        if len(traces) < len(rollouts):
            raise DataError("intervention: two traces share problem id and sample number; number the samples through")
        for _, (trace, fingerprint, deleted, answers) in self._ledger.rows():
            if traces.get(trace, fingerprint) != fingerprint:
                raise OutputError(
                    f"{path}: holds answers to another trace of problem {trace[0]!r}, sample {trace[1]}; choose "
                    "another output folder or remove the file"
                )
            self.answers.setdefault(trace, {})[deleted] = answers

    def answer(
        self,
        deletions: Sequence[tuple[Rollout, Sequence[Deleted]]],
        *,
        tokenizer: Any,
        sampler: Sampler,
        segmenter: Segmenter,
        verifier: Verifier,
        params: SamplingParams,
        progress: Progress | None = None,
    ) -> None:
        """Make the groups that are missing.

        Args:
            deletions: each trace with the sets of steps to answer it without.
            tokenizer: renders prompts.
            sampler: draws answers.
            segmenter: decodes a cut trace and its new answer.
            verifier: judges them.
            params: how to draw.
            progress: display, or None.
        """
        wanted = [(rollout, deleted) for rollout, each in deletions for deleted in each]
        todo = [(r, d) for r, d in wanted if d not in self.answers.get(_trace(r), {})]
        if not todo:
            return
        blank_ids = _blank_ids(tokenizer, [rollout for rollout, _ in deletions])
        kept = [kept_ids(rollout, deleted, blank_ids) for rollout, deleted in todo]
        requests = list(_requests(todo, kept, tokenizer, self._samples))
        groups: dict[int, dict[int, SampledResponse]] = {}
        start = saved = time.perf_counter()
        tokens = 0
        with bar(progress, "answering anew", len(wanted), done=len(wanted) - len(todo)) as advance:
            for index, response in sampler.sample(requests, params):
                number, sample = divmod(index, self._samples)
                groups.setdefault(number, {})[sample] = response
                if len(groups[number]) < self._samples:
                    continue
                finished = groups.pop(number)
                responses = [finished[sample] for sample in range(self._samples)]
                self._write(*todo[number], kept[number], responses, segmenter, verifier)
                drawn, now = sum(len(response.ids) for response in responses), time.perf_counter()
                self.clock.seconds += now - saved
                self.clock.sampled_tokens += drawn
                self.clock.save()  # beside each group, so that a kill loses no more than the group
                tokens, saved = tokens + drawn, now
                advance(1, f"{tokens / (now - start):,.0f} tok/s")

    def _write(
        self,
        rollout: Rollout,
        deleted: Deleted,
        kept: tuple[int, ...],
        responses: Sequence[SampledResponse],
        segmenter: Segmenter,
        verifier: Verifier,
    ) -> None:
        texts = [segmenter((*kept, *response.ids), rollout.in_think).full_text for response in responses]
        verdicts = verifier.verify(texts, [rollout.solution] * len(texts))
        answers = [
            {"ids": list(response.ids), "finished": response.finished, "correct": bool(verdict)}
            for response, verdict in zip(responses, verdicts, strict=True)
        ]
        row = {
            "problem_id": rollout.problem_id,
            "sample": rollout.sample,
            "trace": _fingerprint(rollout),
            "deleted": list(deleted),
            "answers": answers,
        }
        self._ledger.append(json.dumps(row))
        self.answers.setdefault(_trace(rollout), {})[deleted] = _answers(answers)


def _trace(rollout: Rollout) -> Trace:
    return rollout.problem_id, rollout.sample


def _answers(answers: Sequence[Mapping[str, Any]]) -> Answers:
    return Answers(
        correct=tuple(answer["correct"] for answer in answers),
        finished=tuple(answer["finished"] for answer in answers),
    )


def _group(row: Any) -> tuple[Trace, str, Deleted, Answers]:
    return (row["problem_id"], row["sample"]), row["trace"], tuple(row["deleted"]), _answers(row["answers"])


def _requests(
    todo: Sequence[tuple[Rollout, Deleted]], kept: Sequence[tuple[int, ...]], tokenizer: Any, samples: int
) -> Iterator[SampleRequest]:
    """The requests of every group, group by group.

    Their prompt is plain text: a chat server, which could only be asked the question anew, refuses it.
    """
    prompts: dict[Trace, list[int]] = {}
    for (rollout, _), ids in zip(todo, kept, strict=True):
        trace = _trace(rollout)
        if trace not in prompts:
            prompts[trace] = render_prompt(tokenizer, rollout.prompt, rollout.opening)
        key = request_key(f"intervention/{rollout.problem_id}/{rollout.sample}")
        prompt_ids = (*prompts[trace], *ids)
        text = tokenizer.decode(prompt_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for sample in range(samples):
            yield SampleRequest(text, prompt_ids, key, sample)


def _blank_ids(tokenizer: Any, rollouts: Sequence[Rollout]) -> frozenset[int]:
    """The ids that decode to white space alone, among those that steps end with."""
    seen = {
        token for rollout in rollouts for step in rollout.steps for token in rollout.response_ids[slice(*step.tokens)]
    }
    return frozenset(token for token in seen if not tokenizer.decode([token]).strip())


def _fingerprint(rollout: Rollout) -> str:
    """What an answer to a trace was drawn after: its ids and the borders of its steps."""
    parts = [rollout.prompt, rollout.response_ids, [s.tokens for s in rollout.steps], rollout.answer_tokens]
    text = json.dumps([*parts, rollout.opening] if rollout.opening else parts)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
