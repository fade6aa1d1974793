"""Discovery on the small world with every labeler: which heads, how good on the oracle's labels, at what cost.

    python benchmarks/discovery_study.py                        # about 25 minutes on 2 CPU cores
    python benchmarks/discovery_study.py --seeds 1 --problems 80 --output_dir runs/discovery_small

For every seed the model's responses are sampled once. Each labeler labels the same ones, heads are chosen on its
labels, and each head set is verified on new traces with the oracle's labels. Judges are a server that answers from the
oracle with errors (`oracle_judge_server.py`). With the first seed the oracle's heads are proven as well: intervention,
transfer between difficulties, and stability through a training run. Everything is made by `attnpo` commands, which the
folder keeps; what is on disk is not made again.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from commands import attnpo

from attnpo.discovery import DiscoveryResult
from attnpo.discovery.evidence import StabilityResult, VerificationResult
from attnpo.labeling.store import read_labels
from attnpo.statistics import Interval

ROOT = Path(__file__).parent
WORLD = {
    "model": "tinyworld",
    "max_new_tokens": 320,
    "device": "cpu",
    "segmentation": "paragraphs",
    "verifier": "exact",
}
ORACLE = "attnpo.tinyworld:label_steps"
PROOFS = {"intervene": "true", "intervention_max_new_tokens": 128, "transfer": "difficulty"}
JUDGES = {"judge, 10 % errors": 0.1, "judge, 30 % errors": 0.3}
PORT = 8765
SRA_COLUMNS = ("sra_own_labels", "sra_oracle_new_traces", "sra_oracle_new_traces_length_matched")


def main() -> None:
    """Run everything that is not on disk and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/discovery_study"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--problems", type=int, default=160, help="problems a seed, 8 responses each")
    parser.add_argument("--train_steps", type=int, default=32, help="steps of the training run of the stability curve")
    parser.add_argument("--skip_training", action="store_true")
    arguments = parser.parse_args()
    folder: Path = arguments.output_dir
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        row
        for seed in arguments.seeds
        for row in labelers(folder / f"seed{seed}", seed, arguments.problems, proofs=seed == arguments.seeds[0])
    ]
    stability = None if arguments.skip_training else train(folder, arguments.seeds[0], arguments.train_steps)
    followed = None if stability is None else stability.model_dump(mode="json", exclude={"model"})
    summary = {"labelers": rows, "stability": followed}
    (folder / "discovery_study.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    text = render(rows, stability)
    (folder / "discovery_study.md").write_text(text, encoding="utf-8")
    print(text)


def labelers(folder: Path, seed: int, problems: int, proofs: bool) -> list[dict[str, Any]]:
    """Discover with every labeler on the same traces and verify each head set on new ones."""
    world = {**WORLD, "data": "attnpo.tinyworld:train_dataset", "problems_seed": 1_000_003 + seed, "seed": seed}
    oracle, new = folder / "oracle", folder / "new_traces"
    attnpo(
        "discover",
        oracle / "discovery.json",
        {**world, "num_problems": problems, "labeler": ORACLE, "output_dir": oracle, **(PROOFS if proofs else {})},
    )
    attnpo(
        "discover",
        new / "discovery.json",
        {
            **world,
            "problems_seed": 2_000_003 + seed,
            "num_problems": problems,
            "labeler": ORACLE,
            "output_dir": new,
            "random_model": "false",
        },
    )
    traces = {**WORLD, "traces": oracle / "discovery_rollouts.jsonl", "seed": seed}
    runs: dict[str, Path] = {"oracle": oracle}
    for name, rate in JUDGES.items():
        runs[name] = out = folder / f"judge_{round(100 * rate)}"
        if not (out / "discovery.json").exists():
            with judge_server(rate, seed):
                judge = {
                    "labeler": "judge",
                    "judge_models": "oracle",
                    "judge_base_urls": f"http://127.0.0.1:{PORT}/v1",
                    "judge_count": 3,
                    "judge_consensus": "majority",
                    "judge_cache": out / "cache",
                }
                attnpo("discover", out / "discovery.json", {**traces, **judge, "output_dir": out})
    runs["causal"] = out = folder / "causal"
    attnpo("discover", out / "discovery.json", {**traces, "labeler": "causal", "output_dir": out})
    runs["file"] = out = folder / "file"
    labels = oracle_labels(oracle, folder / "labels_of_a_user.jsonl")
    attnpo("discover", out / "discovery.json", {**traces, "labeler": f"file:{labels}", "output_dir": out})
    held_out = {**WORLD, "traces": new / "probing_set.jsonl", "seed": seed}
    for out in runs.values():
        verified = out / "verified"
        attnpo(
            "discover",
            verified / "verification.json",
            {**held_out, "verify": out / "heads.json", "output_dir": verified, "random_model": "false"},
        )
    return [row(name, out, seed, oracle) for name, out in runs.items()]


def row(name: str, out: Path, seed: int, oracle: Path) -> dict[str, Any]:
    """Sum up one labeler's discovery."""
    result = DiscoveryResult.load(out / "discovery.json")
    verified = VerificationResult.load(out / "verified" / "verification.json")
    figures = {figure.name: figure.now for figure in verified.figures}
    truth = {key: labels.labels for key, _, labels in read_labels(oracle / "labels.jsonl")}
    given = {key: labels.labels for key, _, labels in read_labels(out / "labels.jsonl")}
    pairs = [
        (label, truth[key][number])
        for key, labels in given.items()
        if key in truth
        for number, label in enumerate(labels)
    ]
    decided = [(a, b) for a, b in pairs if "undecided" not in (a, b)]
    return {
        "seed": seed,
        "labeler": name,
        "heads": result.chosen,
        "sra_own_labels": result.chosen_sra.model_dump(),
        "sra_oracle_new_traces": dump(figures.get("sra")),
        "sra_oracle_new_traces_length_matched": dump(figures.get("sra_length_matched")),
        "proven": result.proven,
        "proven_by_oracle": verified.proven_now,
        "trivial": {n: r.model_dump() for n, r in result.trivial.items()},
        "agreement_with_oracle": sum(a == b for a, b in decided) / len(decided) if decided else None,
        "decided_by_both": len(decided) / len(pairs) if pairs else None,
        "responses": result.gates.kept,
        "wall_seconds": result.wall_seconds,
        "labeling": result.labeling,
    }


def train(folder: Path, seed: int, steps: int) -> StabilityResult:
    """Train with AttnPO and follow the heads through it."""
    out = folder / "training"
    first = folder / f"seed{seed}" / "oracle"
    from attnpo.study.worlds import TINYWORLD

    settings = {
        "model": TINYWORLD.model,
        **TINYWORLD.training,
        "method": "attnpo",
        "heads": first / "heads.json",
        "probe": first / "probing_set.jsonl",
        "probe_every": max(1, steps // 8),
        "probe_limit": 200,
        "max_steps": steps,
        "schedule_steps": steps // 4,
        "seed": seed,
        "problems_seed": seed,
        "output_dir": out,
        "resume_from_checkpoint": "true",
    }
    attnpo("train", out / "trainer_state.json", settings)
    return StabilityResult.load(out / "stability.json")


def oracle_labels(oracle: Path, path: Path) -> Path:
    """Write the oracle's labels in the form of a user's own file."""
    rows = [
        {"problem_id": problem_id, "sample": sample, "labels": list(labels.labels)}
        for (problem_id, sample), _, labels in read_labels(oracle / "labels.jsonl")
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


@contextmanager
def judge_server(error_rate: float, seed: int) -> Iterator[None]:
    """Serve judges while the block runs."""
    argv = [sys.executable, ROOT / "oracle_judge_server.py", "--port", PORT, "--error_rate", error_rate, "--seed", seed]
    process = subprocess.Popen([str(part) for part in argv], stdout=subprocess.DEVNULL)
    try:
        yield  # the client waits for a server that is not up yet
    finally:
        process.terminate()
        process.wait()


def dump(interval: Interval | None) -> dict[str, float] | None:
    """Return an interval as JSON values."""
    return None if interval is None else interval.model_dump()


def render(rows: list[dict[str, Any]], stability: StabilityResult | None) -> str:
    """Return the tables in Markdown."""

    def cell(value: dict[str, float] | None) -> str:
        return "–" if value is None else Interval(**value).format(1, 100)

    lines = [
        "| seed | labeler | heads | SRA on its own labels, % | SRA on the oracle's, new traces, % "
        "| the same, like lengths | agrees with oracle | decided | proven | seconds |",
        "|---" * 10 + "|",
    ]
    for r in rows:
        cells = [
            r["seed"],
            r["labeler"],
            " ".join(f"({layer},{head})" for layer, head in r["heads"]),
            *(cell(r[name]) for name in SRA_COLUMNS),
            f"{100 * r['agreement_with_oracle']:.1f} %",
            f"{100 * r['decided_by_both']:.1f} %",
            "yes" if r["proven"] else "no",
            f"{r['wall_seconds']:.0f}",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    first = rows[0]
    lines += ["", f"Trivial rules, seed {first['seed']}, oracle's labels, half not chosen on:", ""]
    lines += ["| rule | SRA, % | like lengths, % |", "|---|---|---|"]
    for name, rule in first["trivial"].items():
        lines.append(f"| {name} | {cell(rule['sra'])} | {cell(rule['sra_length_matched'])} |")
    if stability is not None:
        lines += ["", f"Heads {stability.heads} through a training run:", ""]
        lines += ["| step | SRA, % | Pearson with the start | within responses |", "|---|---|---|---|"]
        for p in stability.points:
            within = "–" if p.pearson_within is None else p.pearson_within.format(3)
            lines.append(f"| {p.step} | {p.sra.format(1, 100)} | {p.pearson.format(3)} | {within} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
