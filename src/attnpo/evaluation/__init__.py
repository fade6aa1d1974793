"""Measure models and compare them."""

from attnpo.evaluation.comparison import (
    ArmResponses,
    ComparisonRow,
    compare,
    compare_folders,
    load_arm,
    markdown_table,
)
from attnpo.evaluation.metrics import MeasuredResponse, measure, summarize, summarize_by_difficulty
from attnpo.evaluation.result import EvaluationResult, Summary
from attnpo.evaluation.run import evaluate
from attnpo.evaluation.settings import EvaluationSettings

__all__ = [
    "ArmResponses",
    "ComparisonRow",
    "EvaluationResult",
    "EvaluationSettings",
    "MeasuredResponse",
    "Summary",
    "compare",
    "compare_folders",
    "evaluate",
    "load_arm",
    "markdown_table",
    "measure",
    "summarize",
    "summarize_by_difficulty",
]
