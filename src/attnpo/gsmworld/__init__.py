"""A world of real English: grade-school word problems, traces that overthink, and an oracle that reads equations."""

from attnpo.gsmworld.counting import count_slips
from attnpo.gsmworld.datasets import all_dataset, heldout_dataset, train_dataset, unseen_dataset
from attnpo.gsmworld.model import checkpoint_path
from attnpo.gsmworld.oracle import label_steps
from attnpo.gsmworld.problems import Problem, generate_problems
from attnpo.gsmworld.traces import Trace, TraceStyle, write_trace

__all__ = [
    "Problem",
    "Trace",
    "TraceStyle",
    "all_dataset",
    "checkpoint_path",
    "count_slips",
    "generate_problems",
    "heldout_dataset",
    "label_steps",
    "train_dataset",
    "unseen_dataset",
    "write_trace",
]
