"""What checks find: problems that forbid a run, notes that do not, facts that were read on the way."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from attnpo.errors import AttnPOError, ConfigError


@dataclass
class Findings:
    """What was found; it is added to and never taken from.

    Attributes:
        errors: what forbids the run, one line each; none means that it can start.
        notes: what is worth knowing and no mistake.
        facts: what was read, name by name, in the order of the way through.
    """

    errors: list[AttnPOError] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    facts: dict[str, str] = field(default_factory=dict)

    @property
    def problems(self) -> list[str]:
        """The lines of what forbids the run."""
        return [str(error) for error in self.errors]

    def refuse(self, line: str) -> None:
        """Forbid the run."""
        if line not in self.problems:
            self.errors.append(ConfigError(line))

    def note(self, line: str) -> None:
        """Say something."""
        if line not in self.notes:
            self.notes.append(line)

    @contextmanager
    def catching(self) -> Iterator[None]:
        """Put a user's mistake among the problems and go on behind the block."""
        try:
            yield
        except AttnPOError as error:
            if str(error) not in self.problems:
                self.errors.append(error)

    def raise_errors(self) -> None:
        """Refuse the run where something forbids it.

        Raises:
            AttnPOError: the one error, or a `ConfigError` with a line for each of several.
        """
        if len(self.errors) == 1:
            raise self.errors[0]
        if self.errors:
            raise ConfigError("\n".join(self.problems))
