"""The whole line on one world: discover, measure, train, report; what is there is not made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from rich.progress import Progress

from attnpo.about import write_about
from attnpo.attention import HeadSet
from attnpo.discovery import DiscoverySettings
from attnpo.discovery.run import PROBING_SET_FILE
from attnpo.evaluation import EvaluationResult, EvaluationSettings
from attnpo.files import UserFile
from attnpo.labeling.causal import CausalSettings
from attnpo.labeling.judge import JudgeSettings
from attnpo.output import claim_settings, prepare_output_dir, write_atomically
from attnpo.reporting import write_report
from attnpo.rollouts import Rollout, read_rollouts, write_rollouts
from attnpo.sampling import EngineSettings
from attnpo.statistics import Interval
from attnpo.study.arms import flags, is_measured, training_arm
from attnpo.study.causal_heads import CausalHeads, causal_heads, split
from attnpo.study.running import cores, run_arms
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
from attnpo.workbench.evaluating import evaluate_model
from attnpo.workbench.targets import Target

ARMS = ("tlmre", "attnpo")
"""Length penalty alone, and with step credit."""
COMMON = (ModelArguments, DataArguments, StepArguments)
DISCOVERING = (DiscoverArguments, *COMMON, DiscoverySettings, EngineSettings, JudgeSettings, CausalSettings)


@dataclass(frozen=True)
class Quickstart:
    """The line in one folder, to be called method by method in their order.

    Raises:
        ConfigError: the world's model, or what it takes, is missing.
        OutputError: nothing can be written into the folder, or it holds results of another model or other settings.
    """

    sizes: QuickstartSizes
    world: World = TINYWORLD

    def __post_init__(self) -> None:
        self.world.check_ready()
        prepare_output_dir(self.folder)
        torch.set_num_threads(self.world.threads(1, cores()))
        asked, defaults = asdict(self.sizes), asdict(self.world.quickstart)
        changed = {name: value for name, value in asked.items() if value != defaults[name]}
        model = {"model": self.world.model}
        settings = {
            "quickstart": asked,
            "training": {**model, **self.world.training},
            "evaluation": dict(self.world.evaluation),
        }
        self._check()
        write_about(self.folder, "quickstart", flags({**self.world.named, **changed}), settings)

    def _check(self) -> None:
        """Check that what is there was made with these settings.

        Raises:
            OutputError: the folder holds results of another model or of other settings.
        """
        made = {
            "heads": [self.folder / "discovery.json"],
            "causal": [self.causal / "discovery.json"],
            "base": [self.folder / "base" / "evaluation.json"],
            "arms": [self.folder / name / "log.jsonl" for name in self.arms],
        }
        about = self.folder / "run.json"
        first = UserFile(about).json().get("settings", {}) if about.is_file() else {}
        for part, settings in self._parts(asdict(self.sizes), self.world.model).items():
            results, claimed = made[part], self._claimed(part)
            if not claimed.is_file() and "quickstart" in first and any(file.is_file() for file in results):
                # A folder in which parts said nothing of themselves: all was made by the call that `run.json` tells of.
                earlier = self._parts(first["quickstart"], first["training"]["model"])
                claim_settings(claimed, earlier.get(part, settings))
            if claimed.is_file() or any(file.is_file() for file in results):
                claim_settings(claimed, {**settings, **self._weights}, results, optional=("weights",))

    def _claim(self, part: str) -> None:
        """Write down what a part is made with, before it is begun; parts may be added by a later call."""
        settings = self._parts(asdict(self.sizes), self.world.model)[part]
        claim_settings(self._claimed(part), {**settings, **self._weights}, optional=("weights",))

    @cached_property
    def _weights(self) -> dict[str, str]:
        return self.world.weights()

    def _claimed(self, part: str) -> Path:
        return self.folder / f"quickstart.{part}.settings.json"

    def _parts(self, sizes: Mapping[str, Any], model: str) -> dict[str, dict[str, Any]]:
        """Return what each part of the line depends on."""
        started = {"model": model, "seed": sizes["seed"]}
        probing = {**started, **self.world.discovery, "num_probe": sizes["num_probe"]}
        measuring = {**self.world.evaluation, **{name: sizes[name] for name in ("num_eval", "num_traces")}}
        parts = {"heads": {**probing, **self.world.proofs}, "base": {"model": model, **measuring}}
        if sizes["num_causal"]:
            parts["causal"] = {**probing, "num_causal": sizes["num_causal"]}
        if sizes["max_steps"]:
            training = {**self.world.training, **started, "max_steps": sizes["max_steps"]}
            parts["arms"] = {"training": training, "evaluation": measuring}
        return parts

    @property
    def folder(self) -> Path:
        """Where everything is."""
        return Path(self.sizes.output_dir)

    @property
    def arms(self) -> tuple[str, ...]:
        """What is trained."""
        return ARMS if self.sizes.max_steps else ()

    @property
    def heads(self) -> Path:
        """The head set that is found."""
        return self.folder / "heads.json"

    @property
    def causal(self) -> Path:
        """Where what causal labels found is."""
        return self.folder / "causal"

    def find_heads(self, progress: Progress | None = None) -> Found | None:
        """Find and prove the heads; None where that was done before, to its last proof."""
        if self._is_proven():
            return None
        self._claim("heads")
        asked = {"num_problems": self.sizes.num_probe, "random_model": True, **self.world.proofs}
        return self._discovering(self.folder, **asked).discover(progress)

    def _is_proven(self) -> bool:
        """Whether heads were found, and steps deleted by their scores where the world asks for it."""
        if not (self.folder / "discovery.json").exists() or not self.heads.exists():
            return False
        return not self.world.proofs.get("intervene") or "intervention" in HeadSet.load(self.heads).evidence

    def find_heads_causally(self, progress: Progress | None = None) -> CausalHeads | None:
        """Find heads by causal labels, and hold labels and heads against the truth; None where that is not asked for.

        Labels come from some of the responses that the other heads were found on; the heads are measured on the rest.
        """
        if not self.sizes.num_causal:
            return None
        file = self.causal / "truth.json"
        if not file.exists():
            self._claim("causal")
            known = list(read_rollouts(self.folder / PROBING_SET_FILE))
            taken, rest = split(known, self.sizes.num_causal)
            if not (self.causal / "discovery.json").exists():
                write_rollouts(self.causal / "traces.jsonl", taken)
                self._discovering(self.causal, labeler="causal", traces=str(self.causal / "traces.jsonl")).discover(
                    progress
                )
            sra = self._sra_of_causal_heads(rest, progress) if rest else None
            made = causal_heads(taken, self.causal, sra)
            write_atomically(file, made.model_dump_json(indent=2) + "\n")
        return CausalHeads.model_validate_json(file.read_text(encoding="utf-8"))

    def _sra_of_causal_heads(self, rollouts: Sequence[Rollout], progress: Progress | None) -> Interval | None:
        """Return the SRA of the heads that causal labels found, by the true labels."""
        folder = prepare_output_dir(self.folder / "causal-checked")
        write_rollouts(folder / "traces.jsonl", rollouts)
        verified = self._discovering(
            folder, traces=str(folder / "traces.jsonl"), verify=str(self.causal / "heads.json"), signals="none"
        ).verify(progress)
        return next((figure.now for figure in verified.result.figures if figure.name == "sra"), None)

    def _discovering(self, folder: Path, **further: Any) -> Discovering:
        values = {
            "model": self.world.model,
            **self.world.discovery,
            "output_dir": str(folder),
            "seed": self.sizes.seed,
            "random_model": False,
            **further,
        }
        return Discovering(*_made(DISCOVERING, values))

    def measure_start(
        self, progress: Progress | None = None, show: Callable[[Target, EvaluationResult], None] | None = None
    ) -> None:
        """Measure the untrained model; `show` is given the result, and not called where it is known from before."""
        if is_measured(self.folder / "base", annotated=True):
            return
        self._claim("base")
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
        """Train both arms side by side and measure them, where steps are asked for.

        Raises:
            AttnPOError: a command failed; the message names its log.
        """
        sizes = self.sizes
        if self.arms:
            self._claim("arms")
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
            for name in self.arms
        ]
        run_arms(arms, sizes.jobs, progress, threads=self.world.threads(sizes.jobs, cores()))

    def results(self) -> list[EvaluationResult]:
        """Return the evaluations of the untrained model and of the arms."""
        return [EvaluationResult.load(self.folder / name / "evaluation.json") for name in ("base", *self.arms)]

    def report(self) -> Path:
        """Write the page and return its path."""
        return write_report(self.folder)


def _made(settings_types: Sequence[type], values: Mapping[str, Any]) -> list[Any]:
    return [each(**{f.name: values[f.name] for f in fields(each) if f.name in values}) for each in settings_types]
