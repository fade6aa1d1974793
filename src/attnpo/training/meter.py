"""Sums and counts behind a run's logged means, reduced over processes once a log line."""

from __future__ import annotations

from collections.abc import Callable

import torch


class Meter:
    """Accumulates `sum / count` metrics on the device, without synchronising until they are read."""

    def __init__(self) -> None:
        self._totals: dict[str, torch.Tensor] = {}

    def add(self, name: str, total: torch.Tensor | float, count: torch.Tensor | float) -> None:
        """Add `total` over `count` items to the mean called `name`."""
        pair = torch.stack([torch.as_tensor(total).float(), torch.as_tensor(count).float().to(_device_of(total))])
        self._totals[name] = self._totals[name] + pair if name in self._totals else pair

    def add_values(self, name: str, values: torch.Tensor) -> None:
        """Add every element of `values`."""
        self.add(name, values.float().sum(), float(values.numel()))

    def flush(self, reduce_sum: Callable[[torch.Tensor], torch.Tensor]) -> dict[str, float]:
        """Return the means over all processes and start again.

        Args:
            reduce_sum: sums a tensor over processes. Every process must hold the same names.

        Returns:
            The means of all names that counted something.
        """
        if not self._totals:
            return {}
        names = sorted(self._totals)
        stacked = reduce_sum(torch.stack([self._totals[name] for name in names]))
        self._totals = {}
        return {name: total / count for name, (total, count) in zip(names, stacked.tolist(), strict=True) if count > 0}


def _device_of(value: torch.Tensor | float) -> torch.device | str:
    return value.device if isinstance(value, torch.Tensor) else "cpu"
