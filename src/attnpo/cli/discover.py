"""`attnpo discover`: the attention heads that know which steps matter, and the proof that they do."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.workbench.arguments import DataArguments, DiscoverArguments, ModelArguments, StepArguments

if TYPE_CHECKING:
    from attnpo.tables import Table
    from attnpo.workbench.discovering import Found, Verified

EXAMPLE = """  attnpo discover --model tinyworld --data tinyworld --num_problems 300 --max_new_tokens 320 \\
      --segmentation paragraphs --labeler attnpo.tinyworld:label_steps --intervene true --output_dir runs/heads

  attnpo discover --model my-model --data problems.jsonl --labeler judge \\
      --judge_base_urls http://127.0.0.1:8000/v1 --judge_models judge-a,judge-b,judge-c --output_dir runs/heads
  attnpo discover --model my-model --traces runs/base/rollouts.jsonl --labeler causal --output_dir runs/heads
  attnpo discover --model my-model --verify runs/heads/heads.json --traces runs/other/rollouts.jsonl \\
      --labeler file:labels.jsonl --output_dir runs/verified

  writes heads.json (give it to `attnpo train --heads`), discovery.json with the evidence, plots, and the files that
  `attnpo report --run_dir` makes a page of. Interrupted? The same command goes on: nothing is sampled or labelled
  twice."""


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

    from attnpo.about import write_about
    from attnpo.progress import console_progress
    from attnpo.workbench.discovering import Discovering, Verified

    discovering = Discovering(*parsed.parts)
    write_about(discovering.output_dir, "discover", argv)
    with console_progress(console) as progress:
        done = discovering.verify(progress) if discovering.arguments.verify else discovering.discover(progress)
    for said in said_verified(done) if isinstance(done, Verified) else said_found(done):
        console.print(said)
    console.print(f"written to {Path(discovering.arguments.output_dir)}")


def said_found(found: Found) -> list[Table | str]:
    """Return the heads that were found, beside the trivial rules, and their proofs."""
    from attnpo.reporting.proof_tables import discovery_table, proofs

    result, judges = found.result, [found.judges] if found.judges else []
    proven = proofs(found.intervention, found.transfer)
    return [discovery_table(result), *proven, *judges, result.gates.sentence(), result.verdict]


def said_verified(verified: Verified) -> list[Table | str]:
    """Return what new traces say of a head set."""
    from attnpo.reporting.proof_tables import proofs, verification_table

    result, proven = verified.result, proofs(verified.intervention, stability=verified.stability)
    said = [verification_table(result), *proven, verified.gates.sentence(), result.verdict]
    if verified.known:
        said.append(
            f"warning: {verified.known} of {verified.responses} responses are among those the heads were found on, "
            "which proves nothing new; give other problems (--data, --problems_seed) or another --seed"
        )
    return said
