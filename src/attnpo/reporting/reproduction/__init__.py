"""The comparison table of many methods trained with the same budget: numbers, exports, figure and page."""

from attnpo.reporting.reproduction.costs import RunCost, read_cost
from attnpo.reporting.reproduction.exports import table_csv, table_json, table_markdown
from attnpo.reporting.reproduction.figure import save_method_frontiers
from attnpo.reporting.reproduction.page import write_method_page
from attnpo.reporting.reproduction.table import MethodTable, TableRow, TrainedRow, method_table

__all__ = [
    "MethodTable",
    "RunCost",
    "TableRow",
    "TrainedRow",
    "method_table",
    "read_cost",
    "save_method_frontiers",
    "table_csv",
    "table_json",
    "table_markdown",
    "write_method_page",
]
