"""What a training run would take here, said before a quickstart that trains nothing."""

from __future__ import annotations

import re

import pytest
import torch

from attnpo.cli import quickstart
from attnpo.study import estimate
from attnpo.study.worlds import GSM


def minutes(monkeypatch: pytest.MonkeyPatch, gflops: float) -> int:
    monkeypatch.setattr(quickstart, "core_gflops", lambda: gflops)
    said = quickstart.said_training(GSM)
    assert f"({gflops:.0f} GFLOPS in float32)" in said
    assert "GPU 3 to 4 minutes" in said
    found = re.search(r"about (\d+) minutes of one CPU core here", said)
    assert found is not None
    return int(found[1])


def test_a_slower_machine_is_told_a_longer_run(monkeypatch):
    as_measured = minutes(monkeypatch, GSM.pace.core_gflops)
    assert as_measured == round(estimate.cell_minutes(GSM.sizes, GSM))
    assert minutes(monkeypatch, GSM.pace.core_gflops / 3) == pytest.approx(3 * as_measured, abs=3)


def test_the_speed_of_a_core_is_measured_on_one_thread_and_leaves_the_others(monkeypatch):
    before, used = torch.get_num_threads(), []
    product = torch.mm
    monkeypatch.setattr(torch, "mm", lambda *given: (used.append(torch.get_num_threads()), product(*given))[1])
    assert estimate.core_gflops() > 0.1
    assert set(used) == {1}
    assert torch.get_num_threads() == before
