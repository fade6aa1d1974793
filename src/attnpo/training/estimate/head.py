"""Bytes of TRL's fused head: log-probabilities of the response tokens in tiles, logits of the whole never at once."""

from __future__ import annotations

from dataclasses import dataclass

TOKEN_TILE, VOCAB_TILE = 4096, 32768
"""Size of a tile (`trl.kernels.chunked_logprob.TOKEN_CHUNK_SIZE`, `trl.trainer.utils._CHUNKED_LOGPROB_CHUNK_SIZE`)."""
FLOAT = 4
TORCH_COPIES = {"forward": 3, "backward": 8}
"""Float32 copies of a tile where no Triton kernel folds it in place (CPU)."""


@dataclass(frozen=True)
class HeadMemory:
    """Bytes the head holds.

    Attributes:
        forward: most at once in the forward pass.
        backward: most at once in the backward pass, gradient of its weights (`gradient`) included.
        kept: alive until the decoder's backward pass is over: its input and outputs.
        gradient: of its weights in float32, made in every micro-batch.
    """

    forward: int
    backward: int
    kept: int
    gradient: int


def head_memory(
    tokens: int,
    scored: int,
    hidden: int,
    vocab: int,
    *,
    compute_bytes: int,
    input_bytes: int,
    trainable: bool,
    triton: bool,
) -> HeadMemory:
    """Count the fused head's bytes for one micro-batch.

    Args:
        tokens: tokens of the micro-batch, prompts included.
        scored: its response tokens; only they are projected where Triton runs, all tokens elsewhere.
        hidden: width of the residual stream.
        vocab: rows of the head.
        compute_bytes: bytes of the compute type.
        input_bytes: bytes of the type that the decoder ends in.
        trainable: whether the head's weights get a gradient.
        triton: whether Triton kernels run (CUDA, XPU).
    """
    scored = scored if triton else tokens
    used_values = min(scored, TOKEN_TILE) * min(vocab, VOCAB_TILE)
    # A device sets the whole tile aside; on a CPU, pages that are never written take nothing.
    tile = (min(scored, TOKEN_TILE) * VOCAB_TILE if triton else used_values) * compute_bytes
    copies = {name: 0 if triton else number * used_values * FLOAT for name, number in TORCH_COPIES.items()}
    kept = scored * hidden * input_bytes + 4 * scored * FLOAT
    weights = min(vocab, VOCAB_TILE) * hidden * compute_bytes
    gradient = vocab * hidden * FLOAT if trainable else 0
    gradient_of_input = scored * hidden * FLOAT + tokens * hidden * input_bytes
    return HeadMemory(
        forward=kept + tile + weights + copies["forward"],
        backward=kept + tile + weights + copies["backward"] + gradient_of_input + gradient,
        kept=kept,
        gradient=gradient,
    )
