"""Does step credit work, and because of the heads? Every arm, several seeds, from the same checkpoint and budget.

    python benchmarks/small_world_study.py          # the study in docs/results.md (about 50 minutes, 2 cores)
    python benchmarks/small_world_study.py --seeds 1 --max_steps 20 --num_eval 200

Arms: the model as it is (base), outcome reward alone (rloo), with a length term (tlmre), step credit (attnpo), and
controls: the right heads' scores permuted among a response's steps (attnpo_shuffled), a head of comparable attention
mass that does not rank steps (wrong_head), the true labels (oracle) and the true labels reversed (oracle_reversed).

Interrupted? The same command goes on where it stopped. Writes study.json and study.md into the output folder.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from typing import Any

from attnpo.attention import HeadSet, resolve_heads
from attnpo.cli import discover as discover_command
from attnpo.cli import evaluate as evaluate_command
from attnpo.cli.console import console, quiet_libraries
from attnpo.credit import CREDIT_CELLS, CreditSettings, build_method, credit_accuracy, pack_steps
from attnpo.discovery import DiscoveryResult, choose_wrong_head
from attnpo.discovery.gates import probing_set
from attnpo.evaluation.comparison import ComparisonRow, compare, load_arm
from attnpo.models import find_model, load_model, load_tokenizer
from attnpo.progress import console_progress
from attnpo.rollouts import Rollout, read_rollouts
from attnpo.signals import score_steps
from attnpo.statistics import Interval, ratio_intervals
from attnpo.study.arms import flags, training_arm
from attnpo.study.running import run_arms
from attnpo.study.worlds import TINYWORLD

ARMS: dict[str, dict[str, Any]] = {
    "rloo": {"method": "rloo"},
    "tlmre": {"method": "tlmre"},
    "attnpo": {"method": "attnpo"},
    "attnpo_shuffled": {"method": "attnpo_shuffled"},
    "wrong_head": {"method": "attnpo", "heads": "wrong_head.json"},
    "oracle": {"method": "oracle"},
    "oracle_reversed": {"method": "oracle_reversed"},
}


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/study"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--arms", nargs="+", choices=sorted(ARMS), default=list(ARMS))
    parser.add_argument("--max_steps", type=int, default=32)
    parser.add_argument("--num_eval", type=int, default=1000)
    parser.add_argument("--num_probe", type=int, default=400)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE", help="training settings of every arm")
    arguments = parser.parse_args()
    quiet_libraries()
    start = time.perf_counter()
    folder: Path = arguments.output_dir
    heads = folder / "heads.json"
    if not (folder / "discovery.json").exists():
        discover = {"model": TINYWORLD.model, **TINYWORLD.discovery, "num_problems": arguments.num_probe}
        discover_command.run(flags({**discover, "output_dir": folder}))
    wrong = folder / "wrong_head.json"
    choose_wrong_head(DiscoveryResult.load(folder / "discovery.json"), HeadSet.load(heads)).save(wrong)
    if not (folder / "base" / "evaluation.json").exists():
        measure = {**TINYWORLD.evaluation, "model": TINYWORLD.model, "num_problems": arguments.num_eval}
        evaluate_command.run(flags({**measure, "output_dir": folder / "base"}))
    extra = dict(pair.split("=", 1) for pair in arguments.set)
    arms = [
        training_arm(
            TINYWORLD,
            name,
            folder / f"seed-{seed}" / name,
            max_steps=arguments.max_steps,
            seed=seed,
            num_eval=arguments.num_eval,
            heads=wrong if ARMS[name].get("heads") else heads,
            settings={"method": ARMS[name]["method"], **extra},
        )
        for seed in arguments.seeds
        for name in arguments.arms
    ]
    with console_progress(console) as progress:
        run_arms(arms, arguments.jobs, progress)
    base = load_arm("base", [folder / "base"])
    trained = [load_arm(name, [folder / f"seed-{s}" / name for s in arguments.seeds]) for name in arguments.arms]
    against_base = compare(base, trained)
    tlmre = next((arm for arm in trained if arm.name == "tlmre"), None)
    against_tlmre = compare(tlmre, [arm for arm in trained if arm is not tlmre]) if tlmre is not None else []
    credit = credit_table(folder, heads, wrong, arguments.arms)
    table = render(against_base, against_tlmre, credit)
    (folder / "study.md").write_text(table, encoding="utf-8")
    (folder / "study.json").write_text(
        json.dumps(
            {
                "seeds": arguments.seeds,
                "max_steps": arguments.max_steps,
                "num_eval": arguments.num_eval,
                "settings": extra,
                "minutes": (time.perf_counter() - start) / 60,
                "arms": {row.name: as_json(row) for row in against_base},
                "against_tlmre": {row.name: as_json(row) for row in against_tlmre},
                "credit_accuracy": {n: {c: i.model_dump() for c, i in cells.items()} for n, cells in credit.items()},
            },
            indent=2,
        )
        + "\n",
        encoding="utf-8",
    )
    console.print(table, markup=False)
    console.print(f"{(time.perf_counter() - start) / 60:.1f} minutes; written to {folder / 'study.md'}")


def credit_table(folder: Path, heads: Path, wrong: Path, names: list[str]) -> dict[str, dict[str, Interval]]:
    """Credit accuracy of every arm that rescales credit, on the probing responses of the untrained model."""
    source = find_model("tinyworld")
    model, tokenizer = load_model(source, device="cpu"), load_tokenizer(source)
    rollouts, _ = probing_set(list(read_rollouts(folder / "probing_set.jsonl")), 0.0, 2)
    settings = CreditSettings()
    table = {}
    for name in names:
        method = build_method(ARMS[name]["method"], settings)
        if not (method.needs_scores or method.needs_labels):
            continue
        chosen = resolve_heads(str(wrong if ARMS[name].get("heads") else heads), model.config).heads
        scores = [row.mean(axis=1) for row in score_steps(model, tokenizer, rollouts, chosen, batch_size=32)]
        table[name] = credit_intervals(rollouts, scores, method)
    return table


def credit_intervals(rollouts: list[Rollout], scores: list[Any], method: Any) -> dict[str, Interval]:
    """Shares of tokens touched, with intervals over problems."""
    counted = credit_accuracy(method, pack_steps(rollouts, scores))
    columns = list(zip(*(counted.touched[cell].tolist() for cell in CREDIT_CELLS), strict=True))
    totals = list(zip(*(counted.total[cell].tolist() for cell in CREDIT_CELLS), strict=True))
    intervals = ratio_intervals(columns, totals, [r.problem_id for r in rollouts])
    return {cell: i for cell, i in zip(CREDIT_CELLS, intervals, strict=True) if i is not None}


def as_json(row: ComparisonRow) -> dict[str, Any]:
    """Return a comparison row as JSON values."""
    dump = {m: i.model_dump() if i is not None else None for m, i in row.values.items()}
    return {
        "runs": row.runs,
        "values": dump,
        "differences": {m: i.model_dump() if i is not None else None for m, i in row.differences.items()},
        "response_tokens_saved": None if row.response_tokens_saved is None else row.response_tokens_saved.model_dump(),
        "accuracy_by_difficulty": {d: i.model_dump() for d, i in row.accuracy_by_difficulty.items()},
    }


def render(
    rows: list[ComparisonRow], against_tlmre: list[ComparisonRow], credit: dict[str, dict[str, Interval]]
) -> str:
    """Return the tables in Markdown."""

    def cell(interval: Interval | None, digits: int, scale: float = 1.0) -> str:
        return "–" if interval is None else interval.format(digits, scale)

    levels = list(rows[0].accuracy_by_difficulty)
    lines = [
        "| arm | runs | accuracy, % | tokens | redundant steps | essential steps | "
        + " | ".join(f"d={level}, %" for level in levels)
        + " |",
        "|---" * (6 + len(levels)) + "|",
    ]
    for row in rows:
        values = row.values
        lines.append(
            f"| {row.name} | {row.runs} | {cell(values['accuracy'], 1, 100)} | {cell(values['response_tokens'], 1)} | "
            f"{cell(values['redundant_steps'], 2)} | {cell(values['essential_steps'], 2)} | "
            + " | ".join(f"{row.accuracy_by_difficulty[level].value * 100:.1f}" for level in levels)
            + " |"
        )
    if against_tlmre:
        lines += [
            "",
            "| difference from tlmre | accuracy, points | tokens | redundant steps | essential steps |",
            "|---|---|---|---|---|",
        ]
        for row in against_tlmre[1:]:
            difference = row.differences
            lines.append(
                f"| {row.name} | {cell(difference['accuracy'], 1, 100)} | {cell(difference['response_tokens'], 1)} | "
                f"{cell(difference['redundant_steps'], 2)} | {cell(difference['essential_steps'], 2)} |"
            )
    if credit:
        lines += ["", "| share of tokens touched, % | " + " | ".join(CREDIT_CELLS) + " |", "|---|---|---|---|---|"]
        for name, cells in credit.items():
            lines.append(f"| {name} | " + " | ".join(cell(cells.get(c), 0, 100) for c in CREDIT_CELLS) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
