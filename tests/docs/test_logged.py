"""docs/logged.md names what training logs, no more and no less."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from logged_names import documented_names

from attnpo.credit import METHODS, build_method
from attnpo.credit.layout import lay_out
from attnpo.credit.replay import replay
from attnpo.rollouts import Rollout, Step
from attnpo.segmentation import PhraseFamilies
from attnpo.training import budget, trainer
from attnpo.training.run_meter import RunMeter


def response(sample: int, correct: bool) -> Rollout:
    """Return one of an essential and a redundant step of three tokens each, `</think>`, and an answer of two."""
    steps = (Step((0, 0), (0, 3), label="essential"), Step((0, 0), (3, 6), label="redundant"))
    ids = tuple(range(10 + sample))
    return Rollout("a", "1 + 1?", "2", sample, ids, "", True, correct, steps=steps, answer_tokens=(7, 9))


def counted_by_a_meter() -> set[str]:
    rollouts = [response(0, True), response(1, True), response(2, False), response(3, True)]
    scores = [np.array([0.5, 0.01], dtype=np.float32)] * 4
    found = replay(build_method("attnpo"), rollouts, 4, scores=scores, progress_step=10**6)
    meter = RunMeter(PhraseFamilies.load())
    meter.add_reading(1, 2)
    meter.add_responses(rollouts, lay_out(rollouts, [0] * 4, range(4)))
    meter.add_verified(rollouts)
    meter.add_groups(found.groups, found.rewards_PG, 1.0)
    meter.add_mass(found.groups, found.steps.advantages_B.view(1, 4), 1.0)
    meter.add_factors(found.steps, found.gamma_BK)
    meter.add_credit(found.steps, found.advantages_BT, found.step_index_BT)
    return set(meter.flush(lambda totals: totals))


def counted_in_passing() -> set[str]:
    """Names that the trainer and a round's log count, as their source has them."""
    sources = [path.read_text(encoding="utf-8") for path in Path(trainer.__file__).parent.glob("*.py")]
    names = {name for source in sources for name in re.findall(r'meter\.count\(\s*"(\w+)"', source)}
    assert len(names) == 4
    return names


STATES: dict[str, Callable[[Any], object]] = {
    "adaptthink": lambda method: setattr(method, "reference", {"a": 0.5}),
    "decs": lambda method: setattr(method, "state", replace(method.state, share=0.5)),
    "gr3": lambda method: None,
    "laser_d": lambda method: setattr(method, "state", replace(method.state, targets=(1, 2, 3))),
    "laser_de": lambda method: setattr(method, "state", replace(method.state, targets=(1, 2, 3))),
    "leash": lambda method: None,
}
"""Method → what gives it a state of which it logs all that it ever does."""


def of_methods() -> set[str]:
    assert {name for name, method in METHODS.items() if method.overrides("metrics")} == STATES.keys()
    names = {fact for method in METHODS.values() for fact in method.logged_facts}
    for name, give_state in STATES.items():
        method = build_method(name)
        give_state(method)
        names |= method.metrics().keys()
    return names


def test_the_tables_hold_every_name_that_is_logged_and_no_other():
    own = {"skipped_updates", *budget.TokenCount().metrics()}
    logged = counted_by_a_meter() | counted_in_passing() | of_methods() | own
    assert {f"attnpo/{name}" for name in logged} == documented_names()
