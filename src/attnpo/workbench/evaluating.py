"""Evaluation of a model on benchmarks or a data set of the user's, with traces annotated by a head set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import Head, HeadSet
from attnpo.documents import is_complete
from attnpo.errors import ConfigError, EngineError
from attnpo.evaluation import EvaluationResult, EvaluationSettings, claim_evaluation, evaluate
from attnpo.evaluation.counting import Counter, load_counter
from attnpo.files import UserFile
from attnpo.ledger import settings_path
from attnpo.output import held, prepare_output_dir
from attnpo.rollouts import ROLLOUTS_FILE
from attnpo.sampling.engines import EngineSettings
from attnpo.sampling.honoured import check_own
from attnpo.segmentation import PhraseFamilies
from attnpo.signals import Signal, rivals
from attnpo.workbench.annotating import annotate_problems
from attnpo.workbench.arguments import DataArguments, EvaluateArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import Session, open_session, open_verifier, read_heads
from attnpo.workbench.targets import Target, benchmark_targets

logger = logging.getLogger(__name__)


def evaluate_model(
    arguments: EvaluateArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    settings: EvaluationSettings,
    engine: EngineSettings | None = None,
    given: Collection[str] = (),
    *,
    show: Callable[[Target, EvaluationResult], None] | None = None,
    progress: Progress | None = None,
) -> dict[str, EvaluationResult]:
    """Evaluate one model on a data set or on benchmarks and, with heads, annotate some of its traces.

    Args:
        arguments: what is measured and where results go.
        model_arguments: which model.
        data_arguments: which problems.
        step_arguments: how responses are cut, verified and labelled.
        settings: how they are sampled and summed up.
        engine: what samples them; transformers if None.
        given: names of the settings that the user gave: they override a benchmark's own.
        show: called with each result once it is known, and with one of fewer problems than asked for before the error
            when the engine goes away.
        progress: display, or None.

    Returns:
        Benchmark → result; one of the name "" for a data set of the user's.

    Raises:
        AttnPOError: something is missing or malformed, or the engine went away.
    """
    output_dir = prepare_output_dir(Path(arguments.output_dir))
    _check_engine(arguments, settings, engine)
    if "annotate_signals" in given and not arguments.heads:
        raise ConfigError("--annotate_signals: scores the traces that --heads annotates; add --heads, or leave it out")
    if arguments.heads:
        _annotate_signals(arguments, settings, [], bool(step_arguments.labeler))
    counter = load_counter(arguments.counter) if arguments.counter else None
    if arguments.benchmark:
        targets = benchmark_targets(arguments, data_arguments, step_arguments, settings, given, progress)
        session = open_session(
            model_arguments, data_arguments, step_arguments, engine=engine, problems=list(targets[0].problems)
        )
        targets = [replace(target, problems=session.asked(target.problems)) for target in targets]
    else:
        session = open_session(model_arguments, data_arguments, step_arguments, engine=engine)
        targets = [Target("", session.problems, output_dir, step_arguments, settings)]
    if step_arguments.labeler and session.labeler is None:
        raise ConfigError(f"--labeler {step_arguments.labeler}: an evaluation takes module:function; give one")
    for target in targets:
        session.check_room(target.problems, target.settings.max_new_tokens, target.settings.opening)
    head_set = read_heads(arguments.heads, session.config, session.source) if arguments.heads else None
    if head_set is None and not session.loads_model and ":" in model_arguments.device:
        raise ConfigError(
            f"--device {model_arguments.device}: the engine {session.engine.engine!r} places the model itself; leave "
            "it out, and set CUDA_VISIBLE_DEVICES for vllm"
        )
    if head_set is not None:
        for signal in _annotate_signals(arguments, settings, head_set.heads, session.labeler is not None):
            signal.check(session.model)
    for target in targets:  # all of them, before the first is sampled
        open_verifier(target.steps).close()
    name = arguments.name or output_dir.resolve().name
    results: dict[str, EvaluationResult] = {}
    with held(output_dir), closing(session):
        for target in targets:
            claim_evaluation(
                target.folder,
                session.tokenizer,
                target.problems,
                target.settings,
                **_described(target, session),
            )
        for target in targets:
            try:
                results[target.title] = _measure(name, target, session, head_set, counter, arguments, progress)
            except EngineError:
                if target.file.is_file() and show is not None:
                    show(target, EvaluationResult.load(target.file))
                raise
            if show is not None:
                show(target, results[target.title])
    return results


def _measure(
    name: str,
    target: Target,
    session: Session,
    head_set: HeadSet | None,
    counter: Counter | None,
    arguments: EvaluateArguments,
    progress: Progress | None,
) -> EvaluationResult:
    phrases = PhraseFamilies.load(target.steps.phrases_file) if target.steps.phrases_file else None
    session.problems = list(target.problems)
    with open_verifier(target.steps) as verifier:
        result = evaluate(
            name,
            session.tokenizer,
            session.problems,
            session.sampler,
            session.segmenter,
            verifier,
            session.labeler,
            target.settings,
            target.folder,
            progress,
            **_described(target, session),
            phrases=phrases,
            counter=counter,
            counter_name=arguments.counter,
        )
        if head_set is not None:
            annotate_problems(
                target.folder,
                session,
                verifier,
                head_set,
                problems=arguments.annotate_problems,
                samples=arguments.annotate_samples,
                params=target.settings.sampling,
                opening=target.settings.opening,
                signals=_annotate_signals(arguments, target.settings, head_set.heads, session.labeler is not None),
                progress=progress,
            )
    return result


def _annotate_signals(
    arguments: EvaluateArguments, settings: EvaluationSettings, heads: Sequence[Head], labelled: bool
) -> list[Signal]:
    """Return the signals that annotated responses are scored by; one that is named and cannot be read is refused."""
    return rivals(arguments.annotate_signals, heads, settings.seed, flag="--annotate_signals", labelled=labelled)


def _described(target: Target, session: Session) -> dict[str, Any]:
    return {
        "model_name": session.model_name,
        "dataset_name": target.title or session.dataset_name,
        "context": _context(target, session),
    }


def _context(target: Target, session: Session) -> Mapping[str, Any]:
    if session.engine.engine == "server" and session.served_facts is None and is_complete(target.file):
        session.served_facts = session.served(wait=False)
        if session.served_facts is None:
            logger.warning(
                "%s: is away; the finished results in %s are taken to be of the weights it served",
                session.engine.base_url,
                target.folder,
            )
            stored = UserFile(settings_path(target.folder / ROLLOUTS_FILE)).json()
            session.served_facts = stored.get("served", {})
    context = {**session.context, "verifier": target.steps.verifier}
    return context if target.benchmark is None else {**context, "benchmark": target.benchmark}


def _check_engine(arguments: EvaluateArguments, settings: EvaluationSettings, engine: EngineSettings | None) -> None:
    if engine is not None:
        check_own(engine.engine, settings.sampling.own())
        engine.check_opening(settings.opening)
    if arguments.heads and engine is not None and not engine.engine.startswith("transformers"):
        raise ConfigError(
            f"--heads: step scores are read inside a transformers model, not with --engine {engine.engine}; leave "
            "heads out here and score responses with `attnpo inspect --rollouts … --heads …`"
        )
