"""Reports for people: the HTML page of a run folder, one response in the terminal or as a page, figures as PNG."""

from attnpo.reporting.figures import (
    save_ensemble_curves,
    save_frontier,
    save_frontiers,
    save_heatmap,
    save_intervention,
    save_stability,
)
from attnpo.reporting.page import render_trace_html, write_report
from attnpo.reporting.terminal import render_trace_terminal
from attnpo.reporting.traces import trace_baseline

__all__ = [
    "render_trace_html",
    "render_trace_terminal",
    "save_ensemble_curves",
    "save_frontier",
    "save_frontiers",
    "save_heatmap",
    "save_intervention",
    "save_stability",
    "trace_baseline",
    "write_report",
]
