"""Activation probe: a linear readout of hidden states, fitted to labels."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attnpo.attention import Head
from attnpo.attention.hook import find_decoder
from attnpo.documents import Document
from attnpo.errors import AttnPOError, ConfigError, UnsupportedModelError
from attnpo.signals.base import Need, Places, Seen, Signal
from attnpo.signals.states import probed_layer, read_states


class ProbeWeights(Document):
    """A fitted probe: `probe.json` beside `heads.json`.

    Attributes:
        layer: layer whose input is read.
        weights: one for each dimension of it.
        model: model that it was fitted on.
        steps: labelled steps that it was fitted to.
    """

    REFUSED: ClassVar[type[AttnPOError]] = ConfigError
    MAKE: ClassVar[str] = "make it with `attnpo discover`"
    MEND: ClassVar[str] = "make it again with `attnpo discover`"

    schema_version: Literal[1] = 1
    layer: int
    weights: list[float]
    model: str = ""
    steps: int = 0


class Probe(Signal):
    """What a linear probe reads off the hidden states of a step, told which steps were essential.

    w · mean over the step's tokens of the normalised residual stream before a layer two thirds up; w by logistic
    regression (penalty |w|^2 / 2 on standardised dimensions) of essential against redundant steps, on the problems that
    heads are chosen on. It knows labels, as a choice of heads does, with a thousand times the parameters.
    """

    name = "probe"
    formula = "w · mean hidden state of s, w fitted to labels"
    needs: ClassVar[tuple[Need, ...]] = ("hidden states", "probe file")

    def __init__(self, heads: Sequence[Head] = (), fitted: ProbeWeights | None = None) -> None:
        super().__init__(heads)
        self.fitted = fitted

    @classmethod
    def load(cls, path: str | Path) -> Probe:
        """Read a probe's file.

        Raises:
            ConfigError: it is missing or no probe.
        """
        return cls(fitted=ProbeWeights.load(Path(path)))

    @property
    def known(self) -> ProbeWeights:
        """The fitted probe.

        Raises:
            ConfigError: there is none.
        """
        if self.fitted is None:
            raise ConfigError("signal: probe has weights of its own; give its file (probe.json of `attnpo discover`)")
        return self.fitted

    def check(self, model: Any) -> None:
        """Check that the model has the layer, and as many dimensions there.

        Raises:
            UnsupportedModelError: otherwise.
        """
        config = find_decoder(model).config
        layer, width = self.known.layer, len(self.known.weights)
        if layer >= config.num_hidden_layers or width != config.hidden_size:
            raise UnsupportedModelError(
                f"probe: fitted to layer {layer} of a model of {width} dimensions, this one has "
                f"{config.num_hidden_layers} layers of {config.hidden_size}; discover on this model"
            )

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read the hidden states of steps."""
        return read_states(model, self.known.layer, places)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K) readouts."""
        states_BKD = seen.reading.means_BKD
        return states_BKD @ torch.tensor(self.known.weights, dtype=states_BKD.dtype, device=states_BKD.device)


class StepStates(Signal):
    """The hidden states that a probe is fitted to, (B, K, D): not a score, but read as one."""

    name = "states"
    needs: ClassVar[tuple[Need, ...]] = ("hidden states",)

    def attach(self, model: Any, places: Places) -> AbstractContextManager[Any]:
        """Read the hidden states of steps in `probed_layer`."""
        return read_states(model, probed_layer(model), places)

    def score(self, seen: Seen) -> Tensor:
        """Return (B, K, D) mean states."""
        states_BKD: Tensor = seen.reading.means_BKD
        return states_BKD


def fit_probe(states_ND: NDArray[np.floating], essential_N: NDArray[np.bool_], rounds: int = 25) -> list[float]:
    """Fit a logistic regression by Newton steps: penalty |w|^2 / 2 on standardised dimensions, a free intercept.

    Args:
        states_ND: a row a step.
        essential_N: its label.
        rounds: most Newton steps.

    Returns:
        D weights for states as they are; the intercept, which ranks nothing, is left out.
    """
    x_ND = states_ND.astype(np.float64)
    spread_D = x_ND.std(axis=0)
    spread_D[spread_D < 1e-12] = np.inf  # a dimension that never changes says nothing
    x_ND = np.concatenate([(x_ND - x_ND.mean(axis=0)) / spread_D, np.ones((len(x_ND), 1))], axis=1)
    penalty_D = np.append(np.ones(len(spread_D)), 0.0)
    target_N, w_D = essential_N.astype(np.float64), np.zeros(x_ND.shape[1])
    for _ in range(rounds):
        chance_N = 1 / (1 + np.exp(-np.clip(x_ND @ w_D, -30, 30)))
        gradient_D = x_ND.T @ (chance_N - target_N) + penalty_D * w_D
        curvature_N = np.maximum(chance_N * (1 - chance_N), 1e-6)
        step_D = np.linalg.solve((x_ND * curvature_N[:, None]).T @ x_ND + np.diag(penalty_D + 1e-9), gradient_D)
        w_D = w_D - step_D
        if np.abs(step_D).max() < 1e-8:
            break
    return (w_D[:-1] / spread_D).tolist()
