"""What methods draw through the run: continuations, probes, forced tokens, and the count of all of it."""

from __future__ import annotations

import math

import pytest
import torch
from transformers import AutoModelForCausalLM

from attnpo.credit import Continuation, Drawn, Method, Policy, Probed, Requests
from attnpo.credit.methods import METHODS
from attnpo.errors import ConfigError
from attnpo.rollouts import read_rollouts
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.tinyworld import checkpoint_path
from attnpo.training.budget import TokenCount
from attnpo.training.policy import PolicyDraws, build_policy, next_logits, response_stats

FAST = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 128, "heads": None}


@pytest.fixture
def prompts(tokenizer, problems):
    return [
        tokenizer.apply_chat_template(problems[i]["prompt"], add_generation_prompt=True)["input_ids"] for i in (0, 1)
    ]


def policy_draws(model, tokenizer, prompts, **settings):
    model.eval()
    params = SamplingParams(max_new_tokens=128, temperature=settings.pop("temperature", 1.0), seed=3)
    sampler = TransformersSampler(model, tokenizer)
    return PolicyDraws(sampler, params, prompts, [7, 8], settings.pop("count", TokenCount()), **settings)


def test_a_continuation_goes_on_where_its_prefix_ends(model, tokenizer, prompts):
    greedy = policy_draws(model, tokenizer, prompts, temperature=0.0)
    whole = greedy([Continuation(0, 128), Continuation(1, 128)])
    cuts = [len(response.ids) // 3 for response in whole]
    rest = greedy([Continuation(row, 128, tuple(whole[row].ids[: cuts[row]])) for row in (1, 0)])
    assert [whole[row].ids[cuts[row] :] for row in (1, 0)] == [response.ids for response in rest]


def test_each_continuation_keeps_its_own_limit_and_every_token_counts(model, tokenizer, prompts):
    count = TokenCount()
    draws = policy_draws(model, tokenizer, prompts, count=count)
    free = draws([Continuation(0, 128, sample=s) for s in range(3)])
    limited = policy_draws(model, tokenizer, prompts)(
        [Continuation(0, limit, sample=s) for s, limit in enumerate((5, 128, 1))]
    )
    assert limited[0].ids == free[0].ids[:5]
    assert limited[1] == free[1]
    assert (limited[2].ids, limited[2].finished) == (free[2].ids[:1], False)
    assert count == TokenCount(sampled=sum(len(r.ids) for r in free))


def test_free_responses_are_those_of_the_sampler_itself(model, tokenizer, prompts):
    draws = policy_draws(model, tokenizer, prompts)
    drawn = draws([Continuation(row, 128, sample=s) for row in (0, 1) for s in (0, 1)])
    plain = TransformersSampler(model, tokenizer).decode(prompts, [[(7, 0), (7, 1)], [(8, 0), (8, 1)]], draws.params)
    assert drawn == plain


def test_calls_and_prefixes_have_streams_of_their_own(model, tokenizer, prompts):
    draws = policy_draws(model, tokenizer, prompts)
    first, again = (draws([Continuation(0, 128)])[0].ids for _ in range(2))
    probes = policy_draws(model, tokenizer, prompts, extra=True)
    assert first != again
    assert probes([Continuation(0, 128)])[0].ids not in (first, again)


def test_token_stats_and_next_log_probs_are_the_models_own(tokenizer, prompts):
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float64).eval()
    responses = [list(range(5, 25)), list(range(30, 37)), []]
    contexts = [prompts[0], prompts[1], prompts[0]]
    found = response_stats(model, tokenizer.pad_token_id, contexts, responses, temperature=0.7, micro_batch=2)
    for prompt, response, stats in zip(contexts, responses, found, strict=True):
        logits = model(torch.tensor([[*prompt, *response]])).logits[0]
        kinds = [torch.distributions.Categorical(logits=row / 0.7) for row in logits[len(prompt) - 1 : -1].detach()]
        assert stats.entropies_T.tolist() == pytest.approx([float(kind.entropy()) for kind in kinds], abs=1e-5)
        chosen = [float(kind.log_prob(torch.tensor(token))) for kind, token in zip(kinds, response, strict=True)]
        assert stats.log_probs_T.tolist() == pytest.approx(chosen, abs=1e-4)
        tops = [float(kind.probs.max().log()) for kind in kinds]
        assert stats.top_log_probs_T.tolist() == pytest.approx(tops, abs=1e-5)
    logits_NV = next_logits(model, tokenizer.pad_token_id, contexts, micro_batch=2)
    for prompt, row in zip(contexts, logits_NV, strict=True):
        torch.testing.assert_close(row, model(torch.tensor([prompt])).logits[0, -1].float(), atol=1e-4, rtol=0)
    draws = policy_draws(model, tokenizer, prompts, temperature=0.5)
    policy = build_policy(draws, lambda ids: None, lambda texts, solutions: [], 2)
    expected = (model(torch.tensor([prompts[1]])).logits[0, -1] / 0.5).log_softmax(-1).float()
    torch.testing.assert_close(policy.next_log_probs([prompts[1]])[0], expected, atol=1e-4, rtol=0)
    assert draws.count == TokenCount(passed=len(prompts[1]))


class Forced(Method):
    """Free responses whose first token is said to have been drawn with another probability than the policy's."""

    name, paper, source, formula = "forced", "-", "this project", "r = 1[correct]"
    ratio = 1.1

    def sample(self, requests: Requests, policy: Policy) -> Drawn:
        drawn = super().sample(requests, policy)
        log_probs = policy.next_log_probs(requests.prompt_ids)
        known = [
            {0: float(row[response.ids[0]]) - math.log(self.ratio)}
            for row, response in zip(log_probs, drawn.responses, strict=True)
        ]
        return Drawn(drawn.responses, {"half": [i % 2 for i in range(len(requests))]}, known)


class Probing(Method):
    """Adds 1 to the advantage of every second step, and draws two tokens a response to find that out."""

    name, paper, source, formula = "probing", "-", "this project", "-"
    needs_whole_groups = True

    def probe(self, sampled, policy) -> Probed:
        rollouts = sampled.rollouts
        assert all(rollout.correct is not None for rollout in rollouts)
        drawn = policy.draw([Continuation(row, 2, rollout.response_ids[:3]) for row, rollout in enumerate(rollouts)])
        assert all(len(response.ids) <= 2 for response in drawn)
        return Probed(
            facts={"length": [rollout.n_tokens for rollout in rollouts]},
            step_values={"odd": [[k % 2 for k in range(len(rollout.steps))] for rollout in rollouts]},
            token_values={"place": [list(range(rollout.n_tokens)) for rollout in rollouts]},
        )

    def group_facts(self, rewards_PG, groups):
        return {"longest": groups.facts["length"].amax(dim=1, keepdim=True).expand_as(rewards_PG)[..., None]}

    def spread(self, steps, gamma_BK, step_index_BT):
        self.seen = steps
        odd_BT = steps.step_values["odd"].gather(1, step_index_BT.clamp(min=0)) * (step_index_BT >= 0)
        return super().spread(steps, gamma_BK, step_index_BT) + odd_BT


@pytest.fixture
def method_named(monkeypatch):
    for method in (Forced, Probing):
        monkeypatch.setitem(METHODS, method.name, method)


def test_forced_tokens_are_weighted_by_what_they_were_drawn_with(make_trainer, model, tokenizer, method_named):
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    trainer = make_trainer(
        model=model,
        method="forced",
        save_rollouts=True,
        max_grad_norm=0.0,
        optimizers=(optimizer, torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1.0)),
    )
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    reference = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float64)
    total, loss = sum(r.n_tokens for r in rollouts), torch.zeros((), dtype=torch.float64)
    for rollout in rollouts:
        group = [r for r in rollouts if r.problem_id == rollout.problem_id]
        others = [float(r.correct) for r in group if r is not rollout]
        advantage = float(rollout.correct) - sum(others) / len(others)
        prompt = tokenizer.apply_chat_template(rollout.prompt, add_generation_prompt=True)["input_ids"]
        logits = reference(torch.tensor([[*prompt, *rollout.response_ids]])).logits[0, len(prompt) - 1 : -1]
        logps = logits.log_softmax(-1).gather(1, torch.tensor(rollout.response_ids)[:, None])[:, 0]
        weights = torch.ones(rollout.n_tokens, dtype=torch.float64)
        weights[0] = Forced.ratio  # d(pi / old) = (pi / old) d log pi; inside the clip range of 0.2
        loss = loss - advantage * (weights * logps).sum() / total
    loss.backward()
    errors = sum(
        float((before[n] - p.detach() - q.grad).square().sum())
        for (n, p), (_, q) in zip(model.named_parameters(), reference.named_parameters(), strict=True)
    )
    size = sum(float(q.grad.square().sum()) for q in reference.parameters())
    assert size > 0
    assert (errors / size) ** 0.5 < 1e-4


def test_probes_reach_the_credit_of_their_response(make_trainer, method_named):
    trainer = make_trainer(method="probing", save_rollouts=True, **FAST)
    trainer.train()
    rollouts = list(read_rollouts(trainer.rollouts_path))
    lengths = [r.n_tokens for r in rollouts]
    steps = trainer.credit.seen
    assert steps.facts["length"].tolist() == lengths
    assert steps.facts["longest"][:, 0].tolist() == [max(lengths[i // 4 * 4 : i // 4 * 4 + 4]) for i in range(8)]
    for i, rollout in enumerate(rollouts):
        assert steps.token_values["place"][i].sum() == sum(range(rollout.n_tokens))
        assert steps.step_values["odd"][i].sum() == len(rollout.steps) // 2
    assert trainer.token_count == TokenCount(sampled=sum(lengths) + 16, extra=16)
    logs = [row for row in trainer.state.log_history if "attnpo/extra_tokens" in row]
    assert logs[0]["attnpo/extra_tokens"] == 16


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"group_sampler": False}, "group_sampler"),
        (
            {
                "per_device_train_batch_size": 6,
                "num_generations": 4,
                "gradient_accumulation_steps": 2,
                "steps_per_generation": 1,
            },
            "num_generations",
        ),
    ],
)
def test_what_drawing_needs_is_checked_before_anything_is_loaded(make_trainer, method_named, settings, named):
    with pytest.raises((ConfigError, ValueError), match=named):
        make_trainer(method="probing", **settings)
