"""How far `attnpo train --dry_run`'s memory is from what a training step really takes, on a CPU.

    python benchmarks/memory_estimate.py
    python benchmarks/memory_estimate.py --json docs/results/bench_memory_estimate.json

Each case trains a small random Qwen2 model with the real trainer in a process of its own: two updates of two
micro-batches on responses of a fixed length. Measured is the peak of the process's resident memory (VmHWM) over what it
held before the first update; estimated is everything but the weights. The C library is told to give freed blocks back
at once (`--keep_malloc` leaves it alone: then what it keeps counts as well).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import torch
from datasets import Dataset
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from attnpo.attention import Head
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AttnPOConfig, AttnPOTrainer
from attnpo.training.estimate import (
    Layout,
    Workload,
    batch_bytes,
    decoder_pass,
    device_memory,
    head_memory,
    meta_model,
    model_shape,
    precision,
    reading_bytes,
    step_tensor_bytes,
    with_lora,
)

SHAPE = {
    "vocab_size": 2048,
    "hidden_size": 256,
    "intermediate_size": 768,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "tie_word_embeddings": False,
}
BASE = {"rows": 2, "length": 768, "checkpointing": False, "lora": False, "bf16": False}
CASES = [
    BASE,
    {**BASE, "length": 1536},
    {**BASE, "checkpointing": True, "length": 1536},
    {**BASE, "bf16": True},
    {**BASE, "bf16": True, "checkpointing": True, "length": 1536},
    {**BASE, "lora": True, "checkpointing": True, "length": 1536},
]
HEADS = "1.0,3.1"
PROMPT = "What is 1 + 1?"
THRESHOLD = "MALLOC_MMAP_THRESHOLD_"
"""glibc's: blocks above it are given back to the system at once, so that resident memory is what is alive."""


class CannedTrainer(AttnPOTrainer):
    """Trains on responses of one length, so that no sampling is part of the measurement."""

    canned: list[list[int]]

    def _generate_single_turn(self, prompt_ids: Any, *args: Any, **kwargs: Any) -> Any:
        return [self.canned[i % len(self.canned)] for i in range(len(prompt_ids))], None


def responses(tokenizer: Any, length: int) -> list[list[int]]:
    """Two responses, one correct, of `length` and a few tokens less (so that rows are padded)."""
    think = tokenizer("Let me see what it is.\n\n", add_special_tokens=False)["input_ids"]
    made = []
    for index, answer in enumerate(("2", "3")):
        end = tokenizer(f"</think>\\boxed{{{answer}}}", add_special_tokens=False)["input_ids"] + [
            tokenizer.eos_token_id
        ]
        size = length - 7 * index
        made.append((think * (size // len(think) + 1))[: size - len(end)] + end)
    return made


def lora() -> Any:
    from peft import LoraConfig

    return LoraConfig(r=16, lora_alpha=32, task_type="CAUSAL_LM", target_modules="all-linear")


def measure(case: dict[str, Any]) -> dict[str, float]:
    """Run two updates and return bytes measured."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = Qwen2ForCausalLM(Qwen2Config(**SHAPE))
    with tempfile.TemporaryDirectory() as folder:
        args = AttnPOConfig(
            output_dir=folder,
            heads=HEADS,
            segmentation="paragraphs",
            verifier="exact",
            num_generations=2,
            per_device_train_batch_size=case["rows"],
            gradient_accumulation_steps=2,
            max_completion_length=case["length"],
            max_steps=2,
            schedule_steps=0,
            learning_rate=1e-6,
            use_cpu=True,
            bf16=case["bf16"],
            gradient_checkpointing=case["checkpointing"],
            report_to="none",
            save_strategy="no",
            disable_tqdm=True,
        )
        rows = [{"prompt": f"{PROMPT} ({i})", "solution": "2"} for i in range(8)]
        trainer = CannedTrainer(
            model,
            args,
            Dataset.from_list(rows),
            processing_class=tokenizer,
            peft_config=lora() if case["lora"] else None,
        )
        trainer.canned = responses(tokenizer, case["length"])
        before = psutil.Process().memory_info().rss
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of loading
        with contextlib.redirect_stdout(io.StringIO()):
            trainer.train()
        trainer.verifier.close()
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        peak = int(status["VmHWM"].split()[0]) * 1024
        prompt = len(tokenizer(rows[0]["prompt"])["input_ids"])
    return {"measured": peak - before, "prompt": prompt}


def estimate(case: dict[str, Any], prompt: int) -> int:
    """Return the dry run's bytes for the same step, without the weights."""
    model = meta_model(Qwen2Config(**SHAPE))
    if case["lora"]:
        model = with_lora(model, lora())
    shape = model_shape(model)
    mixed = torch.bfloat16 if case["bf16"] else None
    types = precision(Layout(), loaded=torch.float32, mixed=mixed, lora=case["lora"], optim="adamw_torch_fused")
    rows, length = case["rows"], prompt + case["length"]
    compute = types.compute or types.trained
    work = Workload(
        decoder=decoder_pass(
            model,
            rows,
            length,
            padded=True,
            checkpointing=case["checkpointing"],
            autocast=types.compute,
            dtype_of=types.of,
        ),
        head=head_memory(
            rows * length,
            rows * case["length"],
            shape.hidden_size,
            shape.vocab_size,
            compute_bytes=compute.itemsize,
            input_bytes=4,
            trainable=shape.head_trainable,
            triton=False,
        ),
        reading=reading_bytes([Head(1, 0), Head(3, 1)], shape.head_dim, rows, length, 64),
        batch=batch_bytes(2 * rows, prompt, case["length"], old_log_probs=False)
        + step_tensor_bytes(2 * rows, case["length"], case["length"] // 8, reads_heads=True),
        cache=0,
        vllm=0,
        vllm_sleeps=False,
        reference=False,
    )
    memory = device_memory(shape, Layout(), types, work)
    return memory.peak - sum(term.bytes for term in memory.terms if term.name == "weights")


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fork of this process, and return what it returns."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(*arguments)))
    process.start()
    sender.close()
    result = receiver.recv()
    process.join()
    return result


def main() -> None:
    """Measure every case in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--keep_malloc", action="store_true", help="measure with the allocator as it is")
    arguments = parser.parse_args()
    if THRESHOLD not in os.environ and not arguments.keep_malloc:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, THRESHOLD: "65536"})
    rows = []
    print("rows tokens checkpointing  LoRA  bf16  measured estimated  error", flush=True)
    for case in CASES:
        found = in_a_process(measure, case)
        estimated = in_a_process(estimate, case, found["prompt"])
        error = estimated / found["measured"] - 1
        rows.append(
            {**case, "measured_mib": found["measured"] / 2**20, "estimated_mib": estimated / 2**20, "error": error}
        )
        print(
            f"{case['rows']:>4} {case['length']:>6} {case['checkpointing']!s:>13} {case['lora']!s:>5} "
            f"{case['bf16']!s:>5} {found['measured'] / 2**20:>9.0f} {estimated / 2**20:>9.0f} {error:>+6.0%}",
            flush=True,
        )
        if arguments.json:
            summary = {"shape": SHAPE, "torch": torch.__version__, "unit": "MiB", "rows": rows}
            arguments.json.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
