from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from attnpo.credit import CreditSettings, scheduled, step_baseline, step_gamma, token_advantages

PUBLISHED = CreditSettings()

# p = 1/2, |F| = 16, |o| = 128: S_base = (1/2)^2 * 16/128 = 1/32 and delta = 1 - (1/2)^2 = 3/4.
# Five steps: no attention, half the baseline, the baseline, just above it, far above it.
SCORES = [0.0, 1 / 64, 1 / 32, 33 / 1024, 0.5]


def gamma(steps, settings=PUBLISHED):
    return step_gamma(steps.scores_BK, steps, settings)


def test_baseline(make_steps):
    steps = make_steps([SCORES] * 3, pass_rate=[0.5, 1.0, 0.0])
    assert step_baseline(steps, PUBLISHED).tolist() == [1 / 32, 1 / 8, 0]
    assert step_baseline(steps, CreditSettings(alpha_base=1)).tolist() == [1 / 16, 1 / 8, 0]
    # p ** 0 = 1, also at p = 0
    assert step_baseline(steps, CreditSettings(difficulty_baseline=False)).tolist() == [1 / 8] * 3
    longer = step_baseline(steps, CreditSettings(baseline_denominator="prompt+response"))
    assert longer.tolist() == pytest.approx([16 / 192 / 4, 16 / 192, 0])


def test_positive_advantage_attenuates_below_the_baseline(make_steps):
    # gamma = 1/4 * S/S_base + 3/4: 3/4 without attention, 7/8 at half the baseline, untouched from the baseline on.
    assert gamma(make_steps([SCORES])).tolist() == [[0.75, 0.875, 1, 1, 1]]


def test_negative_advantage_spares_above_the_baseline(make_steps):
    assert gamma(make_steps([SCORES], advantage=-0.1)).tolist() == [[1, 1, 1, 0, 0]]


def test_easy_prompt_attenuates_in_full(make_steps):
    # p = 1: S_base = 1/8, delta = 0, gamma = 8 S.
    assert gamma(make_steps([SCORES], pass_rate=1.0)).tolist() == [[0, 0.125, 0.25, 33 / 128, 1]]


def test_zero_advantage_leaves_steps_alone(make_steps):
    assert gamma(make_steps([SCORES], advantage=0.0)).tolist() == [[1] * 5]


@pytest.mark.parametrize(
    ("settings", "positive", "negative"),
    [
        ({"positive_attenuation": False}, [1, 1, 1, 1, 1], [1, 1, 1, 0, 0]),
        ({"negative_attenuation": False}, [0.75, 0.875, 1, 1, 1], [1, 1, 1, 1, 1]),
        ({"magnitude_modulation": False}, [0, 0, 1, 1, 1], [1, 1, 1, 0, 0]),
        ({"magnitude_modulation": False, "gamma_floor": 0.25}, [0.25, 0.25, 1, 1, 1], [1, 1, 1, 0.25, 0.25]),
        ({"gamma_floor": 0.8}, [0.8, 0.875, 1, 1, 1], [1, 1, 1, 0.8, 0.8]),
        ({"gamma_floor": 1}, [1, 1, 1, 1, 1], [1, 1, 1, 1, 1]),
        # S_base = 1/8: gamma = 1/4 * 8 S + 3/4
        ({"difficulty_baseline": False}, [0.75, 0.78125, 0.8125, 0.814453125, 1], [1, 1, 1, 1, 0]),
        # delta = 0: gamma = S / S_base
        ({"lam": 0}, [0, 0.5, 1, 1, 1], [1, 1, 1, 0, 0]),
        ({"lam": 1}, [0.5, 0.75, 1, 1, 1], [1, 1, 1, 0, 0]),
    ],
)
def test_switches(make_steps, settings, positive, negative):
    result = gamma(make_steps([SCORES, SCORES], advantage=[0.3, -0.3]), CreditSettings(**settings))
    torch.testing.assert_close(result, torch.tensor([positive, negative], dtype=torch.float32))


def test_schedule_starts_easy_prompts_first(make_steps):
    # T = 1000: p = 1/2 starts after t = 500, p = 1 after t = 0, p = 1/4 after t = 750.
    steps = make_steps([[0.0, 0.0]] * 3, pass_rate=[0.5, 1.0, 0.25])
    for t, begun in [
        (0, [False, False, False]),
        (1, [False, True, False]),
        (500, [False, True, False]),
        (501, [True, True, False]),
        (750, [True, True, False]),
        (751, [True, True, True]),
    ]:
        assert (gamma(replace(steps, progress_step=t)) < 1).all(dim=1).tolist() == begun
    always = gamma(replace(steps, progress_step=0), CreditSettings(schedule=False))
    assert (always < 1).all()


def test_schedule_is_strict_at_the_very_start():
    assert scheduled(torch.tensor([0.0, 1.0]), 0, 0).tolist() == [False, False]
    assert scheduled(torch.tensor([0.0, 1.0]), 1, 0).tolist() == [True, True]


def test_schedule_does_not_hold_back_what_is_spared(make_steps):
    assert gamma(make_steps([SCORES], advantage=-1.0, t=0)).tolist() == [[1, 1, 1, 0, 0]]


@pytest.mark.parametrize("size", [3, 5, 6, 7, 9, 11, 13, 48])
def test_schedule_is_exact_for_every_pass_rate_of_a_group(size):
    # T = 5 G: T * (1 - p) = 5 * wrong, a whole number that floats may miss on either side.
    correct = torch.arange(size + 1)
    for wrong in range(size + 1):
        begun = scheduled(correct / size, 5 * wrong, 5 * size)
        assert begun.tolist() == [5 * wrong > 5 * (size - right) for right in correct.tolist()]


@pytest.mark.parametrize("advantage", [1.0, -1.0])
@pytest.mark.parametrize(
    "case",
    [
        {"scores": [[0.0, 0.5]], "correct": False},  # wrong responses are left alone
        {"scores": [[0.0]]},  # a single step
        {"scores": [[0.5]]},
        {"scores": [[]]},  # no step
        {"scores": [[0.0, 0.5]], "step_lengths": [[9, 0]]},  # the other step owns no token: a single step
        {"scores": [[0.0, 0.5]], "answer": 0},  # empty final answer, or cut before it
        {"scores": [[float("nan")] * 2]},
    ],
)
def test_untouched_responses(make_steps, case, advantage):
    result = gamma(make_steps(**case, advantage=advantage))
    assert torch.equal(result, torch.ones(1, len(case["scores"][0])))


def test_pass_rate_zero_makes_every_attended_step_essential(make_steps):
    # Cannot happen to a correct response of a whole group; S_base = 0, so nothing is below it.
    steps = make_steps([[0.0, 0.5], [0.0, 0.5]], pass_rate=0.0, advantage=[1.0, -1.0])
    assert gamma(steps).tolist() == [[1, 1], [1, 0]]


def test_a_step_without_tokens_keeps_one_beside_others(make_steps):
    steps = make_steps([[0.0, 0.0, 0.0]], step_lengths=[[4, 0, 4]])
    assert gamma(steps).tolist() == [[0.75, 1, 0.75]]


def test_padding_changes_nothing(make_steps):
    wide = gamma(make_steps([SCORES, SCORES[:2]], width=9))
    assert wide.tolist() == [[0.75, 0.875, 1, 1, 1] + [1] * 4, [0.75, 0.875] + [1] * 7]


def test_gamma_is_float32_without_gradient(make_steps):
    steps = make_steps([SCORES])
    scores_BK = steps.scores_BK.to(torch.bfloat16).requires_grad_()
    for settings in (PUBLISHED, CreditSettings(positive_attenuation=False)):
        result = step_gamma(scores_BK, steps, settings)
        assert result.dtype == torch.float32
        assert not result.requires_grad


def test_tokens_take_the_factor_of_their_step():
    # <think> | step 0: 2 tokens | step 1: 1 token | </think>, answer, end
    step_index_BT = torch.tensor([[-1, 0, 0, 1, -1, -1, -1], [-1, 0, 1, 1, -1, -1, -1]])
    result = token_advantages(torch.tensor([0.5, -2.0]), torch.tensor([[0.5, 0.0], [1.0, 0.0]]), step_index_BT)
    assert result.tolist() == [[0.5, 0.25, 0.25, 0, 0.5, 0.5, 0.5], [-2, -2, 0, 0, -2, -2, -2]]
    assert result.dtype == torch.float32


def test_tokens_of_responses_without_steps_take_the_advantage():
    result = token_advantages(torch.tensor([0.5]), torch.ones(1, 0), torch.full((1, 3), -1))
    assert result.tolist() == [[0.5, 0.5, 0.5]]


def test_a_step_index_beyond_the_steps_is_an_error():
    with pytest.raises(RuntimeError, match="out of bounds"):
        token_advantages(torch.tensor([0.5]), torch.ones(1, 2), torch.tensor([[2]]))
