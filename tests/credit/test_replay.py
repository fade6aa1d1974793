from __future__ import annotations

from dataclasses import replace
from typing import cast

import numpy as np
import pytest
import torch
from hypotheses_tried import HYPOTHESES, SETTINGS

from attnpo.credit import Policy, Probed, StepBatch, build_method, step_gamma, tlmre_rewards
from attnpo.credit.advantages import rloo_advantages
from attnpo.credit.methods import METHODS, method_class
from attnpo.credit.methods.base import Method
from attnpo.credit.replay import replay
from attnpo.errors import DataError
from attnpo.rollouts import Rollout, Step


def response(problem: str, sample: int, correct: bool, lengths: list[int], answer: int = 4) -> Rollout:
    """Steps of the given lengths, then `</think>`, the answer and an end token."""
    ends = np.cumsum(lengths).tolist()
    steps = tuple(
        Step((0, 0), (end - n, end), label="redundant" if i % 2 else "essential")
        for i, (end, n) in enumerate(zip(ends, lengths, strict=True))
    )
    thought = ends[-1] + 1
    ids = tuple(range(thought + answer + 1))
    return Rollout(
        problem,
        [{"role": "user", "content": "Sum?"}],
        "1",
        sample,
        ids,
        "",
        True,
        correct,
        steps=steps,
        answer_tokens=(thought, thought + answer),
    )


GROUPS = [
    response("a", 0, True, [5, 3]),
    response("a", 1, True, [5, 3, 6, 2]),
    response("b", 0, False, [2]),
    response("b", 1, True, [4, 4, 4]),
]
SCORES = [np.array([0.5, 0.01]), np.array([0.4, 0.02, 0.3, 0.5]), np.array([1.0]), np.array([0.01, 0.5, 0.01])]


def test_attnpo_by_its_equations():
    found = replay(build_method("attnpo"), GROUPS, 2, scores=SCORES, progress_step=10**6)
    correct, lengths = torch.tensor([[True, True], [False, True]]), torch.tensor([[14, 22], [8, 18]])
    rewards = tlmre_rewards(correct, lengths, 0.2)
    assert torch.equal(found.rewards_PG, rewards)
    assert torch.equal(found.steps.advantages_B, rloo_advantages(rewards).flatten())
    assert found.steps.pass_rate_B.tolist() == [1, 1, 0.5, 0.5]
    assert torch.equal(found.gamma_BK, step_gamma(found.steps.scores_BK, found.steps, build_method("attnpo").settings))
    a, gamma = found.steps.advantages_B, found.gamma_BK
    assert found.advantages_BT[0, :14].tolist() == pytest.approx(
        [float(a[0] * gamma[0, 0])] * 5 + [float(a[0] * gamma[0, 1])] * 3 + [float(a[0])] * 6
    )
    assert gamma[0, 1] < 1  # attenuated: A > 0, little attention
    assert gamma[1, 0] == 0  # spared: A < 0, much attention
    assert not found.advantages_BT[0, 14:].any()
    assert found.step_index_BT[1, :17].tolist() == [0] * 5 + [1] * 3 + [2] * 6 + [3] * 2 + [-1]


@pytest.mark.parametrize(
    "name",
    [
        *sorted(name for name, m in METHODS.items() if not m.overrides("sample", "probe")),
        *(name for name in HYPOTHESES if not method_class(name).overrides("sample", "probe")),
    ],
)
def test_every_method_that_neither_draws_nor_probes_gives_every_token_credit(name):
    method = build_method(name, SETTINGS.get(name, {}))
    found = replay(method, GROUPS, 2, scores=SCORES, progress_step=3, max_length=64)
    assert found.advantages_BT.shape == (4, 22)
    assert found.advantages_BT.isfinite().all()
    assert found.rewards_PG.shape == (2, 2)


class Probing(Method):
    name = "probing"
    paper = source = formula = "test"

    def probe(self, sampled, policy):
        assert sampled.prompt_ids == [(1, 2)] * 4
        steps = {"worth": [[float(k) for k in range(len(r.steps))] for r in sampled.rollouts]}
        return Probed(facts={"index": [0.0, 1.0, 2.0, 3.0]}, step_values=steps)

    def group_facts(self, rewards_PG, groups):
        return {"doubled": 2 * groups.facts["index"]}

    def gamma(self, steps: StepBatch):
        return steps.step_values["worth"] + steps.facts["doubled"][:, None] + steps.facts["drawn"][:, None]


def test_a_method_that_probes_gets_its_facts_back():
    policy = cast("Policy", object())
    options = {"facts": {"drawn": [100.0] * 4}, "prompt_ids": [(1, 2)] * 4}
    found = replay(Probing(), GROUPS, 2, policy=policy, **options)
    assert found.gamma_BK[1].tolist() == [102, 103, 104, 105]
    assert found.gamma_BK[3].tolist() == [106, 107, 108, 106]
    assert found.groups.facts["drawn"].shape == (2, 2)
    assert found.steps.prompt_lengths_B.tolist() == [2] * 4
    with pytest.raises(DataError, match="probing: probes the policy; give one"):
        replay(Probing(), GROUPS, 2, **options)


def test_incomplete_groups_are_refused():
    with pytest.raises(DataError, match="3 responses are not whole groups of 2"):
        replay(build_method("rloo"), GROUPS[:3], 2)


def test_a_method_without_heads_needs_no_scores():
    found = replay(build_method("tlmre"), [replace(r, correct=True) for r in GROUPS], 2)
    assert torch.equal(found.gamma_BK, torch.ones(4, 4))
