"""Where a training step's time goes, how each phase grows, and whether verification and segmentation hold it up.

    python benchmarks/step_phases.py                        # CPU, about ten minutes on idle cores
    python benchmarks/step_phases.py --signal fai           # `head reading` is then what that signal reads of attention
    python benchmarks/step_phases.py --device cuda --dtype bfloat16 --preset qwen2-1.5b --lengths 1024,2048,4096

Three parts, all on the real `AttnPOTrainer` with learning rate 0 and the same responses at every step:

- `tinyworld`: the shipped model, its own responses; shares of a step by phase against the number of responses.
- `medium`: a random-initialised Qwen2; responses of one length are really sampled (none ends itself), then replaced by
  synthetic ones with steps, so that sampling costs what it costs; shares against the length of a response.
- `overlap`: the small world with a verifier that takes 20 ms an answer; steps with checks in the background and
  without alternate in one run (ABBA). `held up` is how long the training thread works or waits for verdicts and steps.

Phases are exclusive times of the training thread, taken by clocks around the functions, the device synchronised at
every change; `rest` is what is left (data, tensors, decoding for logs, callbacks). In the first two parts checks are
in the foreground, so that their whole cost shows.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import sys
import tempfile
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
import transformers
from measuring import (
    PRESETS,
    Stopwatch,
    growth,
    growth_text,
    markdown_table,
    plot_growth,
    quartiles,
    timed_reading,
    where_and_when,
    write_results,
)
from step_cost import numbers
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, TrainerCallback

from attnpo.signals import heads as chosen_heads
from attnpo.signals import rows as whole_rows
from attnpo.tinyworld import checkpoint_path, generate_problems, reference_trace, train_dataset
from attnpo.training import AttnPOConfig, AttnPOTrainer

PHASES = (
    "sampling", "segmentation", "verification", "forward", "head reading", "credit", "backward", "optimizer", "rest",
)  # fmt: skip
PARTS = ("tinyworld", "medium", "overlap")
SIZES = {"tinyworld": "responses a step", "medium": "response length, tokens"}
WARM_UP = 2


class PhasedTrainer(AttnPOTrainer):
    """Draws the same responses at every step and notes how long each phase takes."""

    watch: Stopwatch
    canned: Sequence[Sequence[int]] | None = None

    def _first_row_id(self, local_rows: int) -> int:
        return 0

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        with self.watch("sampling"):
            sampled, log_probs = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        if self.canned is None:
            return sampled, log_probs
        return [list(self.canned[row % len(self.canned)]) for row in range(len(sampled))], None

    def accuracy(self, *args: Any, **kwargs: Any) -> Any:
        """Time the verdicts."""
        with self.watch("verification"):
            return super().accuracy(*args, **kwargs)

    def outcome_advantages(self, *args: Any) -> Any:
        """Time Eq. 3 and 4."""
        with self.watch("credit"):
            return super().outcome_advantages(*args)

    def step_advantages(self, *args: Any) -> Any:
        """Time Eq. 5-8."""
        with self.watch("credit"):
            return super().step_advantages(*args)

    def _compute_loss(self, *args: Any, **kwargs: Any) -> Any:
        with self.watch("forward"):
            return super()._compute_loss(*args, **kwargs)

    def _clip_grad_norm(self, *args: Any, **kwargs: Any) -> Any:
        with self.watch("optimizer"):
            return super()._clip_grad_norm(*args, **kwargs)


class Note(TrainerCallback):
    """Reads the clock at every step's end; may switch the background on and off from step to step."""

    def __init__(self, trainer: PhasedTrainer, alternate: bool) -> None:
        self.trainer, self.alternate = trainer, alternate
        self.steps: list[dict[str, Any]] = []
        self.start = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Put clocks around what belongs to others."""
        trainer, watch = self.trainer, self.trainer.watch
        trainer.accelerator.backward = watch.timed("backward", trainer.accelerator.backward)
        kwargs["optimizer"].step = watch.timed("optimizer", kwargs["optimizer"].step)
        trainer.checks.segmented = watch.timed("segmentation", trainer.checks.segmented)  # type: ignore[method-assign]
        trainer.verifier.verify = watch.timed("verification", trainer.verifier.verify)  # type: ignore[method-assign]

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Start the clock."""
        if self.alternate:
            args.check_in_background = state.global_step % 4 in (0, 3)
        self.trainer.watch.reset()
        self.start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the step."""
        watch = self.trainer.watch
        phases = watch.read()
        whole = time.perf_counter() - self.start
        own = {"background": args.check_in_background, "whole": whole, "elsewhere": dict(watch.background)}
        self.steps.append({**own, "phases": phases})


def run(trainer: PhasedTrainer, clock: Any, alternate: bool = False) -> list[dict[str, Any]]:
    """Train and return what each step took, without the first ones."""
    trainer.watch = Stopwatch(str(trainer.accelerator.device), clock)
    note = Note(trainer, alternate)
    trainer.add_callback(note)
    with timed_reading(trainer.watch, chosen_heads, whole_rows), contextlib.redirect_stdout(io.StringIO()):
        trainer.train()
    trainer.verifier.close()
    return note.steps[WARM_UP:]


def config(folder: str, args: argparse.Namespace, **settings: Any) -> AttnPOConfig:
    defaults: dict[str, Any] = {
        "output_dir": folder,
        "segmentation": "paragraphs",
        "verifier": "exact",
        "num_generations": 8,
        "max_steps": WARM_UP + args.rounds,
        "schedule_steps": 0,
        "learning_rate": 0.0,
        "group_sampler": True,
        "use_cpu": not args.device.startswith("cuda"),
        "bf16": args.dtype == "bfloat16",
        "gradient_checkpointing": False,
        "check_in_background": False,
        "signal": args.signal,
        "report_to": "none",
        "logging_steps": 1000,
        "save_strategy": "no",
        "disable_tqdm": True,
    }
    return AttnPOConfig(**{**defaults, **settings})


def small_world(args: argparse.Namespace, folder: str, rows: int, **settings: Any) -> PhasedTrainer:
    """The shipped model on `rows` responses a step."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    batch = {"per_device_train_batch_size": min(rows, 32), "gradient_accumulation_steps": max(1, rows // 32)}
    made = config(
        folder, args, heads="2.0,1.1,3.1", max_completion_length=args.tinyworld_tokens, **{**batch, **settings}
    )
    return PhasedTrainer(model, made, train_dataset(max(8, rows // 8), seed=1), processing_class=tokenizer)


def medium(args: argparse.Namespace, folder: str, length: int) -> PhasedTrainer:
    """A random model on synthetic responses of `length` tokens."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    torch.manual_seed(0)
    shape = {**PRESETS[args.preset], "vocab_size": max(PRESETS[args.preset]["vocab_size"], len(tokenizer))}
    model = Qwen2ForCausalLM(Qwen2Config(**shape, max_position_embeddings=131072, tie_word_embeddings=False))
    ends = sorted({tokenizer.eos_token_id, tokenizer.pad_token_id})

    def never_ends(module: Any, inputs: Any, logits: torch.Tensor) -> torch.Tensor:
        if not model.training:
            logits = logits.clone()
            logits[..., ends] = float("-inf")
            logits[..., len(tokenizer) :] = float("-inf")
        return logits

    model.lm_head.register_forward_hook(never_ends)
    layers, heads = shape["num_hidden_layers"], shape["num_attention_heads"]
    chosen = ",".join(f"{layers * part // 28}.{part % heads}" for part in (16, 20, 23))
    made = config(
        folder,
        args,
        heads=chosen,
        num_generations=args.medium_rows,
        per_device_train_batch_size=1,
        gradient_accumulation_steps=args.medium_rows,
        max_completion_length=length,
        gradient_checkpointing=True,
    )
    data = train_dataset(1, seed=1)
    trainer = PhasedTrainer(model, made, data, processing_class=tokenizer)
    trainer.canned = synthetic(tokenizer, length, args.medium_answer, args.medium_rows, data[0]["solution"])
    return trainer


def synthetic(tokenizer: Any, length: int, answer: int, number: int, solution: str) -> list[list[int]]:
    """Responses of `length` tokens: reference traces one after the other, then an answer of `answer` tokens.

    Every other one is right, so that no row is left out for want of a learning signal.
    """
    traces = [reference_trace(problem, seed) for seed, problem in enumerate(generate_problems("train", 32, 7))]
    thoughts = [encode(tokenizer, trace.partition("</think>")[0] + "\n\n") for trace in traces]
    made = []
    for row in range(number):
        draw = random.Random(row)
        words: list[int] = []
        while len(words) < length:
            words += draw.choice(thoughts)
        right = solution if row % 2 == 0 else f"{solution}0"
        end = [*encode(tokenizer, f"\\boxed{{{right}}}"), tokenizer.eos_token_id]
        opening = encode(tokenizer, "</think>")
        think = words[: length - len(opening) - max(answer, len(end))]
        body = words[: length - len(think) - len(opening) - len(end)]
        made.append([*think, *opening, *body, *end])
    return made


def encode(tokenizer: Any, text: str) -> list[int]:
    ids: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return ids


def by_size(steps: Mapping[int, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """Return seconds and shares of each phase at each size, and how each grows."""
    seconds = {
        phase: {size: [step["phases"].get(phase, 0.0) for step in found] for size, found in steps.items()}
        for phase in PHASES
    }
    whole = {size: [sum(step["phases"].values()) for step in found] for size, found in steps.items()}
    medians = {phase: {size: quartiles(times)[1] for size, times in line.items()} for phase, line in seconds.items()}
    totals = {size: sum(medians[phase][size] for phase in PHASES) for size in steps}
    return {
        "seconds": medians,
        "shares": {
            phase: {size: value / totals[size] for size, value in line.items()} for phase, line in medians.items()
        },
        "whole": {size: quartiles(times)[1] for size, times in whole.items()},
        "growth": {phase: growth(line) for phase, line in {**seconds, "whole step": whole}.items()},
        "rounds": {size: len(found) for size, found in steps.items()},
    }


def overlap(args: argparse.Namespace, workers: int, clock: Any) -> dict[str, Any]:
    """Alternate steps with and without the background; return what each kind was held up."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = small_world(
            args,
            folder,
            args.overlap_rows,
            verifier="slow_judge:judge",
            verifier_workers=workers,
            max_steps=4 + 2 * args.rounds,
        )
        steps = run(trainer, clock, alternate=True)[4 - WARM_UP :]
    kinds = {on: [step for step in steps if step["background"] == on] for on in (True, False)}
    held = {
        on: {phase: [step["phases"].get(phase, 0.0) for step in found] for phase in ("verification", "segmentation")}
        for on, found in kinds.items()
    }
    ratios = [on["whole"] / off["whole"] for on, off in zip(kinds[True], kinds[False], strict=True)]
    elsewhere = [step["elsewhere"].get("verification", 0.0) for step in kinds[True]]
    return {
        "workers": workers,
        "responses": args.overlap_rows,
        "step_seconds": {
            name: quartiles([s["whole"] for s in kinds[on]]) for name, on in (("with", True), ("without", False))
        },
        "held_up": {
            name: {phase: quartiles(times) for phase, times in held[on].items()}
            for name, on in (("with", True), ("without", False))
        },
        "share": {
            name: quartiles(
                [
                    (s["phases"].get("verification", 0.0) + s["phases"].get("segmentation", 0.0)) / s["whole"]
                    for s in kinds[on]
                ]
            )
            for name, on in (("with", True), ("without", False))
        },
        "in_the_background": quartiles(elsewhere),
        "ratio": quartiles(ratios),
    }


def size_table(part: str, found: Mapping[str, Any]) -> str:
    sizes = list(found["whole"])
    headings = [f"share of a step by {SIZES[part]}", *(f"{size:,}" for size in sizes), "grows as (95 %); last doubling"]
    rows = [
        [phase, *(f"{found['shares'][phase][size]:.2%}" for size in sizes), growth_text(found["growth"][phase])]
        for phase in PHASES
    ]
    whole = [f"{found['whole'][size]:.2f} s" for size in sizes]
    return markdown_table(headings, [*rows, ["whole step", *whole, growth_text(found["growth"]["whole step"])]])


def overlap_table(rows: Sequence[Mapping[str, Any]]) -> str:
    headings = (
        "workers, checks", "step, s", "held up by verification, s", "by segmentation, s", "share of the step",
        "step, with / without",
    )  # fmt: skip
    table = []
    for row in rows:
        for kind in ("without", "with"):
            held = row["held_up"][kind]
            table.append(
                [
                    f"{row['workers']}, {'in the background' if kind == 'with' else 'in the foreground'}",
                    f"{row['step_seconds'][kind][1]:.2f}",
                    *(f"{held[phase][1]:.3f}" for phase in ("verification", "segmentation")),
                    f"{row['share'][kind][1]:.1%}",
                    "{1:.3f} ({0:.3f} to {2:.3f})".format(*row["ratio"]) if kind == "with" else "",
                ]
            )
    return markdown_table(headings, table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--preset", choices=PRESETS, default="small", help="shape of the medium model")
    parser.add_argument("--lengths", type=numbers, default=[512, 1024, 2048], help="response lengths, medium model")
    parser.add_argument("--medium-rows", type=int, default=4, help="responses a step, medium model")
    parser.add_argument("--medium-answer", type=int, default=64, help="answer tokens, medium model")
    parser.add_argument("--rows", type=numbers, default=[32, 64, 128], help="responses a step, small world")
    parser.add_argument("--tinyworld-tokens", type=int, default=256, help="limit on a response, small world")
    parser.add_argument("--overlap-rows", type=int, default=64, help="responses a step in the overlap part")
    parser.add_argument("--workers", type=numbers, default=[1, 4], help="verifier_workers in the overlap part")
    parser.add_argument("--rounds", type=int, default=8, help="steps of each kind")
    parser.add_argument("--signal", help="step signal in place of the heads (`attnpo signals`)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument(
        "--clock", choices=["wall", "processor"], default="wall", help="processor: parts 1 and 2 beside other work"
    )
    parser.add_argument("--json", type=Path, help="write figures here, tables and a plot beside it")
    args = parser.parse_args()
    if args.rounds < 2:
        parser.error("--rounds: quartiles need at least 2")
    torch.set_num_threads(args.threads)
    warnings.simplefilter("ignore", FutureWarning)
    warnings.filterwarnings("ignore", message="Seems like `optimizer.step")
    transformers.logging.set_verbosity_error()
    clock = time.process_time if args.clock == "processor" else time.perf_counter
    found: dict[str, Any] = {}
    for part, sizes in (("tinyworld", args.rows), ("medium", args.lengths)):
        if part not in args.parts:
            continue
        steps = {}
        for size in sizes:
            with tempfile.TemporaryDirectory() as folder:
                trainer = small_world(args, folder, size) if part == "tinyworld" else medium(args, folder, size)
                steps[size] = run(trainer, clock)
            print(f"… {part} {size}", file=sys.stderr)
        found[part] = by_size(steps)
    if "overlap" in args.parts:
        found["overlap"] = [overlap(args, workers, time.perf_counter) for workers in args.workers]
    where = where_and_when(args.device)
    head = f"`{where['command']}` · {where['machine']} · torch {where['torch']} · {where['commit']} · {where['date']}"
    tables = [size_table(part, found[part]) for part in SIZES if part in found]
    tables += [overlap_table(found["overlap"])] if "overlap" in found else []
    settings = {name: str(value) for name, value in vars(args).items()}
    figures = {"where": where, "settings": settings, **found}
    plot = write_results(figures, "\n\n".join([head, *tables]), args.json)
    panels = {SIZES[part]: found[part]["seconds"] for part in SIZES if part in found}
    if plot is not None and panels:
        plot_growth(panels, plot)


if __name__ == "__main__":
    main()
