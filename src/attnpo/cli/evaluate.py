"""`attnpo evaluate`: accuracy and response length of a model, with intervals."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from rich.box import SIMPLE
from rich.progress import Progress
from rich.table import Table as RichTable

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.cli.shown import shown_benchmarks
from attnpo.tables import Column, Table
from attnpo.workbench.arguments import DataArguments, EvaluateArguments, ModelArguments, StepArguments

if TYPE_CHECKING:
    from attnpo.evaluation import EvaluationResult
    from attnpo.workbench.targets import Target

EXAMPLE = """  attnpo evaluate --list
  attnpo evaluate --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --benchmark math500,aime24 --output_dir runs/base
  attnpo evaluate --model my-model --engine server --base_url http://127.0.0.1:8000/v1 --benchmark gsm8k \\
      --data gsm8k_test.jsonl --output_dir runs/gsm8k
  attnpo evaluate --model tinyworld --data tinyworld --num_problems 200 --samples_per_problem 16 --max_new_tokens 320 \\
      --temperature 1 --top_p 1 --segmentation paragraphs --verifier exact \\
      --labeler attnpo.tinyworld:label_steps --counter attnpo.tinyworld:count_checks --output_dir runs/base
  attnpo evaluate --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --data openai/gsm8k:main --split test \\
      --prompt_column question --solution_column answer --solution_after '####' --output_dir runs/gsm8k
      (a question of plain text is asked as the user's message; --prompt_template puts words of yours around it)

  Interrupted? The same command goes on where it stopped."""


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    if list(argv) == ["--list"]:  # no other setting to check, so torch need not be loaded
        console.print(benchmark_table(shown_benchmarks()))
        return
    engine_type, settings_type = "attnpo.sampling:EngineSettings", "attnpo.evaluation:EvaluationSettings"
    parsed = parse(
        "evaluate",
        (EvaluateArguments, ModelArguments, DataArguments, StepArguments, engine_type, settings_type),
        argv,
        "Measure accuracy and response length of a model on problems with known answers.",
        EXAMPLE,
    )
    if parsed.parts[0].list:
        console.print(benchmark_table(shown_benchmarks()))
        return
    quiet_libraries()
    from attnpo.progress import console_progress
    from attnpo.reporting.result_tables import suite_table
    from attnpo.workbench.evaluating import evaluate_model

    arguments, model, data, steps, engine, settings = parsed.parts
    with console_progress(console) as progress:
        show = showing(progress)
        results = evaluate_model(
            arguments, model, data, steps, settings, engine, parsed.given, show=show, progress=progress
        )
    if len(results) > 1:
        console.rule("all benchmarks")
        console.print(suite_table(results))


def showing(progress: Progress) -> Callable[[Target, EvaluationResult], None]:
    """Return what prints a result in the place of the bars that led to it."""

    def show(target: Target, result: EvaluationResult) -> None:
        progress.stop()
        for task in progress.task_ids:
            progress.remove_task(task)
        show_result(target, result)
        progress.start()

    return show


def show_result(target: Target, result: EvaluationResult) -> None:
    """Print what is known of one set of problems."""
    from attnpo.reporting.result_tables import cost_line, evaluation_tables

    if target.title:
        console.rule(target.title)
    console.print(*evaluation_tables([result]), sep="\n")
    if result.num_problems_asked is not None and result.num_problems < result.num_problems_asked:
        known = f"{result.num_problems} of {result.num_problems_asked} problems"
        console.print(f"known so far: {known}, written to {target.file}")
        return
    console.print(cost_line(result))
    console.print(f"written to {target.file}")


def benchmark_table(rows: Iterable[Sequence[str]]) -> RichTable:
    """Return the table of benchmarks, one row each (`attnpo.evaluation.benchmarks.benchmark_rows`)."""
    columns = ("name", "problems", "samples", "verifier", Column("data set @ revision", words=True))
    return Table.of("Benchmarks", columns, rows).terminal(box=SIMPLE)
