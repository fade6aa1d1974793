"""The whole line on the small world that ships: discover, measure, train, report; what is there is not made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from attnpo.about import write_about
from attnpo.discovery import DiscoverySettings
from attnpo.evaluation import EvaluationResult, EvaluationSettings
from attnpo.labeling.causal import CausalSettings
from attnpo.labeling.judge import JudgeSettings
from attnpo.output import prepare_output_dir
from attnpo.reporting import write_report
from attnpo.sampling import EngineSettings
from attnpo.study.arms import flags, training_arm
from attnpo.study.running import run_arms
from attnpo.study.sizes import QuickstartSizes
from attnpo.study.worlds import TINYWORLD, World
from attnpo.workbench.arguments import (
    DataArguments,
    DiscoverArguments,
    EvaluateArguments,
    ModelArguments,
    StepArguments,
)
from attnpo.workbench.discovering import Discovering, Found
from attnpo.workbench.evaluating import Target, evaluate_model

ARMS = ("tlmre", "attnpo")
"""Length penalty alone, and with step credit."""
COMMON = (ModelArguments, DataArguments, StepArguments)


@dataclass(frozen=True)
class Quickstart:
    """The line in one folder, to be called method by method in their order.

    Raises:
        OutputError: nothing can be written into the folder.
    """

    sizes: QuickstartSizes
    world: World = TINYWORLD

    def __post_init__(self) -> None:
        prepare_output_dir(self.folder)
        torch.set_num_threads(max(1, self.sizes.jobs))
        asked, defaults = asdict(self.sizes), asdict(self.world.quickstart)
        changed = {name: value for name, value in asked.items() if value != defaults[name]}
        model = {"model": self.world.model}
        settings = {
            "quickstart": asked,
            "training": {**model, **self.world.training},
            "evaluation": dict(self.world.evaluation),
        }
        write_about(self.folder, "quickstart", flags(changed), settings)

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return Path(self.sizes.output_dir)

    @property
    def heads(self) -> Path:
        """The head set that is found."""
        return self.folder / "heads.json"

    def find_heads(self, progress: Progress | None = None) -> Found | None:
        """Find and prove the heads; None where they were found before."""
        if (self.folder / "discovery.json").exists():
            return None
        values = {
            "model": self.world.model,
            **self.world.discovery,
            "num_problems": self.sizes.num_probe,
            "output_dir": str(self.folder),
            "seed": self.sizes.seed,
        }
        types = (DiscoverArguments, *COMMON, DiscoverySettings, EngineSettings, JudgeSettings, CausalSettings)
        return Discovering(*_made(types, values)).discover(progress)

    def measure_start(
        self, progress: Progress | None = None, show: Callable[[Target, EvaluationResult], None] | None = None
    ) -> None:
        """Measure the untrained model; `show` is given the result, and not called where it is known from before."""
        if (self.folder / "base" / "evaluation.json").exists():
            return
        values = {
            **self.world.evaluation,
            "model": self.world.model,
            "name": "base",
            "num_problems": self.sizes.num_eval,
            "output_dir": str(self.folder / "base"),
            "heads": str(self.heads),
            "annotate_problems": self.sizes.num_traces,
        }
        parts = _made((EvaluateArguments, *COMMON, EvaluationSettings, EngineSettings), values)
        arguments, model, data, steps, settings, engine = parts
        evaluate_model(arguments, model, data, steps, settings, engine, set(values), show=show, progress=progress)

    def train(self, progress: Progress | None = None) -> None:
        """Train both arms side by side and measure them.

        Raises:
            AttnPOError: a command failed; the message names its log.
        """
        sizes = self.sizes
        arms = [
            training_arm(
                self.world,
                name,
                self.folder / name,
                max_steps=sizes.max_steps,
                seed=sizes.seed,
                num_eval=sizes.num_eval,
                heads=self.heads,
                annotate=sizes.num_traces,
            )
            for name in ARMS
        ]
        run_arms(arms, sizes.jobs, progress)

    def results(self) -> list[EvaluationResult]:
        """Return the evaluations of the untrained model and of both arms."""
        return [EvaluationResult.load(self.folder / name / "evaluation.json") for name in ("base", *ARMS)]

    def report(self) -> Path:
        """Write the page and return its path."""
        return write_report(self.folder)


def _made(settings_types: Sequence[type], values: Mapping[str, Any]) -> list[Any]:
    return [each(**{f.name: values[f.name] for f in fields(each) if f.name in values}) for each in settings_types]
