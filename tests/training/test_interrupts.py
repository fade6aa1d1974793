from __future__ import annotations

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from transformers import TrainerControl

from attnpo import interrupts
from attnpo.training.interrupts import InterruptCallback, TrainingInterrupted


@pytest.fixture
def callback(heard):
    made = InterruptCallback(lambda tensor: tensor, can_stop=lambda: True)
    with made.requests.installed():
        yield made


def state(step: int, most: int = 10) -> SimpleNamespace:
    return SimpleNamespace(global_step=step, max_steps=most, is_world_process_zero=True)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_step_is_finished_and_saved(callback, number, code, capfd):
    os.kill(os.getpid(), number)
    assert "finishing this step, then saving" in capfd.readouterr().err
    control = TrainerControl()
    callback.can_stop = lambda: False  # no place to go on from exactly
    callback.on_step_end(None, state(3), control)
    assert not control.should_save
    callback.can_stop = lambda: True
    callback.on_step_end(None, state(4), control)
    assert control.should_save
    assert control.should_training_stop
    with pytest.raises(TrainingInterrupted, match="stopped after step 4 of 10; saved out/checkpoint-4") as caught:
        callback.on_save(SimpleNamespace(output_dir="out"), state(4), control)
    assert caught.value.code == code


def test_the_same_press_that_arrives_twice_is_one(callback):
    os.kill(os.getpid(), signal.SIGINT)
    os.kill(os.getpid(), signal.SIGTERM)  # a launcher passes it on
    assert callback.received == signal.SIGINT


@pytest.mark.parametrize(("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, SystemExit)])
def test_a_second_signal_quits_at_once(callback, monkeypatch, number, error):
    clock = iter([100.0, 103.0])
    monkeypatch.setattr(interrupts.time, "monotonic", lambda: next(clock))
    os.kill(os.getpid(), signal.SIGINT)
    with pytest.raises(error) as caught:
        os.kill(os.getpid(), number)
    assert error is KeyboardInterrupt or caught.value.code == 143


def test_a_signal_to_another_process_stops_this_one_alike():
    made = InterruptCallback(lambda tensor: tensor + torch.tensor([0.0, 1.0]), can_stop=lambda: True)
    control = TrainerControl()
    made.on_step_end(None, state(3), control)
    assert control.should_training_stop
    with pytest.raises(TrainingInterrupted, match="SIGTERM"):
        made.on_save(SimpleNamespace(output_dir="out"), state(3), control)


def test_without_a_signal_nothing_happens(callback):
    control = TrainerControl(should_save=True)
    callback.on_step_end(None, state(4), control)
    callback.on_save(SimpleNamespace(output_dir="out"), state(4), control)
    assert not control.should_training_stop


def test_the_last_step_ends_the_run_as_always(callback):
    os.kill(os.getpid(), signal.SIGINT)
    control = TrainerControl(should_save=True, should_training_stop=True)
    callback.on_step_end(None, state(10), control)
    callback.on_save(SimpleNamespace(output_dir="out"), state(10), control)


def test_signals_are_given_back():
    before = [signal.getsignal(number) for number in interrupts.SIGNALS]
    with InterruptCallback(lambda tensor: tensor, lambda: True).requests.installed():
        pass
    assert [signal.getsignal(number) for number in interrupts.SIGNALS] == before


def test_what_a_shell_had_put_into_the_background_goes_on():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    made = InterruptCallback(lambda tensor: tensor, lambda: True)
    try:
        with made.requests.installed():
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert made.received is None
