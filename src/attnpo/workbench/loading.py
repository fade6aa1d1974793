"""From settings to loaded things: the model, and the session that samples, cuts and judges responses."""

from __future__ import annotations

import functools
import hashlib
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import transformers

from attnpo.attention import HeadSet, other_model, resolve_heads
from attnpo.collecting import files_fingerprint, model_fingerprint, weights_fingerprint
from attnpo.datasets import ProblemRow
from attnpo.errors import ConfigError
from attnpo.labeling import Labeler, load_labeler
from attnpo.loading import source_fingerprint
from attnpo.models import (
    ModelSource,
    check_dtype,
    chosen_dtype,
    find_device,
    find_model,
    load_config,
    load_model,
    load_tokenizer,
    plain_folder,
    remembered,
    saved_dtype,
)
from attnpo.sampling.engines import DESCRIPTIONS, EngineSettings, LateSampler, build_sampler
from attnpo.sampling.prompts import give_template_settings, render_prompt, template_settings
from attnpo.sampling.room import check_room, positions
from attnpo.sampling.served import served_facts
from attnpo.sampling.transformers_sampler import TransformersSampler
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.verification import Verifier, build_verifier
from attnpo.workbench.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.workbench.problems import asked_problems, data_source, load_data

logger = logging.getLogger(__name__)


def model_source(arguments: ModelArguments) -> ModelSource:
    """Return the model that the settings name.

    Raises:
        ConfigError: no model was named, or there is none of that kind.
    """
    return find_model(arguments.model, arguments.base_model, arguments.revision, arguments.trust_remote_code)


def open_model(arguments: ModelArguments, source: ModelSource, adapters_apart: bool = False) -> Any:
    """Load a model for inference as the settings say; `adapters_apart` keeps adapters parts of their own."""
    return load_model(
        source,
        dtype=arguments.dtype,
        device=arguments.device,
        attn_implementation=arguments.attn_implementation,
        adapters_apart=adapters_apart,
    )


def read_heads(spec: str, config: Any, source: ModelSource) -> HeadSet:
    """Return the heads that a setting names, and warn where they were found on another model.

    Raises:
        HeadSetError: the head set cannot be read, is malformed or does not fit the model.
        UnsupportedModelError: the model has no attention heads.
    """
    head_set = resolve_heads(spec, config, source.name)
    if line := other_model(head_set, (*source.names, config.name_or_path), f"--model {source.name}"):
        logger.warning("%s", line)
    return head_set


class Session:
    """What sampling, judging and labelling a model's responses takes.

    Attributes:
        tokenizer: the model's tokenizer.
        problems: the problems; empty where none were asked for.
        segmenter: cuts responses into steps.
        labeler: labels the steps by a function, None where the truth is not known.
        model_name: the model as results should name it.
        dataset_name: the data set as results should name it.
        engine: how responses are sampled.
        served_facts: what the server says of its weights; asked for where results are first bound to them.
        adapters_apart: whether the model's adapters stay parts of their own, to be differentiated by.
        on_tokens: called with the number of tokens that the transformers engine drew at once, where a bar is to move
            by them.
    """

    def __init__(
        self,
        model_arguments: ModelArguments,
        data_arguments: DataArguments,
        step_arguments: StepArguments,
        engine: EngineSettings,
        problems: list[ProblemRow],
        split: str = "heldout",
    ):
        """Load what is cheap; the model is loaded when it is first needed.

        Raises:
            AttnPOError: something is missing or malformed.
        """
        self._model_arguments, self._step_arguments = model_arguments, step_arguments
        self.adapters_apart = False
        if engine.engine != "server":  # the others compute here, sooner or later
            find_device(model_arguments.device)
        check_dtype(model_arguments.dtype)
        labeler = step_arguments.labeler
        self.labeler: Labeler | None = load_labeler(labeler) if labeler and _is_function(labeler) else None
        strategy = build_strategy(
            step_arguments.segmentation, step_arguments.phrases_file, step_arguments.min_step_chars
        )
        self.source = model_source(model_arguments)
        self.tokenizer = load_tokenizer(self.source, model_arguments.markers)
        give_template_settings(self.tokenizer, model_arguments.chat_template_kwargs)
        self.segmenter = Segmenter(self.tokenizer, strategy)
        self._raw = data_arguments.raw_prompts
        self.problems = self.asked(problems)
        self.engine = engine
        self.served_facts: dict[str, Any] | None = None
        self.on_tokens: Callable[[int], None] | None = None
        self.model_name = self.source.name
        self.dataset_name = data_source(data_arguments.data, split, data_arguments.split) if data_arguments.data else ""

    @functools.cached_property
    def config(self) -> Any:
        """The model's configuration."""
        return load_config(self.source)

    @functools.cached_property
    def model(self) -> Any:
        """The transformers model, loaded now if it was not before."""
        return open_model(self._model_arguments, self.source, self.adapters_apart)

    @functools.cached_property
    def sampler(self) -> Any:
        """The engine; it loads its model when it is first asked for a response."""
        name = self.engine.engine
        return LateSampler(DESCRIPTIONS[name](), self._build_sampler) if name in DESCRIPTIONS else self._build_sampler()

    def _build_sampler(self) -> Any:
        arguments = self._model_arguments
        sampler = build_sampler(
            self.engine,
            tokenizer=self.tokenizer,
            load_model=lambda: self.model,
            model_name=plain_folder(self.source) if self.engine.engine == "vllm" else str(self.source),
            revision=arguments.revision,
            dtype=self._vllm_dtype,
            trust_remote_code=arguments.trust_remote_code,
        )
        if isinstance(sampler, TransformersSampler):
            sampler.on_tokens = self.on_tokens
        return sampler

    def asked(self, problems: Sequence[ProblemRow]) -> list[ProblemRow]:
        """Return problems as the model is asked them, and say it where their prompts are plain text."""
        asked, said = asked_problems(problems, self.tokenizer, self._raw)
        if said is not None:
            logger.info("%s", said)
        return asked

    def check_room(self, problems: Sequence[ProblemRow], max_new_tokens: int, opening: str = "") -> None:
        """Check that the prompts can be rendered, and that they and the responses fit the model, where it is read here.

        Raises:
            ConfigError: they do not, or the model's configuration cannot be loaded.
            DataError: a prompt cannot be rendered.
        """
        if self.engine.engine == "server":
            return
        limit = self.engine.max_model_len if self.engine.engine == "vllm" else None
        limit = limit or positions(self.config)
        longest = max(len(render_prompt(self.tokenizer, problem.prompt, opening)) for problem in problems)
        check_room(limit, longest, max_new_tokens)

    def close(self) -> None:
        """Give back what the engine holds (connections, a model of its own); asked again, it is built anew."""
        sampler = self.__dict__.pop("sampler", None)
        if sampler is not None:
            sampler.close()

    @property
    def loads_model(self) -> bool:
        """Whether the engine samples with the transformers model."""
        return self.engine.engine.startswith("transformers")

    @property
    def context_of_responses(self) -> dict[str, Any]:
        """Whatever else responses depend on, but for what labels them: another labeler takes the same ones."""
        return {name: value for name, value in self.context.items() if name not in ("labeler", "labeler_source")}

    @functools.cached_property
    def context(self) -> dict[str, Any]:
        """Whatever else labelled responses depend on, for results on disk to be checked against."""
        arguments = self._step_arguments
        return {
            "engine": self.sampler.description,
            **self._weights,
            **self._computed_in,
            "verifier": arguments.verifier,
            "segmentation": arguments.segmentation,
            "min_step_chars": arguments.min_step_chars,
            "labeler": arguments.labeler,
            **self._unusual,
        }

    def served(self, wait: bool = True) -> dict[str, Any] | None:
        """Return what a server says of its weights, with what tells their files from others where they lie here.

        Args:
            wait: wait for one that is away; else None stands for it.

        Raises:
            EngineError: it stayed away.
        """
        facts = served_facts(self.sampler.server, wait)
        if facts is not None and self.sampler.server.endpoint.is_local:
            places = [Path(str(facts[name])) for name in ("root", "model", "model_path", "id") if facts.get(name)]
            found = next(filter(None, (files_fingerprint(place) for place in places if place.exists())), None)
            facts |= {"weights": found} if found else {}
        return facts

    @property
    def _weights(self) -> dict[str, Any]:
        """What tells the weights from others under the same name."""
        if self.loads_model:
            return {"model_fingerprint": self._fingerprint()}
        if self.engine.engine == "server":
            if self.served_facts is None:
                self.served_facts = self.served()
            return {"served": self.served_facts} if self.served_facts else {}
        place = Path(plain_folder(self.source))
        found = files_fingerprint(place) if place.exists() else getattr(self.config, "_commit_hash", None)
        return {"weights": found} if found else {}

    def _fingerprint(self) -> str:
        """Return the fingerprint of the transformers model, without loading it where files of this content were."""
        found = weights_fingerprint(self.source.places)
        if found is None:
            return model_fingerprint(self.model)
        device = str(find_device(self._model_arguments.device))
        apart = ["apart"] if self.adapters_apart and self.source.adapters else []
        kind = [found, str(self._dtype), device, transformers.__version__, *apart]
        return remembered("-".join(map(str, kind)), lambda: model_fingerprint(self.model))

    @property
    def _dtype(self) -> Any:
        """The type that the model is computed in, None where its configuration does not say."""
        device = find_device(self._model_arguments.device)
        return chosen_dtype(self._model_arguments.dtype, saved_dtype(self.source, self.config), device)

    @property
    def _vllm_dtype(self) -> str:
        """The type that vLLM is told: its own `auto` would compute what is saved in float32 in a half type.

        Raises:
            ConfigError: none is given, and the model's configuration names none.
        """
        asked = self._model_arguments.dtype
        if asked != "auto" or self.engine.engine != "vllm":
            return asked
        part = self.config.get_text_config(decoder=True)
        saved = saved_dtype(self.source, self.config) or getattr(part, "dtype", None)
        if saved is None:
            raise ConfigError(
                "--dtype auto: the model's configuration does not say its type, and vLLM would choose one; give "
                "--dtype float32, bfloat16 or float16"
            )
        return str(saved).removeprefix("torch.")

    @property
    def _computed_in(self) -> dict[str, str]:
        """The type that the model is computed in; a server keeps its own, which it may name among its facts."""
        if self.engine.engine == "vllm":
            return {"dtype": self._vllm_dtype}
        if not self.loads_model:
            return {}
        chosen = self._dtype or self.model.dtype
        return {"dtype": str(chosen).removeprefix("torch.")}

    @property
    def _unusual(self) -> dict[str, Any]:
        """Settings that shape responses, steps or verdicts, where they are not the usual ones."""
        model, steps = self._model_arguments, self._step_arguments
        found: dict[str, Any] = {}
        if steps.phrases_file is not None:
            found["phrases"] = hashlib.sha256(Path(steps.phrases_file).read_bytes()).hexdigest()[:16]
        if steps.verifier_timeout != StepArguments.verifier_timeout:
            found["verifier_timeout"] = steps.verifier_timeout
        sources = {f"{name}_source": source_fingerprint(getattr(steps, name)) for name in ("verifier", "labeler")}
        found |= {name: source for name, source in sources.items() if source is not None}
        if self.loads_model and model.attn_implementation is not None:
            found["attn_implementation"] = model.attn_implementation
        if template_settings(self.tokenizer):
            found["chat_template_kwargs"] = template_settings(self.tokenizer)
        if model.markers is not None:
            found["markers"] = model.markers
        if not self.loads_model and model.revision is not None:
            found["revision"] = model.revision
        return found


def open_session(
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    engine: EngineSettings | None = None,
    problems: list[ProblemRow] | None = None,
    default_limit: int | None = None,
    split: str = "heldout",
) -> Session:
    """Load everything the settings name, cheap things first; the model when it is first needed.

    Args:
        model_arguments: which model.
        data_arguments: which problems, where `problems` does not give them.
        step_arguments: how responses are cut, judged and labelled.
        engine: how responses are sampled; with transformers if absent.
        problems: the problems; an empty list where none are needed.
        default_limit: most problems to load where the settings name no number.
        split: which problems of a world that ships are meant where `data` is its name.

    Raises:
        AttnPOError: something is missing or malformed.
    """
    if problems is None:
        problems = load_data(data_arguments, step_arguments.solution_column, split, default_limit)
    return Session(model_arguments, data_arguments, step_arguments, engine or EngineSettings(), problems, split)


def open_verifier(arguments: StepArguments) -> Verifier:
    """Return the verifier that the settings name."""
    return build_verifier(
        arguments.verifier,
        arguments.verifier_timeout,
        arguments.verifier_workers,
        allow_weak_sandbox=arguments.allow_weak_sandbox,
    )


def _is_function(spec: str) -> bool:
    """Whether a `--labeler` value names a function of the user's (`module:function`), not another kind of labeler."""
    return ":" in spec and not spec.startswith("file:")
