"""A generation batch by itself: no TRL, no model, a policy that writes what the test says."""

from __future__ import annotations

import pytest
import torch
from fake_policy import QUESTION, FakePolicy, world_tokenizer
from round_parts import Noting, round_parts

from attnpo.credit import Continuation, Probed, build_method
from attnpo.rollouts import read_rollouts
from attnpo.sampling import render_prompt
from attnpo.tinyworld import label_steps
from attnpo.training.rounds import Round, plain_verdicts, token_credit

ROWS = [{"prompt": QUESTION, "solution": "3", "problem_id": "coins"}] * 4
TEXTS = ["So Kim has 3.\n\nRight.</think>3", "So 4.</think>4", "So 3.</think>3", "So 4"]


class Probing(Noting):
    """Probes, too, and a response's reward grows by its number."""

    def probe(self, sampled, policy):
        assert [r.correct for r in sampled.rollouts] == [True, False, True, False]
        drawn = policy.draw([Continuation(row, 5, r.response_ids[:2]) for row, r in enumerate(sampled.rollouts)])
        return Probed(facts={"probed": [len(response.ids) for response in drawn]})

    def rewards(self, groups):
        self.groups = groups
        return super().rewards(groups) + groups.facts["number"]


@pytest.fixture
def fake():
    return FakePolicy(write=lambda wanted: "3" if wanted.prefix_ids else TEXTS[wanted.sample])


@pytest.fixture
def parts(fake, tmp_path):
    return round_parts(fake.policy, tmp_path, Probing(), 4, label_steps)


def test_a_round_from_the_question_to_the_credit_of_each_token(parts, fake):
    round_ = Round(parts, ROWS, range(8, 12), progress_step=5)
    prompt_ids = [render_prompt(world_tokenizer(), row["prompt"]) for row in round_.rows]
    responses = round_.draw(fake.policy, prompt_ids, limit=64)
    assert [item.sample for item in fake.drawn] == [0, 1, 2, 3]
    round_.take(prompt_ids, [response.ids for response in responses])

    width = max(len(ids) for ids in round_.response_ids)
    round_.segment(width)
    assert [r.sample for r in round_.rollouts] == [0, 1, 2, 3]
    assert [len(r.steps) for r in round_.rollouts] == [2, 1, 1, 1]
    assert parts.opened == [([2, 2, 2, 2], True)]
    assert round_.tensors["step_index"].shape == (4, width)
    assert round_.tensors["fact/probed"].tolist() == [2.0] * 4

    verdicts = torch.tensor([[float(r.correct)] for r in round_.rollouts])
    groups = round_.gather(verdicts)
    assert groups.correct_PG.tolist() == [[True, False, True, False]]
    assert groups.answered_PG.tolist() == [[True, True, True, False]]
    assert groups.finished_PG.all()
    assert groups.group_ids_P.tolist() == [2]
    assert groups.facts["length"].tolist() == groups.lengths_PG.float().tolist()
    assert set(groups.facts) == {"length", "group", "number", "probed"}

    advantages_PG = round_.judge(groups, more_PG=torch.tensor([[0.0, 0.0, 0.0, 1.0]]))
    rewards = [1 + 0, 0 + 1, 1 + 2, 0 + 3 + 1]
    expected = [reward - (sum(rewards) - reward) / 3 for reward in rewards]
    assert advantages_PG[0].tolist() == pytest.approx(expected)
    advantages_BT = token_credit(parts.method, parts.meter, round_.tensors, advantages_PG[0], None, 5)
    assert advantages_BT[:, 0].tolist() == pytest.approx(expected)
    means = parts.meter.flush(lambda totals: totals)
    assert means["accuracy"] == 0.5
    assert means["reward"] == sum(rewards) / 4


def test_a_process_keeps_its_own_part_of_what_all_gathered(parts):
    parts.method, parts.process = build_method("rloo"), 1
    round_ = Round(parts, ROWS, range(4, 8), progress_step=0)
    tokenizer = world_tokenizer()
    prompt_ids = [render_prompt(tokenizer, row["prompt"]) for row in round_.rows]
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in TEXTS]
    round_.take(prompt_ids, ids)
    round_.segment(max(map(len, ids)))
    round_.verify(round_.solutions)
    parts.gather = lambda tensor: torch.cat([tensor, tensor])  # the other process has seen the same
    verdicts = torch.tensor([[0.0]] * 4 + [[float(r.correct)] for r in round_.rollouts])
    advantages_PG = round_.judge(round_.gather(verdicts))
    assert advantages_PG[0].tolist() == [0, 0, 0, 0]
    assert round_.tensors["advantages"].tolist() == advantages_PG[1].tolist()
    assert round_.tensors["pass_rate"].tolist() == [0.5] * 4


def test_steps_of_all_processes_where_rewards_read_them(parts):
    settings = {"pressure": "redundant", "mask_verdict": False, "to_go": False}
    parts.method, parts.process = build_method("benchmarks.hypotheses.split:SplitOracle", settings), 1
    round_ = Round(parts, ROWS, range(4, 8), progress_step=0)
    tokenizer = world_tokenizer()
    prompt_ids = [render_prompt(tokenizer, row["prompt"]) for row in round_.rows]
    texts = ["So Kim has 3.\n\nKim has 3.</think>3", *TEXTS[1:]]
    ids = [[*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id] for text in texts]
    round_.take(prompt_ids, ids)
    round_.segment(max(map(len, ids)))
    round_.verify(round_.solutions)
    num_steps = round_.tensors["step_mask"].shape[1]

    def gather(tensor):  # the other process has seen the same, and one response of more steps
        return torch.cat([tensor + 2, tensor]) if tensor.shape == (1,) else torch.cat([tensor, tensor])

    parts.gather = gather
    groups = round_.gather(torch.tensor([[float(r.correct)] for r in round_.rollouts] * 2))
    steps = groups.steps
    assert steps.step_mask_BK.shape == (8, num_steps + 2)
    assert steps.owned_BK[:4].equal(steps.owned_BK[4:])
    assert steps.owned_BK[4:, :num_steps].equal(round_.tensors["step_mask"])
    assert not steps.owned_BK[:, num_steps:].any()
    assert steps.pass_rate_B.tolist() == [0.5] * 8
    round_.judge(groups)
    counted = [sum(s.tokens[1] - s.tokens[0] for s in r.steps if s.label == "redundant") for r in round_.rollouts]
    assert counted[0] > counted[2] == 0
    first, third = round_.tensors["advantages"][0], round_.tensors["advantages"][2]
    assert first < third  # both right; what is redundant costs


def test_a_finished_round_is_written_down_and_other_rewards_count_by_their_weight(parts, fake):
    round_ = Round(parts, ROWS, range(8, 12), progress_step=5)
    prompt_ids = [render_prompt(world_tokenizer(), row["prompt"]) for row in round_.rows]
    round_.take(prompt_ids, [response.ids for response in round_.draw(fake.policy, prompt_ids, limit=64)])
    round_.segment(max(map(len, round_.response_ids)))
    rewards_BF = torch.tensor([[1.0, 3.0], [0.0, 2.0], [1.0, 1.0], [0.0, float("nan")]])
    round_.finish(rewards_BF, torch.tensor([7.0, 0.5]))
    rewards = [1 + 0 + 1.5, 0 + 1 + 1.0, 1 + 2 + 0.5, 0 + 3 + 0.0]
    expected = [reward - (sum(rewards) - reward) / 3 for reward in rewards]
    assert round_.tensors["advantages"].tolist() == pytest.approx(expected)
    assert parts.reasons == [None]
    kept = list(read_rollouts(parts.log.rollouts_path))
    assert [(r.correct, r.pass_rate) for r in kept] == [(True, 0.5), (False, 0.5), (True, 0.5), (False, 0.5)]


def test_verdicts_outside_a_round_need_none(parts):
    tokenizer = world_tokenizer()
    ids = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in TEXTS[:2]]
    prompts = [render_prompt(tokenizer, QUESTION)] * 2
    assert plain_verdicts(parts, prompts, ids, ["3", "3"]) == [1.0, 0.0]
