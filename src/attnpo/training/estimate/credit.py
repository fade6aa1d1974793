"""Bytes that step credit adds: attention rows of the answer tokens, and the tensors that say where steps lie."""

from __future__ import annotations

from collections.abc import Sequence

from attnpo.attention import Head
from attnpo.attention.reduction import MAX_LOGITS

FLOAT, LONG = 4, 8
LOGIT_COPIES = 3
"""Logits, the mask put onto them, their softmax."""


def reading_bytes(heads: Sequence[Head], head_dim: int, rows: int, length: int, answer_chunk: int) -> int:
    """Return the most bytes alive while one layer's heads are read (`attention/reduction.py`).

    Keys of the chosen heads in float32, one number a head and key, and a chunk of the answer tokens' logits.

    Args:
        heads: what is read; none costs nothing.
        head_dim: width of a head.
        rows: rows of the micro-batch.
        length: tokens a row.
        answer_chunk: most answer tokens taken at once.
    """
    if not heads:
        return 0
    in_layer = max(sum(head.layer == layer for head in heads) for layer in {head.layer for head in heads})
    chunk = max(1, min(answer_chunk, MAX_LOGITS // (rows * in_layer * length)))
    keys = rows * in_layer * length * head_dim * FLOAT
    mass = rows * in_layer * length * FLOAT
    logits = LOGIT_COPIES * rows * in_layer * chunk * length * FLOAT
    places = rows * length * LONG * 2
    return keys + mass + logits + places


def step_tensor_bytes(responses: int, response_length: int, steps: int, reads_heads: bool) -> int:
    """Return the bytes of step credit's tensors of a process's whole generation batch.

    Args:
        responses: responses a process samples at once.
        response_length: T, padded response tokens.
        steps: K, most steps of a response.
        reads_heads: whether step scores are kept.
    """
    per_token = LONG + 1  # step of the token, whether it belongs to the answer
    per_step = LONG + 1 + (FLOAT if reads_heads else 0)  # length, existence, score
    advantages = FLOAT  # one a token
    return responses * (response_length * (per_token + advantages) + steps * per_step)


def batch_bytes(responses: int, prompt_length: int, response_length: int, old_log_probs: bool) -> int:
    """Return the bytes of TRL's own tensors of a process's generation batch: ids and masks, old log-probabilities."""
    ids = responses * (prompt_length + response_length) * (LONG + LONG)
    return ids + responses * response_length * FLOAT * (2 if old_log_probs else 0)
