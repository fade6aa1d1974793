"""A small reasoning world with known truth: problems, overthinking traces, an oracle, a tokenizer and a model."""

from attnpo.tinyworld.counting import count_checks, count_shortcuts
from attnpo.tinyworld.datasets import heldout_dataset, train_dataset
from attnpo.tinyworld.model import checkpoint_path
from attnpo.tinyworld.oracle import check_usefulness, describe_steps, label_steps
from attnpo.tinyworld.problems import Problem, generate_problems
from attnpo.tinyworld.traces import reference_trace

__all__ = [
    "Problem",
    "check_usefulness",
    "checkpoint_path",
    "count_checks",
    "count_shortcuts",
    "describe_steps",
    "generate_problems",
    "heldout_dataset",
    "label_steps",
    "reference_trace",
    "train_dataset",
]
