"""A training run without weights: every contradiction in it, what it would do, hold and write."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from attnpo.training import AdapterSettings, AttnPOConfig
from attnpo.training.checks import Findings
from attnpo.training.checks.data import longest_prompt, planned
from attnpo.training.estimate import DeviceMemory, Layout, RunPlan, launched_layout, model_shape
from attnpo.training.precision import settle_precision
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.memory import check_fit, device_memories
from attnpo.workbench.planning import plan_run
from attnpo.workbench.written import said_model, written_files


@dataclass
class DryRun(Findings):
    """What a dry run found, and what the run would do.

    Attributes:
        plan: counts of the run.
        memory: one device's memory, the run's own layout first.
        written: path → what would be written there.
        here: whether the run would take place on this machine.
    """

    plan: RunPlan | None = None
    memory: list[DeviceMemory] = field(default_factory=list)
    written: dict[str, str] = field(default_factory=dict)
    here: bool = True

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON values; bytes are whole numbers."""
        return {
            "problems": self.problems,
            "notes": self.notes,
            "facts": self.facts,
            "plan": None if self.plan is None else asdict(self.plan),
            "memory": [
                {
                    "layout": asdict(memory.layout),
                    "peak_bytes": memory.peak,
                    "peak_phase": memory.peak_phase,
                    "terms": [asdict(term) for term in memory.terms],
                }
                for memory in self.memory
            ],
            "written": self.written,
        }


def planned_config(processes: int, here: bool = False) -> type[AttnPOConfig]:
    """Return the training configuration as one of `processes` processes on the machine to come would see it.

    Args:
        processes: processes of the run.
        here: whether that machine is this one, so that its processor is known.
    """

    @dataclass
    class PlannedConfig(AttnPOConfig):
        use_cpu: bool = False

        def __post_init__(self) -> None:
            """Validate; what needs an accelerator is checked with everything else, for the machine that is planned."""
            on_cpu: bool = self.use_cpu
            if here:
                settle_precision(self)
            if not torch.accelerator.is_available():
                self.use_cpu = True
            super().__post_init__()
            self.use_cpu = on_cpu

        def runs_on_cpu(self) -> bool:
            """Not known here."""
            return False

        @property
        def world_size(self) -> int:
            """The number of planned processes."""
            return processes

    return PlannedConfig


def estimate(
    arguments: TrainArguments,
    data: DataArguments,
    probe: ProbeArguments,
    adapters: AdapterSettings,
    args: AttnPOConfig,
    layout: Layout | None,
    found: DryRun,
) -> None:
    """Check a run as the run itself does, and count what it would do, hold and write.

    Args:
        arguments: which model.
        data: which problems.
        probe: what the heads are probed with.
        adapters: which adapters are trained.
        args: the training settings.
        layout: how the run is spread over devices; as on this machine if absent.
        found: what was found before; it is added to.
    """
    layout = layout or launched_layout(args.world_size, args.zero_stage())
    run = plan_run(arguments, data, probe, adapters, args, layout, found.here, found)
    parts = run.parts
    with found.catching():
        found.plan = planned(parts)
    if parts.model is None:
        return
    with found.catching():
        longest = longest_prompt(parts) if parts.tokenizer is not None else 0
        shape = model_shape(parts.model)
        found.facts["model"] = said_model(str(arguments.model), parts.config, shape)
        length = longest + int(args.max_completion_length or 0)
        found.memory = device_memories(
            parts.model,
            shape,
            args,
            layout,
            run.heads,
            longest,
            length,
            arguments.device_memory,
            adapters.quantised,
            found,
        )
        if arguments.device_memory is not None:
            check_fit(found.memory, arguments.device_memory, found)
        found.written = written_files(args, shape, probe)
