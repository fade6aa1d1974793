"""`attnpo discover`: the attention heads that know which steps matter, and the proof that they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.ranges import AtLeast1, Correlation, Share

EXAMPLE = """  attnpo discover --model tinyworld --data tinyworld --num_problems 300 --max_new_tokens 320 \\
      --segmentation paragraphs --labeler attnpo.tinyworld:label_steps --intervene true --output_dir runs/heads

  attnpo discover --model my-model --data problems.jsonl --labeler judge \\
      --judge_base_urls http://127.0.0.1:8000/v1 --judge_models judge-a,judge-b,judge-c --output_dir runs/heads
  attnpo discover --model my-model --traces runs/base/rollouts.jsonl --labeler causal --output_dir runs/heads
  attnpo discover --model my-model --verify runs/heads/heads.json --data other.jsonl --labeler file:labels.jsonl \\
      --output_dir runs/verified

  writes heads.json (give it to `attnpo train --heads`), discovery.json with the evidence, plots, and the files that
  `attnpo report --run_dir` makes a page of. Interrupted? The same command goes on: nothing is sampled or labelled
  twice."""


@dataclass
class DiscoverArguments:
    """Where traces come from, where results go, and what is proven of the heads."""

    output_dir: str = field(default="runs/discovery", metadata={"help": "Folder of heads.json and discovery.json."})
    traces: str | None = field(
        default=None,
        metadata={"help": "Rollouts file of the model's responses (from train or evaluate); sampled if absent."},
    )
    verify: str | None = field(
        default=None, metadata={"help": "Head set (file or published name): repeat its evidence on these traces."}
    )
    checkpoints: str | None = field(
        default=None,
        metadata={
            "help": "With verify: more checkpoints, comma-separated; their scores are compared with the model's."
        },
    )
    checkpoints_min_sra: Share | None = field(
        default=None, metadata={"help": "With checkpoints: warn where the SRA falls under this."}
    )
    checkpoints_min_pearson: Correlation | None = field(
        default=0.85, metadata={"help": "With checkpoints: warn where scores correlate less with the model's."}
    )
    intervene: bool = field(
        default=False, metadata={"help": "Delete low- and high-scored steps, regenerate answers, compare accuracy."}
    )
    intervention_amounts: str = field(
        default="20%,40%", metadata={"help": "How much to delete: shares of the think tokens, or numbers of steps."}
    )
    intervention_samples: AtLeast1 = field(
        default=4, metadata={"help": "Answers regenerated to each trace and deletion."}
    )
    intervention_max_new_tokens: AtLeast1 = field(default=2048, metadata={"help": "Limit on an answer, in tokens."})
    intervention_traces: AtLeast1 = field(default=200, metadata={"help": "Most traces to intervene on."})
    transfer: str | None = field(
        default=None,
        metadata={
            "help": "Choose on one group, report on every other: difficulty, subject, pass_rate, or labelled rollouts "
            "files (probing_set.jsonl of other discoveries), separated by commas."
        },
    )


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    parsed = parse(
        "discover",
        (
            DiscoverArguments,
            ModelArguments,
            DataArguments,
            StepArguments,
            "attnpo.discovery:DiscoverySettings",
            "attnpo.sampling:EngineSettings",
            "attnpo.labeling.judge:JudgeSettings",
            "attnpo.labeling.causal:CausalSettings",
        ),
        argv,
        "Find the Key-Focus Heads of a model: take its responses, label their steps, rank every head by SRA.",
        EXAMPLE,
    )
    quiet_libraries()

    from attnpo.cli.about import write_about
    from attnpo.cli.discovering import Discovering

    discovering = Discovering(*parsed)
    write_about(discovering.output_dir, "discover", argv)
    if discovering.arguments.verify:
        discovering.verify()
    else:
        discovering.discover()
    console.print(f"written to {Path(discovering.arguments.output_dir)}")
