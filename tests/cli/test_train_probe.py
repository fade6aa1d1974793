"""`attnpo train --probe`: what is refused before a model is loaded."""

from __future__ import annotations

import pytest

from attnpo.cli.main import main
from attnpo.rollouts import Rollout, Step, write_rollouts


@pytest.fixture
def probe(tmp_path):
    steps = tuple(Step((k, k + 1), (k, k + 1), label=label) for k, label in enumerate(("essential", "redundant")))
    path = tmp_path / "probe.jsonl"
    write_rollouts(path, [Rollout("p", "q", "1", 0, (5, 6, 7, 8), "text", True, True, steps, (3, 4))])
    return path


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["--heads", "2.0", "--probe", "none.jsonl"], "none.jsonl: no such rollouts file"),
        (["--probe", "PROBE"], "--probe: needs heads to probe; give them with --heads"),
        (
            ["--heads", "2.0", "--probe", "PROBE", "--probe_every", "0"],
            "probe_every: 0 is not allowed; use an integer of at least 1",
        ),
        (
            ["--heads", "2.0", "--probe", "PROBE", "--probe_limit", "0"],
            "probe_limit: 0 is not allowed; use an integer of at least 1",
        ),
        (
            ["--heads", "2.0", "--probe", "PROBE", "--probe_min_sra", "3"],
            "probe_min_sra: 3.0 is not allowed; use a number from 0 to 1",
        ),
        (["--heads", "2.0", "--probe", "PROBE", "--probe_reselect", "true"], "set probe_min_sra"),
        (
            [
                "--heads",
                "2.0",
                "--probe",
                "PROBE",
                "--probe_reselect",
                "1",
                "--probe_min_sra",
                "0.9",
                "--method",
                "tlmre",
            ],
            "--probe_reselect: method 'tlmre' reads no attention",
        ),
    ],
)
def test_probe_settings_that_cannot_be_used(probe, tmp_path, capsys, flags, words):
    flags = [str(probe) if flag == "PROBE" else flag for flag in flags]
    common = ["--model", "tinyworld", "--data", "tinyworld", "--output_dir", str(tmp_path / "run")]
    with pytest.raises(SystemExit) as stop:
        main(["train", *common, "--report_to", "none", "--bf16", "false", "--use_cpu", "true", *flags])
    assert stop.value.code == 2
    assert words in capsys.readouterr().err
