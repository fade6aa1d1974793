from __future__ import annotations

import pytest
import torch

from attnpo.training.meter import Meter


def test_means_over_everything_added():
    meter = Meter()
    meter.add("share", torch.tensor(3), 4.0)
    meter.add("share", torch.tensor(1), 4.0)
    meter.add_values("length", torch.tensor([2, 4, 9]))
    assert meter.flush(lambda totals: totals) == pytest.approx({"share": 0.5, "length": 5.0})
    assert meter.flush(lambda totals: totals) == {}


def test_processes_are_added_up_before_dividing():
    meter = Meter()
    meter.add("share", torch.tensor(1), 1.0)
    other = torch.tensor([[0.0, 3.0]])
    assert meter.flush(lambda totals: totals + other) == {"share": 0.25}


def test_nothing_counted_is_left_out():
    meter = Meter()
    meter.add("empty", torch.tensor(0), torch.tensor(0))
    meter.add("full", torch.tensor(1), torch.tensor(2))
    assert meter.flush(lambda totals: totals) == {"full": 0.5}
