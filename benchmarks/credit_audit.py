"""How does each method's credit treat essential and redundant steps, and how near does it come to the oracle's?

    python benchmarks/credit_audit.py                                  # minutes on one CPU core, most of it for probes
    python benchmarks/credit_audit.py --rows rloo tlmre attnpo attnpo-oracle --num_problems 80     # half a minute

No training: every row of `attnpo reproduce` gives credit to the same responses of the untrained model, 8 to each
problem, as it would at one optimizer step (`--progress_step`), and the final advantages of their tokens are held
against the truth. Methods that draw responses of their own (forced openings, early exits) are audited on those;
methods that probe do so; both on the first `--num_probed` problems. What a step earned is the mean advantage of its
tokens; what it earned less what the first row gave the same step is told beside it. Intervals are bootstraps over
problems.

Writes credit_audit.json and credit_audit.md into the output folder.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from audit_responses import Responses, World, open_world
from audit_table import render

from attnpo.cli.console import console, quiet_libraries
from attnpo.credit import build_method
from attnpo.credit.agreement import credit_moments, credit_ranking
from attnpo.credit.audit import VERDICTS, audit_credit, step_mean_advantages
from attnpo.credit.batches import ESSENTIAL, REDUNDANT
from attnpo.credit.methods import Method
from attnpo.credit.replay import Replay, replay
from attnpo.credit.settings import BarSettings, CreditSettings
from attnpo.progress import bar, console_progress
from attnpo.statistics import Interval, bootstrap_interval, ratio_intervals
from attnpo.study.suite import Row, load_suite

GROUP = 8


def main() -> None:
    """Audit every row and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output_dir", type=Path, default=Path("runs/credit_audit"))
    parser.add_argument("--heads", default="2.3,2.1", help="head set of the methods that read attention")
    parser.add_argument("--wrong_heads", default=None, help="head set of the control; its row is left out if absent")
    parser.add_argument("--suite_file", type=Path, default=None, help="rows; those of `attnpo reproduce` if absent")
    parser.add_argument("--rows", nargs="+", default=None, help="only these rows")
    parser.add_argument("--num_problems", type=int, default=200)
    parser.add_argument("--num_probed", type=int, default=24, help="problems for methods that draw or probe")
    parser.add_argument("--max_length", type=int, default=256, help="limit on a response in tokens")
    parser.add_argument("--progress_step", type=int, default=16, help="optimizer step t that credit is given at")
    parser.add_argument("--schedule_steps", type=int, default=8, help="T of AttnPO's schedule")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    quiet_libraries()
    start = time.perf_counter()
    suite = load_suite(arguments.suite_file)
    rows = suite.choose("all", arguments.rows or ())
    found: dict[str, dict[str, Any]] = {}
    left_out: dict[str, str] = {}
    with console_progress(console) as progress:
        limits = (arguments.num_problems, GROUP, arguments.max_length, arguments.seed)
        world = open_world(arguments.output_dir, *limits, progress)
        audit = Audit(world, arguments)
        with bar(progress, "auditing", len(rows)) as advance:
            for row in rows:
                reason = audit.reason_to_leave_out(row)
                if reason:
                    left_out[row.name] = reason
                else:
                    found[row.name] = audit.row(row)
                advance(1, row.name)
    summary = {
        "settings": {name: str(value) for name, value in vars(arguments).items()},
        "responses": world.base.describe(),
        "seconds": time.perf_counter() - start,
        "rows": found,
        "left_out": left_out,
    }
    text = render(found, left_out, world.base.describe(), audit.first[0] if audit.first else "")
    (arguments.output_dir / "credit_audit.json").write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
    (arguments.output_dir / "credit_audit.md").write_text(text, encoding="utf-8")
    console.print(text, markup=False, soft_wrap=True)
    console.print(f"{summary['seconds']:.0f} seconds; written to {arguments.output_dir / 'credit_audit.md'}")


@dataclass
class Audit:
    """Gives the credit of rows to responses and measures it."""

    world: World
    arguments: argparse.Namespace
    first: tuple[str, Replay] | None = None
    """The first row on the base responses, which the others on these are told less than."""

    def reason_to_leave_out(self, row: Row) -> str:
        """Return why a row cannot be audited; empty if it can."""
        if row.heads == "wrong" and self.arguments.wrong_heads is None:
            return "no --wrong_heads given"
        method = self._method(row.method, row.settings)
        if method.signal != "heads":
            return f"its step signal is {method.signal}"
        if method.needs_scores:
            heads = self.world.heads(self.arguments.wrong_heads if row.heads == "wrong" else self.arguments.heads).heads
            wanted = method.settings.num_heads if isinstance(method.settings, BarSettings) else None
            if wanted is not None and wanted > len(heads):
                return f"the head set holds {len(heads)} heads"
        return ""

    def row(self, row: Row) -> dict[str, Any]:
        """Return everything measured of a row, as JSON values."""
        start = time.perf_counter()
        method = self._method(row.method, row.settings)
        method.check(self.arguments.max_length, GROUP, "exact")
        drawn = method.overrides("sample", "probe") or self.world.asks_otherwise(method, self.arguments.progress_step)
        world = self.world.first(self.arguments.num_probed) if drawn else self.world
        responses, facts = world.responses_of(method, self.arguments.progress_step)
        credit = self._replay(method, row, responses, facts)
        oracle = self._replay(self._method("oracle", {}), row, responses, {})
        base = responses is self.world.base
        if base and self.first is None:
            self.first = row.name, credit
        measured = measure(responses, credit, oracle, self.first[1] if base and self.first else None)
        measured["own_responses"] = responses is not world.base
        measured["problems"] = len(responses.rollouts) // GROUP
        measured["seconds"] = time.perf_counter() - start
        return measured

    def _method(self, name: str, settings: Mapping[str, Any]) -> Method:
        settings = dict(settings)
        method = build_method(name, settings)
        if isinstance(method.settings, CreditSettings) and "schedule_steps" not in settings:
            method = build_method(name, settings | {"schedule_steps": self.arguments.schedule_steps})
        return method

    def _replay(self, method: Method, row: Row, responses: Responses, facts: Mapping[str, Sequence[float]]) -> Replay:
        world = self.world
        scores = None
        if method.needs_scores:
            wanted = self.arguments.wrong_heads if row.heads == "wrong" else self.arguments.heads
            scores = world.scores(responses, method.select_heads(world.heads(wanted).heads))
        return replay(
            method,
            responses.rollouts,
            GROUP,
            scores=scores,
            progress_step=self.arguments.progress_step,
            max_length=self.arguments.max_length,
            facts=facts,
            policy=world.policy(responses.prompt_ids, responses.groups(GROUP), extra=True),
            prompt_ids=responses.prompt_ids,
        )


def measure(responses: Responses, credit: Replay, oracle: Replay, first: Replay | None = None) -> dict[str, Any]:
    """Return treatment, less the first row's too, ranking, agreement with the oracle; with intervals over problems."""
    labels_BK, correct_B = credit.steps.labels_BK, credit.steps.correct_B
    assert labels_BK is not None
    problems = [rollout.problem_id for rollout in responses.rollouts]
    audits = audit_credit(credit.advantages_BT, credit.step_index_BT, labels_BK, responses.marks)
    firsts = {} if first is None else audit_credit(first.advantages_BT, first.step_index_BT, labels_BK, responses.marks)
    parts_B = {"all": torch.ones_like(correct_B), VERDICTS[0]: correct_B, VERDICTS[1]: ~correct_B}
    found: dict[str, Any] = {
        "accuracy": correct_B.float().mean().item(),
        "steps": {
            part: {kind: int((audit.steps * rows_B).sum()) for kind, audit in audits.items()}
            for part, rows_B in parts_B.items()
        },
    }
    shares: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
    for part, rows_B in parts_B.items():
        for kind, audit in audits.items():
            for measure in ("punished", "rewarded", "advantage"):
                place = f"{part}/{kind}"
                shares[f"{place}/{measure}"] = (getattr(audit, measure) * rows_B, audit.steps * rows_B)
                shares[f"{place}/token_{measure}"] = (
                    getattr(audit, f"token_{measure}") * rows_B,
                    audit.tokens * rows_B,
                )
        for kind, audit in firsts.items():
            less_B = audits[kind].advantage - audit.advantage
            shares[f"{part}/{kind}/advantage_less_first"] = (less_B * rows_B, audit.steps * rows_B)
    mine_BK, tokens_BK = step_mean_advantages(credit.advantages_BT, credit.step_index_BT, labels_BK.shape[1])
    true_BK, _ = step_mean_advantages(oracle.advantages_BT, oracle.step_index_BT, labels_BK.shape[1])
    ranking = credit_ranking(mine_BK, labels_BK, tokens_BK > 0)
    for part, rows_B in parts_B.items():
        pairs = ranking.pairs * rows_B
        shares |= {f"{part}/pairs/{name}": (getattr(ranking, name) * rows_B, pairs) for name in ("right", "wrong")}
    found |= ratios(shares, problems)
    decided_BK = (tokens_BK > 0) & ((labels_BK == ESSENTIAL) | (labels_BK == REDUNDANT))
    for name, within in (("oracle", False), ("oracle_within_response", True)):
        interval = credit_moments(mine_BK, true_BK, decided_BK, within).interval(problems)
        found[f"correlation/{name}"] = None if interval is None else interval.model_dump()
    found["contrast"] = contrast(credit, labels_BK, correct_B, problems)
    return found


def contrast(credit: Replay, labels_BK: torch.Tensor, correct_B: torch.Tensor, problems: Sequence[str]) -> Any:
    """Return how much more credit an essential token of a correct response got than a redundant one.

    In units of the mean size of the advantage of correct responses' tokens, so that methods with other scales compare.
    """
    place_BT = credit.step_index_BT + 1
    label_BT = torch.cat([torch.zeros(len(labels_BK), 1, dtype=torch.long), labels_BK], dim=1).gather(1, place_BT)
    right_B1 = correct_B[:, None]
    columns = []
    for mask_BT, values_BT in (
        (label_BT == ESSENTIAL, credit.advantages_BT),
        (label_BT == REDUNDANT, credit.advantages_BT),
        (place_BT > 0, credit.advantages_BT.abs()),
    ):
        mask_BT = mask_BT & right_B1
        columns += [(values_BT * mask_BT).sum(dim=1), mask_BT.sum(dim=1)]
    order = {name: row for row, name in enumerate(dict.fromkeys(problems))}
    sums_C6 = torch.zeros(len(order), 6, dtype=torch.float64)
    sums_C6.index_add_(0, torch.tensor([order[p] for p in problems]), torch.stack(columns, dim=1).double())

    def statistic(weights_RC: Any) -> Any:
        e, n_e, r, n_r, a, n_a = (weights_RC @ sums_C6.numpy()).T
        with np.errstate(invalid="ignore", divide="ignore"):
            return (e / n_e - r / n_r) / (a / n_a)

    if not np.isfinite(statistic(np.ones((1, len(order))))[0]):  # no credit at all
        return None
    return bootstrap_interval(statistic, len(order)).model_dump()


def ratios(parts: Mapping[str, tuple[torch.Tensor, torch.Tensor]], problems: Sequence[str]) -> dict[str, Any]:
    """Return pooled ratios with intervals over problems; None where there is nothing to divide by."""
    tops = torch.stack([top for top, _ in parts.values()], dim=1).double().numpy()
    bottoms = torch.stack([bottom for _, bottom in parts.values()], dim=1).double().numpy()
    found: list[Interval | None] = ratio_intervals(tops, bottoms, problems)
    return {name: None if i is None else i.model_dump() for name, i in zip(parts, found, strict=True)}


if __name__ == "__main__":
    main()
