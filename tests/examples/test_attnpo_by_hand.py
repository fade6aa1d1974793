"""The example agrees with the library, which does the same in batches."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.attention import read_step_scores
from attnpo.credit.advantages import rloo_advantages
from attnpo.credit.batches import StepBatch
from attnpo.credit.rescaling import step_gamma, token_advantages
from attnpo.credit.rewards import tlmre_rewards
from attnpo.credit.settings import CreditSettings
from attnpo.segmentation import Segmenter, answer_mask, build_strategy, step_index
from attnpo.tinyworld import checkpoint_path, generate_problems

EXAMPLE = Path(__file__).parents[2] / "examples" / "attnpo_by_hand.py"


@pytest.fixture(scope="module")
def example():
    return runpy.run_path(str(EXAMPLE))


@pytest.fixture(scope="module")
def made(example):
    return example["main"](size=6, seed=3)


def test_it_fits_on_a_page_and_needs_the_small_world_alone():
    text = EXAMPLE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 150
    assert [line for line in text.splitlines() if "import" in line and "attnpo" in line] == [
        "from attnpo.tinyworld import checkpoint_path, generate_problems"
    ]


def test_every_number_is_the_librarys(example, made):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path())
    problem = generate_problems("train", 1, 3, [3])[0]
    chat = [{"role": "user", "content": problem.question}]
    prompt = tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=True, return_dict=False)
    responses = [response for response, _, _ in made]
    correct_PG = torch.tensor([[response.correct for response in responses]])
    lengths_PG = torch.tensor([[len(response.ids) for response in responses]])
    assert 0 < correct_PG.sum() < correct_PG.numel()
    advantages_G = rloo_advantages(tlmre_rewards(correct_PG, lengths_PG, example["ALPHA_LEN"]))[0]
    segmenter = Segmenter(tokenizer, build_strategy("paragraphs", None, 0))
    factors = []
    for place, (response, scores_K, advantages_T) in enumerate(made):
        cut = segmenter(response.ids, in_think=True)
        assert [step.tokens for step in cut.steps] == response.steps
        assert cut.answer_tokens == response.answer
        ids, none = [*prompt, *response.ids], len(prompt)
        index_T = torch.tensor([step_index(cut, len(response.ids))])
        with read_step_scores(
            model,
            [(example["LAYER"], example["HEAD"])],
            torch.tensor([[-1] * none + index_T[0].tolist()]),
            torch.tensor([[False] * none + answer_mask(cut, len(response.ids))]),
        ) as reading:
            model(torch.tensor([ids]))
        scores_BK = reading.scores_BKN[..., 0]
        torch.testing.assert_close(scores_BK[0], scores_K, rtol=1e-4, atol=1e-6)
        batch = StepBatch(
            scores_BK=scores_BK,
            step_mask_BK=torch.ones_like(scores_BK, dtype=torch.bool),
            step_lengths_BK=torch.tensor([[end - start for start, end in response.steps]]),
            answer_lengths_B=torch.tensor([response.answer[1] - response.answer[0]]),
            response_lengths_B=torch.tensor([len(response.ids)]),
            prompt_lengths_B=torch.tensor([len(prompt)]),
            advantages_B=advantages_G[place : place + 1],
            correct_B=torch.tensor([response.correct]),
            pass_rate_B=correct_PG.float().mean(dim=1),
            progress_step=example["PROGRESS_STEP"],
            row_ids_B=torch.tensor([place]),
        )
        settings = CreditSettings(
            alpha_base=example["ALPHA_BASE"], lam=example["LAMBDA"], schedule_steps=example["SCHEDULE_STEPS"]
        )
        gamma_BK = step_gamma(scores_BK, batch, settings)
        factors += gamma_BK.flatten().tolist()
        expected = token_advantages(batch.advantages_B, gamma_BK, index_T)[0]
        torch.testing.assert_close(advantages_T, expected, rtol=1e-4, atol=1e-6)
    assert min(factors) < 1  # something was attenuated
