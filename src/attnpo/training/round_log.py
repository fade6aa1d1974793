"""What became of a process's responses: counted, and written beside the run's log."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from attnpo.collecting import ThinkWatch
from attnpo.rollouts import Rollout, write_rollouts
from attnpo.training.dropped import REWARD_FAILED, DroppedLog, group_reason
from attnpo.training.reward_guard import RewardFailure
from attnpo.training.run_meter import RunMeter

Judge = Callable[[Sequence[str], Sequence[str]], tuple[list[float], int]]


def own_file(folder: str | Path, name: str, process: int, processes: int) -> Path:
    """Return a process's file of a name: the name itself where there is one process, else with its number."""
    path = Path(folder) / name
    return path if processes == 1 else path.with_name(f"{path.stem}-{process:05d}{path.suffix}")


class RoundLog:
    """Counts responses and groups that training got nothing from, and names them; keeps responses where asked.

    Args:
        meter: counts what is logged.
        dropped: where prompts are named.
        rollouts_path: file of the responses; None where they are not kept.
        process: number of this process. The first one counts groups, which are the same on all.
        note_groups: gets why each group of the run carries no advantage, None where it carries one.
    """

    def __init__(
        self,
        meter: RunMeter,
        dropped: DroppedLog,
        rollouts_path: Path | None,
        process: int,
        note_groups: Callable[[Sequence[str | None]], None],
    ) -> None:
        self.meter, self.dropped, self.rollouts_path, self.process = meter, dropped, rollouts_path, process
        self.note_groups = note_groups
        self._think_watch = ThinkWatch()

    def add_first(self, rollouts: Sequence[Rollout]) -> None:
        """Say of the first responses what they lack; the first process speaks for its own."""
        if self.process == 0 and not self._think_watch.responses:
            self._think_watch.add(rollouts)
            self._think_watch.end()

    def counted(self, judge: Judge) -> Callable[..., list[float]]:
        """Return what judges responses, a reward function in TRL's form; it counts what had to be interrupted.

        Args:
            judge: (texts, solutions) -> verdicts, and how many answers were interrupted and count as wrong.
        """

        def verdicts(completions: Sequence[str], solutions: Sequence[str]) -> list[float]:
            found, interrupted = judge(completions, solutions)
            self.meter.count("verifier_interrupted", interrupted, len(found))
            return found

        return verdicts

    def add_failures(
        self, step: int, rollouts: Sequence[Rollout], asked: int, failures: Sequence[RewardFailure]
    ) -> None:
        """Count the responses that the verifier or a reward function failed on, and name their prompts.

        Args:
            step: optimizer step.
            rollouts: the responses; none in an evaluation, which names no prompt.
            asked: how many responses the function was asked about.
            failures: what failed.
        """
        self.meter.count("reward_failures", len(failures), asked)
        for failure in failures if rollouts else ():
            rollout = rollouts[failure.index]
            said = {"sample": rollout.sample, "function": failure.function, "error": failure.error}
            self.dropped.add(step, REWARD_FAILED, rollout.problem_id, rollout.prompt, **said)

    def add_groups(self, step: int, rollouts: Sequence[Rollout], correct_PG: Tensor, advantages_PG: Tensor) -> None:
        """Count the groups of zero outcome advantage; the process that holds a group's first response names it.

        Args:
            step: optimizer step.
            rollouts: this process's responses.
            correct_PG: verdicts of all processes.
            advantages_PG: their outcome advantages.
        """
        reasons = [group_reason(*each) for each in zip(correct_PG.tolist(), advantages_PG.tolist(), strict=True)]
        self.note_groups(reasons)
        counts = self.process == 0
        self.meter.count("dropped_groups", counts * sum(r is not None for r in reasons), counts * len(reasons))
        first = self.process * len(rollouts)
        for group, reason in enumerate(reasons):
            row = group * correct_PG.size(1) - first
            if reason is not None and 0 <= row < len(rollouts):
                self.dropped.add(step, reason, rollouts[row].problem_id, rollouts[row].prompt)

    def keep(self, rollouts: Sequence[Rollout], pass_rates: Sequence[float]) -> None:
        """Append the responses, each with its group's pass rate, to their file."""
        if self.rollouts_path is not None:
            rows = (replace(r, pass_rate=rate) for r, rate in zip(rollouts, pass_rates, strict=True))
            write_rollouts(self.rollouts_path, rows, append=True)
