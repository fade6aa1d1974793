"""What a `Round` takes, without TRL and without a model."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from fake_policy import world_tokenizer

from attnpo.credit import Ask, Method, Policy
from attnpo.segmentation import PhraseFamilies
from attnpo.training.dropped import DroppedLog
from attnpo.training.overlap import BackgroundChecks
from attnpo.training.round_log import RoundLog
from attnpo.training.rounds import RoundParts
from attnpo.training.run_meter import RunMeter


class Noting(Method):
    """Notes which group each response belongs to, its number there, and how long it is."""

    name = "noting"

    def ask(self, prompt, group_id, sample, progress_step):
        return Ask(prompt, facts={"group": group_id, "number": sample})

    def facts(self, rollout, ask):
        return {"length": rollout.n_tokens, **ask.facts}


def round_parts(policy: Policy, folder: Path, method: Method, group_size: int, labeler: Any = None) -> Any:
    """Return the parts of one process's rounds; files go into `folder`.

    What was asked for stands in `opened`, (group ids, extra) for each time that the policy was lent, and in `reasons`,
    why responses were dropped.
    """
    opened: list[tuple[list[int], bool]] = []
    reasons: list[str] = []

    @contextmanager
    def open_policy(prompt_ids, group_ids, *, extra=False):
        opened.append((list(group_ids), extra))
        yield policy

    checks = BackgroundChecks(policy.segment, policy.verify, lambda: 0)
    meter = RunMeter(PhraseFamilies.load())
    dropped = DroppedLog(folder / "dropped.jsonl")
    made: Any = RoundParts(
        method=method,
        checks=checks,
        in_background=True,
        opens_think=policy.opens_think,
        verdicts=lambda completions, solutions: checks.verdicts(completions, solutions)[0],
        labeler=labeler,
        meter=meter,
        log=RoundLog(meter, dropped, folder / "rollouts.jsonl", 0, reasons.extend),
        policy=open_policy,
        group_size=group_size,
        max_length=64,
        solution_column="solution",
        opening="",
        ends_itself=lambda ids: ids[-1] == world_tokenizer().eos_token_id,
        gather=lambda tensor: tensor,
        process=0,
        device=torch.device("cpu"),
    )
    made.opened, made.reasons = opened, reasons
    return made
