"""What a run is made of besides the model's weights, found and checked before they are loaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from attnpo.attention import HeadSet, check_parallelism, how_to_name_heads, other_model, resolve_heads
from attnpo.credit import Method
from attnpo.errors import ConfigError
from attnpo.labeling import Labeler, load_labeler
from attnpo.models import ModelSource, find_model, load_config, model_dtype
from attnpo.segmentation import PhraseFamilies
from attnpo.signals import needs_heads, signal_class, signal_of
from attnpo.training.checks import RunParts, examine
from attnpo.training.config import AttnPOConfig
from attnpo.training.data_checks import check_training_data
from attnpo.training.estimate import launched_layout
from attnpo.verification import Verifier, build_verifier

logger = logging.getLogger(__name__)


@dataclass
class Components:
    """What a trainer needs besides the model.

    Attributes:
        method: gives credit.
        head_set: heads that it reads; None where it reads none.
        labeler: labels steps where the truth is known.
        verifier: decides correctness.
        phrases: phrase families.
        train_dataset: with solutions as text.
    """

    method: Method
    head_set: HeadSet | None
    labeler: Labeler | None
    verifier: Verifier
    phrases: PhraseFamilies
    train_dataset: Any


def find_components(
    args: AttnPOConfig,
    model: Any,
    train_dataset: Any,
    eval_dataset: Any,
    tokenizer: Any,
    heads: str | Sequence[tuple[int, int]] | HeadSet | None,
    verifier: Verifier | None,
    labeler: Labeler | None,
    uses_lora: bool,
    rewards: int,
) -> Components:
    """Find and check everything; arguments and errors are those of `AttnPOTrainer`.

    `model` is one that is loaded, or where it comes from; `rewards` counts reward functions, the verifier's among them.
    """
    train_dataset = check_training_data(train_dataset, args.solution_column)
    if eval_dataset is not None:
        for each in eval_dataset.values() if isinstance(eval_dataset, dict) else [eval_dataset]:
            check_training_data(each, args.solution_column, "eval_dataset")
    if not isinstance(model, ModelSource):
        check_parallelism(model)
    method = args.build_credit()
    if method.overrides("ask"):  # a prompt of the wrong kind is refused before the model is loaded
        method.ask(next(iter(train_dataset))["prompt"], group_id=0, sample=0, progress_step=0)
    config = load_config(model) if isinstance(model, ModelSource) else model.config
    if isinstance(model, ModelSource):
        settle_dtype(args, model, config)
    name = model.name if isinstance(model, ModelSource) else config.name_or_path
    head_set = needed_heads(method, args, heads if heads is not None else args.heads, config, name)
    if heads is not None and head_set is None:
        logger.warning("heads: not read, %s; leave them out", reads_no_heads(args))
    if heads is not None and head_set is not None:
        names = model.names if isinstance(model, ModelSource) else ()
        if line := other_model(head_set, (*names, config.name_or_path), f"model {name}"):
            logger.warning("%s", line)
    labeler = needed_labeler(method, args, labeler)
    examine(
        RunParts(
            args,
            launched_layout(args.world_size, args.zero_stage()),
            uses_lora=uses_lora,
            rewards=rewards,
            config=config,
            tokenizer=tokenizer,
            problems=len(train_dataset) if hasattr(train_dataset, "__len__") else None,
            is_stream=not hasattr(train_dataset, "__len__"),
            has_eval_data=eval_dataset is not None,
        )
    ).raise_errors()
    phrases = PhraseFamilies.load(args.phrases_file) if args.phrases_file else PhraseFamilies.load()
    verifier = verifier or verifier_of(args)
    return Components(method, head_set, labeler, verifier, phrases, train_dataset)


def given_rewards(args: Any, reward_funcs: Callable | Sequence[Callable] | None) -> list[Callable]:
    """Return the reward functions that a trainer was given as TRL takes them: none, one, or several.

    Raises:
        ConfigError: one of them is no function, or the configuration is TRL's own.
    """
    if not isinstance(args, AttnPOConfig):
        raise ConfigError(f"args: a {type(args).__name__}; give an AttnPOConfig, which takes all of TRL's settings")
    if reward_funcs is None:
        return []
    rewards: list[Any] = list(reward_funcs) if isinstance(reward_funcs, list | tuple) else [reward_funcs]
    if strange := [each for each in rewards if not callable(each)]:
        raise ConfigError(f"reward_funcs: {strange[0]!r} is no function; give functions in TRL's form")
    return rewards


def verifier_of(args: AttnPOConfig) -> Verifier:
    """Return the verifier that the settings name.

    Raises:
        ConfigError: there is none of that name, or this system cannot contain code.
    """
    return build_verifier(
        args.verifier, args.verifier_timeout, args.verifier_workers, allow_weak_sandbox=args.allow_weak_sandbox
    )


def source_of(model: Any, args: AttnPOConfig) -> ModelSource | None:
    """Return where a model that is named comes from, None for one that is loaded.

    Raises:
        ConfigError: there is none of that name.
    """
    if isinstance(model, str):
        return find_model(model, None, args.model_options().get("revision"), args.trust_remote_code)
    return model if isinstance(model, ModelSource) else None


def settle_dtype(args: AttnPOConfig, source: ModelSource, config: Any) -> None:
    """Put the type that `auto` stands for into `model_init_kwargs` (TRL's own default is float32)."""
    options = args.model_options()
    if options.get("dtype") == "auto":
        chosen = model_dtype(source, "auto", "cpu" if args.runs_on_cpu() else "accelerator", config)
        if chosen is not None:
            args.model_init_kwargs = {**options, "dtype": str(chosen).removeprefix("torch.")}


def needed_heads(
    method: Method,
    args: AttnPOConfig,
    heads: str | Sequence[tuple[int, int]] | HeadSet | None,
    config: Any,
    model_name: str | None = None,
) -> HeadSet | None:
    """Return the heads that a method's signal reads, None where it reads none.

    Args:
        method: the method.
        args: the settings.
        heads: head set: path, name, `HeadSet`, or pairs (layer, head).
        config: the model's configuration; None where it is not known, and the heads are not looked at.
        model_name: what the user calls the model.

    Raises:
        ConfigError: the method reads attention, and no heads are given.
        HeadSetError: the head set does not fit the model.
    """
    if reads_no_heads(args):
        return None
    if heads is None:
        raise ConfigError(f"heads: method '{args.method}' reads attention and needs a head set; {how_to_name_heads()}")
    return None if config is None else resolve_heads(heads, config, model_name)


def reads_no_heads(args: AttnPOConfig) -> str | None:
    """Return why a run reads no heads, None where it reads some."""
    signal = signal_of(args.method, args.signal)
    if needs_heads(signal):
        return None
    return f"method '{args.method}' " + ("reads no attention" if signal is None else f"goes by signal '{signal}'")


def needed_labeler(method: Method, args: AttnPOConfig, labeler: Labeler | None = None) -> Labeler | None:
    """Return what labels steps: `labeler`, else the one that the settings name, None where none does.

    Raises:
        ConfigError: the method needs labels and nothing gives them, or what is named is none.
    """
    labeler = labeler or (load_labeler(args.step_labeler) if args.step_labeler else None)
    if method.needs_labels and labeler is None:
        raise ConfigError(f"step_labeler: method '{args.method}' needs step labels; name a module:function")
    signal = signal_of(args.method, args.signal)
    if signal is not None and "labels" in signal_class(signal).needs and labeler is None:
        raise ConfigError(f"step_labeler: signal '{signal}' needs step labels; name a module:function")
    return labeler
