from __future__ import annotations

import pytest
from transformers import MambaConfig, Qwen2Config

from attnpo.errors import ConfigError
from attnpo.sampling.room import check_room, positions


def test_positions_are_the_models():
    assert positions(Qwen2Config(max_position_embeddings=77)) == 77
    assert positions(MambaConfig()) is None


@pytest.mark.parametrize(("limit", "prompt", "new"), [(100, 40, 60), (None, 40, 10**12)])
def test_what_fits_passes(limit, prompt, new):
    check_room(limit, prompt, new)


@pytest.mark.parametrize(
    ("prompt", "new", "words"),
    [(40, 61, "lower it to 60"), (40, 10**12, "1,000,000,000,000: with a prompt of 40 tokens"), (100, 1, "leave such")],
)
def test_what_does_not_is_refused_with_what_would(prompt, new, words):
    with pytest.raises(ConfigError, match=words):
        check_room(100, prompt, new)
