"""`attnpo discover`: the attention heads that know which steps matter."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse

EXAMPLE = """  attnpo discover --model tinyworld --data tinyworld --num_problems 300 --max_new_tokens 320 \\
      --segmentation paragraphs --labeler attnpo.tinyworld:label_steps --output_dir runs/heads

  writes heads.json (give it to `attnpo train --heads`), discovery.json and sra.png.
  Interrupted? The same command goes on where it stopped."""


@dataclass
class DiscoverArguments:
    """Where results go."""

    output_dir: str = field(default="runs/discovery", metadata={"help": "Folder of heads.json and discovery.json."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    from attnpo.discovery import DiscoverySettings

    arguments, model_arguments, data_arguments, step_arguments, settings = parse(
        "discover",
        (DiscoverArguments, ModelArguments, DataArguments, StepArguments, DiscoverySettings),
        argv,
        "Find the Key-Focus Heads of a model: sample its responses, label their steps, rank every head by SRA.",
        EXAMPLE,
    )
    quiet_libraries()

    from attnpo.cli.loading import build_segmenter, data_source, load_data, load_model, load_tokenizer, model_source
    from attnpo.cli.tables import discovery_table
    from attnpo.discovery import discover
    from attnpo.errors import ConfigError
    from attnpo.labeling import load_labeler
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress
    from attnpo.reporting import save_heatmap
    from attnpo.sampling import TransformersSampler
    from attnpo.verification import build_verifier

    output_dir = prepare_output_dir(Path(arguments.output_dir))
    if not step_arguments.labeler:
        raise ConfigError(
            "--labeler: name a module:function that labels steps; the small world's is attnpo.tinyworld:label_steps"
        )
    labeler = load_labeler(step_arguments.labeler)
    problems = load_data(data_arguments, step_arguments.solution_column, "heldout")
    source = model_source(model_arguments.model)
    tokenizer = load_tokenizer(source, model_arguments)
    segmenter = build_segmenter(tokenizer, step_arguments)
    model = load_model(source, model_arguments)
    with (
        build_verifier(
            step_arguments.verifier, step_arguments.verifier_timeout, step_arguments.verifier_workers
        ) as verifier,
        console_progress(console) as progress,
    ):
        result = discover(
            model,
            tokenizer,
            problems,
            TransformersSampler(model, tokenizer, rows=step_arguments.rows),
            segmenter,
            verifier,
            labeler,
            settings,
            output_dir,
            progress,
            model_name=model_arguments.model or source,
            dataset_name=data_source(data_arguments.data, "heldout"),
            labeler_name=step_arguments.labeler,
            context={
                "verifier": step_arguments.verifier,
                "segmentation": step_arguments.segmentation,
                "min_step_chars": step_arguments.min_step_chars,
            },
        )
    save_heatmap(result, output_dir / "sra.png")
    console.print(discovery_table(result))
    console.print(result.verdict)
    console.print(f"written to {output_dir / 'heads.json'}")
