"""Which benchmarks there are, by name or by the file of one's own entry."""

from __future__ import annotations

import difflib
from pathlib import Path

from attnpo.errors import ConfigError
from attnpo.evaluation.benchmarks.entry import Benchmark

ENTRIES = Path(__file__).with_name("entries")
_ORDER = ("gsm8k", "math500", "amc23", "olympiadbench", "aime24", "aime25", "livecodebench-v6", "gpqa-diamond", "mmlu")


def list_benchmarks(folder: str | Path | None = None) -> list[Benchmark]:
    """Return the packaged benchmarks, the paper's nine first, and after them those of a folder of entry files.

    Raises:
        ConfigError: an entry file is malformed.
    """
    packaged = [Benchmark.load(path) for path in sorted(ENTRIES.glob("*.yaml"))]
    packaged.sort(key=lambda entry: _ORDER.index(entry.name) if entry.name in _ORDER else len(_ORDER))
    own = [] if folder is None else [Benchmark.load(path) for path in sorted(Path(folder).glob("*.y*ml"))]
    return packaged + own


def load_benchmark(name: str) -> Benchmark:
    """Return a benchmark.

    Args:
        name: a packaged one's name (`gsm8k`, `reasoning-gym:leg_counting`), or the path of an entry file of one's own
            (`.yaml` or `.yml`).

    Raises:
        ConfigError: there is none of that name (the message names the nearest), or the entry file is malformed.
    """
    if Path(name).suffix in (".yaml", ".yml"):
        return Benchmark.load(name)
    base, _, variant = name.partition(":")
    known = {entry.name: entry for entry in list_benchmarks()}
    entry = known.get(base)
    if entry is None:
        near = difflib.get_close_matches(base.lower(), known, n=3, cutoff=0.4)
        hint = f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(known)}"
        raise ConfigError(f"benchmark {name!r}: there is none of that name; {hint}")
    if entry.variant is None:
        if variant:
            raise ConfigError(f"benchmark {name!r}: {base} has no variants; ask for {base}")
        return entry
    if not variant:
        raise ConfigError(f"benchmark {name!r}: name a {entry.variant} as well, {base}:<{entry.variant}>")
    return entry.model_copy(
        update={
            "name": name,
            "title": f"{entry.title}: {variant}",
            "params": {**entry.params, entry.variant: variant},
        }
    )


def benchmark_rows(folder: str | Path | None = None) -> list[list[str]]:
    """Return name, number of problems, samples a problem, verifier and data set at its revision of each benchmark.

    Raises:
        ConfigError: an entry file of the folder is malformed.
    """
    rows = []
    for entry in list_benchmarks(folder):
        name = f"{entry.name}:<{entry.variant}>" if entry.variant else entry.name
        problems = "any" if entry.endless else str(entry.num_problems or "?")
        verifier = "function" if ":" in entry.verifier else entry.verifier
        source = f"{entry.dataset} @ {(entry.revision or 'newest')[:12]}{' (gated)' if entry.gated else ''}"
        if entry.package is not None:
            source = f"package {entry.package}"
        rows.append([name, problems, str(entry.samples_per_problem), verifier, source])
    return rows
