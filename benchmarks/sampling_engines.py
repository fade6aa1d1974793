"""How fast the engines in this process sample: batch by batch, with places filled again, transformers' own batching.

    python benchmarks/sampling_engines.py
    python benchmarks/sampling_engines.py --device cuda --preset qwen2-1.5b --dtype bfloat16 --max-new-tokens 2048

Every engine draws responses to the same requests, in turn, round after round, in one process. Seconds are processor
seconds on a CPU, which other programs on the machine hardly touch, and wall seconds on an accelerator. The rate is
sampled tokens a second; the ratio is the median over rounds of its rate over that of "batch by batch". Passes are the
model's forward passes: what time they save depends on how much cheaper a narrow batch is, little on an accelerator.

With preset `qwen2-1.5b` the weights are random, so that no response ends before the limit; `small` is the trained
small world, whose responses end by themselves.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import transformers
from measuring import PRESETS
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config

from attnpo.sampling import (
    ContinuousBatchingSampler,
    SampleRequest,
    SamplingParams,
    TransformersSampler,
    render_prompt,
)
from attnpo.sampling.transformers_sampler import REFILL_BELOW
from attnpo.tinyworld import checkpoint_path, heldout_dataset

BASE = "batch by batch"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=["small", "qwen2-1.5b"], default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--problems", type=int, default=24)
    parser.add_argument("--samples", type=int, default=4, help="responses a problem")
    parser.add_argument("--rows", type=int, default=32, help="responses side by side")
    parser.add_argument("--max-new-tokens", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", "--output", type=Path, help="also write the figures here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)

    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = build(args)
    passes: list[int] = []
    model.register_forward_hook(lambda *_: passes.append(1))
    prompts = heldout_dataset(args.problems)["prompt"]
    ids = [tuple(render_prompt(tokenizer, prompt)) for prompt in prompts]
    requests = [SampleRequest(prompt, ids[i], i, j) for i, prompt in enumerate(prompts) for j in range(args.samples)]
    samplers: dict[str, Any] = {
        BASE: TransformersSampler(model, tokenizer, rows=args.rows, refill_below=0.0),
        "places filled again": TransformersSampler(model, tokenizer, rows=args.rows, refill_below=REFILL_BELOW),
        "transformers-cb": ContinuousBatchingSampler(model, tokenizer, rows=args.rows),
    }
    clock = time.process_time if args.device == "cpu" else time.perf_counter
    figures = compare(samplers, requests, args, passes, clock)
    show(figures)
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        versions = {
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "python": sys.version.split()[0],
        }
        text = json.dumps({"settings": settings, "versions": versions, "rows": figures}, indent=2)
        args.json.write_text(text + "\n")


def build(args: argparse.Namespace) -> Any:
    dtype = getattr(torch, args.dtype)
    if args.preset == "small":
        return AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=dtype).to(args.device).eval()
    torch.manual_seed(0)
    config = Qwen2Config(**PRESETS["qwen2-1.5b"], max_position_embeddings=131072)
    with torch.device(args.device):
        return AutoModelForCausalLM.from_config(config, dtype=dtype).eval()


def compare(
    samplers: dict[str, Any],
    requests: list[SampleRequest],
    args: argparse.Namespace,
    passes: list[int],
    clock: Callable[[], float],
) -> list[dict[str, Any]]:
    """Rates, ratios to the base, tokens and passes of each engine."""
    rates: dict[str, list[float]] = {name: [] for name in samplers}
    tokens: dict[str, int] = {}
    made: dict[str, int] = {}
    order = list(samplers)
    for turn in range(-1, args.rounds):
        # One short round to warm up; then forwards and backwards in turn, so that drift falls on all alike.
        asked = requests[: args.rows] if turn < 0 else requests
        for name in order if turn % 2 == 0 else order[::-1]:
            passes.clear()
            limit = 16 if turn < 0 else args.max_new_tokens
            params = SamplingParams(limit, temperature=0.6, top_p=0.95, seed=max(turn, 0))
            start = clock()
            drawn = sum(len(response.ids) for _, response in samplers[name].sample(asked, params))
            seconds = clock() - start
            if turn >= 0:
                rates[name].append(drawn / seconds)
                tokens[name], made[name] = drawn, len(passes)
    figures = []
    for name in samplers:
        ratios = [mine / base for mine, base in zip(rates[name], rates[BASE], strict=True)]
        figures.append(
            {
                "engine": name,
                "tokens_per_second": statistics.median(rates[name]),
                "ratio": statistics.median(ratios),
                "ratio_low": min(ratios),
                "ratio_high": max(ratios),
                "tokens": tokens[name],
                "passes": made[name],
            }
        )
    return figures


def show(figures: list[dict[str, Any]]) -> None:
    for row in figures:
        spread = f"({row['ratio_low']:.3f} to {row['ratio_high']:.3f})"
        work = f"{row['tokens']:7,} tokens in {row['passes']:5,} passes"
        print(
            f"{row['engine']:<20} {row['tokens_per_second']:9,.0f} tokens/s  x {row['ratio']:.3f} {spread}  {work}",
            flush=True,
        )


if __name__ == "__main__":
    main()
