"""What step credit costs: AttnPO's training step over the same trainer with credit off.

    python benchmarks/training_step.py                 # CPU, about two minutes
    python benchmarks/training_step.py --json step.json

Both kinds of step alternate in one run of one trainer with learning rate 0, on the same responses, so every pair does
the same work but for the credit. `whole step` is what a user waits for: sampling, rewards, pass, backward, update.
`pass and backward` leaves sampling and rewards out; credit is the only difference that is left.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, Qwen2Config, Qwen2ForCausalLM, TrainerCallback

from attnpo.credit import build_method
from attnpo.tinyworld import checkpoint_path, generate_problems, reference_trace, train_dataset
from attnpo.training import AttnPOConfig, AttnPOTrainer

PRESETS = {
    "tinyworld": None,
    "qwen2-10m": {"hidden_size": 320, "intermediate_size": 960, "num_hidden_layers": 8, "num_attention_heads": 5},
}


class PairedTrainer(AttnPOTrainer):
    """Draws the same responses at every step and times what follows them."""

    generation_seconds = 0.0
    canned: list[list[int]] | None = None

    def _first_row_id(self, local_rows: int) -> int:
        return 0

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        if self.canned is not None:
            return [self.canned[i % len(self.canned)] for i in range(len(prompt_ids))], None
        return super()._generate_single_turn(prompt_ids, *args, **kwargs)

    def _prepare_inputs(self, generation_batch: Any) -> Any:
        start = time.perf_counter()
        inputs = super()._prepare_inputs(generation_batch)
        self.generation_seconds += time.perf_counter() - start
        return inputs


class Alternate(TrainerCallback):
    """Switches credit on and off from step to step and notes how long each took."""

    def __init__(self, trainer: PairedTrainer) -> None:
        self.trainer = trainer
        self.signal = trainer.signal
        self.on = trainer.credit
        self.off = build_method("tlmre", trainer.args.credit_settings())
        self.times: dict[bool, list[tuple[float, float]]] = {True: [], False: []}
        self.start = 0.0

    def credited(self, step: int) -> bool:
        """ABBA order: drift of the machine falls on both kinds alike."""
        return step % 4 in (0, 3)

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Set the kind of the coming step."""
        credited = self.credited(state.global_step)
        self.trainer.credit = self.on if credited else self.off
        self.trainer.signal = self.signal if credited else None
        self.trainer.generation_seconds = 0.0
        self.start = time.perf_counter()

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Note the time of the step that is over (its number is already counted up)."""
        whole = time.perf_counter() - self.start
        update = whole - self.trainer.generation_seconds
        self.times[self.credited(state.global_step - 1)].append((whole, update))


def measure(preset: str, heads: str, pairs: int, threads: int) -> dict[str, float | list[float]]:
    """Return median seconds and ratios of one model."""
    torch.set_num_threads(threads)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    overrides = PRESETS[preset]
    if overrides is None:
        model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    else:
        torch.manual_seed(0)
        config = Qwen2Config(
            vocab_size=len(tokenizer),
            num_key_value_heads=overrides["num_attention_heads"],
            tie_word_embeddings=True,
            **overrides,
        )
        model = Qwen2ForCausalLM(config)
    warm_up = 4
    with tempfile.TemporaryDirectory() as folder:
        args = AttnPOConfig(
            output_dir=folder,
            heads=heads,
            segmentation="paragraphs",
            verifier="exact",
            num_generations=8,
            per_device_train_batch_size=32,
            gradient_accumulation_steps=2,
            max_completion_length=256,
            max_steps=warm_up + 2 * pairs,
            schedule_steps=0,
            learning_rate=0.0,
            group_sampler=True,
            use_cpu=True,
            bf16=False,
            gradient_checkpointing=False,
            report_to="none",
            logging_steps=1000,
            save_strategy="no",
            disable_tqdm=True,
        )
        trainer = PairedTrainer(model, args, train_dataset(8, seed=1), processing_class=tokenizer)
        if overrides is not None:
            trainer.canned = [
                tokenizer(reference_trace(problem, seed))["input_ids"] + [tokenizer.eos_token_id]
                for seed, problem in enumerate(generate_problems("train", 64, 7))
            ]
        clock = Alternate(trainer)
        trainer.add_callback(clock)
        trainer.train()
        trainer.verifier.close()
    on, off = (clock.times[kind][warm_up // 2 :] for kind in (True, False))
    ratios = [(a[0] / b[0], a[1] / b[1]) for a, b in zip(on, off, strict=True)]
    return {
        "pairs": len(ratios),
        "whole step off, s": statistics.median(b[0] for b in off),
        "whole step on, s": statistics.median(a[0] for a in on),
        "whole step ratio": statistics.median(r[0] for r in ratios),
        "pass and backward off, s": statistics.median(b[1] for b in off),
        "pass and backward on, s": statistics.median(a[1] for a in on),
        "pass and backward ratio": statistics.median(r[1] for r in ratios),
        "pass and backward ratio, quartiles": statistics.quantiles([r[1] for r in ratios], n=4)[::2],
    }


def main() -> None:
    """Measure every preset and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--presets", nargs="+", choices=sorted(PRESETS), default=list(PRESETS))
    parser.add_argument("--heads", default="2.0,1.1,3.1", help="three heads in three layers")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if arguments.pairs < 2:
        parser.error("--pairs: a median with quartiles needs at least 2")
    results = {name: measure(name, arguments.heads, arguments.pairs, arguments.threads) for name in arguments.presets}
    for name, result in results.items():
        print(f"\n{name}")
        for key, value in result.items():
            shown = ", ".join(f"{v:.3f}" for v in value) if isinstance(value, list) else f"{value:.3f}"
            print(f"  {key:<36} {shown}")
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    main()
