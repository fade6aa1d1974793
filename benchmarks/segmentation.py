"""Speed of segmentation: MB of text a second on one long response, against naive alternatives in the same run.

    python benchmarks/segmentation.py [--json FILE] [--repeat N]

- text to steps: `segment_text`, against one `re` pass a phrase over the text;
- ids to steps: `decode_with_offsets` and `Segmenter`, against decoding the text and tokenizing it again with offsets
  (what published code does; its tokens need not be the sampled ones), and against one `decode` call a prefix (exact
  and quadratic: measured on the first 1,000 tokens).

The tokenizer is a byte-level BPE trained on the spot. Rates are medians of the repeats.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from attnpo.segmentation import (
    ParagraphStrategy,
    PhraseFamilies,
    PhraseStrategy,
    Segmenter,
    decode_with_offsets,
    segment_text,
)

SENTENCES = [
    "So the number is {a} + {b} = {c}, and Bob has {c} of them in total after the trade.",
    "Wait, but that cannot be right. Let me double-check the sum again: {a} + {b} = {c}. Yes.",
    "Next, we need to compute the product of {a} and {b}, which follows from the table above.",
    "Alternatively, think of it as a ratio of two quantities, {a} : {b}. However, is it useful?",
    "The equation becomes $x^2 - {a}x + {b} = 0$, whose roots are real because $\\Delta \\ge 0$ – naïvely 😀.",
    "Therefore the probability is \\frac{{{a}}}{{{c}}}, as long as the events are independent.",
]
PREFIX_TOKENS = 1000


def response(characters: int) -> str:
    rng = random.Random(0)
    parts, length = [], 0
    while length < characters:
        a, b = rng.randint(1, 999), rng.randint(1, 999)
        part = rng.choice(SENTENCES).format(a=a, b=b, c=a + b) + rng.choice([" ", "\n", "\n\n"])
        parts.append(part)
        length += len(part)
    return "<think>\n" + "".join(parts)[:characters] + "\n</think>\n\nThe answer is \\boxed{5}."


def byte_level_bpe() -> PreTrainedTokenizerFast:
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    backend.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=1000, initial_alphabet=alphabet, show_progress=False)
    backend.train_from_iterator([response(50_000)], trainer)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<eos>")
    tokenizer.add_tokens([AddedToken(tag, special=False, normalized=False) for tag in ("<think>", "</think>")])
    return tokenizer


def one_pass_a_phrase(text: str, phrases: PhraseFamilies) -> int:
    starts: set[int] = set()
    for family in phrases.families.values():
        for phrase in family.phrases:
            anchor = r"(?m)^\s*" if family.cut == "line_start" else r"(?<!\w)"
            starts.update(match.start() for match in re.finditer(anchor + re.escape(phrase) + r"(?!\w)", text))
    return len(starts)


def retokenize(tokenizer: Any, ids: list[int], strategy: PhraseStrategy) -> list[tuple[int, int]]:
    text = tokenizer.decode(ids)
    offsets = tokenizer(text, return_offsets_mapping=True)["offset_mapping"]
    segment_text(text, strategy)
    return offsets


def decode_every_prefix(tokenizer: Any, ids: list[int]) -> list[int]:
    return [len(tokenizer.decode(ids[:end])) for end in range(len(ids))]


def seconds(run: Callable[[], object], repeat: int) -> float:
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def measure(characters: int, tokenizer: PreTrainedTokenizerFast, repeat: int) -> list[dict[str, Any]]:
    text = response(characters)
    ids = tokenizer(text)["input_ids"]
    phrases, paragraphs = PhraseStrategy(), ParagraphStrategy()
    segmenter = Segmenter(tokenizer, phrases)
    start_ids = ids[:PREFIX_TOKENS]
    start_text = tokenizer.decode(start_ids)
    runs: list[tuple[str, str, Callable[[], object]]] = [
        ("text to steps, phrases", text, lambda: segment_text(text, phrases)),
        ("text to steps, paragraphs", text, lambda: segment_text(text, paragraphs)),
        ("  naive: one pass a phrase", text, lambda: one_pass_a_phrase(text, phrases.phrases)),
        ("ids to text with offsets", text, lambda: decode_with_offsets(tokenizer, ids)),
        ("ids to steps (Segmenter)", text, lambda: segmenter(ids)),
        ("  naive: tokenize the text again", text, lambda: retokenize(tokenizer, ids, phrases)),
        (
            f"  naive: every prefix, first {PREFIX_TOKENS} tokens",
            start_text,
            lambda: decode_every_prefix(tokenizer, start_ids),
        ),
    ]
    rows = []
    for name, over, run in runs:
        took = seconds(run, repeat)
        megabytes = len(over.encode()) / 1e6
        rows.append(
            {
                "what": name.strip(),
                "indent": name.startswith(" "),
                "characters": len(over),
                "tokens": len(ids) if over is text else len(start_ids),
                "seconds": took,
                "megabytes_per_second": megabytes / took,
            }
        )
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    parser.add_argument("--repeat", type=int, default=5, help="runs of which the median is taken")
    arguments = parser.parse_args()
    tokenizer = byte_level_bpe()
    results: dict[str, list[dict[str, Any]]] = {}
    for name, characters in (("150 kB", 150_000), ("1 MB", 1_000_000)):
        results[name] = rows = measure(characters, tokenizer, arguments.repeat)
        table = Table(title=f"A response of {name}, {rows[0]['tokens']:,} tokens")
        for heading in ("", "ms", "MB/s", "tokens/s"):
            table.add_column(heading, justify="left" if not heading else "right")
        for row in rows:
            label = ("  " if row["indent"] else "") + row["what"]
            rates = f"{row['megabytes_per_second']:.2f}", f"{row['tokens'] / row['seconds']:,.0f}"
            table.add_row(label, f"{row['seconds'] * 1e3:.1f}", *rates)
        Console().print(table)
    if arguments.json:
        arguments.json.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
