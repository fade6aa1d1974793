"""Measure models and compare them."""

from attnpo.evaluation.comparison import (
    ComparisonRow,
    MeasuredArm,
    compare,
    compare_folders,
    load_arm,
    markdown_table,
)
from attnpo.evaluation.result import BudgetPoint, EvaluationResult, Summary, Tail
from attnpo.evaluation.run import claim_evaluation, evaluate
from attnpo.evaluation.settings import EvaluationSettings
from attnpo.evaluation.table import ProblemTable

__all__ = [
    "BudgetPoint",
    "ComparisonRow",
    "EvaluationResult",
    "EvaluationSettings",
    "MeasuredArm",
    "ProblemTable",
    "Summary",
    "Tail",
    "claim_evaluation",
    "compare",
    "compare_folders",
    "evaluate",
    "load_arm",
    "markdown_table",
]
