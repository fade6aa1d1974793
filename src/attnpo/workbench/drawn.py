"""Responses of a file, held against the settings beside it: gradients need those that the policy itself drew, whole."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from attnpo.errors import ConfigError
from attnpo.files import UserFile
from attnpo.ledger import settings_path
from attnpo.rollouts import Rollout
from attnpo.workbench.loading import Session

logger = logging.getLogger(__name__)

PLAIN_SAMPLING: dict[str, Any] = {"top_p": 1.0, "top_k": 0, "min_p": 0.0, "repetition_penalty": 1.0}


@dataclass(frozen=True)
class Drawn:
    """How the responses of a file were drawn, as far as the settings beside it say.

    Attributes:
        path: the rollouts file.
        settings: what lies beside it; empty where nothing does.
    """

    path: Path
    settings: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def beside(cls, path: Path) -> Drawn:
        """Read the settings beside a file of responses.

        Raises:
            DataError: there is no such file, or its settings cannot be read.
        """
        UserFile(path, "rollouts file").check()
        found = settings_path(path)
        return cls(path, UserFile(found).json() if found.is_file() else {})

    @property
    def sampling(self) -> Mapping[str, Any]:
        """Return the settings of sampling."""
        return self.settings.get("sampling") or {}

    def check_plain(self, temperature: float) -> None:
        """Check that the responses were drawn from the softmax at this temperature.

        Raises:
            ConfigError: they were drawn otherwise, so that no gradient of theirs is unbiased.
        """
        drawn = self.sampling
        cut = [f"{name} {drawn[name]:g}" for name, plain in PLAIN_SAMPLING.items() if drawn.get(name, plain) != plain]
        if cut:
            raise ConfigError(
                f"--rollouts {self.path}: drawn with {', '.join(cut)}, under which gradients are biased; sample "
                "without, as `attnpo gradients` does itself"
            )
        theirs = drawn.get("temperature", temperature)
        if theirs != temperature:
            raise ConfigError(f"--rollouts {self.path}: drawn at temperature {theirs:g}; give --temperature {theirs:g}")

    def limit(self, asked: int | None, otherwise: int) -> int:
        """Return the limit that the responses were drawn under, in tokens.

        Args:
            asked: what is asked for; None where nothing is.
            otherwise: what to take where neither says.

        Raises:
            ConfigError: the settings say another than is asked for.
        """
        theirs = self.sampling.get("max_new_tokens")
        if theirs is None:
            return otherwise if asked is None else asked
        if asked not in (None, theirs):
            raise ConfigError(
                f"--max_new_tokens {asked}: the responses of --rollouts {self.path} were drawn under a limit of "
                f"{theirs}; leave it out"
            )
        return int(theirs)

    def check_policy(self, session: Session) -> None:
        """Check that the responses were drawn by the model that is differentiated.

        Raises:
            ConfigError: they were drawn by other weights, so that no gradient of theirs is unbiased.
        """
        theirs = self.settings.get("model_fingerprint")
        if theirs is not None and theirs == (ours := session.context["model_fingerprint"]):
            return
        # Adapters that stay parts of their own have another fingerprint than the merged model that may have drawn.
        if theirs is None or session.source.adapters:
            logger.warning(
                "%s: not known to be drawn by %s; of another policy gradients are biased", self.path, session.model_name
            )
        else:
            raise ConfigError(
                f"--rollouts {self.path}: drawn by other weights than --model {session.model_name} has (fingerprint "
                f"{theirs}, not {ours}); give the model that drew them, or leave --rollouts out to sample"
            )


def check_limit(rollouts: Sequence[Rollout], limit: int) -> None:
    """Check that no response is longer than the limit that it is said to be drawn under.

    Raises:
        ConfigError: one is.
    """
    longest = max(rollout.n_tokens for rollout in rollouts)
    if longest > limit:
        raise ConfigError(
            f"--max_new_tokens {limit}: a response has {longest} tokens; give the limit that they were drawn under"
        )
