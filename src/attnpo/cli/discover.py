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

    from attnpo.cli.loading import open_session, open_verifier
    from attnpo.cli.tables import discovery_table
    from attnpo.discovery import discover
    from attnpo.errors import ConfigError
    from attnpo.output import prepare_output_dir
    from attnpo.progress import console_progress
    from attnpo.reporting import save_heatmap

    output_dir = prepare_output_dir(Path(arguments.output_dir))
    if not step_arguments.labeler:
        raise ConfigError(
            "--labeler: name a module:function that labels steps; the small world's is attnpo.tinyworld:label_steps"
        )
    session = open_session(model_arguments, data_arguments, step_arguments)
    assert session.labeler is not None
    with open_verifier(step_arguments) as verifier, console_progress(console) as progress:
        result = discover(
            session.model,
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
            labeler_name=step_arguments.labeler,
            context=session.context,
        )
    save_heatmap(result, output_dir / "sra.png")
    console.print(discovery_table(result))
    console.print(result.verdict)
    console.print(f"written to {output_dir / 'heads.json'}")
