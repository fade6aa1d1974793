"""Training through TRL: the configuration and the trainer."""

from attnpo.training.adapters import AdapterSettings
from attnpo.training.callbacks import LogFileCallback
from attnpo.training.checkpoints import last_checkpoint
from attnpo.training.config import AttnPOConfig
from attnpo.training.interrupts import TrainingInterrupted
from attnpo.training.trainer import AttnPOTrainer

__all__ = [
    "AdapterSettings",
    "AttnPOConfig",
    "AttnPOTrainer",
    "LogFileCallback",
    "TrainingInterrupted",
    "last_checkpoint",
]
