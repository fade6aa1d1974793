"""What head reading and credit cost a training step, and how that grows with length, heads, answer and steps.

    python benchmarks/step_cost.py                                    # CPU, about ten minutes
    python benchmarks/step_cost.py --device cuda --dtype bfloat16 --preset qwen2-1.5b --lengths 4096,8192,16384,32768
    python benchmarks/step_cost.py --device cuda --dtype bfloat16 --preset qwen2-7b --optimizer sgd \\
        --lengths 4096,8192,16384,32768

A step is forward, head reading, credit, policy-gradient loss, backward with gradient checkpointing, optimizer, on one
random-initialised Qwen2 with its output layer (log-probabilities in chunks, so that the vocabulary does not decide
the memory). The alternative is the same step with a uniform advantage. Both alternate in one process (ABBA); medians
and quartiles of the ratios are reported, in processor seconds where one thread computes on a CPU. `reading` and
`credit` are measured directly too, by clocks around them in further steps: the ratio of two whole steps cannot resolve
them. Sampling and verification are left out, so shares are upper bounds (`step_phases.py` measures those).

Peak memory is what a step needs beyond weights and optimizer state: on a CPU the resident set, each kind of step in a
process of its own; on CUDA `torch.cuda.max_memory_allocated`.
"""

from __future__ import annotations

import argparse
import gc
import sys
import warnings
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from measuring import (
    MIB,
    PRESETS,
    Stopwatch,
    clock_of,
    give_back_at_once,
    growth,
    growth_text,
    in_a_process,
    markdown_table,
    peak_bytes,
    plot_growth,
    quartiles,
    synchronize,
    timed_reading,
    where_and_when,
    write_results,
)
from torch import Tensor
from torch.utils.checkpoint import checkpoint
from transformers import Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import Head, StepReading, ensemble_scores, read_step_scores
from attnpo.credit import StepBatch, build_method

AXES = {"length": "response length, tokens", "heads": "heads", "answer": "answer, tokens", "steps": "steps"}
OURS = ("head reading", "credit")
LOGITS_AT_ONCE = 1024


class Step:
    """One model with one batch of responses, ready to make training steps with and without credit."""

    def __init__(self, args: argparse.Namespace, point: Mapping[str, int]) -> None:
        torch.manual_seed(0)
        torch.set_num_threads(args.threads)
        warnings.simplefilter("ignore", FutureWarning)
        self.args, device = args, args.device
        config = Qwen2Config(
            **PRESETS[args.preset], max_position_embeddings=131072, use_cache=False, tie_word_embeddings=False
        )
        with torch.device(device):
            dtype = torch.get_default_dtype()
            torch.set_default_dtype(getattr(torch, args.dtype))
            self.model = Qwen2ForCausalLM._from_config(config, attn_implementation=args.implementation)
            torch.set_default_dtype(dtype)
        self.model.train()
        self.model.gradient_checkpointing_enable({"use_reentrant": False})
        kind = {"adamw": torch.optim.AdamW, "sgd": torch.optim.SGD}[args.optimizer]
        self.optimizer = kind(self.model.parameters(), lr=0.0)
        every = [Head(n, h) for n in range(config.num_hidden_layers) for h in range(config.num_attention_heads)]
        number = min(point["heads"], len(every))
        self.heads = [every[(2 * i + 1) * len(every) // (2 * number)] for i in range(number)]
        self.method = build_method("attnpo", {"schedule": False})
        rows, length, answer, steps = args.rows, point["length"], point["answer"], point["steps"]
        self.prompt = max(8, length // 16)
        self.length = length
        think = length - self.prompt - answer
        if not 0 < steps <= think:
            sys.exit(f"{steps} steps do not fit into {length} tokens with an answer of {answer}")
        self.tokens_BL = torch.randint(0, config.vocab_size, (rows, length), device=device)
        place_L = torch.arange(length, device=device)
        inside_L = (place_L >= self.prompt) & (place_L < length - answer)
        index_L = torch.where(inside_L, (place_L - self.prompt) * steps // think, -1)
        self.step_index_BL = index_L.expand(rows, -1).contiguous()
        self.answer_mask_BL = (place_L >= length - answer).expand(rows, -1).contiguous()
        self.num_steps = steps
        lengths_K = torch.zeros(steps, device=device).scatter_add_(
            0, index_L[inside_L], torch.ones(think, device=device)
        )
        self.step_lengths_BK = lengths_K.long().expand(rows, -1).contiguous()

    def run(self, credited: bool, watch: Callable[[str], Any] = lambda phase: nullcontext()) -> None:
        """Make one step."""
        chunk = self.args.answer_chunk
        reading: AbstractContextManager[StepReading | None] = nullcontext()
        if credited:
            reading = read_step_scores(
                self.model,
                self.heads,
                self.step_index_BL,
                self.answer_mask_BL,
                num_steps=self.num_steps,
                answer_chunk=chunk,
            )
        with reading as scores, watch("forward"):
            hidden_BLD = self.model.model(input_ids=self.tokens_BL).last_hidden_state
        if scores is not None:
            scores_BKN = scores.scores_BKN
            with watch("credit"):
                advantages_BT = self.credit(ensemble_scores(scores_BKN))
        else:
            rows, answer_end = self.tokens_BL.size(0), self.length - self.prompt
            advantages_BT = torch.ones(rows, answer_end, device=self.tokens_BL.device)
        with watch("forward"):
            loss = self.loss(hidden_BLD, advantages_BT)
        with watch("backward"):
            loss.backward()
        with watch("optimizer"):
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)

    def credit(self, scores_BK: Tensor) -> Tensor:
        """Advantage of every token (AttnPO, Eq. 5-8), (B, T)."""
        rows, device = scores_BK.size(0), scores_BK.device
        full_B = torch.ones(rows, device=device)
        batch = StepBatch(
            scores_BK=scores_BK,
            step_mask_BK=torch.ones_like(scores_BK, dtype=torch.bool),
            step_lengths_BK=self.step_lengths_BK,
            answer_lengths_B=self.answer_mask_BL.sum(1),
            response_lengths_B=(full_B * (self.length - self.prompt)).long(),
            prompt_lengths_B=(full_B * self.prompt).long(),
            advantages_B=full_B,
            correct_B=full_B.bool(),
            pass_rate_B=0.75 * full_B,
            progress_step=0,
            row_ids_B=torch.arange(rows, device=device),
        )
        return self.method.spread(batch, self.method.gamma(batch), self.step_index_BL[:, self.prompt :])

    def loss(self, hidden_BLD: Tensor, advantages_BT: Tensor) -> Tensor:
        """Token-mean policy-gradient loss over the response, logits in chunks that backward computes again."""
        total = torch.zeros((), device=hidden_BLD.device)
        first = self.prompt
        for start in range(first, self.length, LOGITS_AT_ONCE):
            end = min(start + LOGITS_AT_ONCE, self.length)
            logps_BC = checkpoint(
                self.log_probs, hidden_BLD[:, start - 1 : end - 1], self.tokens_BL[:, start:end], use_reentrant=False
            )
            total = total - (advantages_BT[:, start - first : end - first] * logps_BC).sum()
        return total / advantages_BT.numel()

    def log_probs(self, hidden_BCD: Tensor, tokens_BC: Tensor) -> Tensor:
        """Log-probabilities of the tokens, (B, C) float32."""
        logits_BVC = self.model.lm_head(hidden_BCD).float().transpose(1, 2)
        return -torch.nn.functional.cross_entropy(logits_BVC, tokens_BC, reduction="none")


def seconds(step: Step, args: argparse.Namespace, rounds: int) -> dict[str, list[float]]:
    """Return the times of steps with credit, without, and of the phases of further ones with credit."""
    clock = clock_of(args.device, args.threads)
    times: dict[bool, list[float]] = {True: [], False: []}
    for credited in (True, False):
        step.run(credited)  # warm-up; the first reading also compares with the layers' output
    for turn in range(rounds):
        for credited in ((True, False), (False, True))[turn % 2]:
            synchronize(args.device)
            start = clock()
            step.run(credited)
            synchronize(args.device)
            times[credited].append(clock() - start)
    watch = Stopwatch(args.device, clock)
    phases: dict[str, list[float]] = {"head reading": [], "credit": []}
    with timed_reading(watch, sys.modules[__name__]):
        for _ in range(rounds):
            watch.reset()
            step.run(True, watch)
            found = watch.read()
            for name in phases:
                phases[name].append(found.get(name, 0.0))
    return {"with credit": times[True], "without": times[False], **phases}


def time_point(args: argparse.Namespace, point: Mapping[str, int], rounds: int) -> dict[str, list[float]]:
    return seconds(Step(args, point), args, rounds)


def memory_point(args: argparse.Namespace, point: Mapping[str, int], credited: bool) -> float:
    if not args.device.startswith("cuda"):
        give_back_at_once()
    step = Step(args, point)
    step.run(credited)
    gc.collect()
    return min(peak_bytes(lambda: step.run(credited), args.device) for _ in range(2)) / MIB


def measure(args: argparse.Namespace, point: Mapping[str, int], rounds: int) -> dict[str, Any]:
    """Measure one point; on a CPU in processes of their own."""
    alone = in_a_process if not args.device.startswith("cuda") else lambda function, *rest: function(*rest)
    times = alone(time_point, args, point, rounds)
    peaks = {credited: alone(memory_point, args, point, credited) for credited in (False, True)}
    ratios = [on / off for on, off in zip(times["with credit"], times["without"], strict=True)]
    whole = quartiles(times["without"])[1]
    ours = sum(quartiles(times[name])[1] for name in OURS)
    return {
        **point,
        "rounds": rounds,
        "seconds": times,
        "ratio": quartiles(ratios),
        "share": ours / (whole + ours),
        "peak_without_mib": peaks[False],
        "peak_with_mib": peaks[True],
    }


def points(args: argparse.Namespace) -> dict[str, list[dict[str, int]]]:
    """Return the points of each axis; the others stay at the base."""
    base = args.base_length
    usual = min(args.answer, base // 4, *(length // 4 for length in args.lengths))  # one input grows at a time

    def point(length: int, heads: int = 3, answer: int | None = None, steps: int | None = None) -> dict[str, int]:
        return {"length": length, "heads": heads, "answer": answer or usual, "steps": steps or max(1, length // 64)}

    return {
        "length": [point(length) for length in args.lengths],
        "heads": [point(base, heads=heads) for heads in args.heads],
        "answer": [point(base, answer=answer) for answer in args.answers],
        "steps": [point(base, steps=steps) for steps in args.steps],
    }


def grown(axis: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the exponent of each cost along an axis."""
    fits: dict[str, Any] = {
        name: growth({row[axis]: row["seconds"][name] for row in rows}) for name in ("without", "with credit", *OURS)
    }
    for name in ("peak_without_mib", "peak_with_mib"):
        fits[name] = growth({row[axis]: [row[name]] for row in rows})
    return fits


def tables(results: Mapping[str, list[dict[str, Any]]], fits: Mapping[str, dict[str, Any]], where: str) -> str:
    headings = ("", "without, s", "with / without", "reading, ms", "credit, ms", "share", "peak without, MiB", "more")
    parts = [where]
    for axis, rows in results.items():
        table = [
            [
                f"{row[axis]:,}",
                f"{quartiles(row['seconds']['without'])[1]:.3f}",
                "{1:.3f} ({0:.3f} to {2:.3f})".format(*row["ratio"]),
                *(f"{1e3 * quartiles(row['seconds'][name])[1]:.2f}" for name in OURS),
                f"{row['share']:.2%}",
                f"{row['peak_without_mib']:,.1f}",
                f"{row['peak_with_mib'] - row['peak_without_mib']:+.1f}",
            ]
            for row in rows
        ]
        parts.append(markdown_table((AXES[axis], *headings[1:]), table))
        lines = [[name.replace("_", " "), growth_text(fit)] for name, fit in fits[axis].items()]
        parts.append(markdown_table((f"grows with {axis} as", "exponent (95 %); last doubling"), lines))
    return "\n\n".join(parts)


def numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--preset", choices=PRESETS, default="small")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--implementation", default="sdpa", help="attention implementation")
    parser.add_argument("--optimizer", choices=["adamw", "sgd"], default="adamw", help="sgd holds no state")
    parser.add_argument("--axes", nargs="+", choices=AXES, default=list(AXES))
    parser.add_argument("--lengths", type=numbers, default=[512, 1024, 2048, 4096], help="prompt included")
    parser.add_argument("--base-length", type=int, help="length along the other axes; 1024, on CUDA 16384")
    parser.add_argument("--heads", type=numbers, default=[1, 2, 4, 8, 16, 32])
    parser.add_argument("--answers", type=numbers, default=[64, 128, 256, 512])
    parser.add_argument("--steps", type=numbers, default=[8, 16, 32, 64, 128, 256])
    parser.add_argument("--answer", type=int, default=256, help="answer tokens, at most a quarter of the shortest")
    parser.add_argument("--answer-chunk", type=int, default=64, help="AttnPOConfig.answer_chunk")
    parser.add_argument("--rows", type=int, default=1, help="responses a micro-batch")
    parser.add_argument("--rounds", type=int, default=9, help="pairs at the shortest length; fewer at longer ones")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path, help="write figures here, tables and a plot beside it")
    args = parser.parse_args()
    if args.rounds < 3:
        parser.error("--rounds: quartiles need at least 3")
    args.base_length = args.base_length or (16384 if args.device.startswith("cuda") else 1024)
    chosen = {axis: line for axis, line in points(args).items() if axis in args.axes}
    shortest = min(point["length"] for line in chosen.values() for point in line)
    results: dict[str, list[dict[str, Any]]] = {}
    for axis, line in chosen.items():
        results[axis] = []
        for point in line:
            row = measure(args, point, max(3, args.rounds * shortest // point["length"]))
            results[axis].append(row)
            print(f"… {axis} {point[axis]}: x {row['ratio'][1]:.3f}, ours {row['share']:.2%}", file=sys.stderr)
    fits = {axis: grown(axis, rows) for axis, rows in results.items()}
    where = where_and_when(args.device)
    head = f"`{where['command']}` · {where['machine']} · torch {where['torch']} · {where['commit']} · {where['date']}"
    settings = {name: str(value) for name, value in vars(args).items()}
    figures = {"where": where, "settings": settings, "points": results, "growth": fits}
    plot = write_results(figures, tables(results, fits, head), args.json)
    if plot is not None:
        lines = {
            AXES[axis]: {
                name: {row[axis]: quartiles(row["seconds"][name])[1] for row in rows} for name in rows[0]["seconds"]
            }
            for axis, rows in results.items()
        }
        plot_growth(lines, plot)


if __name__ == "__main__":
    main()
