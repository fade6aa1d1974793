"""Evaluation of a model on benchmarks or a data set of the user's, with traces annotated by a head set."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import Head, HeadSet, resolve_heads
from attnpo.datasets import ProblemRow
from attnpo.errors import ConfigError, EngineError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, evaluate
from attnpo.evaluation.benchmarks import load_benchmark
from attnpo.evaluation.counting import Counter, load_counter
from attnpo.files import UserFile
from attnpo.ledger import settings_path
from attnpo.output import prepare_output_dir
from attnpo.sampling.engines import EngineSettings
from attnpo.sampling.honoured import check_own
from attnpo.segmentation import PhraseFamilies
from attnpo.signals import Signal, rivals
from attnpo.workbench.annotating import annotate_problems
from attnpo.workbench.arguments import DataArguments, EvaluateArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import Session, open_session, open_verifier

logger = logging.getLogger(__name__)

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


def evaluate_model(
    arguments: EvaluateArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
    engine: EngineSettings | None = None,
    given: Collection[str] = (),
    *,
    show: Callable[[Target, EvaluationResult], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, EvaluationResult]:
    """Evaluate one model on a data set or on benchmarks and, with heads, annotate some of its traces.

    Args:
        arguments: what is measured and where results go.
        model_arguments: which model.
        data_arguments: which problems.
        step_arguments: how responses are cut, verified and labelled.
        settings: how they are sampled and summed up.
        engine: what samples them; transformers if None.
        given: names of the settings that the user gave: they override a benchmark's own.
        show: called with each result once it is known, and with one of fewer problems than asked for before the error
            when the engine goes away.
        progress: display, or None.

    Returns:
        Benchmark → result; one of the name "" for a data set of the user's.

    Raises:
        AttnPOError: something is missing or malformed, or the engine went away.
    """
    output_dir = prepare_output_dir(Path(arguments.output_dir))
    _check_engine(arguments, settings, engine)
    if "annotate_signals" in given and not arguments.heads:
        raise ConfigError("--annotate_signals: scores the traces that --heads annotates; add --heads, or leave it out")
    if arguments.heads:
        _annotate_signals(arguments, settings, [], bool(step_arguments.labeler))
    counter = load_counter(arguments.counter) if arguments.counter else None
    if arguments.benchmark:
        targets = benchmark_targets(arguments, data_arguments, step_arguments, settings, given, progress)
        session = open_session(
            model_arguments, data_arguments, step_arguments, engine=engine, problems=list(targets[0].problems)
        )
        targets = [replace(target, problems=session.asked(target.problems)) for target in targets]
    else:
        session = open_session(model_arguments, data_arguments, step_arguments, engine=engine)
        targets = [Target("", session.problems, output_dir, step_arguments, settings)]
    if step_arguments.labeler and session.labeler is None:
        raise ConfigError(f"--labeler {step_arguments.labeler}: an evaluation takes module:function; give one")
    for target in targets:
        session.check_room(target.problems, target.settings.max_new_tokens, target.settings.opening)
    head_set = resolve_heads(arguments.heads, session.config) if arguments.heads else None
    if head_set is not None:
        for signal in _annotate_signals(arguments, settings, head_set.heads, session.labeler is not None):
            signal.check(session.model)
    name = arguments.name or output_dir.resolve().name
    results: dict[str, EvaluationResult] = {}
    try:
        for target in targets:
            try:
                results[target.title] = _measure(name, target, session, head_set, counter, arguments, progress)
            except EngineError:
                if target.file.is_file() and show is not None:
                    show(target, EvaluationResult.load(target.file))
                raise
            if show is not None:
                show(target, results[target.title])
    finally:
        session.close()
    return results


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
    files = stand_ins(data_arguments.data, names)
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


def _measure(
    name: str,
    target: Target,
    session: Session,
    head_set: HeadSet | None,
    counter: Counter | None,
    arguments: EvaluateArguments,
    progress: Progress | None,
) -> EvaluationResult:
    phrases = PhraseFamilies.load(target.steps.phrases_file) if target.steps.phrases_file else None
    session.problems = list(target.problems)
    with open_verifier(target.steps) as verifier:
        result = evaluate(
            name,
            session.tokenizer,
            session.problems,
            session.sampler,
            session.segmenter,
            verifier,
            session.labeler,
            target.settings,
            target.folder,
            progress,
            model_name=session.model_name,
            dataset_name=target.title or session.dataset_name,
            context=_context(target, session),
            phrases=phrases,
            counter=counter,
            counter_name=arguments.counter,
        )
        if head_set is not None:
            annotate_problems(
                target.folder,
                session,
                verifier,
                head_set,
                problems=arguments.annotate_problems,
                samples=arguments.annotate_samples,
                params=target.settings.sampling,
                opening=target.settings.opening,
                signals=_annotate_signals(arguments, target.settings, head_set.heads, session.labeler is not None),
                progress=progress,
            )
    return result


def _annotate_signals(
    arguments: EvaluateArguments, settings: EvaluationSettings, heads: Sequence[Head], labelled: bool
) -> list[Signal]:
    """Return the signals that annotated responses are scored by; one that is named and cannot be read is refused."""
    return rivals(arguments.annotate_signals, heads, settings.seed, flag="--annotate_signals", labelled=labelled)


def _context(target: Target, session: Session) -> Mapping[str, Any]:
    if session.engine.engine == "server" and session.served_facts is None and _is_complete(target.file):
        session.served_facts = session.served(wait=False)
        if session.served_facts is None:
            logger.warning(
                "%s: is away; the finished results in %s are taken to be of the weights it served",
                session.engine.base_url,
                target.folder,
            )
            stored = UserFile(settings_path(target.folder / "rollouts.jsonl")).json()
            session.served_facts = stored.get("served", {})
    context = {**session.context, "verifier": target.steps.verifier}
    return context if target.benchmark is None else {**context, "benchmark": target.benchmark}


def _is_complete(file: Path) -> bool:
    """Whether an evaluation of all its problems lies there."""
    try:
        return json.loads(file.read_text(encoding="utf-8")).get("complete") is True
    except (OSError, ValueError, AttributeError):
        return False


def _check_engine(arguments: EvaluateArguments, settings: EvaluationSettings, engine: EngineSettings | None) -> None:
    if engine is not None:
        check_own(engine.engine, settings.sampling.own())
        engine.check_opening(settings.opening)
    if arguments.heads and engine is not None and not engine.engine.startswith("transformers"):
        raise ConfigError(
            f"--heads: step scores are read inside a transformers model, not with --engine {engine.engine}; leave "
            "heads out here and score responses with `attnpo inspect --rollouts … --heads …`"
        )
