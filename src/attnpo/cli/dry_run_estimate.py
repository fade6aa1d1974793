"""What a dry run adds to the checks of a run: counts, memory, files."""

from __future__ import annotations

from attnpo.cli.arguments import DataArguments
from attnpo.cli.dry_run import DryRun
from attnpo.cli.dry_run_memory import device_memories
from attnpo.cli.dry_run_output import said_model, written_files
from attnpo.cli.planning import plan_run
from attnpo.cli.train_arguments import ProbeArguments, TrainArguments
from attnpo.training import AttnPOConfig
from attnpo.training.checks.data import longest_prompt, planned
from attnpo.training.estimate import Layout, launched_layout, model_shape


def estimate(
    arguments: TrainArguments,
    data: DataArguments,
    probe: ProbeArguments,
    args: AttnPOConfig,
    layout: Layout | None,
    found: DryRun,
) -> None:
    """Check a run as the run itself does, and count what it would do, hold and write.

    Args:
        arguments: which model.
        data: which problems.
        probe: what the heads are probed with.
        args: the training settings.
        layout: how the run is spread over devices; as on this machine if absent.
        found: what was found before; it is added to.
    """
    layout = layout or launched_layout(args.world_size, args.zero_stage())
    run = plan_run(arguments, data, probe, args, layout, found.here, found)
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
            parts.model, shape, args, layout, run.heads, longest, length, arguments.device_memory, found
        )
        found.written = written_files(args, shape, probe)
