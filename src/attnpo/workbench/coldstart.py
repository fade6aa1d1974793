"""A cold start from settings to a saved model that thinks aloud, measured before and after."""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

from rich.progress import Progress

from attnpo.coldstart import (
    CHATML,
    ColdStartAdapters,
    ColdStartConfig,
    WorkedProblem,
    equation_traces,
    fine_tune,
    finish_adapter,
    open_think_part,
    order_rows,
    training_rows,
    write_traces,
)
from attnpo.collecting import weights_fingerprint
from attnpo.datasets import ProblemRow
from attnpo.errors import ConfigError, DataError
from attnpo.evaluation import EvaluationResult, EvaluationSettings
from attnpo.files import UserFile
from attnpo.gsmworld.equations import to_number
from attnpo.gsmworld.problems import INSTRUCTION, reads_true
from attnpo.gsmworld.traces import plain_solution
from attnpo.models import ModelSource, find_model, load_model, load_tokenizer
from attnpo.output import claim_settings, held, prepare_output_dir, write_atomically
from attnpo.rollouts import Prompt
from attnpo.sampling import EngineSettings
from attnpo.training.checkpoints import check_no_run_before, last_checkpoint
from attnpo.workbench.arguments import (
    ColdStartArguments,
    DataArguments,
    EvaluateArguments,
    ModelArguments,
    StepArguments,
)
from attnpo.workbench.evaluating import evaluate_model
from attnpo.workbench.problems import WORLDS, load_data

logger = logging.getLogger(__name__)

TRACES = "traces.jsonl"
STARTED_FROM = "coldstart.settings.json"
"""Says which model a run goes on from, so that it does not go on with another."""


@dataclass(frozen=True)
class ColdStarted:
    """A finished cold start.

    Attributes:
        folder: where the model is.
        steps: optimizer steps.
        tokens: tokens of the traces, prompts included.
        seconds: how long training took in this process.
        adapter_bytes: size of the adapter's weights; None where all weights were trained.
        before: what the model did on the problems, None where nothing was measured.
        after: what it does now.
    """

    folder: Path
    steps: int
    tokens: int
    seconds: float
    adapter_bytes: int | None
    before: EvaluationResult | None = None
    after: EvaluationResult | None = None


def cold_start(
    arguments: ColdStartArguments,
    data_arguments: DataArguments,
    config: ColdStartConfig,
    adapters: ColdStartAdapters | None = None,
    note: Callable[[str], None] = logger.info,
    progress: Progress | None = None,
) -> ColdStarted:
    """Teach a model to think aloud and to overthink: traces of worked solutions, supervised fine-tuning.

    Args:
        arguments: which model, what is measured.
        data_arguments: problems with worked solutions.
        config: settings of the training.
        adapters: which adapters are trained; the default ones if None.
        note: called with each remark before and between.
        progress: display of the measurements, or None; TRL shows the training's own.

    Raises:
        AttnPOError: something is missing, malformed or contradicts itself.
    """
    adapters = ColdStartAdapters() if adapters is None else adapters
    lora = adapters.lora()
    check_no_run_before(config)
    folder = prepare_output_dir(Path(str(config.output_dir)))
    source = find_model(arguments.model, arguments.base_model, trust_remote_code=config.trust_remote_code)
    tokenizer = load_tokenizer(source)
    open_think_part(tokenizer, _template(arguments.chat_template))
    columns = [column for column in (arguments.worked_column, arguments.question_column) if column is not None]
    loaded = load_data(data_arguments, arguments.solution_column, "train", keep=columns)
    problems = worked_problems(loaded, arguments, note)
    plain = config.plain_rows
    if plain > len(problems):
        raise ConfigError(f"plain_rows {plain}: there are {len(problems):,} rows; give fewer, or more --num_problems")
    seed, alone = int(config.seed), config.equation_rows
    equations, traces = equation_traces(problems, alone, seed)
    traces += write_traces(problems, seed, config.trace_style(), plain)
    problems = equations + problems
    rows = training_rows(problems, traces, tokenizer)
    longest = max(len(row["input_ids"]) for row in rows)
    if config.max_length is not None and longest > config.max_length:
        raise ConfigError(f"max_length: the longest row has {longest} tokens, more than {config.max_length}; raise it")
    with held(folder):
        claim_settings(folder / STARTED_FROM, {"base": weights_fingerprint(source.places) or source.name})
        lines = (
            json.dumps({"prompt": p.prompt, "response": t.text}) + "\n" for p, t in zip(problems, traces, strict=True)
        )
        write_atomically(folder / TRACES, "".join(lines))
        tokens = sum(len(row["input_ids"]) for row in rows)
        note(f"{len(rows):,} rows of {tokens / len(rows):.0f} tokens, prompts included; written to {folder / TRACES}")
        before = _measure("before", str(arguments.model), arguments, data_arguments, folder, note, progress)
        start = time.perf_counter()
        trainer = fine_tune(
            load_model(
                source,
                dtype=adapters.dtype or "float32",
                device="cpu",  # the trainer moves it
                attn_implementation=adapters.attn_implementation,
            ),
            tokenizer,
            order_rows(rows, config.per_device_train_batch_size, seed, (alone, plain)),
            config,
            lora,
            last_checkpoint(config),
        )
        seconds = time.perf_counter() - start
        size = None if lora is None else finish_adapter(folder, _base_name(source))
        steps = trainer.state.global_step
        note(f"{steps} steps in {seconds / 60:.1f} min; model written to {folder}")
        after = _measure("after", str(folder), arguments, data_arguments, folder, note, progress)
        return ColdStarted(folder, steps, tokens, seconds, size, before, after)


def worked_problems(
    rows: Sequence[ProblemRow], arguments: ColdStartArguments, note: Callable[[str], None] = logger.info
) -> list[WorkedProblem]:
    """Return the problems whose worked solutions read as true equations that come to the answer.

    Raises:
        DataError: a column is missing, or no solution does.
    """
    problems = []
    for row in rows:
        worked = row.extra.get(arguments.worked_column)
        if not isinstance(worked, str):
            columns = ", ".join(sorted(row.extra)) or "none besides prompt and answer"
            raise DataError(
                f"problem {row.problem_id!r}: no text in column {arguments.worked_column!r}; name the "
                f"worked solution's with --worked_column (columns: {columns})"
            )
        if not _is_number(row.solution) or not reads_true(plain_solution(worked), to_number(row.solution)):
            continue
        problems.append(WorkedProblem(row.prompt, _question(row, arguments), worked, row.solution))
    if not problems:
        raise DataError(
            f"--worked_column {arguments.worked_column}: no solution reads as true equations that come to the answer, "
            "as in '7*6=42'; traces are made of those"
        )
    if left := len(rows) - len(problems):
        note(f"{left:,} of {len(rows):,} problems left out: their solution does not read as true equations")
    return problems


def _template(name: str | None) -> str | None:
    """The text of a chat template: a file, or the one that ships."""
    if name is None:
        return None
    path = CHATML if name == "chatml" and not Path(name).exists() else Path(name)
    return UserFile(path, "template file", ConfigError, f"--chat_template {name}", "name a file, or chatml").text()


def _measure(
    name: str,
    model: str,
    arguments: ColdStartArguments,
    data_arguments: DataArguments,
    folder: Path,
    note: Callable[[str], None],
    progress: Progress | None,
) -> EvaluationResult | None:
    data = arguments.eval_data or (data_arguments.data if data_arguments.data in WORLDS else None)
    if not arguments.eval_problems:
        return None
    if data is None:
        note(f"nothing is measured {name}: --eval_data names problems to measure on")
        return None
    problems = replace(data_arguments, data=data, num_problems=arguments.eval_problems, problems_seed=None, split=None)
    steps = StepArguments(
        solution_column=arguments.solution_column, segmentation="paragraphs", labeler=arguments.labeler
    )
    with nullcontext() if progress is None else progress:
        return evaluate_model(
            EvaluateArguments(output_dir=str(folder / name), name=name, counter="attnpo.gsmworld:count_slips"),
            ModelArguments(model=model, base_model=arguments.base_model if name == "before" else None),
            problems,
            steps,
            EvaluationSettings(
                samples_per_problem=1, max_new_tokens=arguments.eval_max_new_tokens, temperature=1.0, top_p=1.0
            ),
            EngineSettings(),
            progress=progress,
        )[""]


def _question(row: ProblemRow, arguments: ColdStartArguments) -> str:
    if arguments.question_column is not None:
        question = row.extra.get(arguments.question_column)
        if not isinstance(question, str) or not question.strip():
            raise DataError(f"problem {row.problem_id!r}: no text in column {arguments.question_column!r}")
        return question
    return _last_text(row.prompt).removesuffix(INSTRUCTION)


def _base_name(source: ModelSource) -> str:
    """What the adapter's configuration calls its base: found again from anywhere."""
    return str(Path(source.name).resolve()) if Path(source.name).exists() else source.name


def _is_number(text: str) -> bool:
    return re.fullmatch(r"\$?\d[\d,]*(\.\d+)?", text) is not None


def _last_text(prompt: Prompt) -> str:
    return prompt if isinstance(prompt, str) else prompt[-1]["content"]
