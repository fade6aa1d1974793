"""The rows of the comparison table: which method, with which settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attnpo.errors import ConfigError, nearest
from attnpo.files import UserFile
from attnpo.study.worlds import TINYWORLD, UNSEEN, World

if TYPE_CHECKING:
    from attnpo.credit import Method

Group = Literal["main", "attnpo", "ablation", "control", "bound", "options", "newer"]
SUITES: Mapping[str, tuple[Group, ...]] = {
    "main": ("main", "attnpo"),
    "ablations": ("attnpo", "ablation", "control", "bound", "options"),
    "all": ("main", "attnpo", "ablation", "control", "bound", "options"),
    "newer": ("newer", "attnpo"),
}
"""Suite → groups of its rows; the newer neighbours are a table of their own."""
REFERENCES = ("tlmre", "attnpo")
"""Rows that the others are held against, problem by problem; part of every suite."""
SHARED = ("base", "heads", UNSEEN)
"""Folders of what all cells share, and of their tables; no row may have such a name."""


class Row(BaseModel):
    """One row of the table.

    Attributes:
        name: the row's name and folder.
        method: a method or a preset.
        group: what it is for.
        settings: the method's own settings that differ from its defaults or the preset's.
        heads: `chosen` by discovery, the `wrong` ones, or the `best` single heads, best first; for methods that need
            heads.
        training: further flags of its training runs.
        evaluation: further flags of its evaluations.
        differs: what differs from the published settings and why; empty for nothing.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(pattern=r"^[a-z0-9]([a-z0-9_.-]*[a-z0-9])?$")
    method: str
    group: Group
    settings: dict[str, Any] = {}
    heads: Literal["chosen", "wrong", "best"] = "chosen"
    training: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    differs: str = ""

    @property
    def needs_heads(self) -> bool:
        """Whether its training reads a head set.

        Raises:
            ConfigError: there is no such method or signal.
        """
        from attnpo.signals import needs_heads, signal_of

        return needs_heads(signal_of(self.method, self.training.get("signal")))

    def build(self, limit: int) -> Method:
        """Return its method.

        Args:
            limit: the run's limit on a response, in tokens.

        Raises:
            ConfigError: there is no such method or setting, or a value is not allowed; the message names the row.
        """
        from attnpo.credit import build_method

        try:
            method = build_method(self.method, self.settings)
            method.check(limit)
        except ConfigError as error:
            raise ConfigError(f"row {self.name}: {error}") from error
        return method


class Suite(BaseModel):
    """All rows, in the order of the table."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[Row, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _check_names(self) -> Suite:
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"row {name} is there twice; give the second one another name")
            if name in SHARED:
                raise ValueError(f"row {name}: the name is taken by what all rows share; choose another one")
        return self

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        known = [row.name for row in self.rows]
        raise ConfigError(f"row {name!r}: there is none; there are {', '.join(known)}{nearest(name, known)}")

    def choose(self, suite: str, names: Sequence[str] = ()) -> list[Row]:
        """Return rows in the order of the table.

        Args:
            suite: a key of `SUITES`; counts where no names are given.
            names: names of rows.

        Raises:
            ConfigError: there is no such suite or row.
        """
        if names:
            wanted = {self[name].name for name in names}
            return [row for row in self.rows if row.name in wanted]
        if suite not in SUITES:
            raise ConfigError(f"--suite {suite}: there is none; there are {', '.join(SUITES)}{nearest(suite, SUITES)}")
        return [row for row in self.rows if row.group in SUITES[suite] or row.name in REFERENCES]


def load_suite(path: Path | None = None, world: World = TINYWORLD) -> Suite:
    """Read rows from a YAML file.

    Args:
        path: the file; the one that ships for the world if None.
        world: the world.

    Raises:
        ConfigError: the file is missing or malformed; the message names the row and the field.
    """
    name = world.suite_file.name if path is None else f"--suite_file {path}"
    content = UserFile(path or world.suite_file, "suite file", ConfigError, name).yaml()
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: must hold rows, as the suite that ships does")
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first(error, content)}") from error


def _first(error: ValidationError, content: Any) -> str:
    """Return the first thing that is wrong, with the row's name where it has one."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] == "rows":
        row = content["rows"][int(place[1])]
        name = row.get("name", f"number {int(place[1]) + 1}") if isinstance(row, dict) else f"number {place[1]}"
        place = [f"row {name}", *place[2:]]
    return f"{': '.join(place)}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
