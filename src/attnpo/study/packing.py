"""The small files of an experiment in one archive: what its table takes, no model and no checkpoint."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal

from attnpo.errors import ConfigError
from attnpo.study.cells import CELL_FILE, HEAD_FILES, MODEL_FILE, PLAN_FILE, SHARED_FILE, Cell, Experiment

Mode = Literal["w:gz", "w:xz"]
MODES: Final[dict[str, Mode]] = {".tar.gz": "w:gz", ".tgz": "w:gz", ".tar.xz": "w:xz"}
OF_A_CELL: Final = (CELL_FILE, "log.jsonl", "run.json")
OF_HEADS: Final = (*HEAD_FILES.values(), "discovery.json", "run.json")


def packing_mode(file: Path) -> Mode:
    """Return how an archive of this name is compressed.

    Raises:
        ConfigError: its name does not say.
    """
    for ending, mode in MODES.items():
        if file.name.endswith(ending):
            return mode
    raise ConfigError(f"--pack {file}: the name does not say which archive; let it end in {', '.join(MODES)}")


def small_files(experiment: Experiment, finished: Iterable[Cell]) -> Iterator[Path]:
    """Yield what a table takes of finished cells, of what all share and of the plan."""
    folder = experiment.output_dir
    wanted = [
        *(folder / name for name in (SHARED_FILE, MODEL_FILE, PLAN_FILE)),
        *(folder / "heads" / name for name in OF_HEADS),
    ]
    wanted += [command.done for command in experiment.shared_arms([])[0].commands if command.is_done]
    for cell in finished:
        _, *measurements = experiment.arm(cell).commands
        wanted += [cell.folder(folder) / name for name in OF_A_CELL]
        wanted += [command.done for command in measurements]
    yield from (path for path in wanted if path.is_file())


def pack(experiment: Experiment, cells: Iterable[Cell], file: Path) -> int:
    """Write the small files of all finished cells into an archive, under their paths in the experiment's folder.

    Args:
        experiment: where the cells are.
        cells: which; those that are not finished are left out.
        file: the archive, `.tar.gz` or `.tar.xz`; a killed call leaves the old one.

    Returns:
        How many cells it holds.

    Raises:
        ConfigError: its name does not say what it is.
    """
    mode, temporary = packing_mode(file), file.with_name(file.name + ".tmp")
    finished = [cell for cell in cells if experiment.done(cell)]
    with tarfile.open(temporary, mode) as archive:
        for path in small_files(experiment, finished):
            archive.add(path, arcname=str(path.relative_to(experiment.output_dir)))
    os.replace(temporary, file)
    return len(finished)
