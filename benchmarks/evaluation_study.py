"""Evaluation end to end: six real math sets through every engine at hand, and base against trained on the small world.

    python benchmarks/evaluation_study.py --data ../shared/data            # about 30 minutes on 2 CPU cores
    python benchmarks/evaluation_study.py --parts world --problems 50

`sets`: the small model, which knows no such mathematics, on GSM8K, MATH500, AMC23, OlympiadBench, AIME24 and AIME25
from local files: what is shown is that the machine runs, what it counts, and what it costs. The transformers engine
takes all problems once; its continuous batching and a server (`transformers serve` on 127.0.0.1) take the first
`--server_problems` of each.
`world`: 16 samples to each problem of the small world, before and after training with AttnPO, and their comparison.
Everything is made by `attnpo` commands, which the folder keeps; what is on disk is not made again.
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

from attnpo.evaluation import EvaluationResult
from attnpo.study.worlds import TINYWORLD
from attnpo.tinyworld import checkpoint_path

SETS = {
    "gsm8k": "gsm8k_4.parquet",
    "math500": "math_4.parquet",
    "amc23": "amc_16.parquet",
    "olympiadbench": "olympiadbench_4.parquet",
    "aime24": "aime2024_16.parquet",
    "aime25": "aime2025_16.parquet",
}
PORT = 8766
SERVER = f"http://127.0.0.1:{PORT}/v1"


def main() -> None:
    """Run everything that is not on disk and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="folder of the six parquet files")
    parser.add_argument("--output_dir", type=Path, default=Path("runs/evaluation_study"))
    parser.add_argument("--parts", nargs="+", choices=("sets", "world"), default=["sets", "world"])
    parser.add_argument("--max_new_tokens", type=int, default=128, help="limit on a response to the math sets")
    parser.add_argument("--server_problems", type=int, default=10, help="problems of a set for the other engines")
    parser.add_argument("--problems", type=int, default=200, help="problems of the small world, 16 samples each")
    parser.add_argument("--heads", default="2.3,2.1", help="heads to train with on the small world")
    parser.add_argument("--train_steps", type=int, default=32)
    arguments = parser.parse_args()
    arguments.output_dir.mkdir(parents=True, exist_ok=True)
    lines: list[str] = []
    summary: dict[str, Any] = {}
    if "sets" in arguments.parts:
        summary["sets"] = math_sets(arguments)
        lines += sets_table(summary["sets"])
    if "world" in arguments.parts:
        summary["world"] = small_world(arguments)
        comparison = (arguments.output_dir / "world" / "comparison" / "comparison.md").read_text(encoding="utf-8")
        lines += ["", "## The small world, 16 samples a problem", "", comparison]
    (arguments.output_dir / "evaluation_study.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    text = "\n".join(lines) + "\n"
    (arguments.output_dir / "evaluation_study.md").write_text(text, encoding="utf-8")
    print(text)


def math_sets(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """Run the six sets through the transformers engine, its continuous batching, and a server."""
    common = {
        "model": "tinyworld",
        "device": "cpu",
        "benchmark": ",".join(SETS),
        "data": ",".join(f"{name}={arguments.data / file}" for name, file in SETS.items()),
        "max_new_tokens": arguments.max_new_tokens,
        "temperature": 1,
        "top_p": 1,
        "resamples": 500,
    }
    rows = []
    out = arguments.output_dir / "sets" / "transformers"
    attnpo("evaluate", out / "aime25" / "evaluation.json", {**common, "samples_per_problem": 1, "output_dir": out})
    rows += [row("transformers", name, out / name) for name in SETS]
    few = {"num_problems": arguments.server_problems, "samples_per_problem": 2}
    out = arguments.output_dir / "sets" / "transformers-cb"
    continuous = {**common, **few, "engine": "transformers-cb", "output_dir": out}
    attnpo("evaluate", out / "aime25" / "evaluation.json", continuous)
    rows += [row("transformers-cb", name, out / name) for name in SETS]
    out = arguments.output_dir / "sets" / "server"
    server = {
        **few,
        "engine": "server",
        "base_url": SERVER,
        "served_model": checkpoint_path(),
        "concurrency": 2,
    }
    with served(out / "aime25" / "evaluation.json"):
        attnpo("evaluate", out / "aime25" / "evaluation.json", {**common, **server, "output_dir": out})
    return rows + [row("server", name, out / name) for name in SETS]


def small_world(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the small world's model before and after training, and compare."""
    folder = arguments.output_dir / "world"
    trained = folder / "model"
    training = {
        "model": TINYWORLD.model,
        **TINYWORLD.training,
        "method": "attnpo",
        "heads": arguments.heads,
        "max_steps": arguments.train_steps,
        "schedule_steps": arguments.train_steps // 4,
        "seed": 1,
        "problems_seed": 1,
        "output_dir": trained,
        "resume_from_checkpoint": "true",
    }
    attnpo("train", trained / "trainer_state.json", training)
    results = {}
    for name, model in {"base": "tinyworld", "attnpo": trained}.items():
        settings = {**TINYWORLD.evaluation, "model": model, "name": name, "num_problems": arguments.problems}
        out = folder / name
        attnpo("evaluate", out / "evaluation.json", {**settings, "samples_per_problem": 16, "output_dir": out})
        results[name] = row("transformers", "tinyworld", out)
    compared = folder / "comparison"
    attnpo(
        "compare", compared / "comparison.md", {"output_dir": compared}, [str(folder / "base"), str(folder / "attnpo")]
    )
    return results


def row(engine: str, benchmark: str, folder: Path) -> dict[str, Any]:
    """Sum up one evaluation."""
    result = EvaluationResult.load(folder / "evaluation.json")
    return {
        "engine": engine,
        "benchmark": benchmark,
        "problems": result.num_problems,
        "responses": result.overall.num_responses,
        "accuracy": result.overall.accuracy.model_dump(),
        "tokens": result.overall.response_tokens.model_dump(),
        "cut_off": result.overall.truncated.value,
        "wall_seconds": result.wall_seconds,
        "tokens_per_second": result.tokens_per_second,
        "outside_engine": result.overhead_share,
        "exact_token_counts": result.exact_token_counts,
    }


def sets_table(rows: list[dict[str, Any]]) -> list[str]:
    """Return the table of the six sets."""
    lines = [
        "| engine | benchmark | problems | responses | right, % | tokens | cut off, % | seconds | tokens/s "
        "| outside the engine, % | token counts |",
        "|---" * 11 + "|",
    ]
    for r in rows:
        cells = [
            r["engine"],
            r["benchmark"],
            r["problems"],
            r["responses"],
            f"{100 * r['accuracy']['value']:.2f}",
            f"{r['tokens']['value']:.1f}",
            f"{100 * r['cut_off']:.1f}",
            f"{r['wall_seconds']:.0f}",
            f"{r['tokens_per_second']:.0f}",
            "–" if r["outside_engine"] is None else f"{100 * r['outside_engine']:.1f}",
            "exact" if r["exact_token_counts"] else "from text",
        ]
        lines.append("| " + " | ".join(map(str, cells)) + " |")
    return lines


@contextmanager
def served(done: Path) -> Iterator[None]:
    """Serve the small model while the block runs, unless its result is there."""
    if done.exists():
        yield
        return
    script = Path(sys.executable).with_name("transformers")
    argv = [script, "serve", checkpoint_path(), "--host", "127.0.0.1", "--port", PORT, "--device", "cpu"]
    process = subprocess.Popen([str(part) for part in argv], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield  # the client waits for a server that is not up yet
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    main()
