"""How long a cell of the comparison table takes, by arithmetic."""

from __future__ import annotations

import time

from attnpo.study.arms import COURSE
from attnpo.study.sizes import Sizes
from attnpo.study.worlds import TINYWORLD, World

STARTING_SECONDS = 12.5
"""Starting one process."""


def core_gflops() -> float:
    """Return what one core of this machine does in float32 at its best of five, 1e9 operations a second: a moment."""
    import torch  # not at the top: lists of rows show estimates without it

    size, best = 1024, 0.0
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        matrix = torch.ones(size, size)
        for _ in range(5):
            start = time.perf_counter()
            torch.mm(matrix, matrix)
            best = max(best, 2e-9 * size**3 / (time.perf_counter() - start))
    finally:
        torch.set_num_threads(threads)
    return best


def cell_minutes(sizes: Sizes, world: World = TINYWORLD, speed: float = 1.0) -> float:
    """Return how long a cell takes on one core, roughly.

    Args:
        sizes: how much of everything.
        world: of what.
        speed: this machine's to that of the world's pace; starting takes as long on any.
    """
    pace = world.pace
    tokens = sizes.max_sampled_tokens or sizes.max_steps * sizes.responses * pace.response_tokens
    measured = (sizes.num_eval + sizes.num_unseen) / pace.measured_a_second
    starting = 2 * STARTING_SECONDS
    if sizes.num_course:
        measured += COURSE * sizes.num_course / pace.measured_a_second
        starting += COURSE * STARTING_SECONDS
    return ((tokens / pace.tokens_a_second + measured) / speed + starting) / 60
