"""A model that reasons aloud, from worked solutions: traces that overthink, then supervised fine-tuning on them."""

from attnpo.coldstart.config import ColdStartAdapters, ColdStartConfig
from attnpo.coldstart.equations import equation_traces
from attnpo.coldstart.rows import CHATML, WorkedProblem, open_think_part, order_rows, training_rows, write_traces
from attnpo.coldstart.training import fine_tune, finish_adapter

__all__ = [
    "CHATML",
    "ColdStartAdapters",
    "ColdStartConfig",
    "WorkedProblem",
    "equation_traces",
    "fine_tune",
    "finish_adapter",
    "open_think_part",
    "order_rows",
    "training_rows",
    "write_traces",
]
