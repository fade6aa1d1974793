"""Peak memory of a whole evaluation against the number of samples, with an engine that costs nothing.

    python benchmarks/evaluation_memory.py
    python benchmarks/evaluation_memory.py --samples 4 64 --output docs/results/bench_evaluation_memory.json

Each size runs in a process of its own: journal, segmentation, verdicts, rollouts file, tally and summary are the real
ones; responses of about `--tokens` tokens are reference traces of the small world, repeated.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from attnpo.datasets import load_problems
from attnpo.evaluation import EvaluationSettings, evaluate
from attnpo.sampling import SampledResponse, SampleRequest, SamplingParams
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.tinyworld import checkpoint_path, generate_problems, reference_trace
from attnpo.verification import build_verifier


class Canned:
    """Yields prepared responses at once."""

    def __init__(self, tokenizer: Any, tokens: int):
        """Prepare a handful of responses."""
        self.responses = []
        for seed, problem in enumerate(generate_problems("heldout", 16, seed=1)):
            think, answer = reference_trace(problem, seed=seed).split("</think>")
            ids = tokenizer(think + "\n\n", add_special_tokens=False)["input_ids"]
            end = tokenizer("</think>" + answer, add_special_tokens=False)["input_ids"]
            self.responses.append(ids * max(1, tokens // len(ids)) + end + [tokenizer.eos_token_id])

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        """Yield one response a request."""
        for index, request in enumerate(requests):
            yield index, SampledResponse(list(self.responses[(request.key + request.sample) % 16]), True)

    def close(self) -> None:
        """Nothing is held."""


def measure(problems: int, samples: int, tokens: int) -> dict[str, float]:
    """Run one evaluation and return its figures."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    rows = load_problems("attnpo.tinyworld:heldout_dataset", limit=problems)
    settings = EvaluationSettings(samples_per_problem=samples, max_new_tokens=65536, resamples=200)
    segmenter = Segmenter(tokenizer, build_strategy("paragraphs"))
    start = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder, build_verifier("exact") as verifier:
        sampler = Canned(tokenizer, tokens)
        evaluate("memory", tokenizer, rows, sampler, segmenter, verifier, None, settings, Path(folder))
        disk = sum(file.stat().st_size for file in Path(folder).iterdir())
    return {
        "responses": problems * samples,
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "disk_mib": disk / 2**20,
        "ms_a_response": 1000 * (time.perf_counter() - start) / (problems * samples),
    }


def main() -> None:
    """Measure every size in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--problems", type=int, default=100)
    parser.add_argument("--samples", type=int, nargs="+", default=[4, 16, 64])
    parser.add_argument("--tokens", type=int, default=500)
    parser.add_argument("--output", "--json", type=Path, default=None)
    parser.add_argument("--one", type=int, default=None, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one is not None:
        print(json.dumps(measure(arguments.problems, arguments.one, arguments.tokens)))
        return
    rows = []
    print(f"{'responses':>10} {'peak MiB':>9} {'on disk MiB':>12} {'ms each':>8}")
    for samples in arguments.samples:
        argv = [
            sys.executable,
            __file__,
            "--one",
            samples,
            "--problems",
            arguments.problems,
            "--tokens",
            arguments.tokens,
        ]
        done = subprocess.run([str(part) for part in argv], check=True, capture_output=True, text=True)
        row = json.loads(done.stdout.splitlines()[-1])
        rows.append(row)
        print(
            f"{row['responses']:>10} {row['peak_mib']:>9.0f} {row['disk_mib']:>12.1f} {row['ms_a_response']:>8.2f}",
            flush=True,
        )
    if arguments.output is not None:
        summary = {"problems": arguments.problems, "tokens": arguments.tokens, "rows": rows}
        arguments.output.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
