"""The bundle for a machine without a registry: what is packed arrives there whole, and what lacks is named."""

from __future__ import annotations

import importlib
import json
import os
import random
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]
MOST = 10_000


@pytest.fixture
def bundle(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    return importlib.import_module("gpu_bundle")


def write_wheel(folder: Path, name: str, version: str = "1.0", *requires: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    about = f"{name}-{version}.dist-info"
    lines = ["Metadata-Version: 2.1", f"Name: {name}", f"Version: {version}"]
    lines += [f"Requires-Dist: {line}" for line in requires]
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", f"VERSION = {version!r}\n")
        wheel.writestr(f"{about}/METADATA", "\n".join(lines) + "\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")


def packed(bundle, folder: Path, needs: list[str], size: int = 35_000) -> list[Path]:
    content = folder / "content"
    write_wheel(content / "wheels", "toy_package")
    (content / "model.gguf").write_bytes(random.Random(0).randbytes(size))
    return bundle.write_parts(content, folder, MOST, needs, {"packaging"})


def install(folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "ATTNPO_TARGET": str(folder / "there")}
    return subprocess.run(
        ["sh", str(folder / "install.sh")], env=variables, cwd="/", capture_output=True, text=True, timeout=120
    )


def test_parts_join_to_what_was_packed(bundle, tmp_path):
    parts = packed(bundle, tmp_path, ["toy-package>=1", "packaging"])
    sizes = [part.stat().st_size for part in parts]
    assert len(parts) > 3
    assert sizes[:-1] == [MOST] * (len(parts) - 1)
    assert 0 < sizes[-1] <= MOST
    done = install(tmp_path)
    assert done.returncode == 0, done.stderr
    site = tmp_path / "there" / "site-packages"
    assert (site / "model.gguf").read_bytes() == random.Random(0).randbytes(35_000)
    assert (site / "toy_package.py").read_text() == "VERSION = '1.0'\n"


def test_a_damaged_part_and_an_unmet_requirement_are_told_there(bundle, tmp_path):
    parts = packed(bundle, tmp_path, ["toy-package>=2", "packaging"])
    done = install(tmp_path)
    assert done.returncode != 0
    assert "toy-package>=2 (for attnpo); there is 1.0" in done.stderr
    assert "packaging" not in done.stderr.splitlines()[-1]
    parts[1].write_bytes(bytes(MOST))
    done = install(tmp_path)
    assert done.returncode != 0
    assert "FAILED" in done.stdout


def test_more_parts_than_two_digits_number_are_refused(bundle, tmp_path):
    with pytest.raises(SystemExit, match="more than 99 parts"):
        packed(bundle, tmp_path, [], 100 * MOST)
    assert not list(tmp_path.glob("bundle.tar.*"))


@pytest.mark.parametrize(
    ("requires", "said"),
    [
        (("there",), ""),
        (("Absent.Package>=3",), "absent-package>=3 (for first); there is none"),
        (("second<1",), "second<1 (for first); there is 1.5"),
        (('absent; python_version < "3.12"', "absent; sys_platform == 'win32'", "absent; extra == 'more'"), ""),
        (("second[more]",), "absent (for second); there is none"),
    ],
)
def test_what_wheels_require_is_in_wheels_or_said_to_be_there(bundle, tmp_path, requires, said):
    write_wheel(tmp_path, "first", "2.0", *requires)
    write_wheel(tmp_path, "second", "1.5", "absent; extra == 'more'")
    arguments = (["first", "second"], bundle.in_wheels(tmp_path), {"there"}, "3.12")
    if not said:
        assert bundle.wheels_of(*arguments) == ["first==2.0", "second==1.5"]
        return
    with pytest.raises(SystemExit) as stop:
        bundle.wheels_of(*arguments)
    assert str(stop.value).splitlines()[1:] == [said]


def test_the_wheels_of_this_package(bundle):
    names = {
        line.partition("==")[0]
        for line in bundle.wheels_of(bundle.requirements(), bundle.installed, bundle.THERE, "3.12")
    }
    assert {"trl", "datasets", "pyarrow", "pandas", "antlr4-python3-runtime", "peft", "gguf", "resvg-py"} <= names
    assert names.isdisjoint(bundle.THERE)


def test_templates_without_reasoning_gym_are_those_with_it(bundle, tmp_path):
    gym = pytest.importorskip("reasoning_gym")
    bundle.copy_templates(tmp_path / "reasoning_gym")
    code = (
        "import json, random, reasoning_gym\n"
        "made = reasoning_gym.create_dataset('gsm_symbolic', size=1, seed=0).generators\n"
        "print(json.dumps({n: make(random.Random(n), 1.0)['question'] for n, make in made.items()}))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONPATH": str(tmp_path)}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    own = gym.create_dataset("gsm_symbolic", size=1, seed=0).generators
    assert json.loads(done.stdout) == {str(n): make(random.Random(n), 1.0)["question"] for n, make in own.items()}


def test_the_command_is_that_of_the_document(bundle):
    def plain(text: str) -> str:
        return " ".join(text.replace("\\\n", " ").split())

    text = plain((ROOT / "docs" / "gsmworld.md").read_text())
    start = text.index("attnpo reproduce --world gsm --minutes 9 ")
    command = text[start : text.index("gradient_accumulation_steps=4", start)]
    assert command in plain(bundle.__doc__)
