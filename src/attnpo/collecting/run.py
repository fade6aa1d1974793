"""Sample every problem's group; lose nothing that was sampled.

Discovery and evaluation both stand on this. A response is on disk before its place in the engine is given to the next
one; a group is verified in the background, so that the engine is not held up, and then written. Each response is seeded
by its problem's id and its number, so a resumed run ends with the responses of an uninterrupted one.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.collecting.failures import FailureCount
from attnpo.collecting.fingerprints import problems_fingerprint
from attnpo.collecting.groups import verified_group
from attnpo.collecting.journal import Clock, SampleJournal, finished_groups
from attnpo.collecting.think_watch import ThinkWatch
from attnpo.datasets import ProblemRow
from attnpo.errors import EngineError
from attnpo.labeling import Labeler, label_steps
from attnpo.ledger import Ledger
from attnpo.progress import Advance, bar
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, Sampler, SampleRequest, SamplingParams, render_prompt, request_key
from attnpo.segmentation import Segmenter
from attnpo.verification import Verifier

_MOST_WAITING = 64
"""Groups that may wait for the verifier before the engine has to wait for it."""
_SAVE_SECONDS = 1.0
"""What a killed run may lose of its clock."""


@dataclass(frozen=True)
class Collected:
    """What `collect_rollouts` leaves behind.

    Attributes:
        path: the rollouts file; one complete group a problem.
        seconds: time spent sampling, segmenting, verifying and labelling, over all runs that wrote the file.
        engine_seconds: time of it spent waiting for the engine.
        sampled_tokens: response tokens sampled in that time.
        exact_ids: whether all token ids are the sampled ones (an engine that reports text has them made from it).
    """

    path: Path
    seconds: float
    engine_seconds: float
    sampled_tokens: int
    exact_ids: bool

    @property
    def tokens_per_second(self) -> float:
        """Sampled response tokens a second of collecting."""
        return self.sampled_tokens / self.seconds if self.seconds > 0 else 0.0


def collect_rollouts(
    path: Path,
    problems: Sequence[ProblemRow],
    *,
    tokenizer: Any,
    sampler: Sampler,
    segmenter: Segmenter,
    verifier: Verifier,
    samples: int,
    params: SamplingParams,
    settings: Mapping[str, Any],
    labeler: Labeler | None = None,
    opening: str = "",
    progress: Progress | None = None,
    description: str = "sampling",
) -> Collected:
    """Sample every problem's group into a rollouts file, skipping what is already on disk.

    Args:
        path: the rollouts file; its settings lie beside it as `<stem>.settings.json`, responses of groups that are not
            complete yet in `<stem>.samples.jsonl`.
        problems: the problems, ids unique.
        tokenizer: renders prompts.
        sampler: draws the responses.
        segmenter: cuts them into steps.
        verifier: judges them, a group at a time, in a thread of its own.
        samples: responses a problem.
        params: how to draw.
        settings: whatever else the responses depend on (model, fingerprint, data set, …), as JSON values.
        labeler: labels the steps, where given.
        opening: text behind the generation prompt of every problem; a chat server, which renders prompts itself,
            refuses.
        progress: display, or None.
        description: text of the progress bar.

    Raises:
        OutputError: the file was made with other settings, or lies there without its settings.
        DataError: the file, or a labeler's answer, is malformed.
        EngineError: the engine is gone; all it finished is on disk, and complete groups are verified.
    """
    groups = claim_rollouts(path, problems, samples=samples, params=params, settings=settings, opening=opening)
    done = finished_groups(groups, samples)
    todo = {problem.problem_id: problem for problem in problems if problem.problem_id not in done}
    journal = SampleJournal(_journal_path(path))
    open_groups = journal.read(leave_out=done)
    open_groups = {problem_id: group for problem_id, group in open_groups.items() if problem_id in todo}
    requests, owners = _requests(list(todo.values()), open_groups, tokenizer, samples, opening)
    total = len(problems) * samples
    watch, failures = ThinkWatch(), FailureCount()

    def finish(problem: ProblemRow, group: Mapping[int, SampledResponse]) -> list[Rollout]:
        in_think = segmenter.opens_think(render_prompt(tokenizer, problem.prompt, opening))
        responses = [group[sample] for sample in range(samples)]
        rows = verified_group(problem, responses, segmenter, verifier, opening, in_think)
        watch.add(rows)
        failures.add(problem.problem_id, responses)
        if labeler is not None:
            rows = [label_steps(labeler, row) for row in rows]
        groups.append(*(row.to_json() for row in rows))
        return rows

    clock = Clock(path)
    # A killed run's clock may be behind; the journal holds all that was sampled.
    clock.inexact = max(clock.inexact, journal.inexact)
    clock.sampled_tokens = max(clock.sampled_tokens, journal.tokens)
    with bar(progress, description, total, done=total - len(requests)) as advance:
        journal.path.touch()
        run = _Run(clock, advance, verified=len(done) * samples, correct=sum(done.values()))
        try:
            with run.saving(), _Background(finish, run) as background:
                for problem_id in [p for p, group in open_groups.items() if len(group) == samples]:
                    background.give(todo[problem_id], open_groups.pop(problem_id))
                try:
                    for index, response in run.timed(sampler.sample(requests, params) if requests else iter(())):
                        problem_id, sample = owners[index], requests[index].sample
                        journal.add(problem_id, sample, response)
                        group = open_groups.setdefault(problem_id, {})
                        group[sample] = response
                        run.sampled(response)
                        if len(group) == samples:
                            background.give(todo[problem_id], open_groups.pop(problem_id))
                except EngineError:
                    background.wait()
                    raise
                background.wait()
        finally:
            run.save()
    journal.path.unlink()  # all its responses are in the rollouts file
    watch.end()
    failures.say()
    return Collected(path, clock.seconds, clock.engine_seconds, clock.sampled_tokens, clock.inexact == 0)


def claim_rollouts(
    path: Path,
    problems: Sequence[ProblemRow],
    *,
    samples: int,
    params: SamplingParams,
    settings: Mapping[str, Any],
    opening: str = "",
) -> Ledger[Rollout]:
    """Claim a rollouts file for what `collect_rollouts` is to write into it; arguments as there.

    Raises:
        OutputError: the file was made with other settings, or lies there without its settings.
    """
    asked = {
        **settings,
        "samples": samples,
        "sampling": params.as_settings(),
        "problems": problems_fingerprint(problems),
        **({"opening": opening} if opening else {}),
    }
    return Ledger(path, Rollout.from_json, asked, beside=(_journal_path(path),))


def _journal_path(path: Path) -> Path:
    return path.with_name(f"{path.stem}.samples.jsonl")


def _requests(
    problems: Sequence[ProblemRow],
    at_hand: Mapping[str, Mapping[int, SampledResponse]],
    tokenizer: Any,
    samples: int,
    opening: str,
) -> tuple[list[SampleRequest], list[str]]:
    """Return a request for every response that is not at hand, and the problem id that each belongs to.

    Behind an opening the prompt is plain text: a chat server, which could only be asked without it, refuses that.
    """
    requests, owners = [], []
    for problem in problems:
        missing = [sample for sample in range(samples) if sample not in at_hand.get(problem.problem_id, {})]
        if not missing:
            continue
        prompt_ids, key = tuple(render_prompt(tokenizer, problem.prompt, opening)), request_key(problem.problem_id)
        prompt = problem.prompt
        if opening:
            prompt = str(tokenizer.decode(prompt_ids, skip_special_tokens=False, clean_up_tokenization_spaces=False))
        requests += [SampleRequest(prompt, prompt_ids, key, sample) for sample in missing]
        owners += [problem.problem_id] * len(missing)
    return requests, owners


class _Run:
    """Counts what this run does and shows it."""

    def __init__(self, clock: Clock, advance: Advance, verified: int, correct: int):
        self._clock, self._advance = clock, advance
        self._start = self._saved = time.perf_counter()
        self._saving = threading.Lock()
        self._asked: float | None = None
        """Since when the engine is waited for, as far as it is not counted yet."""
        self._tokens, self._verified, self._correct = 0, verified, correct

    def timed(self, responses: Iterator[tuple[int, SampledResponse]]) -> Iterator[tuple[int, SampledResponse]]:
        """Yield what the engine yields, counting the time it takes."""
        while True:
            self._asked = time.perf_counter()
            try:
                item = next(responses, None)
            finally:
                with self._saving:
                    self._count_engine(time.perf_counter())
                    self._asked = None
            if item is None:
                return
            yield item

    def sampled(self, response: SampledResponse) -> None:
        self._tokens += response.n_tokens
        self._clock.sampled_tokens += response.n_tokens
        self._clock.inexact += not response.exact_ids
        self._advance(1, self._note())

    def verified(self, rows: Sequence[Rollout]) -> None:
        self._verified += len(rows)
        self._correct += sum(bool(row.correct) for row in rows)
        self._advance(0, self._note())

    def _note(self) -> str:
        rate = self._tokens / (time.perf_counter() - self._start)
        share = f"{self._correct / self._verified:.0%} correct, " if self._verified else ""
        return f"{share}{rate:,.0f} tok/s"

    def save(self) -> None:
        with self._saving:
            now = time.perf_counter()
            self._clock.seconds += now - self._saved
            self._saved = now
            self._count_engine(now)
            self._clock.save()

    def _count_engine(self, now: float) -> None:
        if self._asked is not None and self._asked < now:
            self._clock.engine_seconds += now - self._asked
            self._asked = now

    @contextmanager
    def saving(self) -> Iterator[None]:
        """Save the clock every second, also while the engine is silent."""
        ended = threading.Event()

        def save() -> None:
            while not ended.wait(_SAVE_SECONDS):
                self.save()

        thread = threading.Thread(target=save, name="clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


class _Background:
    """Finishes groups in one thread, in the order they come."""

    def __init__(self, finish: Callable[[ProblemRow, Mapping[int, SampledResponse]], list[Rollout]], run: _Run):
        self._finish, self._run = finish, run
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="verify")
        self._waiting: deque[Future[list[Rollout]]] = deque()

    def give(self, problem: ProblemRow, group: Mapping[int, SampledResponse]) -> None:
        """Queue a group; an error in one finished before is raised here."""
        self._waiting.append(self._thread.submit(self._finish, problem, group))
        while self._waiting and (self._waiting[0].done() or len(self._waiting) > _MOST_WAITING):
            self._run.verified(self._waiting.popleft().result())

    def wait(self) -> None:
        """Return once every group is finished."""
        while self._waiting:
            self._run.verified(self._waiting.popleft().result())

    def __enter__(self) -> _Background:
        return self

    def __exit__(self, *exception: object) -> None:
        # An interrupted run does not verify on: what was sampled is in the journal.
        self._thread.shutdown(wait=True, cancel_futures=True)
