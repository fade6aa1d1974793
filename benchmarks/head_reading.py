"""What reading heads costs: time and peak memory of a forward pass and of a training step, with and without it.

    python benchmarks/head_reading.py
    python benchmarks/head_reading.py --device cuda --preset qwen2-1.5b --lengths 8192,16384 --dtype bfloat16

One random-initialised Qwen2 decoder (without its output layer, which reading never touches and which would only hide
the cost). Time is a ratio within one process: the variants run in turn, round after round, and the median over
rounds of variant / plain is reported. Peak memory is what one pass needs beyond what is held before it: on CPU the
peak resident set, reset through /proc/self/clear_refs (Linux; good to some 10 MiB), on CUDA
`torch.cuda.max_memory_allocated`.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from measuring import MIB, PRESETS, peak_bytes, synchronize
from torch import Tensor
from transformers import AutoModel, PreTrainedModel, Qwen2Config

from attnpo.attention import Head, StepReading, read_step_scores
from attnpo.signals import Places, Signal, build_signal


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--implementation", default="sdpa", help="attention implementation of the plain pass")
    parser.add_argument("--lengths", default="512,2048,4096", help="tokens a response, comma-separated")
    parser.add_argument("--batch", type=int, default=1, help="responses a pass")
    parser.add_argument("--answer-tokens", type=int, default=256, help="tokens of the final answer")
    parser.add_argument("--step-tokens", type=int, default=64, help="tokens a step")
    parser.add_argument("--rounds", type=int, default=9, help="rounds at the shortest length; fewer at longer ones")
    parser.add_argument("--training-limit", type=int, help="longest length to time training steps at")
    parser.add_argument("--signals", help="step signals to read as well (`attnpo signals`), comma-separated")
    parser.add_argument("--eager-limit", type=int, default=4096, help="longest length to run eager at")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)
    lengths = [int(length) for length in args.lengths.split(",")]
    limit = args.training_limit or (max(lengths) if args.device.startswith("cuda") else 2048)

    model = build(args)
    rows = []
    for length in lengths:
        rounds = max(3, args.rounds * min(lengths) // length)
        row: dict[str, Any] = {"length": length, "rounds": rounds}
        row["forward"] = compare(forward_variants(model, args, length), rounds, args.device)
        if length <= limit:
            row["training_step"] = compare(training_variants(model, args, length), rounds, args.device)
        rows.append(row)
        show(row)
    if args.json:
        settings = {name: str(value) for name, value in vars(args).items()}
        versions = {"torch": torch.__version__, "python": sys.version.split()[0], "machine": machine(args.device)}
        args.json.write_text(json.dumps({"settings": settings, "versions": versions, "rows": rows}, indent=2) + "\n")


def build(args: argparse.Namespace) -> PreTrainedModel:
    torch.manual_seed(0)
    config = Qwen2Config(**PRESETS[args.preset], max_position_embeddings=131072, use_cache=False)
    dtype = getattr(torch, args.dtype)
    with torch.device(args.device):
        return AutoModel.from_config(config, attn_implementation=args.implementation, dtype=dtype)


def steps_and_answer(args: argparse.Namespace, length: int) -> tuple[Tensor, Tensor]:
    """A prompt of 1/16 of the length, steps, and the final answer at the end."""
    answer = min(args.answer_tokens, length // 4)
    prompt = length // 16
    position_L = torch.arange(length, device=args.device)
    step_index_L = torch.where(
        (position_L >= prompt) & (position_L < length - answer), (position_L - prompt) // args.step_tokens, -1
    )
    answer_mask_L = position_L >= length - answer
    return step_index_L.expand(args.batch, -1), answer_mask_L.expand(args.batch, -1)


def few_heads(model: PreTrainedModel) -> list[Head]:
    """Three heads in three middle-to-late layers, as published for R1-Distill-Qwen-1.5B."""
    layers = model.config.num_hidden_layers
    heads = model.config.num_attention_heads
    return [Head(layers * part // 28, part % heads) for part in (16, 20, 23)]


Variant = Callable[[], Any]


def forward_variants(model: PreTrainedModel, args: argparse.Namespace, length: int) -> dict[str, Variant]:
    tokens = torch.randint(0, model.config.vocab_size, (args.batch, length), device=args.device)
    model.eval()

    @torch.no_grad()
    def plain() -> Any:
        return model(tokens).last_hidden_state

    @torch.no_grad()
    def reading(heads: list[Head] | None) -> Any:
        with read_step_scores(model, heads, *steps_and_answer(args, length)) as scores:
            model(tokens)
        return scores.scores_BKN

    @torch.no_grad()
    def eager() -> Any:
        with implementation(model, "eager"):
            return model(tokens, output_attentions=True).attentions

    @torch.no_grad()
    def signalled(signal: Signal) -> Any:
        step_index_BL, answer_mask_BL = steps_and_answer(args, length)
        places = Places(step_index_BL, answer_mask_BL, torch.ones_like(tokens), int(step_index_BL.max()) + 1)
        with signal.attach(model, places) as seen:
            model(tokens)
        return seen

    variants: dict[str, Variant] = {
        "plain": plain,
        "3 heads": lambda: reading(few_heads(model)),
        "all heads": lambda: reading(None),
    }
    for name in args.signals.split(",") if args.signals else ():
        variants[f"signal {name}"] = partial(signalled, build_signal(name))
    if length <= args.eager_limit:
        variants["eager output_attentions"] = eager
    return variants


def training_variants(model: PreTrainedModel, args: argparse.Namespace, length: int) -> dict[str, Variant]:
    """Forward and backward with gradient checkpointing."""
    tokens = torch.randint(0, model.config.vocab_size, (args.batch, length), device=args.device)
    model.train()
    model.gradient_checkpointing_enable({"use_reentrant": False})

    def step(heads: list[Head] | None) -> None:
        reading: contextlib.AbstractContextManager[StepReading | None] = contextlib.nullcontext()
        if heads:
            reading = read_step_scores(model, heads, *steps_and_answer(args, length))
        with reading as scores:
            hidden = model(tokens).last_hidden_state
        if scores is not None:
            _ = scores.scores_BKN
        hidden.float().square().mean().backward()
        model.zero_grad(set_to_none=True)

    return {"plain": lambda: step(None), "3 heads": lambda: step(few_heads(model))}


@contextlib.contextmanager
def implementation(model: PreTrainedModel, name: str) -> Iterator[None]:
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        yield
    finally:
        model.set_attn_implementation(before)


def compare(variants: dict[str, Variant], rounds: int, device: str) -> dict[str, dict[str, float]]:
    """Seconds, ratio to plain (median and quartiles over rounds) and peak memory in MiB of each variant."""
    for run in variants.values():
        run()  # warm up
    peaks = {name: peak_bytes(run, device) for name, run in variants.items()}
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    order = list(variants)
    for turn in range(rounds):
        # Forwards, then backwards: what drifts falls on all variants alike.
        for name in order if turn % 2 == 0 else order[::-1]:
            # Eager is far from 1, so three rounds say enough.
            if name.startswith("eager") and turn >= 3:
                continue
            seconds[name].append(clock(variants[name], device))
    figures = {}
    for name, times in seconds.items():
        ratios = [mine / plain for mine, plain in zip(times, seconds["plain"], strict=False)]
        low, median, high = statistics.quantiles(ratios, n=4, method="inclusive")
        figures[name] = {
            "seconds": statistics.median(times),
            "ratio": median,
            "ratio_low": low,
            "ratio_high": high,
            "peak_mib": peaks[name] / MIB,
        }
    return figures


def clock(run: Variant, device: str) -> float:
    synchronize(device)
    start = time.perf_counter()
    run()
    synchronize(device)
    return time.perf_counter() - start


def machine(device: str) -> str:
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = {line.split(":")[1].strip() for line in lines if line.startswith("model name")}
    return ", ".join(sorted(models)) or "CPU"


def show(row: dict[str, Any]) -> None:
    for kind in ("forward", "training_step"):
        for name, figures in row.get(kind, {}).items():
            print(
                f"{row['length']:>6} tokens  {kind:<13}  {name:<24} {figures['seconds']:8.3f} s"
                f"  x {figures['ratio']:6.3f} ({figures['ratio_low']:.3f} to {figures['ratio_high']:.3f})"
                f"  peak {figures['peak_mib']:8.1f} MiB",
                flush=True,
            )


if __name__ == "__main__":
    main()
