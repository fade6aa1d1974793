"""AdaptThink and AutoThink in real, tiny runs on the small world."""

from __future__ import annotations

import json
import math
import signal
from dataclasses import replace
from itertools import islice

import pytest
import torch
from small_training import config

from attnpo.credit.modes import is_no_think
from attnpo.errors import ConfigError, OutputError
from attnpo.rollouts import read_rollouts, write_rollouts
from attnpo.sampling import render_prompt
from attnpo.training import AttnPOTrainer, TrainingInterrupted
from attnpo.training.packing import SAMPLING_LOGPS
from attnpo.training.preparing import batches_asked, prepare_method, reachable_rows

FAST = {
    "per_device_train_batch_size": 8,
    "gradient_accumulation_steps": 1,
    "max_completion_length": 96,
    "heads": None,
    "save_rollouts": True,
}
OWN = {"reference_samples": 2, "think_opening": "", "ratio": "token"}
ADAPT = {"method": "adaptthink", "method_settings": OWN, **FAST}


def logs(trainer, name):
    return [row[name] for row in trainer.state.log_history if name in row]


def test_adaptthink_forces_half_of_each_group_and_tells_the_loss(make_trainer, tokenizer):
    trainer = make_trainer(max_steps=2, **ADAPT)
    drawn = []
    inner = trainer.credit.sample
    trainer.credit.sample = lambda requests, policy: drawn.append(inner(requests, policy)) or drawn[-1]
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert len(rollouts) == 16
    close = tokenizer.convert_tokens_to_ids("</think>")
    for place, rollout in enumerate(rollouts):
        thinks = trainer.credit.thinks(place // 4, place % 4, rollout.extra["train_step"])
        assert (rollout.response_ids[0] == close) is not thinks
        assert is_no_think(rollout.response) is not thinks
        assert rollout.n_tokens <= 96
    # What the loss is told: 1/2 for the tag; for a first token of the other half half its share among the others.
    told = [value for batch in drawn for value in batch.sampling_log_probs]
    assert all(list(value) == [0] for value in told)
    assert sum(value[0] == math.log(0.5) for value in told) == 8
    assert max(value[0] for value in told) <= math.log(0.5)
    # 2 steps of 2 prompts, measured twice each before.
    reference = trainer.credit.state_dict()["reference_accuracy"]
    assert len(reference) == 4
    assert set(reference.values()) <= {0, 0.5, 1}
    advantages = [r.correct - reference[r.problem_id] + 0.05 * is_no_think(r.response) for r in rollouts]
    expected = [r.correct + 0.05 * is_no_think(r.response) for r in rollouts[8:]]
    assert logs(trainer, "attnpo/reward")[-1] == pytest.approx(sum(expected) / 8, abs=1e-6)
    assert any(advantages)
    assert logs(trainer, "attnpo/no_think") == [0.5, 0.5]
    assert all(grad > 0 and math.isfinite(grad) for grad in logs(trainer, "grad_norm"))
    assert logs(trainer, "attnpo/extra_tokens")[0] > 0
    # The first tokens of the thinking halves cost one pass over their prompts.
    assert logs(trainer, "attnpo/extra_pass_tokens")[0] > 0


@pytest.mark.slow
def test_a_word_to_think_with_costs_no_pass(make_trainer, tokenizer):
    settings = {**OWN, "think_opening": "Wait,"}
    trainer = make_trainer(max_steps=1, **{**ADAPT, "method_settings": settings})
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert {r.response[:5] for r in rollouts if not is_no_think(r.response)} == {"Wait,"}
    assert set(logs(trainer, "attnpo/extra_pass_tokens")) == {0}


def test_the_loss_takes_the_ratio_to_what_was_really_drawn(make_trainer, model):
    settings = {
        **ADAPT,
        "beta": 0.0,
        "loss_type": "dapo",
        "method_settings": {**OWN, "delta": 0.5},
    }
    trainer = make_trainer(pack_micro_batches=False, **settings)
    seen = []
    plain = trainer._compute_loss

    def spy(model, inputs):
        loss = plain(model, inputs)
        seen.append((dict(inputs), loss.item()))
        return loss

    trainer._compute_loss = spy
    start = {name: value.clone() for name, value in model.state_dict().items()}
    trainer.train()
    ((inputs, loss),) = seen
    model.load_state_dict(start)
    prompt, response, mask_BT = inputs["prompt_ids"], inputs["completion_ids"], inputs["completion_mask"].bool()
    attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], dim=1)
    with torch.no_grad():
        positions = (attention.cumsum(1) - 1).clamp(min=0)
        logits = model(torch.cat([prompt, response], dim=1), attention_mask=attention, position_ids=positions).logits
    width = response.size(1)
    policy_BT = torch.log_softmax(logits[:, -width - 1 : -1], dim=-1).gather(2, response[:, :, None])[:, :, 0]
    known_BT = inputs[SAMPLING_LOGPS]
    assert (~known_BT.isnan()).sum() == 8
    # On policy every ratio is 1 but those of the first tokens, pi(token) / mixture(token).
    ratio_BT = (policy_BT - torch.where(known_BT.isnan(), policy_BT, known_BT)).exp()
    assert (ratio_BT[:, 1:] == 1).all()
    assert ratio_BT[:, 0].min() < 0.01
    # Without `</think>`, which is hardly ever drawn first, a first token is twice as likely as in the mixture.
    assert ratio_BT[:, 0].max() == pytest.approx(2, abs=1e-3)
    advantages_BT = inputs["advantages"] if inputs["advantages"].ndim == 2 else inputs["advantages"][:, None]
    objective_BT = torch.minimum(ratio_BT * advantages_BT, ratio_BT.clamp(0.8, 1.2) * advantages_BT)
    assert loss == pytest.approx(-(objective_BT * mask_BT).sum().item() / mask_BT.sum().item(), rel=1e-4)


def test_a_responses_ratio_is_in_its_advantage(make_trainer):
    trainer = make_trainer(**{**ADAPT, "method_settings": {**OWN, "ratio": "response"}})
    seen = []
    inner = trainer.credit.advantages
    trainer.credit.advantages = lambda rewards, groups: seen.append((groups, inner(rewards, groups))) or seen[-1][1]
    trainer.train()
    ((groups, advantages_PG),) = seen
    ratio_PG, no_think_PG = groups.facts["mixture_ratio"], groups.facts["no_think"].bool()
    # The small world's policy closes the think part at once 1 time in 20,000, and begins otherwise 2 times as often
    # as the mixture does; the mean log-ratio is a response's length away from that.
    total_PG = ratio_PG.log() * groups.lengths_PG
    assert (total_PG[no_think_PG] < -5).all()
    torch.testing.assert_close(total_PG[~no_think_PG].exp(), torch.full((4,), 2.0), rtol=1e-3, atol=1e-3)
    rewards_PG = groups.correct_PG + 0.05 * no_think_PG - groups.facts["reference_accuracy"]
    kept = advantages_PG != 0
    torch.testing.assert_close(advantages_PG[kept], (ratio_PG * rewards_PG)[kept])


@pytest.mark.slow
def test_a_resumed_run_does_not_measure_again(make_trainer, model, tmp_path):
    settings = {**ADAPT, "save_strategy": "steps", "save_steps": 1, "max_steps": 2}
    start = {name: value.clone() for name, value in model.state_dict().items()}
    whole = make_trainer(**settings)
    whole.train()
    checkpoint = tmp_path / "run" / "checkpoint-1"
    saved = json.loads((checkpoint / "trainer_state.json").read_text())["stateful_callbacks"]["MethodStateCallback"]
    assert saved["attributes"]["adaptthink"] == whole.credit.state_dict()

    model.load_state_dict(start)
    resumed = make_trainer(**settings)
    resumed.credit.prepare = None  # calling it would be an error
    resumed.train(resume_from_checkpoint=str(checkpoint))
    assert resumed.credit.state_dict() == whole.credit.state_dict()
    assert logs(resumed, "attnpo/reward")[-1] == pytest.approx(logs(whole, "attnpo/reward")[-1])


@pytest.fixture
def make_with(model, tokenizer, problems, tmp_path):
    """Makes a trainer on other problems."""
    made = []

    def make(dataset, **settings):
        made.append(AttnPOTrainer(model, config(tmp_path / "run", **settings), dataset, processing_class=tokenizer))
        return made[-1]

    yield make
    for trainer in made:
        trainer.verifier.close()


def test_problems_that_a_later_epoch_asks_first_are_measured_too(make_with, problems):
    # 2 of 5 problems a batch: an epoch leaves out one, which the next ones ask.
    settings = {**ADAPT, "max_completion_length": 24, "method_settings": {**OWN, "reference_samples": 1}}
    trainer = make_with(problems.select(range(5)), max_steps=6, **settings)
    trainer.train()
    asked = {rollout.problem_id for rollout in read_rollouts(trainer.rollouts_path)}
    assert asked == set(trainer.credit.state_dict()["reference_accuracy"])
    assert len(asked) == 5
    trainer.state.max_steps = 2
    first_epoch = reachable_rows(trainer)
    assert len(first_epoch) == 4
    trainer.state.max_steps = 6
    assert dict(islice(reachable_rows(trainer).items(), 4)) == first_epoch


@pytest.mark.parametrize(
    ("steps", "an_epoch", "span", "accumulation", "batches"),
    [
        (4, 10, 1, 1, 4),
        (3, 10, 1, 4, 12 - 2),  # 4, 4 and the 2 that are left of an epoch
        (4, 10, 1, 4, 14),
        (7, 3, 6, 4, 3 + 2),  # 18 micro-batches an epoch in 5 steps; 8 more begin a second batch
        (3, 4, 6, 2, 1),  # one batch serves three steps
        (5, 0, 6, 2, 0),
    ],
)
def test_how_many_batches_of_prompts_a_run_asks(steps, an_epoch, span, accumulation, batches):
    assert batches_asked(steps, an_epoch, span, accumulation) == batches


def test_a_resume_that_reaches_further_needs_what_the_untrained_policy_can_do(make_trainer, tmp_path):
    settings = {**ADAPT, "max_completion_length": 24, "save_strategy": "steps", "save_steps": 1}
    begun = make_trainer(max_steps=1, **settings)
    begun.train()
    known = dict(begun.credit.reference)
    checkpoint = str(tmp_path / "run" / "checkpoint-1")
    further = make_trainer(max_steps=2, **settings)
    with pytest.raises(
        ConfigError,
        match=r"^resume_from_checkpoint: of 4 problems that the run reaches, 2 were not measured .* \(the first: '.*'\)"
        r".* go on with the data, max_steps .* or give the untrained model's responses .* with reference_rollouts$",
    ):
        further.train(resume_from_checkpoint=checkpoint)
    lacking = {row["problem_id"] for row in reachable_rows(further).values()} - known.keys()
    one = next(read_rollouts(begun.rollouts_path))
    write_rollouts(tmp_path / "given.jsonl", [replace(one, problem_id=name, correct=True) for name in sorted(lacking)])
    own = {**OWN, "reference_rollouts": str(tmp_path / "given.jsonl")}
    given = make_trainer(max_steps=2, **{**settings, "method_settings": own})
    given.train(resume_from_checkpoint=checkpoint)
    assert given.credit.reference == known | dict.fromkeys(lacking, 1.0)


def prepare(trainer):
    trainer.state.max_steps = trainer.args.max_steps  # as `train` does
    prepare_method(trainer)


def test_an_interrupted_preparation_goes_on_where_it_was(make_trainer, monkeypatch):
    monkeypatch.setattr("attnpo.training.preparing.AT_ONCE", 1)
    settings = {**ADAPT, "max_steps": 2}
    whole = make_trainer(**settings)
    prepare(whole)
    expected, tokens = whole.credit.state_dict(), whole.drawn_tokens
    file = whole.own_file("prepared.json")
    assert file.name == "prepared.json"
    assert tokens.sampled == tokens.extra > 0
    file.unlink()

    stopped = make_trainer(**settings)
    inner, asked = stopped.credit.prepare, []

    def fail_at_the_third(requests, policy):
        asked.extend(requests.keys)
        if len(asked) == 3:
            raise RuntimeError("power cut")
        inner(requests, policy)

    stopped.credit.prepare = fail_at_the_third
    with pytest.raises(RuntimeError, match="power cut"):
        prepare(stopped)

    again = make_trainer(**settings)
    inner, asked_again = again.credit.prepare, []
    again.credit.prepare = lambda requests, policy: asked_again.extend(requests.keys) or inner(requests, policy)
    prepare(again)
    assert [*asked[:2], *asked_again] == list(expected["reference_accuracy"])
    assert (again.credit.state_dict(), again.drawn_tokens) == (expected, tokens)


def test_what_was_prepared_for_another_run_is_measured_again(make_trainer, model, caplog):
    settings = {**ADAPT, "max_steps": 1}
    prepare(make_trainer(**settings))
    with torch.no_grad():
        model.model.norm.weight += 0.5
    other = make_trainer(**settings)
    asked = []
    inner = other.credit.prepare
    other.credit.prepare = lambda requests, policy: asked.extend(requests.keys) or inner(requests, policy)
    prepare(other)
    assert len(asked) == 2
    assert "prepared.json: of another model or other settings; measured again" in caplog.text


def asked_anew(trainer):
    """The problems that a trainer measures."""
    asked, inner = [], trainer.credit.prepare
    trainer.credit.prepare = lambda requests, policy: asked.extend(requests.keys) or inner(requests, policy)
    prepare(trainer)
    return asked


@pytest.mark.parametrize("other", ["opening", "solution", "prompt", "solution_column"])
def test_what_was_prepared_for_other_prompts_or_solutions_is_measured_again(make_with, problems, other, caplog):
    settings = {**ADAPT, "max_steps": 1, "max_completion_length": 24}
    prepare(make_with(problems, **settings))
    changed = problems
    if other == "opening":
        settings["opening"] = "Hmm"
    elif other == "solution_column":
        changed, settings["solution_column"] = problems.rename_column("solution", "answer"), "answer"
    elif other == "solution":
        changed = problems.map(lambda row: {"solution": row["solution"] + "0"})
    else:
        content = problems[0]["prompt"][-1]["content"]
        changed = problems.map(lambda row: {"prompt": [{"role": "user", "content": content}]})
    assert len(asked_anew(make_with(changed, **settings))) == 2
    assert "prepared.json: of " in caplog.text
    assert "measured again" in caplog.text


def test_what_was_prepared_for_a_shorter_run_is_taken_over(make_with, problems):
    settings = {**ADAPT, "max_completion_length": 24}
    short = make_with(problems, max_steps=1, **settings)
    prepare(short)
    known = dict(short.credit.reference)
    longer = make_with(problems, max_steps=2, **settings)
    assert len(asked_anew(longer)) == 2
    assert known.items() <= longer.credit.reference.items()


def test_a_malformed_preparation_is_named(make_trainer):
    trainer = make_trainer(**{**ADAPT, "max_steps": 1})
    trainer.own_file("prepared.json").write_text('{"settings": {}')
    with pytest.raises(OutputError, match=r"prepared\.json: malformed .*; remove it"):
        prepare(trainer)


def test_a_signal_while_preparing_ends_the_run_before_its_first_step(make_trainer, monkeypatch):
    monkeypatch.setattr("attnpo.training.preparing.AT_ONCE", 1)
    trainer = make_trainer(**{**ADAPT, "max_steps": 2})
    inner = trainer.credit.prepare
    trainer.credit.prepare = lambda requests, policy: signal.raise_signal(signal.SIGTERM) or inner(requests, policy)
    with pytest.raises(TrainingInterrupted, match=r"SIGTERM: stopped before .* 1 of 4 problems are measured") as caught:
        trainer.train()
    assert caught.value.code == 143
    assert trainer.state.global_step == 0
    kept = json.loads(trainer.own_file("prepared.json").read_text())["state"]["reference_accuracy"]
    assert len(kept) == 1


def test_autothink_samples_and_scores_behind_its_opening(make_trainer, tokenizer):
    # An opening that ends the think part by a derivation: the model closes it at once.
    opening = "So Mia has 3+3=6.\n"
    settings = {"opening": opening, "stage_2_from": 1, "stage_3_from": 2}
    trainer = make_trainer(method="autothink", method_settings=settings, max_steps=3, **FAST)
    prompts = []
    inner = trainer.on_responses
    trainer.on_responses = lambda round_, width: prompts.extend(round_.prompt_ids) or inner(round_, width)
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    assert {r.opening for r in rollouts} == {opening}
    assert [list(ids) for ids in prompts] == [render_prompt(tokenizer, r.prompt, opening) for r in rollouts]
    modes = [is_no_think(r.response) for r in rollouts]
    assert sum(modes) > 12
    shares = [sum(modes[8 * step : 8 * step + 8]) / 8 for step in range(3)]
    assert logs(trainer, "attnpo/no_think") == pytest.approx(shares)
    first, second, third = (rollouts[8 * step : 8 * step + 8] for step in range(3))

    def plain(rows):
        return [((2 if r.correct else -1) if is_no_think(r.response) else float(r.correct)) for r in rows]

    def punished(row):
        share = shares[0] if is_no_think(row.response) else 1 - shares[0]
        return min(max(2 * (share - 0.5), 0), 1)

    reward = logs(trainer, "attnpo/reward")
    assert reward[0] == pytest.approx((sum(plain(first)) - sum(map(punished, first))) / 8, abs=1e-6)
    assert reward[1] == pytest.approx(sum(plain(second)) / 8, abs=1e-6)
    assert reward[2] == pytest.approx(sum(plain(third)) / 8, abs=0.2)
    assert reward[2] != pytest.approx(sum(plain(third)) / 8, abs=1e-6)


@pytest.mark.slow
def test_autothink_needs_no_sampler_of_its_own(make_trainer, tokenizer):
    trainer = make_trainer(method="autothink", **{**FAST, "group_sampler": False})
    trainer.train()
    assert len(logs(trainer, "attnpo/no_think")) == 1
    assert {r.opening for r in read_rollouts(trainer.rollouts_path)} == {"...\n"}
