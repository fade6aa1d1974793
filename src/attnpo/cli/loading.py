"""From settings to loaded things: model, tokenizer, problems, segmenter. The small world's names end here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.collecting import model_fingerprint
from attnpo.datasets import ProblemRow, load_problems
from attnpo.errors import ConfigError
from attnpo.labeling import Labeler, load_labeler
from attnpo.sampling import TransformersSampler
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.verification import Verifier, build_verifier

TINYWORLD = "tinyworld"
DTYPES = ("auto", "float32", "bfloat16", "float16")


def model_source(name: str | None) -> str:
    """Return the path or Hub id that a `--model` value stands for.

    Raises:
        ConfigError: no model was named.
    """
    if not name:
        raise ConfigError("--model: name a path or Hub id of a causal language model")
    if name == TINYWORLD and not Path(name).exists():
        from attnpo.tinyworld import checkpoint_path

        return str(checkpoint_path())
    return name


def data_source(name: str | None, split: str) -> str:
    """Return the data set spec that a `--data` value stands for; `split` is train or heldout.

    Raises:
        ConfigError: no data set was named.
    """
    if not name:
        raise ConfigError("--data: name a data file, Hub id or module:function")
    if name == TINYWORLD and not Path(name).exists():
        return f"attnpo.tinyworld:{split}_dataset"
    return name


def load_tokenizer(source: str, arguments: ModelArguments) -> Any:
    """Load the tokenizer, padding token set.

    Raises:
        ConfigError: there is none at that path or id.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            source, revision=arguments.revision, trust_remote_code=arguments.trust_remote_code
        )
    except (OSError, ValueError) as error:
        raise ConfigError(f"--model {source}: no tokenizer can be loaded ({_first_line(error)})") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def load_model(source: str, arguments: ModelArguments) -> Any:
    """Load the model for inference.

    Raises:
        ConfigError: there is none at that path or id, or a setting does not fit it.
    """
    if arguments.dtype not in DTYPES:
        raise ConfigError(f"--dtype {arguments.dtype}: choose one of {', '.join(DTYPES)}")
    device = arguments.device
    if device == "auto":
        accelerator = torch.accelerator.current_accelerator()
        device = "cpu" if accelerator is None else accelerator.type
    options = {} if arguments.attn_implementation is None else {"attn_implementation": arguments.attn_implementation}
    try:
        model = AutoModelForCausalLM.from_pretrained(
            source,
            revision=arguments.revision,
            dtype=arguments.dtype,
            trust_remote_code=arguments.trust_remote_code,
            **options,
        )
    except (OSError, ValueError, ImportError) as error:
        raise ConfigError(f"--model {source}: cannot be loaded ({_first_line(error)})") from error
    return model.to(device).eval()


def load_data(
    arguments: DataArguments, solution_column: str, split: str, default_limit: int | None = None
) -> list[ProblemRow]:
    """Load the problems that the settings name.

    Raises:
        DataError: the data set is missing, empty or malformed.
    """
    return load_problems(
        data_source(arguments.data, split),
        limit=arguments.num_problems or default_limit,
        prompt_column=arguments.prompt_column,
        solution_column=solution_column,
        id_column=arguments.id_column,
        difficulty_column=arguments.difficulty_column,
        solution_after=arguments.solution_after,
        split=arguments.split,
        seed=arguments.problems_seed,
    )


@dataclass
class Session:
    """What sampling, judging and labelling a model's responses takes.

    Attributes:
        model: the loaded model.
        tokenizer: its tokenizer.
        problems: the problems.
        sampler: draws responses.
        segmenter: cuts them into steps.
        labeler: labels the steps, None where the truth is not known.
        model_name: the model as results should name it.
        dataset_name: the data set as results should name it.
        context: whatever else responses depend on, for results on disk to be checked against.
    """

    model: Any
    tokenizer: Any
    problems: list[ProblemRow]
    sampler: TransformersSampler
    segmenter: Segmenter
    labeler: Labeler | None
    model_name: str
    dataset_name: str
    context: dict[str, Any]


def open_session(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    default_limit: int | None = None,
) -> Session:
    """Load everything the settings name, cheap things first.

    Raises:
        AttnPOError: something is missing or malformed.
    """
    labeler = load_labeler(step_arguments.labeler) if step_arguments.labeler else None
    strategy = build_strategy(step_arguments.segmentation, step_arguments.phrases_file, step_arguments.min_step_chars)
    problems = load_data(data_arguments, step_arguments.solution_column, "heldout", default_limit)
    source = model_source(model_arguments.model)
    tokenizer = load_tokenizer(source, model_arguments)
    model = load_model(source, model_arguments)
    return Session(
        model=model,
        tokenizer=tokenizer,
        problems=problems,
        sampler=TransformersSampler(model, tokenizer, rows=step_arguments.rows),
        segmenter=Segmenter(tokenizer, strategy),
        labeler=labeler,
        model_name=model_arguments.model or source,
        dataset_name=data_source(data_arguments.data, "heldout"),
        context={
            "model_fingerprint": model_fingerprint(model),
            "verifier": step_arguments.verifier,
            "segmentation": step_arguments.segmentation,
            "min_step_chars": step_arguments.min_step_chars,
            "labeler": step_arguments.labeler,
        },
    )


def open_verifier(arguments: StepArguments) -> Verifier:
    """Return the verifier that the settings name."""
    return build_verifier(arguments.verifier, arguments.verifier_timeout, arguments.verifier_workers)


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0]
