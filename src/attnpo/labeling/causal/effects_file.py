"""Effects on disk as they are measured, one response and one measurement a row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from attnpo.errors import OutputError
from attnpo.labeling.base import steps_fingerprint
from attnpo.ledger import Ledger, json_row
from attnpo.rollouts import Rollout

Measurement = Literal["alone", "eliminated", "resampled"]
Key = tuple[str, int, str]
"""Problem id, sample, measurement."""


class EffectsFile:
    """A JSON Lines file of measurements that a killed run goes on with."""

    def __init__(self, path: Path, settings: Mapping[str, Any]):
        """Claim the file for the settings its effects depend on, and read what it holds.

        Raises:
            OutputError: it holds effects measured with other settings, or cannot be written.
            DataError: a row is malformed.
        """
        parse = json_row("a row of effects", _row, "remove it to measure again")
        self._ledger = Ledger(path, parse, settings)
        self._rows = {_key(row): row for _, row in self._ledger.rows()}

    def get(self, rollout: Rollout, measurement: Measurement) -> dict[str, Any] | None:
        """Return what was measured of a response, None where it was not.

        Raises:
            OutputError: the file holds another response of this name, or other steps.
        """
        row = self._rows.get((rollout.problem_id, rollout.sample, measurement))
        if row is not None and row["fingerprint"] != steps_fingerprint(rollout):
            raise OutputError(
                f"{self._ledger.path}: holds effects of another response, or of other steps, of problem "
                f"{rollout.problem_id!r}, sample {rollout.sample}; remove the file or choose another output folder"
            )
        return row

    def add(self, rollout: Rollout, measurement: Measurement, values: Mapping[str, Any]) -> None:
        """Append a measurement; it replaces an earlier one of the same kind."""
        row = {
            "problem_id": rollout.problem_id,
            "sample": rollout.sample,
            "measurement": measurement,
            "fingerprint": steps_fingerprint(rollout),
            **values,
        }
        self._ledger.append(json.dumps(row, ensure_ascii=False, allow_nan=False))
        self._rows[_key(row)] = row

    def rows(self, measurement: Measurement) -> Iterator[dict[str, Any]]:
        """Yield all rows of one kind."""
        return (row for (_, _, kind), row in self._rows.items() if kind == measurement)


def _row(row: Any) -> dict[str, Any]:
    row["fingerprint"], row["effects" if row["measurement"] != "resampled" else "without"], _key(row)
    return dict(row)


def _key(row: Mapping[str, Any]) -> Key:
    return row["problem_id"], row["sample"], row["measurement"]
