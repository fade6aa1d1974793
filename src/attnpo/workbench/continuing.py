"""A run that goes on from a checkpoint: whether it is still the run that made it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attnpo.attention import HeadSet
from attnpo.training import AdapterSettings, AttnPOConfig, last_checkpoint
from attnpo.training.checks import Findings
from attnpo.training.record import FILE, TrainingRecord, changed_settings
from attnpo.workbench.arguments import DataArguments, TrainArguments

_FREE = {
    "max_steps", "num_train_epochs", "accelerator_config", "generation_batch_size", "parallelism_config",
    "solution_column", "gradient_checkpointing_kwargs", "model_init_kwargs",
}  # fmt: skip
"""Settings that a run may change on its way, or that are worked out of others."""
_FREE_BEGINNINGS = ("save_", "eval_", "dataloader_", "vllm_")


def check_continued(
    arguments: TrainArguments,
    data: DataArguments,
    adapters: AdapterSettings,
    args: AttnPOConfig,
    heads: HeadSet | None,
    findings: Findings,
) -> None:
    """Compare a run that goes on with what `training.json` says of it so far.

    Another model or method is refused: the record and the card would tell of the whole run what is true of its end.
    Other settings, a learning rate after a divergence, say, are noted.

    Args:
        arguments: which model.
        data: which problems.
        adapters: which adapters are trained.
        args: the training settings.
        heads: heads that are read at the start.
        findings: is added to.
    """
    checkpoint = last_checkpoint(args)
    folder = Path(args.output_dir)
    if checkpoint is None or not (folder / FILE).is_file() or Path(checkpoint).resolve().parent != folder.resolve():
        return
    made = TrainingRecord.load(folder)
    if made.model is None:  # trained from Python, where the model has no name
        return
    for name, there, asked in (("model", made.model, arguments.model), ("method", made.method, args.method)):
        if asked is not None and Path(there).name != Path(asked).name:  # a copy elsewhere is the same
            findings.refuse(
                f"{name}: {asked}, and {checkpoint} is of a run with {there}; give that, or another --output_dir"
            )
            return
    method = args.build_credit()
    now = {
        "data": data.data,
        "revision": args.model_options().get("revision"),
        "heads": _heads(heads),
        **{name: getattr(method.settings, name) for name in method.own_settings()},
        **changed_settings(args),
        **adapters.changed(),
    }
    own = {"data": made.data, "revision": made.revision, "heads": _heads(made.head_set)}
    before = {**own, **made.method_settings, **made.settings}
    changed = [
        f"{name} {there!r} before, {asked!r} now"
        for name, there, asked in _differences(before, now)
        if name not in _FREE and not name.startswith(_FREE_BEGINNINGS)
    ]
    if changed:
        findings.note(f"resume_from_checkpoint: goes on with other settings than the run had: {'; '.join(changed)}")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> list[tuple[str, Any, Any]]:
    names = sorted(before.keys() | now.keys())
    return [
        (name, before.get(name), now.get(name)) for name in names if _json(before.get(name)) != _json(now.get(name))
    ]


def _json(value: Any) -> Any:
    return list(map(_json, value)) if isinstance(value, tuple | list) else value


def _heads(head_set: HeadSet | None) -> list[str] | None:
    return None if head_set is None else [str(head) for head in head_set.heads]
