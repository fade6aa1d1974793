"""`attnpo evaluate`: accuracy and response length of a model, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse

if TYPE_CHECKING:
    from attnpo.evaluation import EvaluationSettings

EXAMPLE = """  attnpo evaluate --model tinyworld --data tinyworld --num_problems 200 --max_new_tokens 320 \\
      --temperature 1 --top_p 1 --segmentation paragraphs --labeler attnpo.tinyworld:label_steps --output_dir runs/base
  attnpo evaluate --model deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B --data openai/gsm8k:main --split test \\
      --prompt_column question --solution_column answer --solution_after '####' --output_dir runs/gsm8k

  Interrupted? The same command goes on where it stopped."""


@dataclass
class EvaluateArguments:
    """Where results go, and what is shown of them."""

    output_dir: str = field(
        default="runs/evaluation", metadata={"help": "Folder of evaluation.json and rollouts.jsonl."}
    )
    name: str | None = field(default=None, metadata={"help": "Name of the run in tables; the folder's if absent."})
    heads: str | None = field(
        default=None, metadata={"help": "Head set: also write annotated.jsonl, traces with their steps scored by it."}
    )
    annotate_problems: int = field(default=8, metadata={"help": "With heads: how many problems to annotate."})
    annotate_samples: int = field(default=8, metadata={"help": "With heads: responses a problem to annotate."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    from attnpo.evaluation import EvaluationSettings

    arguments, model_arguments, data_arguments, step_arguments, settings = parse(
        "evaluate",
        (EvaluateArguments, ModelArguments, DataArguments, StepArguments, EvaluationSettings),
        argv,
        "Measure accuracy and response length of a model on problems with known answers.",
        EXAMPLE,
    )
    quiet_libraries()
    evaluate_model(arguments, model_arguments, data_arguments, step_arguments, settings)


def evaluate_model(
    arguments: EvaluateArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
) -> None:
    """Evaluate one model and, with heads, annotate some of its traces."""
    from attnpo.attention import resolve_heads
    from attnpo.cli.annotating import annotate_problems
    from attnpo.cli.loading import open_session, open_verifier
    from attnpo.cli.tables import evaluation_tables
    from attnpo.evaluation import evaluate
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress
    from attnpo.segmentation import PhraseFamilies

    output_dir = prepare_output_dir(Path(arguments.output_dir))
    phrases = PhraseFamilies.load(step_arguments.phrases_file) if step_arguments.phrases_file else None
    session = open_session(model_arguments, data_arguments, step_arguments)
    head_set = resolve_heads(arguments.heads, session.model.config) if arguments.heads else None
    with open_verifier(step_arguments) as verifier, console_progress(console) as progress:
        result = evaluate(
            arguments.name or output_dir.name,
            session.tokenizer,
            session.problems,
            session.sampler,
            session.segmenter,
            verifier,
            session.labeler,
            settings,
            output_dir,
            progress,
            model_name=session.model_name,
            dataset_name=session.dataset_name,
            context=session.context,
            phrases=phrases,
        )
        if head_set is not None:
            annotate_problems(
                output_dir,
                session,
                verifier,
                head_set,
                problems=arguments.annotate_problems,
                samples=arguments.annotate_samples,
                params=settings.sampling,
                progress=progress,
            )
    console.print(*evaluation_tables([result]), sep="\n")
    console.print(f"written to {output_dir / 'evaluation.json'}")
