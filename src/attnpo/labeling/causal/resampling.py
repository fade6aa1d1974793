"""The effect of a step by sampling: how often the answer that follows is still right once the step is deleted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from attnpo.labeling.causal.deletion import Trace
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, Sampler, SampleRequest, SamplingParams, request_key
from attnpo.segmentation import decode_with_offsets
from attnpo.statistics import Floats
from attnpo.verification import Verifier


def resampled_accuracy(
    rollout: Rollout,
    trace: Trace,
    samples: int,
    params: SamplingParams,
    *,
    tokenizer: Any,
    sampler: Sampler,
    verifier: Verifier,
) -> Floats:
    """Return (K + 1,) accuracy of answers sampled after the whole trace, then after it without each step.

    Steps that own no token get NaN.

    Args:
        rollout: the response.
        trace: its trace.
        samples: answers to sample in each case.
        params: how to draw them.
        tokenizer: decodes what the verifier reads.
        sampler: draws the answers; it has to go on from the token ids it is given, as a chat endpoint does not.
        verifier: judges them.
    """
    cases: list[tuple[int, ...]] = [(), *((k,) for k in trace.deletable)]
    thinks = [trace.think_without(case) for case in cases]
    # As text the cut trace itself: nobody may ask the question anew.
    texts = [
        tokenizer.decode(trace.prompt + think, skip_special_tokens=False, clean_up_tokenization_spaces=False)
        for think in thinks
    ]
    requests = [
        SampleRequest(text, trace.prompt + think, _key(rollout, case), sample)
        for case, text, think in zip(cases, texts, thinks, strict=True)
        for sample in range(samples)
    ]
    drawn: dict[int, SampledResponse] = dict(sampler.sample(requests, params))
    answered = [
        decode_with_offsets(tokenizer, [*thinks[index // samples], *drawn[index].ids])[0]
        for index in range(len(requests))
    ]
    verdicts = np.array(verifier.verify(answered, [rollout.solution] * len(answered)), dtype=np.float64)
    accuracy = np.full(len(trace) + 1, np.nan)
    accuracy[[0, *(k + 1 for k in trace.deletable)]] = verdicts.reshape(len(cases), samples).mean(axis=1)
    return accuracy


def _key(rollout: Rollout, case: Sequence[int]) -> int:
    return request_key(f"{rollout.problem_id}/{rollout.sample}/{list(case)}")
