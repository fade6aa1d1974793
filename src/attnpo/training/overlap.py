"""Responses are segmented and verified in the background as they end, while others still decode."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

from attnpo.rollouts import SegmentedResponse

MOST_AT_ONCE = 32
"""Answers handed to the verifier in one call, so that its workers have enough and an ending run need not wait long."""


class BackgroundChecks:
    """Segments and verifies what it is handed, each kind of work in a thread of its own.

    Results are found by content: what was not handed in, or failed here, is worked out where it is asked for, so
    errors are raised there, as without a background. The verifier is never called from two threads at once.

    Args:
        segment: cuts sampled ids into steps, told whether they begin inside a think part.
        verify: judges texts by solutions; equal texts to one solution are judged once.
        interrupted: how many answers the verifier had to interrupt so far.
    """

    def __init__(
        self,
        segment: Callable[[Sequence[int], bool], SegmentedResponse],
        verify: Callable[[Sequence[str], Sequence[str]], Sequence[float]],
        interrupted: Callable[[], int],
    ) -> None:
        self._segment, self._verify, self._interrupted = segment, verify, interrupted
        self._segmenting = ThreadPoolExecutor(1, "segmenting")
        self._verifying = ThreadPoolExecutor(1, "verifying")
        self._segmented: dict[tuple[tuple[int, ...], bool, str], Future[SegmentedResponse]] = {}
        self._waiting: deque[tuple[str, str]] = deque()
        self._verdicts: dict[tuple[str, str], float] = {}
        self._lost = 0

    def submit(self, ids: Sequence[int], in_think: bool, solution: object) -> None:
        """Take a response that has ended; a second time is free. Solutions that are no texts are left to the caller."""
        if not isinstance(solution, str):
            return
        key = (tuple(ids), in_think, solution)
        if key not in self._segmented:
            self._segmented[key] = self._segmenting.submit(self._cut, *key)

    def segmented(self, ids: Sequence[int], in_think: bool, solution: object) -> SegmentedResponse:
        """Return a response's steps; raises what the segmenter raises."""
        future = self._segmented.get((tuple(ids), in_think, solution)) if isinstance(solution, str) else None
        return self._segment(ids, in_think) if future is None else future.result()

    def verdicts(self, texts: Sequence[str], solutions: Sequence[str]) -> tuple[list[float], int]:
        """Return the verdict on each text, and how many answers were interrupted since the last call.

        Waits for the background, and asks for what it does not know. Raises what the verifier raises.
        """
        self._verifying.submit(lambda: None).result()  # one thread: all that was handed in before is done
        pairs = list(zip(texts, solutions, strict=True))
        unknown = [pair for pair in pairs if pair not in self._verdicts] if self._verdicts else pairs
        before = self._interrupted()
        asked = self._judge(unknown) if unknown else []
        lost, self._lost = self._lost + self._interrupted() - before, 0
        if len(unknown) == len(pairs):
            return asked, lost
        rest = iter(asked)
        found = [self._verdicts[pair] if pair in self._verdicts else next(rest) for pair in pairs]
        return found, lost

    def forget(self) -> None:
        """Forget all results, and what is still waiting."""
        self._segmented.clear()
        self._waiting.clear()
        self._verdicts.clear()

    def _cut(self, ids: tuple[int, ...], in_think: bool, solution: str) -> SegmentedResponse:
        response = self._segment(ids, in_think)
        self._waiting.append((response.full_text, solution))
        self._verifying.submit(self._verify_waiting)
        return response

    def _verify_waiting(self) -> None:
        while self._waiting:
            most = min(MOST_AT_ONCE, len(self._waiting))
            taken = dict.fromkeys(self._waiting.popleft() for _ in range(most))
            pairs = [pair for pair in taken if pair not in self._verdicts]
            before = self._interrupted()
            try:
                judged = self._judge(pairs) if pairs else []
            except Exception:  # `verdicts` asks again, and what is raised there has a stated behaviour
                continue
            self._lost += self._interrupted() - before
            self._verdicts.update(zip(pairs, judged, strict=True))

    def _judge(self, pairs: Sequence[tuple[str, str]]) -> list[float]:
        verdicts = [float(ok) for ok in self._verify([text for text, _ in pairs], [solution for _, solution in pairs])]
        if len(verdicts) != len(pairs):
            raise ValueError(f"the verifier gave {len(verdicts)} verdicts on {len(pairs)} responses")
        return verdicts
