"""A flag that is short for a setting of the method takes what the setting takes."""

from __future__ import annotations

import typing

import pytest

from attnpo.credit import CreditSettings
from attnpo.training import AttnPOConfig
from attnpo.training.config import CREDIT_FLAGS


@pytest.mark.parametrize(("flag", "setting"), [pair for pair in CREDIT_FLAGS.items() if pair[0] != "seed"])
def test_flags_have_the_types_of_their_settings(flag, setting):
    wanted = typing.get_type_hints(CreditSettings)[setting]
    words = typing.get_args(wanted)
    kinds = {type(word) for word in words} if typing.get_origin(wanted) is typing.Literal else {wanted}
    assert set(typing.get_args(typing.get_type_hints(AttnPOConfig)[flag])) == kinds | {type(None)}
