"""One training step of AttnPO (arXiv 2602.09953) from top to bottom, in plain torch and transformers.

    python examples/attnpo_by_hand.py

Of attnpo it takes a small model and a problem; everything else stands here. The library does the same in batches,
without `output_attentions`, for any number of heads and any Hugging Face decoder.

Shapes: G responses, T tokens of a response, K steps of a response.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel, PreTrainedTokenizerBase

from attnpo.tinyworld import checkpoint_path, generate_problems

LAYER, HEAD = 2, 0  # the small model's Key-Focus Head; `attnpo discover` finds it
ALPHA_LEN, ALPHA_BASE, LAMBDA = 0.2, 2.0, 2.0  # Eq. 3, Eq. 6, Eq. 7
SCHEDULE_STEPS, PROGRESS_STEP = 8, 8  # T and t of Eq. 8: attenuation of this prompt has begun


@dataclass
class Response:
    """A sampled response: its token ids, the steps and the final answer as spans of them, and whether it is right."""

    ids: list[int]
    steps: list[tuple[int, int]]
    answer: tuple[int, int]
    correct: bool


def sample(model: PreTrainedModel, prompt_ids: Tensor, size: int, seed: int) -> list[list[int]]:
    """Draw `size` responses to a prompt; each ends with the end token, where it ended."""
    torch.manual_seed(seed)
    drawn = model.generate(prompt_ids, do_sample=True, num_return_sequences=size, max_new_tokens=256)
    responses = drawn[:, prompt_ids.shape[1] :].tolist()
    end = model.generation_config.eos_token_id
    return [ids[: ids.index(end) + 1] if end in ids else ids for ids in responses]


def segment(tokenizer: PreTrainedTokenizerBase, ids: list[int], solution: str) -> Response:
    """Cut at blank lines: steps tile what stands before `</think>`, the final answer F is what stands after."""
    texts = [tokenizer.decode([i]) for i in ids]
    if "</think>" not in texts:
        return Response(ids, [(0, len(ids))], (len(ids), len(ids)), correct=False)
    close = texts.index("</think>")
    starts = [0, *(n + 1 for n in range(close) if "\n\n" in texts[n] and n + 1 < close)]
    answer = (close + 1, len(ids) - (ids[-1] == tokenizer.eos_token_id))  # the end token is not part of F
    said = "".join(texts[slice(*answer)])
    return Response(ids, list(zip(starts, [*starts[1:], close], strict=True)), answer, f"\\boxed{{{solution}}}" in said)


def step_scores(model: PreTrainedModel, prompt_ids: Tensor, response: Response) -> Tensor:
    """Eq. 1: what each step's tokens receive from the final answer in one head, summed over it and averaged over them.

    Returns: (K,) float32.
    """
    offset = prompt_ids.shape[1]
    whole = torch.cat([prompt_ids, torch.tensor([response.ids])], dim=1)
    with torch.no_grad():
        attention = model(whole, output_attentions=True).attentions[LAYER][0, HEAD]  # (query, key)
    first, last = (offset + place for place in response.answer)
    received = attention[first:last, offset:].sum(dim=0)
    return torch.stack([received[start:end].mean() for start, end in response.steps])


def rewards(responses: list[Response]) -> Tensor:
    """Eq. 3: 1[correct] (1 - alpha_len sigmoid(z)), z the length standardized among the group's correct ones. (G,)."""
    correct = torch.tensor([float(r.correct) for r in responses])
    lengths = torch.tensor([float(len(r.ids)) for r in responses])
    among = lengths[correct.bool()]
    spread = among.std(correction=0) if len(among) else torch.tensor(0.0)
    z = (lengths - among.mean()) / spread if spread > 0 else torch.zeros_like(lengths)
    return correct * (1 - ALPHA_LEN * z.sigmoid())


def leave_one_out(rewards_G: Tensor) -> Tensor:
    """Eq. 4: each reward minus the mean of the others. (G,)."""
    return rewards_G - (rewards_G.sum() - rewards_G) / (len(rewards_G) - 1)


def gamma(scores_K: Tensor, response: Response, advantage: float, pass_rate: float) -> Tensor:
    """Eq. 5 to 8: the factor on each step's advantage; 1 wherever nothing is to be changed. (K,)."""
    factors_K = torch.ones_like(scores_K)
    if not response.correct or len(response.steps) < 2 or response.answer[0] == response.answer[1]:
        return factors_K
    base = pass_rate**ALPHA_BASE * (response.answer[1] - response.answer[0]) / len(response.ids)  # Eq. 6
    if advantage > 0 and SCHEDULE_STEPS * (1 - pass_rate) < PROGRESS_STEP:  # Eq. 8: redundant steps are rewarded less
        delta = 1 - pass_rate**LAMBDA  # Eq. 7
        factors_K = torch.where(scores_K < base, (1 - delta) * scores_K / base + delta, factors_K)
    if advantage < 0:  # essential steps are not punished
        factors_K = torch.where(scores_K > base, 0.0, factors_K)
    return factors_K


def token_advantages(response: Response, advantage: float, factors_K: Tensor) -> Tensor:
    """Eq. 5: each token has its step's share; tags, the final answer and the end token the whole advantage. (T,)."""
    advantages_T = torch.full((len(response.ids),), advantage)
    for (start, end), factor in zip(response.steps, factors_K, strict=True):
        advantages_T[start:end] *= factor
    return advantages_T


def log_probs(model: PreTrainedModel, prompt_ids: Tensor, ids: list[int]) -> Tensor:
    """Log-probability of each token of a response. (T,)."""
    whole = torch.cat([prompt_ids, torch.tensor([ids])], dim=1)
    logits = model(whole).logits[0, prompt_ids.shape[1] - 1 : -1].float()
    return logits.log_softmax(-1).gather(1, torch.tensor(ids)[:, None])[:, 0]


def main(size: int = 8, seed: int = 3) -> list[tuple[Response, Tensor, Tensor]]:
    """Make the step and print it; returns of each response what it was, its scores and its tokens' advantages."""
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), attn_implementation="eager")
    problem = generate_problems("train", 1, seed, [3])[0]
    messages = [{"role": "user", "content": problem.question}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    prompt_ids = tokenizer(text, return_tensors="pt", add_special_tokens=False)["input_ids"]

    responses = [segment(tokenizer, ids, problem.solution) for ids in sample(model, prompt_ids, size, seed)]
    rewards_G = rewards(responses)
    advantages_G = leave_one_out(rewards_G)
    pass_rate = sum(r.correct for r in responses) / size
    print(f"{problem.question}\npass rate {pass_rate:.2f}\n")

    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)
    done, loss, tokens = [], torch.tensor(0.0), sum(len(r.ids) for r in responses)
    for number, response in enumerate(responses):
        advantage = float(advantages_G[number])
        scores_K = step_scores(model, prompt_ids, response)
        factors_K = gamma(scores_K, response, advantage, pass_rate)
        advantages_T = token_advantages(response, advantage, factors_K)
        loss = loss - (advantages_T * log_probs(model, prompt_ids, response.ids)).sum() / tokens
        done.append((response, scores_K, advantages_T))
        verdict = "right" if response.correct else "wrong"
        print(f"response {number}: {verdict}, {len(response.ids)} tokens, A = {advantage:+.3f}")
        for (start, end), score, factor in zip(response.steps, scores_K, factors_K, strict=True):
            print(f"  S = {score:.3f}  gamma = {factor:.2f}  {tokenizer.decode(response.ids[start:end]).strip()}")
    loss.backward()
    optimizer.step()
    print(f"\nloss {loss.item():.5f}; one update made")
    return done


if __name__ == "__main__":
    main()
