"""The rows of the comparison table: which method, with which settings; and curves, a method at several strengths."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from attnpo.errors import ConfigError, nearest
from attnpo.files import UserFile
from attnpo.frontier_plan import FrontierPlan
from attnpo.study.sizes import Sizes
from attnpo.study.worlds import TINYWORLD, UNSEEN, World

if TYPE_CHECKING:
    from attnpo.credit import Method

Group = Literal["main", "attnpo", "ablation", "control", "bound", "options", "newer", "hypotheses"]
CURVES = "frontier"
"""The suite of methods at several strengths."""
SUITES: Mapping[str, tuple[Group, ...]] = {
    "main": ("main", "attnpo"),
    "ablations": ("attnpo", "ablation", "control", "bound", "options"),
    "all": ("main", "attnpo", "ablation", "control", "bound", "options"),
    "newer": ("newer", "attnpo"),
    CURVES: get_args(Group),
}
"""Suite → groups of its rows; newer neighbours are a table of their own, curves a file of their own."""
FAMILY: tuple[Group, ...] = ("main", "newer", "attnpo", "options", "hypotheses")
"""Groups whose curves are tested together; ablations, controls and bounds are told with their intervals alone."""
REFERENCES = ("tlmre", "attnpo")
"""Rows that the others are held against, problem by problem; part of every suite."""
SHARED = ("base", "heads", UNSEEN)
"""Folders of what all cells share, and of their tables; no row may have such a name."""


class Row(BaseModel):
    """One row of the table.

    Attributes:
        name: the row's name and folder.
        method: a method, a preset, or `module:Class`.
        group: what it is for.
        settings: the method's own settings that differ from its defaults or the preset's.
        heads: `chosen` by discovery, the `wrong` ones, or the `best` single heads, best first; for methods that need
            heads.
        training: further flags of its training runs.
        evaluation: further flags of its evaluations.
        differs: what differs from the published settings and why; empty for nothing.
        curve: the curve that it is a strength of; empty for none.
        strength: where the curve's dial stands.
        control_of: the curve whose strengths it is held against one by one; empty for none.
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
    curve: str = ""
    strength: str = ""
    control_of: str = ""

    @property
    def needs_heads(self) -> bool:
        """Whether its training reads a head set.

        Raises:
            ConfigError: there is no such method or signal.
        """
        from attnpo.signals import needs_heads, signal_of

        return needs_heads(signal_of(self.method, self.training.get("signal")))

    def build(self, limit: int, group_size: int) -> Method:
        """Return its method.

        Args:
            limit: the run's limit on a response, in tokens.
            group_size: responses to a prompt, where its own flags do not say.

        Raises:
            ConfigError: there is no such method or setting, or a value is not allowed; the message names the row.
        """
        from attnpo.credit import build_method

        try:
            method = build_method(self.method, self.settings)
            method.check(limit, self.training.get("num_generations", group_size))
        except ConfigError as error:
            raise ConfigError(f"row {self.name}: {error}") from error
        return method


class Suite(BaseModel):
    """All rows, in the order of the table.

    Attributes:
        rows: the rows.
        frontier: how the curves among them are compared; None for not at all.
        defaults: settings of `attnpo reproduce` that other values than its own are meant for.
        evaluation: flags of `attnpo evaluate` for every measurement on held-out problems, in place of the world's.
        pilot_seeds: training seeds that were seen when rows were chosen; no folder holds them beside others.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rows: tuple[Row, ...] = Field(min_length=1)
    frontier: FrontierPlan | None = None
    defaults: dict[str, Any] = {}
    evaluation: dict[str, Any] = {}
    pilot_seeds: tuple[int, ...] = ()

    @model_validator(mode="after")
    def _check_names(self) -> Suite:
        names = [row.name for row in self.rows]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"row {name} is there twice; give the second one another name")
            if name in SHARED:
                raise ValueError(f"row {name}: the name is taken by what all rows share; choose another one")
        for row in self.rows:
            if row.control_of and row.control_of not in self.curves:
                raise ValueError(f"row {row.name}: control_of: no curve is called {row.control_of}")
        if self.frontier is not None:
            self._check_plan(self.frontier)
        return self

    def _check_plan(self, plan: FrontierPlan) -> None:
        for part, names in (("against", plan.against), ("equal", plan.equal)):
            for name in names:
                if name not in self.curves:
                    raise ValueError(f"frontier: {part}: no curve is called {name}")
        for name in plan.against if plan.by_run else ():
            if len(self.curves[name]) < 2:
                raise ValueError(f"frontier: by_run: {name} is a row of one strength, no curve to hold runs against")
        for name in plan.equal:
            if name not in self.family or name == plan.against[0]:
                raise ValueError(f"frontier: equal: {name} is not among the curves that are tested")

    def meant(self, sizes: Sizes, seeds: Sequence[int], given: Collection[str]) -> tuple[Sizes, list[int]]:
        """Return sizes and seeds with the suite's defaults for those that are not given.

        Raises:
            ConfigError: a default is no such setting, or not allowed.
        """
        for name in self.defaults:
            if name != "seeds" and name not in {entry.name for entry in fields(sizes)}:
                raise ConfigError(f"suite file: defaults: {name} is no setting of sizes or seeds; take it away")
        wanted = {name: value for name, value in self.defaults.items() if name not in given}
        chosen = wanted.pop("seeds", seeds)
        return replace(sizes, **wanted), list(chosen)

    @property
    def curves(self) -> dict[str, list[Row]]:
        """Curve → its rows, weakest first; a row without a dial is a curve of one point."""
        found: dict[str, list[Row]] = {}
        for row in self.rows:
            found.setdefault(row.curve or row.name, []).append(row)
        return found

    @property
    def family(self) -> list[str]:
        """The curves that are tested together: all of `FAMILY` that have a dial."""
        return [name for name, rows in self.curves.items() if len(rows) > 1 and rows[0].group in FAMILY]

    def planned(self, seeds: Sequence[int]) -> dict[str, Any] | None:
        """Return as JSON values what its curves are to show, of which rows and seeds; None where it has no plan."""
        if self.frontier is None:
            return None
        told = {"differs", "group", "curve", "strength"}
        return {
            "plan": self.frontier.model_dump(exclude=None if self.frontier.by_run else {"by_run"}),
            "family": self.family,
            "seeds": sorted(seeds),
            "curves": {
                name: {row.name: row.model_dump(exclude=told, exclude_defaults=True) for row in rows}
                for name, rows in self.curves.items()
            },
        }

    def is_pilot(self, seeds: Sequence[int]) -> bool:
        """Whether these are seeds of a pilot.

        Raises:
            ConfigError: some are and some are not.
        """
        seen = [seed for seed in seeds if seed in self.pilot_seeds]
        if seen and len(seen) < len(seeds):
            raise ConfigError(
                f"--seeds {seen[0]}: was a pilot's, and no table holds those beside others; run them on their own, "
                "into another --output_dir"
            )
        return bool(seen)

    def __getitem__(self, name: str) -> Row:
        for row in self.rows:
            if row.name == name:
                return row
        known = list(dict.fromkeys([*self.curves, *(row.name for row in self.rows)]))
        raise ConfigError(f"row {name!r}: there is none; there are {', '.join(known)}{nearest(name, known)}")

    def choose(self, suite: str, names: Sequence[str] = ()) -> list[Row]:
        """Return rows in the order of the table.

        Args:
            suite: a key of `SUITES`; counts where no names are given.
            names: names of rows, or of curves for all of theirs.

        Raises:
            ConfigError: there is no such suite or row.
        """
        if names:
            curves = self.curves
            wanted = {row.name for name in names for row in curves.get(name) or [self[name]]}
            return [row for row in self.rows if row.name in wanted]
        if suite not in SUITES:
            raise ConfigError(f"--suite {suite}: there is none; there are {', '.join(SUITES)}{nearest(suite, SUITES)}")
        return [row for row in self.rows if row.group in SUITES[suite] or row.name in REFERENCES]


def load_suite(path: Path | None = None, world: World = TINYWORLD, suite: str = "") -> Suite:
    """Read rows from a YAML file.

    Args:
        path: the file; the one that ships for the world if None.
        world: the world.
        suite: which one that is to be read for.

    Raises:
        ConfigError: the file is missing or malformed; the message names the row and the field.
    """
    shipped = world.curve_file if suite == CURVES else world.suite_file
    file = path or shipped
    if file is None:
        raise ConfigError(f"--suite {suite}: none ships for {world.name}; write one and give it as --suite_file")
    name = file.name if path is None else f"--suite_file {path}"
    content = UserFile(file, "suite file", ConfigError, name).yaml()
    if not isinstance(content, dict):
        raise ConfigError(f"{name}: must hold rows, as the suite that ships does")
    if isinstance(content.get("rows"), list):
        content = {**content, "rows": [row for entry in content["rows"] for row in _rows_of(entry, name)]}
    try:
        return Suite.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_first(error, content)}") from error


def _rows_of(entry: Any, name: str) -> Iterator[Any]:
    """Return the rows that an entry of a file stands for: itself, or one a strength of its dial."""
    if not isinstance(entry, dict) or not {"dial", "strengths"} & entry.keys():
        yield entry
        return
    rest = {key: value for key, value in entry.items() if key not in ("dial", "strengths")}
    dial, strengths, settings = entry.get("dial"), entry.get("strengths"), rest.get("settings", {})
    if not (isinstance(dial, str) and isinstance(strengths, list) and strengths and isinstance(settings, dict)):
        raise ConfigError(
            f"{name}: row {rest.get('name')}: give dial, the name of a setting, and strengths, its values, weakest "
            "first"
        )
    for value in strengths:
        said = "-".join(map(str, value)) if isinstance(value, list) else str(value)
        row = {**rest, "name": f"{rest.get('name')}-{said}", "settings": {**settings, dial: value}}
        yield {**row, "curve": rest.get("name", ""), "strength": said}


def _first(error: ValidationError, content: Any) -> str:
    """Return the first thing that is wrong, with the row's name where it has one."""
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if len(place) > 1 and place[0] == "rows":
        row = content["rows"][int(place[1])]
        name = row.get("name", f"number {int(place[1]) + 1}") if isinstance(row, dict) else f"number {place[1]}"
        place = [f"row {name}", *place[2:]]
    return f"{': '.join(place)}: {first['msg'].removeprefix('Value error, ')}".removeprefix(": ")
