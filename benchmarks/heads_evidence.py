"""Do the small world's heads mean something? Intervention and transfer, with intervals and wall times.

    python benchmarks/heads_evidence.py --output docs/results/heads_evidence.json    # one thread, some minutes
    python benchmarks/heads_evidence.py --heads runs/study/heads.json

1. Discovery (unless --heads names a head set): responses to --num_problems problems, the oracle's labels.
2. Transfer, on all correct responses of step 1: heads chosen on easy problems (difficulty 1-2) and reported on hard
   ones (4-5), and the other way round.
3. Intervention, on responses to --num_traces other problems: the lowest-scored, the highest-scored and random steps
   are deleted, the answers drawn anew.

Interrupted? The same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.attention import HeadSet, readable_heads, resolve_heads
from attnpo.cli.console import console, quiet_libraries
from attnpo.collecting import model_fingerprint
from attnpo.datasets import ProblemRow, load_problems
from attnpo.discovery import DiscoverySettings, discover
from attnpo.discovery.evidence import InterventionResult, TransferResult
from attnpo.discovery.gates import Gates
from attnpo.discovery.intervention import InterventionSettings, intervene, usable_traces
from attnpo.discovery.measure import ensemble
from attnpo.discovery.traces import sample_traces
from attnpo.discovery.transfer import transfer_table
from attnpo.discovery.verify import with_evidence
from attnpo.labeling import FunctionLabeler, label_steps
from attnpo.progress import console_progress
from attnpo.rollouts import Rollout
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.signals import score_steps
from attnpo.tinyworld import checkpoint_path
from attnpo.tinyworld import label_steps as oracle
from attnpo.verification import build_verifier

DATA = "attnpo.tinyworld:train_dataset"
LEVELS = {"1": "easy", "2": "easy", "4": "hard", "5": "hard"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, help="write the figures here as JSON")
    parser.add_argument("--folder", type=Path, default=Path("runs/heads_evidence"), help="rollouts and answers go here")
    parser.add_argument("--heads", help="head set to examine; found here if absent")
    parser.add_argument("--num_problems", type=int, default=300)
    parser.add_argument("--num_traces", type=int, default=150, help="problems of the intervention, two responses each")
    parser.add_argument("--amounts", default="20%,40%,1 step")
    parser.add_argument("--samples", type=int, default=4, help="answers a trace and condition")
    parser.add_argument("--draws", type=int, default=2, help="random deletions for each deletion by score")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    quiet_libraries()
    torch.set_num_threads(1)
    world = World(arguments)
    times: dict[str, dict[str, float]] = {}

    with timed(times, "discovery"):
        labelled, heads = world.discover()
    with timed(times, "transfer"):
        transfer = world.transfer(labelled)
    with timed(times, "intervention"):
        intervention = world.intervene(heads, {rollout.problem_id for rollout in labelled})

    with_evidence(heads, intervention=intervention, transfer=transfer).save(arguments.folder / "heads.json")
    report(heads, intervention, transfer, times)
    if arguments.output is not None:
        figures = {
            "settings": {name: value for name, value in vars(arguments).items() if name not in ("output", "folder")},
            "seconds": times,
            "heads": [list(head) for head in heads.heads],
            "intervention": intervention.model_dump(mode="json"),
            "transfer": transfer.model_dump(mode="json"),
        }
        arguments.output.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


@contextmanager
def timed(times: dict[str, dict[str, float]], name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    times[name] = {"wall": round(time.perf_counter() - wall, 1), "cpu": round(time.process_time() - cpu, 1)}


class World:
    """The small world's model, and responses of its own."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self.arguments = arguments
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint_path()).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
        self.sampler = TransformersSampler(self.model, self.tokenizer)
        self.segmenter = Segmenter(self.tokenizer, build_strategy("paragraphs"))
        self.settings = DiscoverySettings(samples_per_problem=4, max_new_tokens=320, seed=arguments.seed)
        self.context = {"model_fingerprint": model_fingerprint(self.model)}

    def sample(self, folder: Path, problems: list[ProblemRow], samples: int, **settings: Any) -> list[Rollout]:
        """Sample, cut and judge responses."""
        with build_verifier("exact") as verifier, console_progress(console) as progress:
            return sample_traces(
                folder,
                problems,
                tokenizer=self.tokenizer,
                sampler=self.sampler,
                segmenter=self.segmenter,
                verifier=verifier,
                settings=DiscoverySettings(samples_per_problem=samples, max_new_tokens=320, **settings),
                context=self.context,
                progress=progress,
            )

    def discover(self) -> tuple[list[Rollout], HeadSet]:
        """Return labelled responses, and the heads found on (some of) them."""
        problems = load_problems(DATA, limit=self.arguments.num_problems, seed=self.arguments.seed + 1_000_003)
        folder = self.arguments.folder / "discovery"
        traces = self.sample(folder, problems, 4, seed=self.arguments.seed)
        gates = Gates(0.0, 2)
        labelled = gates.after_labels([label_steps(oracle, rollout) for rollout in gates.before_labels(traces)])
        if self.arguments.heads is not None:
            return labelled, resolve_heads(self.arguments.heads, self.model.config)
        labeler = FunctionLabeler(oracle, "attnpo.tinyworld:label_steps")
        found = discover(
            self.model,
            self.tokenizer,
            traces,
            labeler,
            self.settings,
            folder,
            model_name="tinyworld",
            dataset_name=DATA,
        )
        console.print(found.result.verdict)
        return labelled, found.head_set

    def transfer(self, labelled: list[Rollout]) -> TransferResult:
        """Choose on easy problems and report on hard ones, and the other way round."""
        chosen = [rollout for rollout in labelled if rollout.difficulty in LEVELS]
        heads, _ = readable_heads(self.model)
        scores = score_steps(self.model, self.tokenizer, chosen, heads)
        groups = [LEVELS[str(rollout.difficulty)] for rollout in chosen]
        return transfer_table(
            chosen, scores, groups, heads, self.settings, model_name="tinyworld", grouped_by="difficulty"
        )

    def intervene(self, heads: HeadSet, seen: set[str]) -> InterventionResult:
        """Delete steps of other responses and draw the answers anew."""
        arguments = self.arguments
        fresh = load_problems(DATA, limit=arguments.num_traces, seed=arguments.seed + 2_000_003)
        fresh = [problem for problem in fresh if problem.problem_id not in seen]
        folder = arguments.folder / "intervention"
        traces = usable_traces(self.sample(folder, fresh, 2, seed=arguments.seed + 1))
        scores = score_steps(self.model, self.tokenizer, traces, heads.heads)
        with build_verifier("exact") as verifier, console_progress(console) as progress:
            return intervene(
                traces,
                ensemble(scores, range(len(heads.heads))),
                tokenizer=self.tokenizer,
                sampler=self.sampler,
                segmenter=self.segmenter,
                verifier=verifier,
                settings=InterventionSettings(
                    amounts=arguments.amounts,
                    samples=arguments.samples,
                    random_draws=arguments.draws,
                    sampling=SamplingParams(max_new_tokens=128, seed=arguments.seed),
                ),
                output_dir=folder,
                context=self.context,
                heads=[(head.layer, head.head) for head in heads.heads],
                model_name="tinyworld",
                dataset_name=DATA,
                progress=progress,
            )


def report(heads: HeadSet, found: InterventionResult, transfer: TransferResult, times: dict[str, Any]) -> None:
    console.print(f"heads {', '.join(map(str, heads.heads))}")
    console.print(
        f"intervention: {found.num_traces} traces of {found.num_problems} problems, {found.think_tokens:.1f} think "
        f"tokens a trace, {found.samples_per_trace} answers a condition, {found.sampled_tokens:,} tokens sampled"
    )
    for c in found.conditions:
        line = f"  {c.amount:>8} {c.name:<9} deleted {c.deleted_tokens:5.1f} tokens, {c.deleted_steps:.2f} steps"
        if c.matched_tokens is not None:
            line += f" (random {c.matched_tokens:5.1f})"
        line += f"; accuracy {c.accuracy.format(1, 100)} %"
        if c.difference is not None:
            line += f", minus untouched {c.difference.format(1, 100)}"
        if c.against_random is not None:
            line += f", minus random {c.against_random.format(1, 100)}"
        console.print(line)
    for row in transfer.rows:
        best = "" if row.best_there is None else f"; own choice there {row.best_there.format(3)}"
        difference = "" if row.difference is None else f", difference {row.difference.format(3)}"
        console.print(
            f"transfer {row.selected_on} to {row.reported_on}: heads {row.heads}, SRA {row.sra.format(3)}"
            f"{best}{difference}; {row.pairs} pairs"
        )
    spent = (f"{name} {each['wall']:.0f} ({each['cpu']:.0f} of one core)" for name, each in times.items())
    console.print("seconds: " + ", ".join(spent))


if __name__ == "__main__":
    main()
