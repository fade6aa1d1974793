"""What lies in a run's folder says whether a whole model lies beside it."""

from __future__ import annotations

import pytest

from attnpo.cli.main import main
from attnpo.errors import OutputError
from attnpo.training import AttnPOTrainer
from attnpo.training.updates import UpdatesCallback

TINY = {
    "model": "tinyworld",
    "data": "tinyworld",
    "heads": "2.0",
    "segmentation": "paragraphs",
    "verifier": "exact",
    "num_problems": 4,
    "num_generations": 4,
    "per_device_train_batch_size": 4,
    "max_completion_length": 16,
    "max_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "disable_tqdm": True,
    "save_strategy": "no",
}
MARK = "trainer_state.json"


def train(folder, **changed) -> None:
    settings = {**TINY, "output_dir": folder, **changed}
    main(["train", *(part for name, value in settings.items() for part in (f"--{name}", str(value)))])


def test_a_run_that_learnt_nothing_is_not_marked_as_finished(tmp_path):
    with pytest.raises(SystemExit):  # responses this short are all wrong
        train(tmp_path)
    assert not (tmp_path / MARK).exists()


def test_the_mark_comes_after_the_model_and_a_model_that_cannot_be_saved_has_none(tmp_path, monkeypatch):
    monkeypatch.setattr(UpdatesCallback, "check_learnt", lambda *_: None)
    train(tmp_path, save_strategy="steps", save_steps=1)
    assert (tmp_path / MARK).exists()
    assert (tmp_path / "README.md").exists()

    def broken(trainer, *_, **__):
        raise OutputError("the disk is full")

    monkeypatch.setattr(AttnPOTrainer, "save_model", broken)
    with pytest.raises(SystemExit):
        train(tmp_path, max_steps=2, resume_from_checkpoint=True)
    assert not (tmp_path / MARK).exists()
