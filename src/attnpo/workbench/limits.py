"""Whether a training run leaves responses the length that they need, as far as that is known before it starts."""

from __future__ import annotations

import statistics
from collections.abc import Collection
from itertools import islice
from pathlib import Path

from attnpo.discovery.run import PROBING_SET_FILE
from attnpo.errors import DataError
from attnpo.rollouts import read_rollouts
from attnpo.training import AttnPOConfig
from attnpo.training.checks import Findings

FIRST_RESPONSES = 256
"""Responses of a probing set whose lengths are looked at; all can be hundreds of megabytes."""
MOST_CUT = 0.5
"""Share of them that a limit may cut before that is said."""


def note_limit(args: AttnPOConfig, given: Collection[str], findings: Findings) -> None:
    """Say where `max_completion_length` is below what responses need, or nobody chose it.

    What they need is known where the responses that the heads were found on still lie beside the head set.

    Args:
        args: the training settings.
        given: names of the settings that flags or the settings file give.
        findings: it is added to.
    """
    limit = args.max_completion_length
    if limit is None:
        return
    try:
        lengths = _probing_lengths(args.heads)
    except DataError as error:
        findings.note(f"{error}; how long responses are is not known from it")
        lengths = []
    cut = sum(length > limit for length in lengths)
    if cut > MOST_CUT * len(lengths):
        findings.note(
            f"max_completion_length: {limit:,} would cut {cut} of {len(lengths)} responses that the heads were found "
            f"on (median {statistics.median(lengths):,.0f} tokens); raise it"
        )
    elif not lengths and "max_completion_length" not in given:
        findings.note(
            f"max_completion_length: {limit} is TRL's default; responses of reasoning models are longer and would be "
            "cut; give --max_completion_length"
        )


def _probing_lengths(heads: str | None) -> list[int]:
    """Return the tokens of the responses that a head set was found on; empty where they do not lie beside its file."""
    if heads is None or not Path(heads).is_file():
        return []
    beside = Path(heads).with_name(PROBING_SET_FILE)
    return [rollout.n_tokens for rollout in islice(read_rollouts(beside), FIRST_RESPONSES)] if beside.is_file() else []
