"""The methods by name. A new one is one file here and one line in `METHODS`."""

from __future__ import annotations

from attnpo.credit.methods.attnpo import AttnPO
from attnpo.credit.methods.attnpo_shuffled import AttnPOShuffled
from attnpo.credit.methods.base import Method
from attnpo.credit.methods.grpo import GRPO
from attnpo.credit.methods.oracle import Oracle, OracleReversed
from attnpo.credit.methods.rloo import RLOO
from attnpo.credit.methods.tlmre import TLMRE
from attnpo.credit.settings import CreditSettings
from attnpo.errors import ConfigError

METHODS: dict[str, type[Method]] = {
    "rloo": RLOO,
    "grpo": GRPO,
    "tlmre": TLMRE,
    "attnpo": AttnPO,
    "attnpo_shuffled": AttnPOShuffled,
    "oracle": Oracle,
    "oracle_reversed": OracleReversed,
}


def build_method(name: str, settings: CreditSettings | None = None) -> Method:
    """Return the method of that name.

    Args:
        name: a key of `METHODS`.
        settings: its settings, the published ones by default.

    Raises:
        ConfigError: there is no such method.
    """
    if name not in METHODS:
        raise ConfigError(f"method: {name!r} is unknown; use one of {', '.join(METHODS)}")
    return METHODS[name](settings or CreditSettings())


__all__ = ["METHODS", "Method", "build_method"]
