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
from attnpo.gradients.basis import TOLERANCE, Basis
from attnpo.gradients.products import Moments, Products
from attnpo.gradients.sums import Sums
from attnpo.output import claim_settings, prepare_output_dir
from attnpo.progress import bar
from attnpo.statistics import Floats

PLAIN, ADAM = "plain", "adam"
LEAST_BATCHES = 6
"""Three of each half: Adam's weights for one half of the batches are of the other, and a jackknife takes three."""
HALVES = (0, 1)
"""Batches of even number, and of odd."""
ADAM_HALVES = tuple(f"{ADAM}/{half}" for half in HALVES)
EPSILON = 0.01
"""Adam's epsilon, as a share of the root mean square of the common credit's gradient over all coordinates."""
CELLS = 2**23
"""Numbers of all batches that are held at a time while inner products are taken: 64 MB."""


@dataclass(frozen=True)
class Store:
    """The files of one run.

    Attributes:
        folder: where they lie.
        batches: how many there are to be.
        common: place of the credit that Adam's metric is of.
        parts: how many parts gradients are kept in, one for each bin of responses.
    """

    folder: Path
    batches: int
    common: int
    parts: int = 1

    def claim(self, settings: Mapping[str, Any]) -> None:
        """Make the folder, for the settings that the gradients depend on.

        Raises:
            OutputError: it holds those of others, or some whose settings are gone; or it cannot be written.
        """
        prepare_output_dir(self.folder)
        claim_settings(self.folder / "settings.json", settings, sorted(self.folder.glob("*.safetensors")), ("sources",))

    def missing(self) -> list[int]:
        """Return the batches that are still to be computed."""
        parts = range(self.parts)
        return [n for n in range(self.batches) if not all(self._path(n, part).exists() for part in parts)]

    def save(self, number: int, gradients: Mapping[str, torch.Tensor], basis: Basis, part: int = 0) -> None:
        """Write the gradients of one batch: (R, d) float32 of its independent credits, for each metric they are for.

        Args:
            number: the batch.
            gradients: by metric.
            basis: which credits they are of.
            part: the bin whose responses' part they are.
        """
        tensors = {name: rows_Rd.float().cpu().contiguous() for name, rows_Rd in gradients.items()}
        tensors["coefficients"] = torch.from_numpy(np.ascontiguousarray(basis.coefficients_MR))
        save_tensors(self._path(number, part), tensors)

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
        """Return the inner products: plain ones of all batches, and those of each half weighed as Adam steps.

        Weights (`adam_weights`) are of the mean of the common credit's squared gradient over the batches of the other
        half: of the same ones, they would be small just where the noise of these gradients is large. Gradients that
        are kept whole give it themselves; sketches were made for each metric. Those of a bin (`bin_name`) are of the
        parts that its responses have in the batches, weighed alike.

        Raises:
            OutputError: a file cannot be read.
        """
        files = [[self._open(number, part) for number in range(self.batches)] for part in range(self.parts)]
        coefficients = [file.get_tensor("coefficients").numpy() for file in files[0]]
        sketched = ADAM in files[0][0].keys()  # noqa: SIM118
        width = files[0][0].get_slice(PLAIN).get_shape()[1]
        others = [range(1 - half, self.batches, len(HALVES)) for half in HALVES]
        means = [0.0 if sketched else self._mean_moment(files, coefficients, each) for each in others]
        sums = [_MetricSums.empty(coefficients) for _ in self._wholes]
        step = max(1, CELLS // max(1, len(sums) * sum(c.shape[1] for c in coefficients)))
        with bar(progress, "inner products", width) as advance:
            for start in range(0, width, step):
                places = slice(start, min(start + step, width))
                plain = _with_total(files, PLAIN, places)
                adam = _with_total(files, ADAM, places) if sketched else plain
                weights = [
                    None if sketched else adam_weights(self._moments_of(plain[0], coefficients, each), mean)
                    for each, mean in zip(others, means, strict=True)
                ]
                for own, rows, weighed in zip(sums, plain, adam, strict=True):
                    own.plain.add(rows, None)
                    for half, adams in zip(HALVES, own.adam, strict=True):
                        adams.add(weighed[half :: len(HALVES)], weights[half])
                advance(places.stop - places.start)
        return {
            f"{whole}{metric}": found
            for whole, own in zip(self._wholes, sums, strict=True)
            for metric, found in own.products().items()
        }

    def keep_products(self, products: Mapping[str, Products]) -> None:
        """Write the inner products and remove what they were taken of, which is not needed any more."""
        tensors = {
            f"{metric}/{name}": torch.from_numpy(np.ascontiguousarray(values))
            for metric, found in products.items()
            for name, values in (("within", found.within_BMM), ("with_sum", found.with_sum_BMM))
        }
        save_tensors(self._products, tensors)
        gradients = (self._path(number, part) for number in range(self.batches) for part in range(self.parts))
        for path in (self._moments, *gradients):
            path.unlink(missing_ok=True)

    def kept_products(self) -> dict[str, Products] | None:
        """Return the inner products that an earlier run wrote; None where there are none."""
        if not self._products.exists():
            return None
        kept = {name: values.numpy() for name, values in load_file(self._products).items()}
        names = [f"{whole}{metric}" for whole in self._wholes for metric in (PLAIN, *ADAM_HALVES)]
        return {name: Products(kept[f"{name}/within"], kept[f"{name}/with_sum"]) for name in names}

    @property
    def _wholes(self) -> list[str]:
        """What the names of inner products begin with: those of all responses, and those of each bin."""
        return ["", *(bin_name(part) for part in range(self.parts) if self.parts > 1)]

    @property
    def _products(self) -> Path:
        return self.folder / "products.safetensors"

    @property
    def _moments(self) -> Path:
        return self.folder / "second_moments.safetensors"

    def _moments_of(self, rows: Sequence[Floats], coefficients: Sequence[Floats], numbers: Sequence[int]) -> Floats:
        """Return (d,) the mean over some batches of the common credit's squared gradient."""
        sum_D = np.zeros(rows[0].shape[1])
        for number in numbers:
            sum_D += (coefficients[number][self.common] @ rows[number]) ** 2
        return sum_D / len(numbers)

    def _mean_moment(
        self, files: Sequence[Sequence[Any]], coefficients: Sequence[Floats], numbers: Sequence[int]
    ) -> float:
        """Return the mean over all coordinates of `_moments_of`, from the rows that the common credit is made of."""
        width, total, step = files[0][0].get_slice(PLAIN).get_shape()[1], 0.0, CELLS // 4
        for number in numbers:
            common_R = coefficients[number][self.common]
            # Other rows have coefficients of rounding alone.
            made_of = np.flatnonzero(abs(common_R) > TOLERANCE * abs(common_R).max(initial=0.0))
            for start in range(0, width, step):
                places = slice(start, min(start + step, width))
                found_D = np.zeros(places.stop - places.start)
                for own in files:
                    for row in made_of:
                        found_D += common_R[row] * _read(own[number], PLAIN, places, slice(row, row + 1))[0]
                total += float(found_D @ found_D)
        return total / (len(numbers) * width)

    def _path(self, number: int, part: int) -> Path:
        return self.folder / (f"{number:05d}" + (f"-{part}" if self.parts > 1 else "") + ".safetensors")

    def _open(self, number: int, part: int) -> Any:
        path = self._path(number, part)
        try:
            return safe_open(path, framework="pt")
        except (SafetensorError, OSError) as error:
            raise OutputError(f"{path}: cannot be read ({error}); remove it and run the command again") from error


def bin_name(number: int) -> str:
    """Return what the names of a bin's inner products begin with."""
    return f"bin {number}/"


def moments_of(products: Mapping[str, Products], whole: str = "", shares_B: Floats | None = None) -> dict[str, Moments]:
    """Return the moments by metric: Adam's are the mean of both halves'.

    Args:
        products: the inner products.
        whole: `bin_name` of the bin that they are to be of; all responses if empty.
        shares_B: its share in the problems of each batch.
    """

    def moments(name: str, own_B: slice) -> Moments:
        return products[f"{whole}{name}"].moments(None if shares_B is None else shares_B[own_B])

    first, second = (
        moments(name, slice(half, None, len(HALVES))) for name, half in zip(ADAM_HALVES, HALVES, strict=True)
    )
    return {PLAIN: moments(PLAIN, slice(None)), ADAM: first.mean(second)}


def save_tensors(path: Path, tensors: Mapping[str, torch.Tensor]) -> None:
    """Write a file so that a killed run leaves either the old one or the new one."""
    temporary = path.with_suffix(".tmp")
    save_file(dict(tensors), temporary)
    os.replace(temporary, path)


def adam_weights(second_moments: Floats, mean: float) -> Floats:
    """Return Adam's 1 / (sqrt(v) + epsilon), with epsilon `EPSILON` of the root of the mean of v; 0 where all v are 0.

    Without it entries that few responses move (the embedding's rows of rare tokens) may have most of the noise.

    Args:
        second_moments: v of some coordinates.
        mean: of v over all coordinates.
    """
    divisors = np.sqrt(second_moments) + EPSILON * np.sqrt(mean)
    return np.divide(1.0, divisors, out=np.zeros_like(divisors), where=divisors > 0)


@dataclass
class _MetricSums:
    """Inner products in every metric: plain ones of all batches, Adam's of each half."""

    plain: Sums
    adam: Sequence[Sums]

    @classmethod
    def empty(cls, coefficients: Sequence[Floats]) -> _MetricSums:
        halves = [Sums.empty(coefficients[half :: len(HALVES)]) for half in HALVES]
        return cls(Sums.empty(coefficients), halves)

    def products(self) -> dict[str, Products]:
        found = {name: own.products() for name, own in zip(ADAM_HALVES, self.adam, strict=True)}
        return {PLAIN: self.plain.products(), **found}


def _with_total(files: Sequence[Sequence[Any]], name: str, places: slice) -> list[list[Floats]]:
    """Return the rows of each batch, all parts together, then those of each part where there are several."""
    parts = [[_read(file, name, places) for file in own] for own in files]
    return parts if len(parts) == 1 else [[np.sum(own, axis=0) for own in zip(*parts, strict=True)], *parts]


def _read(file: Any, name: str, places: slice, rows: slice = slice(None)) -> Floats:
    found: Floats = file.get_slice(name)[rows, places].double().numpy()
    return found
