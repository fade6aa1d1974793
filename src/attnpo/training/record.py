"""What a model was trained with: `training.json`, from which its card is written."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from pydantic import Field

from attnpo.about import versions
from attnpo.attention import HeadSet
from attnpo.credit import Method
from attnpo.documents import Document
from attnpo.training.config import CREDIT_FLAGS, AttnPOConfig

FILE = "training.json"
PACKAGES = ("attnpo", "torch", "transformers", "trl", "accelerate", "peft")

# Where things lie, who looks on and what is uploaded: nothing of it shapes the model.
_PASSING = {
    "output_dir", "logging_dir", "run_name", "project", "report_to", "disable_tqdm", "resume_from_checkpoint",
    "push_to_hub", "log_level", "log_level_replica", "heads", "method", "method_settings", "save_rollouts",
    "check_in_background", "trackio_space_id",
}  # fmt: skip


class TrainingRecord(Document):
    """What a run was made with; nothing in it depends on the machine's folders.

    Attributes:
        name: what to call the model.
        hub_model_id: where it is uploaded, None where it is not.
        model: model that training started from, as the user named it.
        revision: revision of it on the Hub.
        data: data set, as the user named it.
        method: name of the method or preset.
        method_settings: all its settings that do something.
        settings: settings of the run that differ from `AttnPOConfig`'s defaults.
        head_set: the heads at the start with their evidence; None for a method that reads no attention.
        adapter: whether the folder holds an adapter in place of a whole model.
        own_base: whether that adapter's base is one that attnpo alone finds: a GGUF file, an adapter, a name.
        processes: processes that trained.
        responses_a_step: responses sampled for an optimizer step, over all processes.
        versions: package → version.
        tags: what the Hub files the model under.
    """

    MAKE: ClassVar[str] = "name the output_dir of `attnpo train`"
    MEND: ClassVar[str] = "train again"

    schema_version: Literal[1] = 1
    name: str
    hub_model_id: str | None = None
    model: str | None = None
    revision: str | None = None
    data: str | None = None
    method: str
    method_settings: dict[str, Any]
    settings: dict[str, Any]
    head_set: HeadSet | None = None
    adapter: bool = False
    own_base: bool = False
    processes: int = 1
    responses_a_step: int | None = None
    versions: dict[str, str] = Field(default_factory=dict)
    tags: list[str] = Field(default_factory=list)

    def save(self, folder: Path) -> None:
        """Write `training.json`."""
        super().save(folder / FILE)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """Read `training.json`.

        Raises:
            DataError: the file is missing or malformed.
        """
        return super().load(folder / FILE)


def training_record(
    args: AttnPOConfig,
    method: Method,
    head_set: HeadSet | None,
    *,
    name: str,
    processes: int,
    adapter: bool = False,
    own_base: bool = False,
    hub_model_id: str | None = None,
    about: Mapping[str, Any] | None = None,
    tags: tuple[str, ...] = (),
) -> TrainingRecord:
    """Return the record of a run.

    Args:
        args: its configuration.
        method: its method.
        head_set: the heads it started with.
        name: what to call the model.
        processes: processes that train.
        adapter: whether an adapter is trained.
        own_base: whether on a base that attnpo alone finds.
        hub_model_id: where the model is uploaded.
        about: what the configuration does not know: `model`, `data`, `adapters` (settings of theirs).
        tags: further tags of the model.
    """
    about = about or {}
    return TrainingRecord(
        name=name,
        hub_model_id=hub_model_id,
        model=about.get("model"),
        revision=(args.model_init_kwargs or {}).get("revision") if isinstance(args.model_init_kwargs, dict) else None,
        data=about.get("data"),
        method=args.method,
        method_settings={name: getattr(method.settings, name) for name in method.own_settings()},
        settings={**changed_settings(args), **about.get("adapters", {})},
        head_set=head_set,
        adapter=adapter,
        own_base=own_base,
        processes=processes,
        responses_a_step=args.per_device_train_batch_size * args.gradient_accumulation_steps * processes,
        versions=versions(PACKAGES),
        tags=sorted({"attnpo", "trl", "reinforcement-learning", args.method, *tags}),
    )


def changed_settings(args: AttnPOConfig) -> dict[str, Any]:
    """Return the settings that shape the model and differ from the defaults, as JSON values; no secrets, no folders."""
    values = args.to_dict()  # tokens masked, enumerations as their values
    found: dict[str, Any] = {}
    for entry in fields(args):
        name = entry.name
        shown = name not in _PASSING and not name.startswith(("hub_", "logging_", "log_"))
        if not shown or name.endswith("_token") or not entry.init or (name in CREDIT_FLAGS and name != "seed"):
            continue
        default = entry.default if entry.default_factory is MISSING else entry.default_factory()
        value = _portable(values.get(name))
        if value is not None and value != default and getattr(args, name) != default:
            found[name] = value
    return found


def _portable(value: Any) -> Any:
    """Return a JSON value, local files by their names; None for what is no setting in words and numbers."""
    if isinstance(value, str) and os.path.isabs(value):
        return Path(value).name
    if isinstance(value, Mapping):
        return {str(name): _portable(inner) for name, inner in value.items()} or None
    if isinstance(value, list | tuple):
        return [_portable(inner) for inner in value] or None
    return value if isinstance(value, str | int | float | bool) else None
