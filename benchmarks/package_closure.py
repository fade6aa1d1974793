"""What a list of requirements comes to, package after package, and which of it is not met.

    python package_closure.py needs.txt --settled torch transformers

says what of the requirements in a file this Python lacks, or has in another version, and exits with 1. It takes nothing
but `packaging`, so that it runs on a machine that lacks the rest.
"""

from __future__ import annotations

import argparse
import zipfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import Distribution, PackageNotFoundError, PathDistribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

Find = Callable[[str], Distribution | None]


@dataclass(frozen=True)
class Need:
    """A requirement that holds, and what there is for it.

    Attributes:
        name: the package, normalised.
        wanted: the requirement.
        by: who requires it.
        found: the package that is there, None for none.
    """

    name: str
    wanted: Requirement
    by: str
    found: Distribution | None

    @property
    def is_met(self) -> bool:
        """Whether the package is there in a version that fits."""
        return self.found is not None and self.wanted.specifier.contains(self.found.version, prereleases=True)

    def __str__(self) -> str:
        there = "none" if self.found is None else self.found.version
        return f"{self.name}{self.wanted.specifier} (for {self.by}); there is {there}"


def closure(
    requirements: Iterable[str], find: Find, settled: Collection[str] = (), environment: Mapping[str, str] | None = None
) -> Iterator[Need]:
    """Return all that requirements come to.

    Args:
        requirements: where to begin.
        find: name → package, None where there is none.
        settled: packages whose own requirements are not followed.
        environment: what markers are evaluated for; this Python where absent.
    """
    waiting = [(Requirement(line), "attnpo", frozenset[str]()) for line in requirements]
    seen = set()
    while waiting:
        wanted, by, extras = waiting.pop()
        holds = wanted.marker is None or any(
            wanted.marker.evaluate({**(environment or {}), "extra": extra}) for extra in ("", *extras)
        )
        if not holds or (str(wanted), by) in seen:
            continue
        seen.add((str(wanted), by))
        name = canonicalize_name(wanted.name)
        found = find(name)
        yield Need(name, wanted, by, found)
        if found is not None and name not in settled:
            waiting += [(Requirement(line), name, frozenset(wanted.extras)) for line in found.requires or ()]


def installed(name: str) -> Distribution | None:
    """Return a package of this Python."""
    try:
        return distribution(name)
    except PackageNotFoundError:
        return None


def in_wheels(folder: Path) -> Find:
    """Return what finds a package among the wheels of a folder."""
    found: dict[str, Distribution] = {}
    for wheel in folder.glob("*.whl"):
        (about,) = (path for path in zipfile.Path(wheel).iterdir() if path.name.endswith(".dist-info"))
        package = PathDistribution(about)
        found[canonicalize_name(package.name)] = package
    return lambda name: found.get(name)


def main() -> None:
    """Check this Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, help="requirements, one a line")
    parser.add_argument("--settled", nargs="*", default=[], help="packages whose own requirements are left alone")
    args = parser.parse_args()
    needs = closure(args.file.read_text(encoding="utf-8").splitlines(), installed, args.settled)
    if lacking := sorted({str(need) for need in needs if not need.is_met}):
        raise SystemExit("\n".join(["not met here:", *lacking]))


if __name__ == "__main__":
    main()
