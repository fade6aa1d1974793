"""The two main figures as PNG (or whatever the file's suffix asks for), for the command line and for papers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import LinearSegmentedColormap, TwoSlopeNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from attnpo.discovery.result import DiscoveryResult
from attnpo.errors import DataError, OutputError
from attnpo.evaluation.result import EvaluationResult
from attnpo.reporting.marks import arm_marks
from attnpo.reporting.palette import ARMS_LIGHT, LIGHT, LIGHT_SCALE, diverging
from attnpo.reporting.run_folder import Arm

MARKERS = ("o", "D", "s", "^", "v", "P", "H", "X")
SRA_COLOURS = LinearSegmentedColormap.from_list("sra", list(diverging(LIGHT_SCALE).values()))


def save_heatmap(result: DiscoveryResult, path: Path) -> Path:
    """Draw SRA over layers × heads on the held-out half, the chosen heads outlined.

    Raises:
        OutputError: the file cannot be written.
    """
    figure = Figure(figsize=(1.8 + 0.42 * result.num_heads, 1.4 + 0.42 * result.num_layers), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(
        result.sra_report, cmap=SRA_COLOURS, norm=TwoSlopeNorm(0.5, 0.0, 1.0), aspect="equal", interpolation="nearest"
    )
    for layer, head in result.chosen:
        axes.add_patch(Rectangle((head - 0.5, layer - 0.5), 1, 1, fill=False, edgecolor=LIGHT["ink"], linewidth=2))
    axes.set_xlabel("head")
    axes.set_ylabel("layer")
    axes.set_title(f"SRA on the held-out half, chosen: {result.chosen_sra.value:.3f}", fontsize=10)
    figure.colorbar(image, ax=axes, shrink=0.8, label="SRA (0.5 is chance)")
    return _save(figure, path)


def save_frontier(results: Mapping[str, EvaluationResult], path: Path) -> Path:
    """Draw accuracy against tokens with crosses of 95 % intervals.

    Args:
        results: arm name → evaluation.
        path: the file to write.

    Raises:
        DataError: there are no results.
        OutputError: the file cannot be written.
    """
    if not results:
        raise DataError("frontier: no evaluations to draw; make one with `attnpo evaluate`")
    marks = arm_marks([Arm(name, evaluation) for name, evaluation in results.items()])
    figure = Figure(figsize=(7, 4.4), layout="constrained")
    axes = figure.add_subplot()
    for name, evaluation in results.items():
        mark, tokens, share = marks[name], evaluation.overall.response_tokens, evaluation.overall.accuracy
        axes.errorbar(
            tokens.value,
            100 * share.value,
            xerr=[[tokens.value - tokens.low], [tokens.high - tokens.value]],
            yerr=[[100 * (share.value - share.low)], [100 * (share.high - share.value)]],
            fmt=MARKERS[mark.index],
            color=ARMS_LIGHT[mark.index],
            label=mark.title,
        )
    axes.set_xlabel("tokens a response")
    axes.set_ylabel("answered right (%)")
    axes.grid(color=LIGHT["rule"])
    axes.set_axisbelow(True)
    axes.legend(frameon=False, fontsize=9)
    return _save(figure, path)


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=160, facecolor="white")
    except OSError as error:
        raise OutputError(f"{path}: cannot write the figure ({error.strerror}); choose another file") from error
    return path
