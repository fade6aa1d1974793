"""`attnpo evaluate`: accuracy and response length of a model, with intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.table import Table

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import given_settings, parse
from attnpo.cli.shown import shown_benchmarks
from attnpo.errors import ConfigError, EngineError
from attnpo.ranges import AtLeast1

if TYPE_CHECKING:
    from attnpo.attention import HeadSet
    from attnpo.cli.loading import Session
    from attnpo.datasets import ProblemRow
    from attnpo.evaluation import EvaluationResult, EvaluationSettings
    from attnpo.evaluation.counting import Counter
    from attnpo.sampling.engines import EngineSettings

EXAMPLE = """  attnpo evaluate --list
  attnpo evaluate --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --benchmark math500,aime24 --output_dir runs/base
  attnpo evaluate --model my-model --engine server --base_url http://127.0.0.1:8000/v1 --benchmark gsm8k \\
      --data gsm8k_test.jsonl --output_dir runs/gsm8k
  attnpo evaluate --model tinyworld --data tinyworld --num_problems 200 --samples_per_problem 16 --max_new_tokens 320 \\
      --temperature 1 --top_p 1 --segmentation paragraphs --verifier exact \\
      --labeler attnpo.tinyworld:label_steps --counter attnpo.tinyworld:count_checks --output_dir runs/base
  attnpo evaluate --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --data openai/gsm8k:main --split test \\
      --prompt_column question --solution_column answer --solution_after '####' --output_dir runs/gsm8k

  Interrupted? The same command goes on where it stopped."""

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


@dataclass
class EvaluateArguments:
    """What is measured, where results go, and what is shown of them."""

    benchmark: str | None = field(
        default=None,
        metadata={
            "help": "Benchmarks by name, separated by commas; each has its own prompt template, verifier and number of "
            "samples, and goes into its own folder where there are several. With --data FILE (or --data "
            "NAME=FILE,NAME=FILE) local files stand in."
        },
    )
    list: bool = field(default=False, metadata={"help": "Show the benchmarks and stop."})
    output_dir: str = field(
        default="runs/evaluation", metadata={"help": "Folder of evaluation.json and rollouts.jsonl."}
    )
    name: str | None = field(default=None, metadata={"help": "Name of the run in tables; the folder's if absent."})
    counter: str | None = field(
        default=None,
        metadata={
            "help": "module:function (question, response, steps) -> {name: number, or (n, of) for a share}: counts "
            "anything else in every response. A finished evaluation is counted again without sampling."
        },
    )
    heads: str | None = field(
        default=None, metadata={"help": "Head set: also write annotated.jsonl, traces with their steps scored by it."}
    )
    annotate_problems: AtLeast1 = field(default=8, metadata={"help": "With heads: how many problems to annotate."})
    annotate_samples: AtLeast1 = field(default=8, metadata={"help": "With heads: responses a problem to annotate."})


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


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    if list(argv) == ["--list"]:  # no other setting to check, so torch need not be loaded
        console.print(benchmark_table(shown_benchmarks()))
        return
    engine_type, settings_type = "attnpo.sampling:EngineSettings", "attnpo.evaluation:EvaluationSettings"
    types = (EvaluateArguments, ModelArguments, DataArguments, StepArguments, engine_type, settings_type)
    arguments, model_arguments, data_arguments, step_arguments, engine, settings = parse(
        "evaluate",
        types,
        argv,
        "Measure accuracy and response length of a model on problems with known answers.",
        EXAMPLE,
    )
    if arguments.list:
        console.print(benchmark_table(shown_benchmarks()))
        return
    quiet_libraries()
    evaluate_model(
        arguments, model_arguments, data_arguments, step_arguments, settings, engine, given_settings(types, argv)
    )


def benchmark_table(rows: Iterable[Sequence[str]]) -> Table:
    """Return the table of benchmarks, one row each (`attnpo.evaluation.benchmarks.benchmark_rows`)."""
    table = Table(title="Benchmarks", title_justify="left", box=SIMPLE)
    for heading in ("name", "problems", "samples", "verifier"):
        table.add_column(heading, no_wrap=True, justify="right" if heading in ("problems", "samples") else "left")
    table.add_column("data set @ revision", overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def evaluate_model(
    arguments: EvaluateArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
    engine: EngineSettings | None = None,
    given: Collection[str] = (),
) -> None:
    """Evaluate one model on a data set or on benchmarks and, with heads, annotate some of its traces.

    Args:
        arguments: what is measured and where results go.
        model_arguments: which model.
        data_arguments: which problems.
        step_arguments: how responses are cut, verified and labelled.
        settings: how they are sampled and summed up.
        engine: what samples them; transformers if None.
        given: names of the settings that the user gave: they override a benchmark's own.

    Raises:
        AttnPOError: something is missing or malformed, or the engine went away (what is known is shown before).
    """
    from attnpo.attention import resolve_heads
    from attnpo.cli.loading import open_session
    from attnpo.cli.tables import cost_line, evaluation_tables, suite_table
    from attnpo.evaluation.counting import load_counter
    from attnpo.output import prepare_output_dir

    output_dir = prepare_output_dir(Path(arguments.output_dir))
    _check_engine(arguments, settings, engine)
    counter = load_counter(arguments.counter) if arguments.counter else None
    if arguments.benchmark:
        targets = benchmark_targets(arguments, data_arguments, step_arguments, settings, given)
        session = open_session(
            model_arguments, data_arguments, step_arguments, engine=engine, problems=list(targets[0].problems)
        )
    else:
        session = open_session(model_arguments, data_arguments, step_arguments, engine=engine)
        targets = [Target("", session.problems, output_dir, step_arguments, settings)]
    if step_arguments.labeler and session.labeler is None:
        raise ConfigError(f"--labeler {step_arguments.labeler}: an evaluation takes module:function; give one")
    for target in targets:
        session.check_room(target.problems, target.settings.max_new_tokens, target.settings.opening)
    head_set = resolve_heads(arguments.heads, session.model.config) if arguments.heads else None
    name = arguments.name or output_dir.resolve().name
    results: dict[str, EvaluationResult] = {}
    try:
        for target in targets:
            try:
                results[target.title] = _measure(name, target, session, head_set, counter, arguments)
            except EngineError:
                _show_what_is_known(target)
                raise
            if target.title:
                console.rule(target.title)
            console.print(*evaluation_tables([results[target.title]]), sep="\n")
            console.print(cost_line(results[target.title]))
            console.print(f"written to {target.folder / 'evaluation.json'}")
    finally:
        session.close()
    if len(results) > 1:
        console.rule("all benchmarks")
        console.print(suite_table(results))


def benchmark_targets(
    arguments: EvaluateArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
    given: Collection[str],
) -> list[Target]:
    """Load the problems of the benchmarks that were asked for.

    A benchmark's own verifier and number of samples hold unless the user gave others.

    Raises:
        ConfigError: there is no such benchmark, one is named twice, or a flag is given that the entry decides.
        DataError: its problems cannot be loaded.
    """
    from attnpo.evaluation.benchmarks import load_benchmark
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress

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
        with console_progress(console) as progress:
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
) -> EvaluationResult:
    from attnpo.cli.annotating import annotate_problems
    from attnpo.cli.loading import open_verifier
    from attnpo.evaluation import evaluate
    from attnpo.progress import console_progress
    from attnpo.segmentation import PhraseFamilies

    phrases = PhraseFamilies.load(target.steps.phrases_file) if target.steps.phrases_file else None
    session.problems = list(target.problems)
    with open_verifier(target.steps) as verifier, console_progress(console) as progress:
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
                progress=progress,
            )
    return result


def _context(target: Target, session: Session) -> Mapping[str, Any]:
    context = {**session.context, "verifier": target.steps.verifier}
    return context if target.benchmark is None else {**context, "benchmark": target.benchmark}


def _check_engine(arguments: EvaluateArguments, settings: EvaluationSettings, engine: EngineSettings | None) -> None:
    from attnpo.sampling.honoured import check_own

    if engine is not None:
        check_own(engine.engine, settings.sampling.own())
    if arguments.heads and engine is not None and not engine.engine.startswith("transformers"):
        raise ConfigError(
            f"--heads: step scores are read inside a transformers model, not with --engine {engine.engine}; leave "
            "heads out here and score responses with `attnpo inspect --rollouts … --heads …`"
        )
    if settings.opening and engine is not None and engine.engine == "server" and engine.api == "chat":
        raise ConfigError(
            "--opening: a chat server renders prompts itself, and nothing can be put behind them; use --api completions"
        )


def _show_what_is_known(target: Target) -> None:
    """Show the numbers of the problems that were finished before the engine went away."""
    from attnpo.cli.tables import evaluation_tables
    from attnpo.evaluation import EvaluationResult

    path = target.folder / "evaluation.json"
    if path.is_file():
        known = EvaluationResult.load(path)
        console.print(*evaluation_tables([known]), sep="\n")
        console.print(f"known so far: {known.num_problems} of {known.num_problems_asked} problems, written to {path}")
