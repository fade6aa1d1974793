from __future__ import annotations

import pytest
import torch

from attnpo.errors import ConfigError
from attnpo.models import find_device


@pytest.fixture
def machine(monkeypatch):
    def build(compiled: str | None, there: int):
        device = None if compiled is None else torch.device(compiled)
        monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda check_available=False: device)
        monkeypatch.setattr(torch.accelerator, "is_available", lambda: there > 0)
        monkeypatch.setattr(torch.accelerator, "device_count", lambda: there)

    return build


@pytest.mark.parametrize(
    ("compiled", "there", "name", "found"),
    [
        (None, 0, "auto", "cpu"),
        ("cuda", 0, "auto", "cpu"),  # torch built for what the machine does not have
        ("cuda", 2, "auto", "cuda"),
        ("cuda", 2, "cuda:1", "cuda:1"),
        ("cuda", 2, "cpu", "cpu"),
        ("mps", 1, "auto", "mps"),
    ],
)
def test_devices_that_are_there(machine, compiled, there, name, found):
    machine(compiled, there)
    assert find_device(name) == found


@pytest.mark.parametrize(
    ("compiled", "there", "name", "words"),
    [
        (None, 0, "cuda", "choose auto, cpu"),
        ("cuda", 0, "cuda", "choose auto, cpu"),
        ("cuda", 1, "cdua", "choose auto, cpu, cuda; did you mean cuda?"),
        ("cuda", 2, "cuda:2", "choose auto, cpu, cuda (cuda:0 to cuda:1)"),
        ("cuda", 2, "cuda:x", "choose auto"),
        ("cuda", 2, "mars", "choose auto"),
        ("cuda", 2, "meta", "choose auto"),
        ("cuda", 2, "", "choose auto"),
    ],
)
def test_devices_that_are_not(machine, compiled, there, name, words):
    machine(compiled, there)
    with pytest.raises(ConfigError) as error:
        find_device(name)
    assert str(error.value).startswith(f"--device {name}: this machine has no such device; ")
    assert words in str(error.value)
