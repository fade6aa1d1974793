"""Groups without advantage are drawn again from other problems."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from fake_policy import QUESTION, FakePolicy, world_tokenizer
from round_parts import Noting, round_parts
from small_training import config

from attnpo.errors import ConfigError
from attnpo.rollouts import read_rollouts
from attnpo.sampling import render_prompt
from attnpo.training import policy_sampler
from attnpo.training.policy_sampler import PolicySampler
from attnpo.training.resampling import settle
from attnpo.training.rounds import Round, problem_key

ALTERED = {"role": "user", "content": "Kim has 3 coins. How many?"}
FAST = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128, "heads": None}


class Altering(Noting):
    """Asks in words of its own."""

    def ask(self, prompt, group_id, sample, progress_step):
        return replace(super().ask(prompt, group_id, sample, progress_step), prompt=[*prompt[:-1], ALTERED])


def settled(tmp_path, solutions, others, attempts):
    """Settle a round of groups of two: the first sample answers 3, the second 4."""
    fake = FakePolicy(write=lambda item: "So 3.</think>3" if item.sample == 0 else "So 4, no, 4.</think>4")
    policy = fake.policy
    parts = round_parts(policy, tmp_path, Noting(), 2)
    rows = [{"prompt": QUESTION, "solution": s, "problem_id": f"first-{s}"} for s in solutions for _ in range(2)]
    round_ = Round(parts, rows, range(10, 10 + len(rows)), progress_step=5)
    asked = []

    def draw(drawn, attempt):
        asked.append((attempt, list(drawn.group_ids)))
        prompts = [render_prompt(world_tokenizer(), row["prompt"]) for row in drawn.rows]
        drawn.take(prompts, [response.ids for response in drawn.draw(policy, prompts, 64)])

    def other_row(group, attempt, taken):
        assert {f"first-{s}" for s in solutions} <= taken
        if attempt > len(others):
            return None
        return {"prompt": QUESTION, "solution": others[attempt - 1], "problem_id": f"{group}-{attempt}"}

    return round_, settle(round_, draw, other_row, attempts), asked


def test_weak_groups_are_replaced_and_the_others_stay(tmp_path):
    # 3 is answered once in two: an advantage. 8 never.
    round_, again, asked = settled(tmp_path, ["3", "8", "3", "8"], ["8", "4"], attempts=5)
    assert [row["problem_id"] for row in round_.rows[::2]] == ["first-3", "6-2", "first-3", "8-2"]
    assert [row["solution"] for row in round_.rows[::2]] == ["3", "4", "3", "4"]
    assert again.groups == 4
    # both groups were drawn three times, and leave two behind
    assert again.tokens == 4 * sum(map(len, round_.response_ids[:2]))
    assert round_.keys == [row["problem_id"] for row in round_.rows]
    assert asked == [(0, [5, 5, 6, 6, 7, 7, 8, 8]), (1, [6, 6, 8, 8]), (2, [6, 6, 8, 8])]
    assert round_.row_ids == list(range(10, 18))
    assert round_.facts["group"] == [5, 5, 6, 6, 7, 7, 8, 8]
    assert len(round_.drawn) == len(round_.response_ids) == 8
    # the round goes on as any other
    round_.segment(max(map(len, round_.response_ids)))
    round_.verify(round_.solutions)
    assert [bool(r.correct) for r in round_.rollouts] == [True, False, False, True, True, False, False, True]
    assert round_.groups_without_advantage() == []


def test_a_group_that_never_carries_an_advantage_stays_as_it_was(tmp_path):
    round_, again, asked = settled(tmp_path, ["8", "3"], ["8"] * 3, attempts=9)  # after three no problem is left
    assert [row["problem_id"] for row in round_.rows[::2]] == ["first-8", "first-3"]
    assert (again.groups, again.tokens) == (3, 3 * sum(map(len, round_.response_ids[:2])))
    assert [attempt for attempt, _ in asked] == [0, 1, 2, 3]


def test_nothing_is_drawn_again_where_all_groups_teach(tmp_path):
    _, again, asked = settled(tmp_path, ["3", "4"], [], attempts=9)
    assert (again.groups, again.tokens) == (0, 0)
    assert len(asked) == 1


def test_a_problem_is_known_by_what_the_data_set_asks(tmp_path):
    rows = [{"prompt": QUESTION, "solution": "8"}] * 2
    parts = round_parts(FakePolicy().policy, tmp_path, Altering(), 2)
    round_ = Round(parts, rows, range(2), progress_step=0)
    assert round_.rows[0]["prompt"][-1] == ALTERED
    seen = []

    def draw(drawn, attempt):
        ids = world_tokenizer()("So 3.</think>3", add_special_tokens=False)["input_ids"]
        drawn.take([render_prompt(world_tokenizer(), row["prompt"]) for row in drawn.rows], [ids, ids])

    settle(round_, draw, lambda group, attempt, taken: seen.append(set(taken)), 1)
    assert seen == [{problem_key(rows[0])}]


def test_parameters_are_put_together_once_a_step(make_trainer, monkeypatch):
    """Else processes that draw again unequally often would wait for each other."""
    entered, drawn = [], []
    plain, draws = policy_sampler.model_to_sample, PolicySampler.draw_round
    monkeypatch.setattr(policy_sampler, "model_to_sample", lambda *args: entered.append(1) or plain(*args))
    monkeypatch.setattr(PolicySampler, "draw_round", lambda *args, **more: drawn.append(1) or draws(*args, **more))
    trainer = make_trainer(method="grpo", resample_groups=6, **FAST)
    trainer.credit.rewards = lambda groups: torch.zeros_like(groups.correct_PG, dtype=torch.float32)  # nothing teaches
    trainer.train()
    assert len(drawn) == 7
    assert len(entered) == 1


def test_inside_a_run(make_trainer):
    settings = {"method": "grpo-std", "save_rollouts": True, "max_steps": 2, "logging_steps": 1, **FAST}
    trainer = make_trainer(resample_groups=6, **settings)
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    groups = [rollouts[start : start + 4] for start in range(0, len(rollouts), 4)]
    assert all(len({r.problem_id for r in group}) == 1 for group in groups)
    assert all(len({group[0].problem_id for group in groups[step : step + 2]}) == 2 for step in (0, 2))
    mixed = [0 < sum(bool(r.correct) for r in group) < 4 for group in groups]
    assert all(mixed)
    rows = [row for row in trainer.state.log_history if "attnpo/resampled_groups" in row]
    assert sum(row["attnpo/resampled_groups"] for row in rows) > 0
    left = trainer.token_count.sampled - sum(r.n_tokens for r in rollouts)
    assert trainer.token_count.extra == left > 0
    assert all(row["grad_norm"] > 0 for row in rows)


def test_a_run_is_the_same_again(make_trainer, model):
    start = {name: value.clone() for name, value in model.state_dict().items()}
    runs = []
    for _ in range(2):
        model.load_state_dict(start)
        trainer = make_trainer(method="grpo", resample_groups=3, save_rollouts=True, **FAST)
        trainer.rollouts_path.unlink(missing_ok=True)
        trainer.train()
        runs.append([replace(r, extra={}) for r in read_rollouts(trainer.rollouts_path)])
    assert runs[0] == runs[1]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "grpo", "resample_groups": 9, "group_sampler": False}, "resample_groups: 9 needs group_sampler"),
        ({"method": "shape", "resample_groups": 2}, "resample_groups: method 'shape' finds out more"),
        (
            {"method": "laser_d", "method_settings": {"grid_start": 48}, "resample_groups": 2},
            "resample_groups: method 'laser_d' learns from all groups",
        ),
        (
            {
                "method": "gfpo",
                "method_settings": {"adaptive": True, "adaptive_keep": [3, 3, 2, 2]},
                "resample_groups": 2,
            },
            "resample_groups: method 'gfpo' learns from all groups",
        ),
        ({"method": "grpo", "resample_groups": -1}, "resample_groups: -1 is not allowed"),
    ],
)
def test_what_cannot_be_resampled(tmp_path, settings, words):
    with pytest.raises(ConfigError, match=f"^{words}"):
        config(tmp_path, **{"heads": None, **settings})


def test_a_method_that_learns_nothing_from_groups_may_pass_them_over(tmp_path):
    args = config(tmp_path, heads=None, method="gfpo", method_settings={"keep": 2}, resample_groups=2)
    assert args.build_credit().settings.resample_groups == 2
