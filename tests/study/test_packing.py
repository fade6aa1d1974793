"""What an archive holds is what a table takes: unpacked elsewhere, the table is the same."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest
from reproduced import head_sets, measure, write_cell

from attnpo.cli.main import main
from attnpo.errors import ConfigError, OutputError
from attnpo.study.arms import course_folders
from attnpo.study.cells import Cell, Experiment
from attnpo.study.packing import pack
from attnpo.study.reproducing import reproduce
from attnpo.study.sizes import Sizes
from attnpo.study.suite import load_suite
from attnpo.study.worlds import UNSEEN

SUITE = load_suite()
ROWS = [SUITE["tlmre"], SUITE["attnpo"]]


@pytest.fixture
def experiment(tmp_path):
    """Two finished cells of four, with files that no table takes."""
    made = Experiment(tmp_path / "runs", Sizes(num_eval=30))
    measure(made.output_dir / "base", "base", 0)
    head_sets(made.output_dir / "heads")
    for row in ROWS:
        folder = write_cell(made, Cell(row, 1))
        (folder / "model.safetensors").write_bytes(b"weights")
        (folder / "checkpoint-30").mkdir()
        (folder / "checkpoint-30" / "optimizer.pt").write_bytes(b"moments")
    begun = write_cell(made, Cell(ROWS[0], 2))
    (begun / "evaluation.json").unlink()
    (made.output_dir / "base" / "rollouts.jsonl").write_text("{}\n")
    return made


def test_unpacked_elsewhere_the_table_is_the_same(experiment, tmp_path):
    archive, there = tmp_path / "out" / "cells.tar.xz", tmp_path / "there"
    said: list[str] = []
    folder, sizes = experiment.output_dir, experiment.sizes
    reproduce(SUITE, ROWS, [1, 2], sizes, folder, run=False, archive=archive, note=said.append)
    assert said == [f"2 finished cells packed into {archive}"]
    with tarfile.open(archive) as packed:
        names = packed.getnames()
        packed.extractall(there, filter="data")
    assert sorted(names) == sorted(
        [
            "reproduce.settings.json",
            "base/evaluation.json",
            "heads/heads.json",
            "heads/wrong_head.json",
            "heads/best_heads.json",
            *(
                f"{row}/seed-1/{name}"
                for row in ("tlmre", "attnpo")
                for name in ("cell.settings.json", "log.jsonl", "run.json", "evaluation.json")
            ),
        ]
    )
    reproduce(SUITE, ROWS, [1, 2], experiment.sizes, there, run=False)
    tables = [json.loads((folder / "table.json").read_text())["rows"] for folder in (experiment.output_dir, there)]
    assert tables[0] == tables[1]


def test_what_all_cells_share_is_packed_before_any_cell_is_finished(tmp_path, monkeypatch):
    """Another machine would find other heads."""
    monkeypatch.setattr("attnpo.study.reproducing.run_cells", lambda *_: [])
    folder, archive = tmp_path / "runs", tmp_path / "cells.tar.gz"
    measure(folder / "base", "base", 0)
    head_sets(folder / "heads")
    done = reproduce(SUITE, ROWS, [1], Sizes(num_eval=30), folder, archive=archive)
    assert done.files == []
    with tarfile.open(archive) as packed:
        assert {"base/evaluation.json", "heads/heads.json", "reproduce.settings.json"} < set(packed.getnames())


def test_models_on_the_way_and_templates_never_seen_are_measured_too(tmp_path):
    made = Experiment(tmp_path / "runs", Sizes(num_eval=30, num_course=30))
    cell = Cell(SUITE["tlmre"], 1)
    folder = write_cell(made, cell)
    for part in course_folders(folder):
        measure(part, "tlmre", 1)
    measure(folder / UNSEEN, "tlmre", 1)  # of other sizes: not asked for
    assert pack(made, [cell], tmp_path / "cells.tgz") == 1
    with tarfile.open(tmp_path / "cells.tgz") as packed:
        names = set(packed.getnames())
    assert {f"tlmre/seed-1/course/{n}/evaluation.json" for n in (1, 2, 3)} < names
    assert not any(UNSEEN in name for name in names)


def test_a_name_that_does_not_say_what_it_is_is_refused_before_anything_runs(tmp_path, capsys):
    with pytest.raises(ConfigError, match=r"--pack cells.zip: .* let it end in .tar.gz, .tgz, .tar.xz"):
        reproduce(SUITE, ROWS, [1], Sizes(), tmp_path / "runs", archive=Path("cells.zip"))
    (tmp_path / "folder.tgz").mkdir()
    with pytest.raises(OutputError, match=r"folder.tgz: is a folder; name a file"):
        reproduce(SUITE, ROWS, [1], Sizes(), tmp_path / "runs", archive=tmp_path / "folder.tgz")
    assert not (tmp_path / "runs").exists()
    with pytest.raises(SystemExit):
        main(["reproduce", "--table", "--output_dir", str(tmp_path / "runs"), "--pack", "cells.zip"])
    assert "--pack cells.zip" in capsys.readouterr().err
