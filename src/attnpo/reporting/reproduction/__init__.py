"""The comparison table of many methods trained with the same budget: numbers, exports, figure and page."""

from attnpo.reporting.reproduction.costs import RunCost, read_cost, time_of_share
from attnpo.reporting.reproduction.exports import table_csv, table_json, table_markdown
from attnpo.reporting.reproduction.figure import save_method_frontiers
from attnpo.reporting.reproduction.frontier_exports import frontier_json, frontier_markdown
from attnpo.reporting.reproduction.frontier_picture import save_frontier_curves
from attnpo.reporting.reproduction.frontier_table import FrontierTable, frontier_table
from attnpo.reporting.reproduction.page import write_method_page
from attnpo.reporting.reproduction.ranking import matching_credits, ranked
from attnpo.reporting.reproduction.table import CoursePoint, MethodTable, TableRow, TrainedRow, method_table

__all__ = [
    "CoursePoint",
    "FrontierTable",
    "MethodTable",
    "RunCost",
    "TableRow",
    "TrainedRow",
    "frontier_json",
    "frontier_markdown",
    "frontier_table",
    "matching_credits",
    "method_table",
    "ranked",
    "read_cost",
    "save_frontier_curves",
    "save_method_frontiers",
    "table_csv",
    "table_json",
    "table_markdown",
    "time_of_share",
    "write_method_page",
]
