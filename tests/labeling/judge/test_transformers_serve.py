"""Judges on a real `transformers serve`, with a model that cannot judge: nothing is lost and the end is one line."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import time
import urllib.request
from types import SimpleNamespace

import pytest
from oracle_judges import settings, world_rollouts

from attnpo.errors import DataError
from attnpo.labeling import build_labeler, label_rollouts, read_labels
from attnpo.tinyworld import checkpoint_path

pytest.importorskip("fastapi", reason="transformers serve needs fastapi")
pytest.importorskip("uvicorn", reason="transformers serve needs uvicorn")


@contextlib.contextmanager
def serving():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", str(checkpoint_path())]
    process = subprocess.Popen(
        [*command, "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while True:
            assert process.poll() is None, "transformers serve ended by itself"
            assert time.monotonic() < deadline, "transformers serve did not come up"
            with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                break
            time.sleep(0.2)
        yield SimpleNamespace(base_url=f"http://127.0.0.1:{port}/v1")
    finally:
        process.terminate()
        process.wait(30)


@pytest.mark.slow
def test_a_model_that_cannot_judge_abstains_and_the_run_ends_with_one_line(tmp_path):
    rollouts = world_rollouts(2)
    with serving() as server:
        how = settings(
            server,
            tmp_path / "cache",
            judge_models=str(checkpoint_path()),
            judge_count=2,
            judge_attempts=2,
            judge_max_tokens=24,
            judge_concurrency=2,
            judge_patience=60.0,
        )
        for attempt in range(2):
            with build_labeler("judge", how) as labeler:
                with pytest.raises(
                    DataError, match=r"none of the 2 responses could be labelled \(2: fewer than 2 of 2"
                ):
                    label_rollouts(labeler, rollouts, tmp_path / "labels.jsonl")
                report = labeler.report()
            assert [(one["voted"], one["abstained"]) for one in report["judges"]] == [(0, {"no valid answer": 2})] * 2
            assert report["servers"][0]["requests"] == (8 if attempt == 0 else 0)
    kept = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json")]
    assert len(kept) == 8
    assert all(0 < one["response"]["usage"]["completion_tokens"] <= 24 for one in kept)
    assert sum(one["completion_tokens"] for one in report["judges"]) == sum(
        one["response"]["usage"]["completion_tokens"] for one in kept
    )
    assert len(list(read_labels(tmp_path / "labels.jsonl"))) == 2
