"""How long a cell of the comparison table takes, by arithmetic."""

from __future__ import annotations

from attnpo.study.arms import COURSE
from attnpo.study.sizes import Sizes
from attnpo.study.worlds import TINYWORLD, World

STARTING_SECONDS = 12.5
"""Starting one process."""


def cell_minutes(sizes: Sizes, world: World = TINYWORLD) -> float:
    """Return how long a cell takes on one core, roughly."""
    pace = world.pace
    tokens = sizes.max_sampled_tokens or sizes.max_steps * sizes.responses * pace.response_tokens
    measured = (sizes.num_eval + sizes.num_unseen) / pace.measured_a_second
    starting = 2 * STARTING_SECONDS
    if sizes.num_course:
        measured += COURSE * sizes.num_course / pace.measured_a_second
        starting += COURSE * STARTING_SECONDS
    return (tokens / pace.tokens_a_second + measured + starting) / 60
