from __future__ import annotations

import json
from pathlib import Path

import pytest

from attnpo.errors import ConfigError
from attnpo.models import NAMED
from attnpo.models.lineage import is_made_from
from attnpo.tinyworld import checkpoint_path

BASE = "deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B"


def folder(path: Path, file: str = "config.json", **content: str) -> Path:
    path.mkdir(parents=True, exist_ok=True)
    (path / file).write_text(json.dumps(content))
    return path


@pytest.mark.parametrize(
    "name",
    [
        BASE,
        BASE.lower(),
        f"/no/where/{BASE.rpartition('/')[2]}",
        f"/root/hub/models--{BASE.replace('/', '--')}/snapshots/{'0a' * 20}",
    ],
)
def test_a_model_is_known_by_id_folder_and_place_in_the_cache(name):
    assert is_made_from(["other", name], BASE)


def test_another_model_of_the_same_shape_is_another_one(tmp_path):
    assert not is_made_from(["Qwen/Qwen2.5-Math-1.5B"], BASE)
    mine, yours = folder(tmp_path / "a" / "final"), folder(tmp_path / "b" / "final")
    assert is_made_from([f"{tmp_path}/a/../a/final"], str(mine))
    assert not is_made_from([str(mine)], str(yours))


def test_a_gguf_file_is_known_by_the_folder_that_holds_it_alone(tmp_path):
    file = tmp_path / "one" / "m.gguf"
    adapter = folder(tmp_path / "lora", "adapter_config.json")
    for place in (file, adapter / "m.gguf"):
        place.parent.mkdir(exist_ok=True)
        place.touch()
    assert is_made_from([str(file)], str(file.parent))
    assert is_made_from([str(file.parent)], str(file))
    assert not is_made_from([str(adapter / "m.gguf")], str(adapter))
    assert not is_made_from([str(adapter / "m.gguf")], str(file.parent))


def test_names_stand_for_their_folders():
    assert is_made_from([str(checkpoint_path())], "tinyworld")
    assert is_made_from(["gsmworld"], "smollm2")  # its adapter's configuration says so


def test_a_name_whose_package_is_not_installed_is_a_name_still(monkeypatch):
    def missing(said: str) -> Path:
        raise ConfigError(f"{said}: not installed")

    monkeypatch.setitem(NAMED, "smollm2", missing)
    assert is_made_from(["gsmworld"], "smollm2")
    assert not is_made_from(["tinyworld"], "smollm2")


@pytest.mark.parametrize(
    ("file", "field"),
    [
        ("adapter_config.json", "base_model_name_or_path"),
        ("config.json", "_name_or_path"),
        ("training.json", "model"),
    ],
)
def test_files_tell_what_a_model_was_trained_from_over_several_steps(tmp_path, file, field):
    first = folder(tmp_path / "first", file, **{field: BASE})
    second = folder(tmp_path / "second", file, **{field: str(first)})
    assert is_made_from([str(second)], BASE)
    assert is_made_from([str(second)], str(first))
    assert not is_made_from([str(first)], str(second))


def test_models_on_the_way_are_told_by_their_runs_folder_and_no_other_folder_is_read(tmp_path):
    run = folder(tmp_path / "run", "training.json", model=BASE)
    for below in ("checkpoint-20", "course/3"):
        assert is_made_from([str(folder(run / below))], BASE)
    assert not is_made_from([str(folder(run / "evaluation"))], BASE)


def test_circles_end_and_what_cannot_be_read_tells_nothing(tmp_path):
    circle = tmp_path / "circle"
    folder(circle, "training.json", model=str(circle))
    for content in ("{", "[]", '{"_name_or_path": 3}', '{"_name_or_path": null}'):
        (circle / "config.json").write_text(content)
        assert not is_made_from([str(circle)], BASE)
