"""The policy as methods see it while responses are made: draws continuations, counts every token."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from attnpo.credit import Continuation, Policy, TokenStats
from attnpo.models import last_logits, token_statistics
from attnpo.rollouts import SegmentedResponse
from attnpo.sampling import Row, SampledResponse, SamplingParams, TransformersSampler
from attnpo.training.budget import TokenCount


@dataclass
class PolicyDraws:
    """Draws what follows prefixes, each reproducible by the run's seed, its group and the number of the call.

    Attributes:
        sampler: samples from the policy as it is.
        params: how to draw; its limit is the longest allowed.
        prompt_ids: what the model reads, a row each.
        group_ids: number of each row's group within the run.
        count: where drawn tokens are added.
        extra: whether they are drawn beyond the responses that are trained on.
        call: how many calls were made before.
        on_ended: gets each continuation with its response as soon as it has ended, while others still decode.
    """

    sampler: TransformersSampler
    params: SamplingParams
    prompt_ids: Sequence[Sequence[int]]
    group_ids: Sequence[int]
    count: TokenCount
    extra: bool = False
    call: int = 0
    on_ended: Callable[[Continuation, SampledResponse], None] | None = None

    def __call__(self, wanted: Sequence[Continuation]) -> list[SampledResponse]:
        """Return what follows each prefix."""
        rows = [
            Row(
                index,
                (*self.prompt_ids[item.row], *item.prefix_ids),
                self._key(item),
                item.sample,
                max_new_tokens=item.max_new_tokens,
            )
            for index, item in enumerate(wanted)
        ]
        self.call += 1
        longest = max((item.max_new_tokens for item in wanted), default=1)
        params = replace(self.params, max_new_tokens=longest)
        drawn: dict[int, SampledResponse] = {}
        for index, response in self.sampler.stream(rows, params):
            drawn[index] = response
            if self.on_ended is not None:
                self.on_ended(wanted[index], response)
        responses = [drawn[index] for index in range(len(rows))]
        self.count.add(sum(len(response.ids) for response in responses), extra=self.extra)
        return responses

    def _key(self, item: Continuation) -> int:
        """The group's number for a free response, so that it is the same whoever draws it; else a stream apart."""
        group = self.group_ids[item.row]
        if not item.prefix_ids and not self.call and not self.extra:
            return group
        text = f"{group}/{self.call}/{int(self.extra)}/{' '.join(map(str, item.prefix_ids))}"
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:7], "big")


def sampling_params(trainer: Any, limit: int) -> SamplingParams:
    """Return how the run samples, at most `limit` tokens a response.

    Args:
        trainer: TRL's, which holds the settings of sampling.
        limit: in tokens.
    """
    return SamplingParams(
        max_new_tokens=limit,
        temperature=trainer.temperature,
        top_p=trainer.top_p,
        top_k=trainer.top_k or 0,
        seed=trainer.args.seed,
        min_p=trainer.min_p or 0.0,
        repetition_penalty=trainer.repetition_penalty,
        extra=trainer.args.generation_kwargs or {},
    )


def build_policy(
    draws: PolicyDraws,
    segment: Callable[[Sequence[int], bool], SegmentedResponse],
    verify: Callable[[Sequence[str], Sequence[str]], list[bool]],
    micro_batch: int,
) -> Policy:
    """Return what a method may use while responses are made.

    Args:
        draws: draws from the model.
        segment: cuts responses into steps.
        verify: judges responses.
        micro_batch: responses in one forward pass of `token_stats`.
    """
    model, tokenizer = draws.sampler.model, draws.sampler.tokenizer
    temperature = draws.params.temperature or 1.0

    def token_stats(prompts: Sequence[Sequence[int]], responses: Sequence[Sequence[int]]) -> list[TokenStats]:
        draws.count.passed += sum(len(p) + len(r) for p, r in zip(prompts, responses, strict=True))
        return response_stats(model, tokenizer.pad_token_id, prompts, responses, temperature, micro_batch)

    def next_log_probs(contexts: Sequence[Sequence[int]]) -> torch.Tensor:
        draws.count.passed += sum(map(len, contexts))
        logits_NV = next_logits(model, tokenizer.pad_token_id, contexts, micro_batch)
        return torch.log_softmax(logits_NV / temperature, dim=-1)

    return Policy(
        tokenizer=tokenizer,
        draw=draws,
        segment=segment,
        verify=verify,
        token_stats=token_stats,
        next_log_probs=next_log_probs,
    )


@torch.no_grad()
def response_stats(
    model: Any,
    pad_id: int,
    prompts: Sequence[Sequence[int]],
    responses: Sequence[Sequence[int]],
    temperature: float = 1.0,
    micro_batch: int = 8,
) -> list[TokenStats]:
    """Return what the model thinks of each response's tokens, on the CPU.

    Args:
        model: causal language model, in the mode it is to be read in.
        pad_id: padding token.
        prompts: token ids.
        responses: token ids.
        temperature: softmax temperature of sampling.
        micro_batch: rows in a forward pass.
    """
    texts = [[*prompt, *response] for prompt, response in zip(prompts, responses, strict=True)]
    found: list[TokenStats] = []
    for start in range(0, len(texts), micro_batch):
        drawn = responses[start : start + micro_batch]
        kept = max(map(len, drawn)) + 1
        logits = last_logits(model, pad_id, texts[start : start + micro_batch], kept)
        for response, row in zip(drawn, logits, strict=True):
            # The logits at a place are those of the token after it.
            logits_1TV = row[None, kept - len(response) - 1 : kept - 1]
            ids_1T = torch.tensor([list(response)], dtype=torch.long, device=row.device)
            found.append(TokenStats(*(v_1T[0].cpu() for v_1T in token_statistics(logits_1TV, ids_1T, temperature))))
    return found


@torch.no_grad()
def next_logits(model: Any, pad_id: int, contexts: Sequence[Sequence[int]], micro_batch: int = 8) -> torch.Tensor:
    """Return (N, V) float32 logits of the token that follows each context, on the CPU."""
    batches = (contexts[start : start + micro_batch] for start in range(0, len(contexts), micro_batch))
    return torch.cat([last_logits(model, pad_id, batch, 1)[:, -1].cpu() for batch in batches])
