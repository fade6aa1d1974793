"""Gradients of batches on disk, one file a batch, and the inner products of all of them, some coordinates at a time."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.progress import Progress
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file

from attnpo.errors import OutputError
from attnpo.gradients.basis import Basis, Floats
from attnpo.gradients.products import Products
from attnpo.output import claim_settings, prepare_output_dir
from attnpo.progress import bar

PLAIN, ADAM = "plain", "adam"
METRICS = (PLAIN, ADAM)
CELLS = 2**23
"""Numbers of all batches that are held at a time while inner products are taken: 64 MB."""


@dataclass(frozen=True)
class Store:
    """The files of one run.

    Attributes:
        folder: where they lie.
        batches: how many there are to be.
        common: place of the credit that Adam's metric is of.
    """

    folder: Path
    batches: int
    common: int

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, for the settings that the gradients depend on.

        Raises:
            OutputError: it holds those of others, or cannot be written.
        """
        prepare_output_dir(self.folder)
        claim_settings(self.folder / "settings.json", settings)

    def missing(self) -> list[int]:
        """Return the batches that are still to be computed."""
        return [number for number in range(self.batches) if not self._path(number).exists()]

    def save(self, number: int, gradients: Mapping[str, torch.Tensor], basis: Basis) -> None:
        """Write the gradients of one batch: (R, d) float32 of its independent credits, for each metric they are for."""
        tensors = {name: rows_Rd.float().cpu().contiguous() for name, rows_Rd in gradients.items()}
        tensors["coefficients"] = torch.from_numpy(np.ascontiguousarray(basis.coefficients_MR))
        temporary = self.folder / "batch.tmp"
        save_file(tensors, temporary)
        os.replace(temporary, self._path(number))

    def products(self, progress: Progress | None = None) -> dict[str, Products]:
        """Return the inner products by metric, plain and Adam's: weighed by 1 / sqrt(v).

        v is the mean over batches of the common credit's squared gradient; a coordinate that it never moves has weight
        0. Gradients that are kept whole give it themselves; sketches were made for each metric.

        Raises:
            OutputError: a file cannot be read.
        """
        files = [self._open(number) for number in range(self.batches)]
        coefficients = [file.get_tensor("coefficients").numpy() for file in files]
        sketched = ADAM in files[0].keys()  # noqa: SIM118
        width = files[0].get_slice(PLAIN).get_shape()[1]
        step = max(1, CELLS // max(1, sum(c.shape[1] for c in coefficients)))
        sums = {metric: _Sums.empty(coefficients) for metric in METRICS}
        with bar(progress, "inner products", width) as advance:
            for start in range(0, width, step):
                places = slice(start, min(start + step, width))
                rows = [_read(file, PLAIN, places) for file in files]
                sums[PLAIN].add(rows, None)
                if sketched:
                    sums[ADAM].add([_read(file, ADAM, places) for file in files], None)
                else:
                    sums[ADAM].add(rows, self._adam_weights(rows, coefficients))
                advance(places.stop - places.start)
        return {metric: found.products() for metric, found in sums.items()}

    def keep_products(self, products: Mapping[str, Products]) -> None:
        """Write the inner products and remove the gradients, which are not needed any more."""
        tensors = {
            f"{metric}/{name}": torch.from_numpy(np.ascontiguousarray(values))
            for metric, found in products.items()
            for name, values in (("within", found.within_BMM), ("with_sum", found.with_sum_BMM))
        }
        temporary = self.folder / "products.tmp"
        save_file(tensors, temporary)
        os.replace(temporary, self._products)
        for number in range(self.batches):
            self._path(number).unlink(missing_ok=True)

    def kept_products(self) -> dict[str, Products] | None:
        """Return the inner products that an earlier run wrote; None where there are none."""
        if not self._products.exists():
            return None
        kept = {name: values.numpy() for name, values in load_file(self._products).items()}
        return {metric: Products(kept[f"{metric}/within"], kept[f"{metric}/with_sum"]) for metric in METRICS}

    @property
    def _products(self) -> Path:
        return self.folder / "products.safetensors"

    def _adam_weights(self, rows: Sequence[Floats], coefficients: Sequence[Floats]) -> Floats:
        moments = [(c[self.common] @ r) ** 2 for c, r in zip(coefficients, rows, strict=True)]
        return adam_weights(np.mean(moments, axis=0))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _open(self, number: int) -> Any:
        path = self._path(number)
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); remove it and run the command again") from error


def adam_weights(second_moments: Floats) -> Floats:
    """Return 1 / sqrt(v), 0 where v is 0."""
    return np.divide(1.0, np.sqrt(second_moments), out=np.zeros_like(second_moments), where=second_moments > 0)


@dataclass
class _Sums:
    """Inner products over the coordinates seen so far, in the batches' own rows."""

    coefficients: Sequence[Floats]
    within: list[Floats]
    with_sum: list[Floats]

    @classmethod
    def empty(cls, coefficients: Sequence[Floats]) -> _Sums:
        credits = len(coefficients[0])
        return cls(
            coefficients,
            [np.zeros((c.shape[1], c.shape[1])) for c in coefficients],
            [np.zeros((c.shape[1], credits)) for c in coefficients],
        )

    def add(self, rows: Sequence[Floats], weights: Floats | None) -> None:
        sum_MD = np.sum([c @ r for c, r in zip(self.coefficients, rows, strict=True)], axis=0)
        for number, own in enumerate(rows):
            weighed = own if weights is None else own * weights
            self.within[number] += weighed @ own.T
            self.with_sum[number] += weighed @ sum_MD.T

    def products(self) -> Products:
        triples = list(zip(self.coefficients, self.within, self.with_sum, strict=True))
        return Products(
            np.stack([c @ within @ c.T for c, within, _ in triples]),
            np.stack([c @ with_sum for c, _, with_sum in triples]),
        )


def _read(file: Any, name: str, places: slice) -> Floats:
    found: Floats = file.get_slice(name)[:, places].double().numpy()
    return found
