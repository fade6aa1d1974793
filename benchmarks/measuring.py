"""What the cost benchmarks share: clocks by phase, peak memory, growth as an input doubles, tables and plots."""

from __future__ import annotations

import ctypes
import json
import math
import multiprocessing
import random
import statistics
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import Any

import torch

MIB = 2**20
MMAP_THRESHOLD = -3
"""glibc's M_MMAP_THRESHOLD."""
PRESETS: dict[str, dict[str, int]] = {
    "small": {
        "hidden_size": 256,
        "intermediate_size": 704,
        "num_hidden_layers": 8,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "vocab_size": 4096,
    },
    "qwen2-1.5b": {
        "hidden_size": 1536,
        "intermediate_size": 8960,
        "num_hidden_layers": 28,
        "num_attention_heads": 12,
        "num_key_value_heads": 2,
        "vocab_size": 151936,
    },
    "qwen2-7b": {
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 152064,
    },
}
"""Shapes of random-initialised Qwen2 models: one for a CPU, two of published models."""


class Stopwatch:
    """Seconds by phase, exclusive: what an inner phase takes is not the outer one's.

    Phases entered on other threads are kept apart, in `background` (wall time).

    Args:
        device: waited for at every change of phase.
        clock: `clock_of(...)`.
    """

    def __init__(self, device: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self.device, self.clock = device, clock
        self.seconds: dict[str, float] = defaultdict(float)
        self.background: dict[str, float] = defaultdict(float)
        self._stack = ["rest"]
        self._mark = 0.0
        self.reset()

    def reset(self) -> None:
        """Start at zero."""
        self.seconds, self.background = defaultdict(float), defaultdict(float)
        synchronize(self.device)
        self._mark = self.clock()

    def read(self) -> dict[str, float]:
        """Return the seconds since the last reset."""
        self._charge()
        return dict(self.seconds)

    @contextmanager
    def __call__(self, phase: str) -> Iterator[None]:
        """Charge what happens inside to a phase."""
        if threading.current_thread() is not threading.main_thread():
            start = time.perf_counter()
            try:
                yield
            finally:
                self.background[phase] += time.perf_counter() - start
            return
        self._charge()
        self._stack.append(phase)
        try:
            yield
        finally:
            self._charge()
            self._stack.pop()

    def timed(self, phase: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function with its time charged to a phase."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with self(phase):
                return function(*args, **kwargs)

        return wrapped

    def _charge(self) -> None:
        synchronize(self.device)
        now = self.clock()
        self.seconds[self._stack[-1]] += now - self._mark
        self._mark = now


@contextmanager
def timed_reading(watch: Stopwatch, *modules: Any) -> Iterator[None]:
    """Charge the reading of heads to `head reading`: plan, softmax rows, comparison with the output, collection.

    Args:
        watch: the clock.
        modules: those that call `read_step_scores` by a name of their own.
    """
    from attnpo.attention import reading

    @contextmanager
    def read(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with watch("head reading"):
            context = plain(*args, **kwargs)
            scores = context.__enter__()
        try:
            yield scores
        except BaseException:
            context.__exit__(*sys.exc_info())
            raise
        with watch("head reading"):
            context.__exit__(None, None, None)

    plain, own = reading.read_step_scores, reading.StepReading
    kept = {name: getattr(own, name) for name in ("_observe", "_compare", "_in_order")}
    for name, function in kept.items():
        setattr(own, name, _method(watch, function))
    for module in modules:
        module.read_step_scores = read
    try:
        yield
    finally:
        for name, function in kept.items():
            setattr(own, name, function)
        for module in modules:
            module.read_step_scores = plain


def _method(watch: Stopwatch, function: Callable[..., Any]) -> Callable[..., Any]:
    def method(self: Any, *args: Any) -> Any:
        with watch("head reading"):
            return function(self, *args)

    return method


def clock_of(device: str, threads: int) -> Callable[[], float]:
    """Return processor seconds where one thread computes on a CPU, so that other work hardly counts; else wall time."""
    return time.process_time if device == "cpu" and threads == 1 else time.perf_counter


def synchronize(device: str) -> None:
    """Wait for the device."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def peak_bytes(run: Callable[[], object], device: str) -> float:
    """Return what a call needs at its peak, beyond what is held before it; it should have run once before.

    On a CPU the resident set, with every larger allocation given back at once: run it in a process of its own.
    """
    if device.startswith("cuda"):
        synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    resident = _status("VmRSS")
    run()
    return _status("VmHWM") - resident


def give_back_at_once() -> None:
    """Let glibc map every allocation of 64 KiB or more by itself, so that the resident set follows the tensors."""
    ctypes.CDLL("libc.so.6").mallopt(MMAP_THRESHOLD, 64 * 1024)


def _status(field: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def in_a_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a function in a fork of this process, and return what it returns."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=lambda: sender.send(function(*arguments)))
    process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:
        sys.exit(f"{function.__name__} failed in its process; see above")
    finally:
        process.join()


def quartiles(values: Sequence[float]) -> tuple[float, float, float]:
    """Return first quartile, median and third quartile."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high


def growth(samples: Mapping[int, Sequence[float]], resamples: int = 2000) -> dict[str, float] | None:
    """Fit size ** exponent to the medians of repeated measurements.

    Args:
        samples: size → measurements; at least two sizes.
        resamples: of the bootstrap over the measurements of each size.

    Returns:
        `exponent` with its 95 % interval (`low`, `high`) and `last_doubling`, the factor from the last size but one to
        the last, as of one doubling; None where something took no time.
    """
    sizes = sorted(samples)
    if len(sizes) < 2 or min(statistics.median(samples[size]) for size in sizes) <= 0:
        return None
    rng = random.Random(0)
    drawn = sorted(
        _slope(sizes, [statistics.median(rng.choices(samples[size], k=len(samples[size]))) for size in sizes])
        for _ in range(resamples)
    )
    medians = [statistics.median(samples[size]) for size in sizes]
    doublings = math.log2(sizes[-1] / sizes[-2])
    return {
        "exponent": _slope(sizes, medians),
        "low": drawn[int(0.025 * resamples)],
        "high": drawn[int(0.975 * resamples)],
        "last_doubling": (medians[-1] / medians[-2]) ** (1 / doublings),
    }


def _slope(sizes: Sequence[int], values: Sequence[float]) -> float:
    x, y = [math.log(size) for size in sizes], [math.log(max(value, 1e-12)) for value in values]
    return statistics.linear_regression(x, y).slope


def where_and_when(device: str) -> dict[str, str]:
    """Return machine, versions, commit and date."""
    folder = Path(__file__).parent
    commit = subprocess.run(
        ["git", "-C", str(folder), "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False
    )
    if device.startswith("cuda"):
        machine = torch.cuda.get_device_name(device)
    else:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = sorted({line.split(":")[1].strip() for line in lines if line.startswith("model name")})
        machine = f"{', '.join(names)}, {multiprocessing.cpu_count()} cores, {torch.get_num_threads()} thread(s)"
    return {
        "machine": machine,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
        "commit": commit.stdout.strip() or "unknown",
        "date": date.today().isoformat(),
        "command": " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
    }


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table, numbers to the right."""
    lines = [" | ".join(headings), " | ".join(["---", *["---:"] * (len(headings) - 1)])]
    return "\n".join(f"| {line} |" for line in [*lines, *(" | ".join(row) for row in rows)])


def growth_text(fit: Mapping[str, float] | None) -> str:
    """Return `0.98 (0.95 to 1.01), × 1.97 at the last doubling`."""
    if fit is None:
        return "–"
    return f"{fit['exponent']:.2f} ({fit['low']:.2f} to {fit['high']:.2f}); × {fit['last_doubling']:.2f}"


def plot_growth(panels: Mapping[str, Mapping[str, Mapping[int, float]]], path: Path, unit: str = "seconds") -> None:
    """Draw size against cost, both logarithmic: one panel an input, one line a phase, grey lines of slope 1."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt

    figure, axes = plt.subplots(1, len(panels), figsize=(4.2 * len(panels), 3.8), squeeze=False)
    for axis, (title, lines) in zip(axes[0], panels.items(), strict=True):
        for name, points in lines.items():
            drawn = {size: value for size, value in sorted(points.items()) if value > 0}
            axis.plot(list(drawn), list(drawn.values()), marker="o", markersize=3, label=name)
            if drawn:
                first, start = next(iter(drawn.items()))
                axis.plot(list(drawn), [start * size / first for size in drawn], color="0.8", linewidth=0.8, zorder=0)
        axis.set(xscale="log", yscale="log", xlabel=title)
        axis.xaxis.set_major_locator(
            mpl.ticker.FixedLocator(sorted({size for line in lines.values() for size in line}))
        )
        axis.xaxis.set_major_formatter(mpl.ticker.ScalarFormatter())
        axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes[0][0].set_ylabel(unit)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=5, loc="lower center", fontsize=8, frameon=False)
    figure.tight_layout(rect=(0, 0.12, 1, 1))
    figure.savefig(path, dpi=130)
    plt.close(figure)


def write_results(result: Mapping[str, Any], markdown: str, path: Path | None) -> Path | None:
    """Print the tables; with a path write JSON, and Markdown beside it. Return where a plot belongs."""
    print(markdown, flush=True)
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    path.with_suffix(".md").write_text(markdown + "\n", encoding="utf-8")
    return path.with_suffix(".png")
