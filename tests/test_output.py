from __future__ import annotations

import subprocess
import sys

import pytest

from attnpo.errors import OutputError
from attnpo.output import claim_settings, held, prepare_output_dir, write_atomically


def test_a_folder_is_made_and_left_empty(tmp_path):
    assert list(prepare_output_dir(tmp_path / "a" / "b").iterdir()) == []


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"file/run: cannot write into this output folder \(Not a directory\)"):
        prepare_output_dir(tmp_path / "file" / "run")


def test_one_command_at_a_time_writes_into_a_folder(tmp_path):
    with held(tmp_path):
        with pytest.raises(OutputError, match=r"another command is writing into this output folder; wait for its end"):
            held(tmp_path).__enter__()
        with held(prepare_output_dir(tmp_path / "within")):
            pass
    with held(tmp_path):
        assert [path.name for path in tmp_path.iterdir()] == ["within"]


def test_a_killed_command_lets_go_of_its_folder(tmp_path):
    script = (
        "import time\nfrom pathlib import Path\nfrom attnpo.output import held\n"
        f"with held(Path({str(tmp_path)!r})):\n    print('held', flush=True)\n    time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    with pytest.raises(OutputError, match="another command"):
        held(tmp_path).__enter__()
    process.kill()
    process.wait()
    with held(tmp_path):
        pass


def test_settings_are_kept_and_others_refused_by_name(tmp_path):
    path = tmp_path / "rollouts.settings.json"
    claim_settings(path, {"seed": 0, "heads": (1, 2), "model": "a"})
    claim_settings(path, {"seed": 0, "heads": [1, 2], "model": "a"})
    with pytest.raises(
        OutputError, match=r"other settings: model \(there 'a', asked 'b'\), top_k \(there None, asked 3\);"
    ):
        claim_settings(path, {"seed": 0, "heads": [1, 2], "model": "b", "top_k": 3})
    for content in ("{", "[1]"):
        path.write_text(content)
        with pytest.raises(OutputError, match="not a settings file"):
            claim_settings(path, {"seed": 0})


def test_a_setting_that_earlier_versions_did_not_write_agrees_where_it_is_absent(tmp_path):
    path, asked = tmp_path / "rollouts.settings.json", {"seed": 0, "dtype": "float32"}
    claim_settings(path, {"seed": 0})
    claim_settings(path, asked, optional=["dtype"])
    with pytest.raises(OutputError, match=r"dtype \(there None, asked 'float32'\)"):
        claim_settings(path, asked)
    claim_settings(tmp_path / "new.json", asked)
    for other in ({"seed": 0, "dtype": "bfloat16"}, {"seed": 0}):
        with pytest.raises(OutputError, match=r"dtype \(there 'float32', asked"):
            claim_settings(tmp_path / "new.json", other, optional=["dtype"])


def test_of_settings_within_settings_only_those_that_differ_are_named(tmp_path):
    path = tmp_path / "rollouts.settings.json"
    claim_settings(path, {"sampling": {"top_p": 1, "seed": 0}, "engine": {"name": "a"}, "budget": {"x": 1}})
    said = r"settings: budget \(there {'x': 1}, asked None\), sampling\.top_p \(there 1, asked 0\.5\); choose"
    with pytest.raises(OutputError, match=said):
        claim_settings(path, {"sampling": {"top_p": 0.5, "seed": 0}, "engine": {"name": "a"}})


def test_writing_leaves_no_temporary_file(tmp_path):
    write_atomically(tmp_path / "a.json", "1")
    write_atomically(tmp_path / "a.json", "2")
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"a.json": "2"}
