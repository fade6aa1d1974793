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
from attnpo.gradients.basis import Basis
from attnpo.gradients.products import Moments, Products
from attnpo.output import claim_settings, prepare_output_dir
from attnpo.progress import bar
from attnpo.statistics import Floats

PLAIN, ADAM = "plain", "adam"
LEAST_BATCHES = 6
"""Three of each half: Adam's weights for one half of the batches are of the other, and a jackknife takes three."""
HALVES = (0, 1)
"""Batches of even number, and of odd."""
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
        save_tensors(self._path(number), tensors)

    def kept_moments(self) -> tuple[int, torch.Tensor] | None:
        """Return how many batches the sums of squares are of, and (2, D) the sums; None where there are none."""
        if not self._moments.exists():
            return None
        kept = load_file(self._moments)
        return int(kept["batches"]), kept["sums"]

    def keep_moments(self, batches: int, sums_HD: torch.Tensor) -> None:
        """Write the sums of squares over so many batches, in place of those over fewer."""
        save_tensors(self._moments, {"sums": sums_HD, "batches": torch.tensor(batches)})

    def moments_bytes(self, parameters: int) -> int:
        """Return how much more disk the sums of squares take until they are complete: a new file beside the old one."""
        own = len(HALVES) * parameters * 4
        if not self._moments.exists():
            return 2 * own
        with safe_open(self._moments, framework="pt") as file:
            return own if int(file.get_tensor("batches")) < self.batches else 0

    def products(self, progress: Progress | None = None) -> dict[str, Products]:
        """Return the inner products: plain ones of all batches, and those of each half weighed by Adam's 1 / sqrt(v).

        v is the mean of the common credit's squared gradient over the batches of the other half: of the same ones,
        weights would be small just where the noise of these gradients is large. A coordinate that it never moves has
        weight 0. Gradients that are kept whole give it themselves; sketches were made for each metric.

        Raises:
            OutputError: a file cannot be read.
        """
        files = [self._open(number) for number in range(self.batches)]
        coefficients = [file.get_tensor("coefficients").numpy() for file in files]
        sketched = ADAM in files[0].keys()  # noqa: SIM118
        width = files[0].get_slice(PLAIN).get_shape()[1]
        step = max(1, CELLS // max(1, sum(c.shape[1] for c in coefficients)))
        halves = [range(half, self.batches, 2) for half in HALVES]
        plain = _Sums.empty(coefficients)
        adam = [_Sums.empty([coefficients[number] for number in half]) for half in halves]
        with bar(progress, "inner products", width) as advance:
            for start in range(0, width, step):
                places = slice(start, min(start + step, width))
                rows = [_read(file, PLAIN, places) for file in files]
                plain.add(rows, None)
                for own, half, other in zip(adam, halves, reversed(halves), strict=True):
                    if sketched:
                        own.add([_read(files[number], ADAM, places) for number in half], None)
                    else:
                        own.add([rows[number] for number in half], self._adam_weights(rows, coefficients, other))
                advance(places.stop - places.start)
        return {PLAIN: plain.products()} | {
            f"{ADAM}/{half}": own.products() for half, own in zip(HALVES, adam, strict=True)
        }

    def keep_products(self, products: Mapping[str, Products]) -> None:
        """Write the inner products and remove what they were taken of, which is not needed any more."""
        tensors = {
            f"{metric}/{name}": torch.from_numpy(np.ascontiguousarray(values))
            for metric, found in products.items()
            for name, values in (("within", found.within_BMM), ("with_sum", found.with_sum_BMM))
        }
        save_tensors(self._products, tensors)
        for path in (self._moments, *map(self._path, range(self.batches))):
            path.unlink(missing_ok=True)

    def kept_products(self) -> dict[str, Products] | None:
        """Return the inner products that an earlier run wrote; None where there are none."""
        if not self._products.exists():
            return None
        kept = {name: values.numpy() for name, values in load_file(self._products).items()}
        names = [PLAIN, *(f"{ADAM}/{half}" for half in HALVES)]
        return {name: Products(kept[f"{name}/within"], kept[f"{name}/with_sum"]) for name in names}

    @property
    def _products(self) -> Path:
        return self.folder / "products.safetensors"

    @property
    def _moments(self) -> Path:
        return self.folder / "second_moments.safetensors"

    def _adam_weights(self, rows: Sequence[Floats], coefficients: Sequence[Floats], numbers: Sequence[int]) -> Floats:
        sum_D = np.zeros(rows[0].shape[1])
        for number in numbers:
            sum_D += (coefficients[number][self.common] @ rows[number]) ** 2
        return adam_weights(sum_D / len(numbers))

    def _path(self, number: int) -> Path:
        return self.folder / f"{number:05d}.safetensors"

    def _open(self, number: int) -> Any:
        path = self._path(number)
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); remove it and run the command again") from error


def moments_of(products: Mapping[str, Products]) -> dict[str, Moments]:
    """Return the moments by metric: Adam's are the mean of both halves'."""
    first, second = (products[f"{ADAM}/{half}"].moments() for half in HALVES)
    return {PLAIN: products[PLAIN].moments(), ADAM: first.mean(second)}


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a file so that a killed run leaves either the old one or the new one."""
    temporary = path.with_suffix(".tmp")
    save_file(dict(tensors), temporary)
    os.replace(temporary, path)


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
        # One batch at a time: the credits of all batches take many times the rows' memory.
        sum_MD = np.zeros((len(self.coefficients[0]), rows[0].shape[1]))
        for own_MR, row_RD in zip(self.coefficients, rows, strict=True):
            sum_MD += own_MR @ row_RD
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
