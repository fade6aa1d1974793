"""Pretrain the small world's model on reference traces: `python -m attnpo.tinyworld.pretrain`."""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode
from transformers import PreTrainedTokenizerFast, Qwen2ForCausalLM

from attnpo.errors import ConfigError
from attnpo.processor import cpu_computes_in_bfloat16
from attnpo.ranges import shares_by_name
from attnpo.tinyworld.model import ModelSize, build_model
from attnpo.tinyworld.oracle import wrong_results
from attnpo.tinyworld.problems import DIFFICULTIES, generate_problems
from attnpo.tinyworld.survey import Survey, survey
from attnpo.tinyworld.tokenizer import build_tokenizer
from attnpo.tinyworld.traces import TraceStyle, reference_trace

IGNORED = -100

STYLE = [entry.name for entry in fields(TraceStyle)]


@dataclass(frozen=True)
class Recipe:
    """How the checkpoint is made."""

    steps: int = 4000
    batch: int = 16
    muon_lr: float = 0.02
    adamw_lr: float = 3e-3
    warmup_steps: int = 30
    curriculum: tuple[tuple[float, int], ...] = ((0.0, 2), (0.2, 5))
    """From which share of the run on which largest difficulty is seen."""
    seed: int = 0
    style: TraceStyle = field(default_factory=TraceStyle)
    mask_slips: bool = False
    """Whether the loss leaves out the wrong result of a slip: the model learns to mend it, not to make it."""
    size: ModelSize = field(default_factory=ModelSize)


def example(
    tokenizer: PreTrainedTokenizerFast, question: str, response: str, mask_slips: bool = False
) -> tuple[list[int], list[int]]:
    """Token ids of prompt + response + end, and of each position what the loss wants there (`IGNORED` for nothing)."""
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": question}], add_generation_prompt=True, tokenize=False
    )
    prompt_ids = tokenizer(prompt, add_special_tokens=False)["input_ids"]
    encoded = tokenizer(response, add_special_tokens=False, return_offsets_mapping=mask_slips)
    wanted = list(encoded["input_ids"])
    for start, stop in wrong_results(response) if mask_slips else []:
        wanted = [
            IGNORED if a < stop and start < b else token
            for token, (a, b) in zip(wanted, encoded["offset_mapping"], strict=True)
        ]
    end = tokenizer.eos_token_id
    return [*prompt_ids, *encoded["input_ids"], end], [*[IGNORED] * len(prompt_ids), *wanted, end]


def batches(
    tokenizer: PreTrainedTokenizerFast, recipe: Recipe, difficulties: Sequence[int]
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless batches (ids, labels), both (B, L), of similar lengths; labels cover response tokens only."""
    batch = recipe.batch
    rng = random.Random(f"pretrain/{recipe.seed}/{tuple(difficulties)}")
    pool = 24
    while True:
        problems = generate_problems("train", pool * batch, rng.getrandbits(62), difficulties)
        traces = [reference_trace(problem, rng, recipe.style) for problem in problems]
        rows = [
            example(tokenizer, problem.question, trace, recipe.mask_slips)
            for problem, trace in zip(problems, traces, strict=True)
        ]
        rows.sort(key=lambda row: len(row[0]))
        chunks = [rows[i : i + batch] for i in range(0, len(rows), batch)]
        rng.shuffle(chunks)
        for chunk in chunks:
            width = max(len(ids) for ids, _ in chunk)
            ids = torch.full((batch, width), tokenizer.pad_token_id)
            labels = torch.full((batch, width), IGNORED)
            for row, (tokens, wanted) in enumerate(chunk):
                ids[row, : len(tokens)] = torch.tensor(tokens)
                labels[row, : len(tokens)] = torch.tensor(wanted)
            yield ids, labels


class Float32Muon(TorchFunctionMode):
    """Keeps torch's Muon, which orthogonalises in bfloat16, in float32 while the mode is on.

    A processor without bfloat16 arithmetic emulates it, twenty times slower than float32 at these sizes.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func is torch.Tensor.bfloat16:
            return args[0].to(torch.float32, copy=True)
        return func(*args, **(kwargs or {}))


def response_loss(model: Qwen2ForCausalLM, ids: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy over response tokens; right padding needs no mask under causal attention."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=cpu_computes_in_bfloat16()):
        hidden = model.model(input_ids=ids, use_cache=False).last_hidden_state[:, :-1]
        wanted = labels[:, 1:]
        counted = wanted != IGNORED
        logits = model.lm_head(hidden[counted])
    return functional.cross_entropy(logits.float(), wanted[counted])


def pretrain(
    recipe: Recipe, minutes: float | None = None, resume: Path | None = None
) -> tuple[Qwen2ForCausalLM, PreTrainedTokenizerFast]:
    """Train from scratch; with `minutes`, the schedule follows the clock and `steps` is only a limit."""
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, recipe.seed, recipe.size)
    if resume is not None:
        model = Qwen2ForCausalLM.from_pretrained(resume, dtype=torch.float32)
    # Plain bmm attention trains faster than CPU SDPA at these sizes; the checkpoint does not depend on it.
    model.set_attn_implementation("eager")
    model.train()
    matrices = [p for n, p in model.named_parameters() if p.ndim == 2 and "embed" not in n]
    others = [p for n, p in model.named_parameters() if p.ndim != 2 or "embed" in n]
    optimizers = (
        torch.optim.Muon(matrices, lr=recipe.muon_lr, weight_decay=0.05),
        torch.optim.AdamW(others, lr=recipe.adamw_lr, weight_decay=0.0, betas=(0.9, 0.98)),
    )
    peaks = (recipe.muon_lr, recipe.adamw_lr)
    stages = {hardest: batches(tokenizer, recipe, tuple(range(1, hardest + 1))) for _, hardest in recipe.curriculum}
    started, tokens, recent = time.monotonic(), 0, 0.0
    for step in range(recipe.steps):
        elapsed = time.monotonic() - started
        progress = elapsed / (60 * minutes) if minutes else step / recipe.steps
        if progress >= 1:
            break
        hardest = [hardest for share, hardest in recipe.curriculum if progress >= share][-1]
        ids, labels = next(stages[hardest])
        # Linear warm-up, constant until half the run, then linear to zero.
        scale = min(1.0, (step + 1) / recipe.warmup_steps) * min(1.0, 2 * (1 - progress))
        for optimizer, peak in zip(optimizers, peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * scale
        loss = response_loss(model, ids, labels)
        loss.backward()
        with nullcontext() if cpu_computes_in_bfloat16() else Float32Muon():
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
        tokens += ids.numel()
        recent = float(loss.detach()) if step == 0 else 0.98 * recent + 0.02 * float(loss.detach())
        if step % 50 == 49:
            seconds = time.monotonic() - started
            left = seconds / (progress + 1e-9) * (1 - progress) if progress else float("nan")
            print(
                f"step {step + 1}  loss {recent:.4f}  {seconds:.0f} s  {tokens / seconds:.0f} tokens/s"
                f"  {left:.0f} s left",
                flush=True,
            )
    model.set_attn_implementation("sdpa")
    return model.eval(), tokenizer


def model_card(command: str, recipe: Recipe, seconds: float, result: Survey, parameters: int, by_clock: bool) -> str:
    """The checkpoint's README.md in the Hub's format."""
    amount = "as many steps as fit into" if by_clock else f"{recipe.steps} steps,"
    numbers = "bf16 autocast" if cpu_computes_in_bfloat16() else "float32"
    stages = ", ".join(f"up to {hardest} from {share:.0%}" for share, hardest in recipe.curriculum)
    return f"""---
library_name: transformers
pipeline_tag: text-generation
license: apache-2.0
tags: [attnpo, tinyworld, reasoning]
---
# attnpo tinyworld

A Qwen2-architecture model of {parameters / 1e6:.2f} M parameters that solves chains of small arithmetic
facts and overthinks: it restates, double-checks and works out irrelevant quantities before it answers in
`\\boxed{{}}`. It is the starting checkpoint of the quickstart and knows nothing outside its small world.

Made by

    {command}

seed {recipe.seed}, {recipe.batch} traces a step, {amount} {seconds / 60:.1f} minutes on one CPU
thread. Muon ({recipe.muon_lr}) on the hidden matrices, AdamW ({recipe.adamw_lr}) on the rest, {numbers};
harder problems join step by step: {stages}.

Measured on {result.n} held-out problems, one sample each at temperature 1:

{result.table()}
"""


def main() -> None:
    """Pretrain, measure on held-out problems, and write checkpoint, tokenizer and model card."""
    parser = argparse.ArgumentParser(
        prog="python -m attnpo.tinyworld.pretrain",
        description=__doc__,
        epilog="example: python -m attnpo.tinyworld.pretrain --output runs/tinyworld --seed 0",
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--seed", type=int, default=Recipe.seed)
    parser.add_argument("--steps", type=int, default=Recipe.steps, help=f"optimizer steps ({Recipe.steps})")
    parser.add_argument("--batch", type=int, default=Recipe.batch, help=f"traces a step ({Recipe.batch})")
    for entry in fields(ModelSize):
        parser.add_argument(f"--{entry.name}", type=int, default=entry.default, help=f"of the model ({entry.default})")
    parser.add_argument("--resume", type=Path, help="go on from this checkpoint, on problems of all difficulties")
    parser.add_argument("--minutes", type=float, help="stop after this time instead; not reproducible")
    parser.add_argument("--problems", type=int, default=1000, help="held-out problems to measure on (1000)")
    parser.add_argument("--style", help="shares of detours and shortcuts of the traces, as JSON: " + ", ".join(STYLE))
    parser.add_argument("--mask_slips", action="store_true", help="leave the wrong results of slips out of the loss")
    parser.add_argument("--threads", type=int, default=1, help="torch threads (1; more is no faster here)")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    steps = 10**9 if args.minutes else args.steps
    try:
        style = TraceStyle(**shares_by_name("--style", args.style, STYLE, ("check_again",)))
        size = ModelSize(args.hidden_size, args.num_hidden_layers)
    except ConfigError as error:
        parser.error(str(error))
    if args.resume is not None and size != ModelSize():
        parser.error("--hidden_size and --num_hidden_layers are those of --resume's model; leave them out")
    recipe = Recipe(steps=steps, batch=args.batch, seed=args.seed, style=style, mask_slips=args.mask_slips, size=size)
    if args.resume is not None:
        recipe = replace(recipe, curriculum=((0.0, max(DIFFICULTIES)),))
    started = time.monotonic()
    model, tokenizer = pretrain(recipe, args.minutes, args.resume)
    seconds = time.monotonic() - started
    args.output.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(args.output)
    tokenizer.save_pretrained(args.output)
    result = survey(model, tokenizer, generate_problems("heldout", args.problems, seed=0))
    command = f"python -m attnpo.tinyworld.pretrain --output {args.output} --seed {args.seed} --batch {args.batch} "
    command += f"--minutes {args.minutes:g}" if args.minutes else f"--steps {args.steps}"
    if args.style:
        command += f" --style '{args.style}'"
    if args.mask_slips:
        command += " --mask_slips"
    if size != ModelSize():
        command += f" --hidden_size {size.hidden_size} --num_hidden_layers {size.num_hidden_layers}"
    if args.resume is not None:
        command += f" --resume {args.resume}"
    card = model_card(command, recipe, seconds, result, sum(p.numel() for p in model.parameters()), bool(args.minutes))
    (args.output / "README.md").write_text(card, encoding="utf-8")
    print(result.table())


if __name__ == "__main__":
    main()
