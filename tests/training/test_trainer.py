from __future__ import annotations

import json

import pytest
import torch
from datasets import Dataset
from logged_names import documented_names
from peft import LoraConfig
from small_training import config
from transformers import AutoTokenizer
from trl import GRPOConfig

from attnpo.attention import HeadSet
from attnpo.errors import ConfigError, DataError, HeadSetError
from attnpo.rollouts import read_rollouts
from attnpo.tinyworld import checkpoint_path
from attnpo.training import AttnPOTrainer
from attnpo.training.callbacks import keep_rows_before
from attnpo.training.data_checks import check_training_data, with_text_solutions


def last_log(trainer) -> dict[str, float]:
    return next(row for row in reversed(trainer.state.log_history) if "attnpo/accuracy" in row)


def test_logs_what_a_person_follows(make_trainer):
    trainer = make_trainer(save_rollouts=True)
    trainer.train()
    row = last_log(trainer)
    rollouts = list(read_rollouts(trainer.rollouts_path))
    steps = [step for rollout in rollouts for step in rollout.steps]
    assert row["attnpo/accuracy"] == pytest.approx(sum(r.correct for r in rollouts) / 16)
    assert row["attnpo/accuracy"] == pytest.approx(row["rewards/accuracy/mean"])
    assert row["attnpo/response_length"] == pytest.approx(row["completions/mean_length"])
    assert row["attnpo/steps_per_response"] == pytest.approx(len(steps) / 16)
    assert row["attnpo/steps/essential"] == pytest.approx(sum(s.label == "essential" for s in steps) / 16)
    assert row["attnpo/steps/redundant"] == pytest.approx(sum(s.label == "redundant" for s in steps) / 16)
    for name in ("steps_attenuated", "steps_protected", "gamma", "credit_agreement"):
        assert 0 <= row[f"attnpo/{name}"] <= 1
    for family in ("confused", "progression", "summary"):
        assert row[f"attnpo/phrases/{family}"] >= 0
    assert 0 < row["attnpo/steps_attenuated"] + row["attnpo/steps_protected"] < 1
    assert row["attnpo/gamma"] < 1
    assert {name for name in row if name.startswith("attnpo/")} <= documented_names()


def test_metrics_reach_tensorboard(make_trainer, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    trainer = make_trainer(report_to="tensorboard")
    trainer.train()
    events = EventAccumulator(str(tmp_path / "events")).Reload()
    row = last_log(trainer)
    for name in ("attnpo/accuracy", "attnpo/gamma", "attnpo/steps_attenuated"):
        (value,) = events.Scalars(f"train/{name}")
        assert value.value == pytest.approx(row[name])


@pytest.mark.parametrize(("text", "has_template", "lines"), [(True, True, 1), (True, False, 0), (False, True, 0)])
def test_prompts_of_text_that_a_chat_template_is_not_given(model, tmp_path, caplog, text, has_template, lines):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    tokenizer.chat_template = tokenizer.chat_template if has_template else None
    prompt = "What is 1 + 1?" if text else [{"role": "user", "content": "What is 1 + 1?"}]
    rows = Dataset.from_list([{"prompt": prompt, "solution": "2"}] * 8)
    trainer = AttnPOTrainer(model, config(tmp_path / "run", method="rloo"), rows, processing_class=tokenizer)
    trainer.verifier.close()
    said = [
        message for message in caplog.messages if message.startswith("train_dataset: prompts are text and are read")
    ]
    assert len(said) == lines
    assert all('give messages ([{"role": "user", "content": ...}])' in line for line in said)


@pytest.mark.parametrize("method", ["rloo", "grpo", "tlmre", "attnpo_shuffled", "oracle", "oracle_reversed"])
def test_every_method_trains(make_trainer, method):
    trainer = make_trainer(method=method)
    trainer.train()
    row = last_log(trainer)
    assert torch.isfinite(torch.tensor(row["grad_norm"]))
    assert (row["attnpo/gamma"] < 1) == (method in ("attnpo_shuffled", "oracle", "oracle_reversed"))
    if method == "oracle":
        assert row["attnpo/credit_agreement"] == 1.0
    if method == "oracle_reversed":
        assert row["attnpo/credit_agreement"] == 0.0


def test_trains_lora_adapters(make_trainer):
    trainer = make_trainer(peft_config=LoraConfig(r=4, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
    trainer.train()
    assert last_log(trainer)["attnpo/gamma"] < 1


def test_trains_with_a_reference_model_and_bf16(make_trainer):
    trainer = make_trainer(beta=0.01, bf16=True, num_iterations=2, max_completion_length=48)
    trainer.train()
    assert "kl" in last_log(trainer)


def test_what_trl_takes_and_this_trainer_does_not_is_one_line(model, problems, tmp_path):
    with pytest.raises(ConfigError, match=r"^args: a GRPOConfig; give an AttnPOConfig, which takes all of TRL's"):
        AttnPOTrainer(model, GRPOConfig(str(tmp_path), bf16=False, use_cpu=True), problems)
    with pytest.raises(ConfigError, match=r"^reward_funcs: 'owner/reward-model' is no function; give functions"):
        AttnPOTrainer(model, config(tmp_path), problems, reward_funcs=["owner/reward-model"])


def test_samples_through_trls_own_generation(make_trainer):
    trainer = make_trainer(group_sampler=False)
    trainer.train()
    assert last_log(trainer)["attnpo/response_length"] > 0


def test_evaluates_through_trls_loop(make_trainer, problems):
    trainer = make_trainer(per_device_eval_batch_size=8, num_generations_eval=2)
    metrics = trainer.evaluate(eval_dataset=problems.select(range(8)))
    assert 0 <= metrics["eval_rewards/accuracy/mean"] <= 1


def test_further_reward_functions_add_to_the_reward(make_trainer, model, tokenizer, problems, tmp_path):
    from attnpo.training import AttnPOTrainer

    first = make_trainer(method="rloo")
    seen = []

    def brevity(completions, **kwargs):
        return [-float(len(c[0]["content"])) for c in completions]

    # One function, as TRL takes it, too.
    trainer = AttnPOTrainer(first.model, first.args, problems, processing_class=tokenizer, reward_funcs=brevity)
    inner = trainer.credit.advantages

    def spy(rewards_PG, groups=None):
        seen.append(rewards_PG)
        return inner(rewards_PG, groups)

    trainer.credit.advantages = spy
    trainer.train()
    assert (seen[0] < -1).all()


def test_a_plain_text_prompt_and_another_solution_column(model, tokenizer, tmp_path):
    from attnpo.tinyworld import generate_problems
    from attnpo.training import AttnPOTrainer

    rows = [
        {
            "prompt": tokenizer.apply_chat_template(
                [{"role": "user", "content": p.question}], tokenize=False, add_generation_prompt=True
            ),
            "answer": p.solution,
        }
        for p in generate_problems("train", 16, 3, (1,))
    ]
    from small_training import config

    args = config(tmp_path, solution_column="answer")
    trainer = AttnPOTrainer(model, args, Dataset.from_list(rows), processing_class=tokenizer)
    trainer.train()
    assert last_log(trainer)["attnpo/accuracy"] > 0


def test_heads_as_a_list_and_as_a_head_set(model, tokenizer, problems, tmp_path):
    from small_training import config

    from attnpo.training import AttnPOTrainer

    args = config(tmp_path)
    for heads in ([(2, 0), (3, 1)], "2.0,3.1"):
        trainer = AttnPOTrainer(model, args, problems, processing_class=tokenizer, heads=heads)
        assert [tuple(h) for h in trainer.credit_heads] == [(2, 0), (3, 1)]
    assert isinstance(trainer.head_set, HeadSet)
    with pytest.raises(HeadSetError):
        AttnPOTrainer(model, args, problems, processing_class=tokenizer, heads=[(9, 9)])


def test_unfinished_responses_get_no_step_credit(make_trainer):
    trainer = make_trainer(max_completion_length=12)
    trainer.train()
    row = last_log(trainer)
    assert row["completions/clipped_ratio"] == 1.0
    assert row["attnpo/accuracy"] == 0.0
    assert row["attnpo/gamma"] == 1.0


def solutions(*values) -> Dataset:
    return Dataset.from_list([{"prompt": f"{n}?", "solution": value} for n, value in enumerate(values)])


@pytest.mark.parametrize(
    ("dataset", "words"),
    [
        (None, "missing"),
        (Dataset.from_list([]), "no rows"),
        (Dataset.from_list([{"prompt": "a", "answer": "b"}]), "no column 'solution'"),
        (Dataset.from_list([{"question": "a", "solution": "b"}]), "no column 'prompt'"),
        (solutions("a", None), "train_dataset, row 2: 'solution' is empty"),
        (solutions(1.0, float("nan")), "train_dataset, row 2: 'solution' is empty"),
        (solutions(["6"], ["6", "7"]), "train_dataset, row 2: 'solution' holds 2 values"),
        (solutions({"value": 6}), "train_dataset, row 1: 'solution' is an object"),
    ],
)
def test_a_data_set_that_cannot_be_trained_on(dataset, words):
    with pytest.raises(DataError, match=words):
        check_training_data(dataset, "solution")


@pytest.mark.parametrize("values", [(3, 4), (3.0, 4.0), (["3"], ["4"]), ("3", "4"), (b"3", b"4")])
def test_solutions_are_text(values):
    checked = check_training_data(solutions(*values), "solution")
    assert list(checked["solution"]) == ["3", "4"]
    streamed = check_training_data(solutions(*values).to_iterable_dataset(), "solution")
    assert [row["solution"] for row in streamed] == ["3", "4"]
    named = with_text_solutions({"a": checked, "b": solutions(*values)}, "solution", "eval_dataset")
    assert [list(part["solution"]) for part in named.values()] == [["3", "4"]] * 2


def test_oracle_methods_need_a_labeler(make_trainer):
    with pytest.raises(ConfigError, match="step_labeler"):
        make_trainer(method="oracle", labeler=None)


def test_rows_that_a_resumed_run_makes_again_are_dropped(tmp_path):
    path = tmp_path / "rows.jsonl"
    rows = [{"step": 1}, {"step": 2}, {"extra": {"step": 3}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 1, "half')
    keep_rows_before(path, "step", 3)
    assert [json.loads(line) for line in path.read_text().splitlines()] == rows[:2]


def test_a_head_set_of_another_model_is_warned_of(make_trainer, caplog):
    head_set = make_trainer().head_set
    for origin, warned in (("owner/other", 1), (head_set.model_id, 0)):
        caplog.clear()
        make_trainer(heads_given=head_set.model_copy(update={"model_id": origin}))
        assert caplog.text.count("heads: found on owner/other; model ") == warned
