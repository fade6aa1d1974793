"""Cells: one row trained with one seed and measured, in a folder of its own; and what all cells share."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from attnpo.about import write_about
from attnpo.attention import HeadSet
from attnpo.discovery import DiscoveryResult, best_heads, choose_wrong_head
from attnpo.documents import is_complete
from attnpo.errors import ConfigError, DataError, OutputError, listed, nearest
from attnpo.output import claim_settings
from attnpo.study.arms import ArmRun, Command, measuring, training_arm
from attnpo.study.sizes import Sizes
from attnpo.study.suite import Row
from attnpo.study.worlds import TINYWORLD, World

SHARED_FILE = "reproduce.settings.json"
MODEL_FILE = "model.settings.json"
PLAN_FILE = "frontier.settings.json"
CELL_FILE = "cell.settings.json"
HEAD_FILES = {"chosen": "heads.json", "wrong": "wrong_head.json", "best": "best_heads.json"}
MOST_HEADS = 4
"""How many of the best single heads are kept."""
NO_RESULT = (
    "output_dir",
    "save_strategy",
    "save_steps",
    "save_total_limit",
    "report_to",
    "disable_tqdm",
    "logging_steps",
    "resume_from_checkpoint",
    "heads",
    "keep_models",
)
"""Training flags on which no result depends, or which are told apart by what they name."""
ONE_HEAD_SET = (
    "a table holds cells of one head set, and each machine finds its own: keep the cells of one and remove the others; "
    "before a machine runs those again, copy base/, heads/ and *.settings.json there from where the kept ones "
    "were made"
)
"""What to do about cells that were trained with different heads."""


@dataclass(frozen=True)
class Cell:
    """One row with one seed."""

    row: Row
    seed: int

    @property
    def name(self) -> str:
        """How it is named on the command line and in messages: ROW/SEED."""
        return f"{self.row.name}/{self.seed}"

    def folder(self, output_dir: Path) -> Path:
        """Return its folder."""
        return output_dir / self.row.name / f"seed-{self.seed}"


@dataclass(frozen=True)
class Experiment:
    """Where the cells are and how they are made."""

    output_dir: Path
    sizes: Sizes
    world: World = TINYWORLD

    def head_file(self, row: Row) -> Path | None:
        """Return the head set that a row trains with; None where it reads no attention."""
        if not row.needs_heads:
            return None
        return self.output_dir / "heads" / HEAD_FILES[row.heads]

    def arm(self, cell: Cell, argv: Sequence[str] = ()) -> ArmRun:
        """Return what a cell runs.

        Args:
            cell: the cell.
            argv: the arguments of the command that runs it, written beside its results.
        """
        row, sizes, folder = cell.row, self.sizes, cell.folder(self.output_dir)
        return training_arm(
            self.world,
            row.name,
            folder,
            max_steps=sizes.max_steps,
            seed=cell.seed,
            num_eval=sizes.num_eval,
            heads=self.head_file(row),
            num_unseen=sizes.num_unseen,
            num_course=sizes.num_course,
            settings={
                **sizes.train_flags,
                "method": row.method,
                **({"method_settings": dict(row.settings)} if row.settings else {}),
                **row.training,
            },
            evaluation=row.evaluation,
            label=cell.name,
            max_tokens=sizes.max_sampled_tokens or None,
            claim=lambda: self._begin(cell, argv),
        )

    def shared_arms(self, cells: Iterable[Cell]) -> list[ArmRun]:
        """Return what has to be there before the cells: the base evaluation and, where attention is read, the heads."""
        base, heads = self.output_dir / "base", self.output_dir / "heads"
        world, sizes = self.world, self.sizes
        measure = measuring(world, world.model, "base", base, num_eval=sizes.num_eval, num_unseen=sizes.num_unseen)
        discover = {"model": world.model, **world.discovery, "num_problems": sizes.num_probe, "output_dir": heads}
        arms = [ArmRun("base", base, measure, label="base")]
        if any(cell.row.needs_heads for cell in cells):
            arms.append(
                ArmRun("heads", heads, (Command("discover", discover, heads / "discovery.json"),), label="heads")
            )
        return arms

    def write_control_heads(self, cells: Iterable[Cell]) -> None:
        """Write the other head sets that cells train with beside the chosen one.

        Raises:
            DataError: no head serves as the wrong one.
        """
        folder = self.output_dir / "heads"
        makers: dict[str, Callable[[DiscoveryResult, HeadSet], HeadSet]] = {
            "wrong": choose_wrong_head,
            "best": lambda result, chosen: best_heads(result, chosen, MOST_HEADS),
        }
        for kind in {cell.row.heads for cell in cells if cell.row.heads in makers}:
            if not (folder / HEAD_FILES[kind]).is_file():
                result = DiscoveryResult.load(folder / "discovery.json")
                makers[kind](result, HeadSet.load(folder / HEAD_FILES["chosen"])).save(folder / HEAD_FILES[kind])

    def claim_model(self) -> None:
        """Claim the folder for the files of the world's model, where they are on this machine.

        Raises:
            OutputError: its cells start from other weights under the same name.
        """
        if weights := self.world.weights():
            claim_settings(self.output_dir / MODEL_FILE, weights)

    def claim_shared(self, is_pilot: bool = False) -> None:
        """Claim the folder for these sizes of what all cells share, and for a pilot's cells or for others.

        Raises:
            OutputError: it holds results of other ones.
        """
        world, sizes = self.world, self.sizes
        settings = {
            "evaluation": {**world.evaluation, "num_problems": sizes.num_eval},
            "discovery": {"model": world.model, **world.discovery, "num_problems": sizes.num_probe},
            **({"unseen": {"num_problems": sizes.num_unseen}} if sizes.num_unseen else {}),
            **({"pilot": True} if is_pilot else {}),
        }
        claim_settings(self.output_dir / SHARED_FILE, settings)

    def claim_plan(self, planned: Mapping[str, Any]) -> None:
        """Claim the folder for what its curves are to show (`Suite.planned`), so that nothing is changed after a look.

        Raises:
            OutputError: another plan, other curves or other seeds were written down before.
        """
        claim_settings(self.output_dir / PLAN_FILE, planned)

    def done(self, cell: Cell) -> bool:
        """Whether a cell is trained and measured; a copy of it needs neither its model nor its checkpoints."""
        _, *measure = self.arm(cell).commands
        return all(command.is_done for command in measure)

    def claim(self, cell: Cell) -> None:
        """Claim a cell's folder for its settings.

        Raises:
            OutputError: it holds results of other ones, or of other heads.
        """
        folder, asked = cell.folder(self.output_dir), self.settings(cell)
        there = self._stored_heads(cell) if (folder / CELL_FILE).is_file() else asked["heads"]
        claim_settings(folder / CELL_FILE, {**asked, "heads": there})
        if there != asked["heads"]:
            raise OutputError(
                f"{folder}: holds results of other settings: heads (there {there}, asked {asked['heads']}); "
                f"{ONE_HEAD_SET}"
            )

    def _begin(self, cell: Cell, argv: Sequence[str]) -> None:
        self.claim(cell)
        write_about(cell.folder(self.output_dir), "reproduce", argv)

    def check(self, cells: Iterable[Cell]) -> None:
        """Check that what is on disk of the cells was made with the settings asked for.

        Raises:
            OutputError: a cell was made with other ones, and the message names its folder and what differs; or two were
                trained with different heads where one set is meant, and it names both.
            DataError: a cell is finished and does not say what it was made with.
        """
        first: dict[str, tuple[Cell, Any]] = {}
        for cell in cells:
            file = cell.folder(self.output_dir) / CELL_FILE
            if file.is_file():
                self.claim(cell)
            elif self.done(cell):
                raise DataError(f"{file}: not there, so it is not known how {cell.name} was made; copy it too")
            heads = self._stored_heads(cell) if cell.row.needs_heads else None
            if heads is None:
                continue
            # Where heads/ was not copied here, only the cells can tell.
            other, others = first.setdefault(cell.row.heads, (cell, heads))
            if heads != others:
                raise OutputError(
                    f"{self.output_dir}: {other.name} was trained with heads {others}, {cell.name} with {heads}; "
                    f"{ONE_HEAD_SET}"
                )

    def settings(self, cell: Cell) -> dict[str, Any]:
        """Return everything that a cell's results depend on, as JSON values."""
        train, evaluate, *others = (command.settings for command in self.arm(cell).commands)
        kinds = ["unseen"] * bool(self.sizes.num_unseen) + ["course"] * bool(self.sizes.num_course)
        given = {"heads": train["heads"]} if self._heads_are_given(cell, train) else {}
        return {
            "train": {**{name: value for name, value in train.items() if name not in NO_RESULT}, **given},
            "heads": None if given else self._heads(cell),
            "evaluate": _measured_with(evaluate),
            **{kind: _measured_with(settings) for kind, settings in zip(kinds, others, strict=False)},
        }

    def _heads_are_given(self, cell: Cell, train: Mapping[str, Any]) -> bool:
        """Whether further training flags name other heads than those that were found."""
        return cell.row.needs_heads and train["heads"] != self.head_file(cell.row)

    def _heads(self, cell: Cell) -> list[list[int]] | None:
        file = self.head_file(cell.row)
        if file is None:
            return None
        if file.is_file():
            return [list(head) for head in HeadSet.load(file).heads]
        return self._stored_heads(cell)

    def _stored_heads(self, cell: Cell) -> Any:
        """Return the heads that a cell says it was trained with; None where it says nothing."""
        file = cell.folder(self.output_dir) / CELL_FILE
        if not file.is_file():
            return None
        try:
            return json.loads(file.read_text(encoding="utf-8")).get("heads")
        except (json.JSONDecodeError, AttributeError):  # `claim_settings` says what is wrong with the file
            return None


def _measured_with(settings: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in settings.items() if name not in ("model", "name", "output_dir")}


def cells_of(rows: Sequence[Row], seeds: Sequence[int]) -> list[Cell]:
    """Return the cells in the order in which they are run: every row with the first seed, then the next seed."""
    return [Cell(row, seed) for seed in seeds for row in rows]


def cells_on_disk(rows: Iterable[Row], output_dir: Path) -> list[Cell]:
    """Return the measured cells of these rows, whatever their seed."""
    return [
        Cell(row, int(path.parent.name.removeprefix("seed-")))
        for row in rows
        for path in sorted((output_dir / row.name).glob("seed-*/evaluation.json"))
        if path.parent.name.removeprefix("seed-").isdecimal() and is_complete(path)
    ]


def choose_cells(cells: Sequence[Cell], only: Sequence[str]) -> list[Cell]:
    """Return the cells that one machine is to run.

    Args:
        cells: all cells of the experiment.
        only: `ROW`, `CURVE` (all its rows), either with `/SEED`, or `seed=SEED`; a cell is chosen by any of them. Empty
            chooses all.

    Raises:
        ConfigError: one of them chooses none of the cells.
    """
    chosen: set[str] = set()
    for wanted in only:
        names = {cell.name for cell in cells if wanted in _names(cell)}
        if not names:
            known = dict.fromkeys(name for cell in cells for name in _names(cell))
            raise ConfigError(
                f"--only {wanted}: no such cell; give ROW or CURVE, alone or with /SEED, or seed=SEED; rows and curves "
                f"are {listed(dict.fromkeys(_curve(cell) for cell in cells), at_most=20)}, seeds "
                f"{listed(dict.fromkeys(cell.seed for cell in cells))}{nearest(wanted, known)}"
            )
        chosen |= names
    return [cell for cell in cells if not only or cell.name in chosen]


def _curve(cell: Cell) -> str:
    return cell.row.curve or cell.row.name


def _names(cell: Cell) -> tuple[str, ...]:
    """Return what `--only` may call a cell by."""
    return (cell.row.name, _curve(cell), f"seed={cell.seed}", cell.name, f"{_curve(cell)}/{cell.seed}")
