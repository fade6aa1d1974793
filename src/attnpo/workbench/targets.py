"""What an evaluation measures on: a data set of the user's, or benchmarks by name."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.datasets import ProblemRow
from attnpo.errors import ConfigError
from attnpo.evaluation import EvaluationSettings
from attnpo.evaluation.benchmarks import load_benchmark
from attnpo.output import prepare_output_dir
from attnpo.workbench.arguments import DataArguments, EvaluateArguments, StepArguments

COLUMN_FLAGS = {
    "prompt_column": "question",
    "solution_column": "solution",
    "id_column": "problem_id",
    "difficulty_column": "difficulty",
    "subject_column": "subject",
}
"""Flag → role of the column in a benchmark's map."""
ENTRY_FLAGS = {"prompt_template": "template", "solution_after": "solution_after", "split": "split"}
"""Flag → field of a benchmark's entry that decides it."""


@dataclass(frozen=True)
class Target:
    """One set of problems to measure on.

    Attributes:
        title: the benchmark's name; empty for a data set of the user's.
        problems: the problems.
        folder: where its files go.
        steps: how its responses are cut and judged.
        settings: how they are sampled and summed up.
        benchmark: what the problems depend on; None for a data set of the user's.
    """

    title: str
    problems: Sequence[ProblemRow]
    folder: Path
    steps: StepArguments
    settings: EvaluationSettings
    benchmark: dict[str, Any] | None = None

    @property
    def file(self) -> Path:
        """Where its result goes."""
        return self.folder / "evaluation.json"


def benchmark_targets(
    arguments: EvaluateArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
    given: Collection[str],
    progress: Progress | None = None,
) -> list[Target]:
    """Load the problems of the benchmarks that were asked for.

    A benchmark's own verifier and number of samples hold unless the user gave others.

    Raises:
        ConfigError: there is no such benchmark, one is named twice, or a flag is given that the entry decides.
        DataError: its problems cannot be loaded.
    """
    names = [name.strip() for name in (arguments.benchmark or "").split(",") if name.strip()]
    if not names:
        raise ConfigError("--benchmark: name at least one; `attnpo evaluate --list` shows them")
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"--benchmark: {', '.join(twice)} is named twice; leave one out")
    if fixed := [flag for flag in ENTRY_FLAGS if flag in given]:
        raise ConfigError(
            f"--{fixed[0]}: a benchmark's own entry decides that; leave it out, or write an entry with another "
            f"`{ENTRY_FLAGS[fixed[0]]}` and give its .yaml file to --benchmark"
        )
    benchmarks = [load_benchmark(name) for name in names]
    files = stand_ins(data_arguments.data, [benchmark.name for benchmark in benchmarks])
    columns = {
        role: getattr(data_arguments, flag, None) or getattr(step_arguments, flag)
        for flag, role in COLUMN_FLAGS.items()
        if flag in given
    }
    targets = []
    for benchmark in benchmarks:
        data, seed = files.get(benchmark.name), data_arguments.problems_seed
        folder = Path(arguments.output_dir)
        if len(benchmarks) > 1:
            folder = prepare_output_dir(folder / benchmark.name.replace(":", "-"))
        samples = settings.samples_per_problem if "samples_per_problem" in given else benchmark.samples_per_problem
        problems = benchmark.problems(data, data_arguments.num_problems, seed, columns, progress)
        targets.append(
            Target(
                title=benchmark.name,
                problems=problems,
                folder=folder,
                steps=step_arguments if "verifier" in given else replace(step_arguments, verifier=benchmark.verifier),
                settings=replace(settings, samples_per_problem=samples),
                benchmark=benchmark.context(data, seed),
            )
        )
    return targets


def stand_ins(data: str | None, benchmarks: Sequence[str]) -> dict[str, str]:
    """Return which local file stands in for which benchmark.

    Args:
        data: `FILE` for the only benchmark, or `NAME=FILE,NAME=FILE`.
        benchmarks: names of the benchmarks.

    Raises:
        ConfigError: one file for several benchmarks, or a name that is not among them.
    """
    if not data:
        return {}
    if len(benchmarks) == 1 and not data.startswith(f"{benchmarks[0]}="):
        return {benchmarks[0]: data}
    found = {}
    for part in data.split(","):
        name, equals, file = part.partition("=")
        if not equals or name.strip() not in benchmarks:
            raise ConfigError(
                f"--data {part}: several benchmarks need NAME=FILE,NAME=FILE with names among {', '.join(benchmarks)}"
            )
        found[name.strip()] = file
    return found
