"""A flag that is short for a setting of the method takes what the setting takes."""

from __future__ import annotations

import typing

import pytest
from small_training import config

from attnpo.credit import CreditSettings
from attnpo.errors import ConfigError
from attnpo.training import AttnPOConfig
from attnpo.training.config import CREDIT_FLAGS


@pytest.mark.parametrize(("flag", "setting"), [pair for pair in CREDIT_FLAGS.items() if pair[0] != "seed"])
def test_flags_have_the_types_of_their_settings(flag, setting):
    wanted = typing.get_type_hints(CreditSettings)[setting]
    words = typing.get_args(wanted)
    kinds = {type(word) for word in words} if typing.get_origin(wanted) is typing.Literal else {wanted}
    assert set(typing.get_args(typing.get_type_hints(AttnPOConfig)[flag])) == kinds | {type(None)}


@pytest.mark.parametrize("value", ["none", False])
def test_trl_scales_no_rewards(tmp_path, value):
    assert config(tmp_path, scale_rewards=value).scale_rewards == "none"


@pytest.mark.parametrize(
    ("method", "value", "words"),
    [
        ("attnpo", "group", "group would do nothing, .* set scale_advantages"),
        ("attnpo", True, "group would do nothing, .* set scale_advantages"),
        ("grpo", "batch", "batch would do nothing, .* set scale_advantages"),
        ("decs", "batch", r"batch would do nothing, .* choose a method that has scale_advantages \('decs' does not\)"),
        ("attnpo", "groups", "groups would do nothing"),
    ],
)
def test_scaling_that_the_method_decides_on_is_refused(tmp_path, method, value, words):
    with pytest.raises(ConfigError, match=f"^scale_rewards: {words}"):
        config(tmp_path, method=method, scale_rewards=value, heads=None)
