"""Everything that is checked of a run before its weights are loaded: one list, for the run and for its dry run."""

from attnpo.training.checks.findings import Findings
from attnpo.training.checks.parts import RunParts
from attnpo.training.checks.run import CHECKS, examine

__all__ = ["CHECKS", "Findings", "RunParts", "examine"]
