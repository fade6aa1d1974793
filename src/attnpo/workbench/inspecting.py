"""One response with its steps scored: from a file, or sampled now."""

from __future__ import annotations

import tempfile
from pathlib import Path

from rich.progress import Progress

from attnpo.attention import how_to_name_heads
from attnpo.errors import ConfigError, DataError
from attnpo.evaluation.annotation import annotate
from attnpo.models import load_tokenizer
from attnpo.progress import bar
from attnpo.rollouts import ROLLOUTS_FILE, Rollout, read_rollouts
from attnpo.sampling import SamplingParams
from attnpo.sampling.prompts import give_template_settings, opening_text
from attnpo.workbench.annotating import sample_groups
from attnpo.workbench.arguments import DataArguments, InspectArguments, ModelArguments, StepArguments
from attnpo.workbench.loading import model_source, open_model, open_session, open_verifier, read_heads


def scored_response(
    arguments: InspectArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    progress: Progress | None = None,
) -> Rollout:
    """Return one response with the score of each step.

    Args:
        arguments: which response, and the head set where it carries no scores.
        model_arguments: which model; not loaded for a file that is annotated already.
        data_arguments: which problems, where responses are sampled.
        step_arguments: how sampled responses are cut, verified and labelled.
        progress: display, or None.

    Raises:
        ConfigError: a head set is needed and none is named.
        DataError: there is no such problem or response.
    """
    if arguments.rollouts:
        group = _choose(list(read_rollouts(Path(arguments.rollouts))), arguments)
        if any(step.score is None for rollout in group for step in rollout.steps):
            group = _score(group, arguments, model_arguments)
    else:
        group = _sample(arguments, model_arguments, data_arguments, step_arguments, progress)
    return _pick(group, arguments)


def _choose(rollouts: list[Rollout], arguments: InspectArguments) -> list[Rollout]:
    if not rollouts:
        raise DataError(f"{arguments.rollouts}: no responses in this file")
    wanted = rollouts[0].problem_id if arguments.problem is None else arguments.problem
    group = [r for r in rollouts if r.problem_id == wanted] or [r for r in rollouts if r.problem_id.startswith(wanted)]
    if not group:
        raise DataError(f"{arguments.rollouts}: no problem '{wanted}'; the first is '{rollouts[0].problem_id}'")
    return [r for r in group if r.problem_id == group[0].problem_id]


def _pick(group: list[Rollout], arguments: InspectArguments) -> Rollout:
    for rollout in group:
        if rollout.sample == arguments.sample:
            return rollout
    held = ", ".join(str(r.sample) for r in group)
    raise DataError(f"--sample {arguments.sample}: problem '{group[0].problem_id}' has samples {held}")


def _score(group: list[Rollout], arguments: InspectArguments, model_arguments: ModelArguments) -> list[Rollout]:
    heads = _named_heads(arguments)
    source = model_source(model_arguments)
    model = open_model(model_arguments, source)
    chosen = read_heads(heads, model.config, source).heads
    tokenizer = load_tokenizer(source, model_arguments.markers)
    give_template_settings(tokenizer, model_arguments.chat_template_kwargs)
    return annotate(model, tokenizer, group, chosen)


def _named_heads(arguments: InspectArguments) -> str:
    if not arguments.heads:
        raise ConfigError(
            "--heads: these responses carry no step scores; name a head set (and --model) to compute them: "
            f"{how_to_name_heads()}"
        )
    return arguments.heads


def _sample(
    arguments: InspectArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    progress: Progress | None,
) -> list[Rollout]:
    limit = 1 if arguments.problem is None else None
    session = open_session(model_arguments, data_arguments, step_arguments, default_limit=limit)
    if arguments.problem is not None:
        wanted = [p for p in session.problems if p.problem_id.startswith(arguments.problem)]
        if not wanted:
            raise DataError(f"--problem {arguments.problem}: not among the {len(session.problems)} problems of --data")
        session.problems = wanted
    samples = max(arguments.samples_per_problem, arguments.sample + 1)
    opening = opening_text(arguments.opening)
    session.check_room(session.problems[:1], arguments.max_new_tokens, opening)
    chosen = read_heads(_named_heads(arguments), session.config, session.source).heads
    with (
        tempfile.TemporaryDirectory() as folder,
        open_verifier(step_arguments) as verifier,
        bar(progress, "sampling, in tokens", samples * arguments.max_new_tokens) as advance,
    ):
        session.on_tokens = advance
        group = sample_groups(
            Path(folder) / ROLLOUTS_FILE,
            session,
            verifier,
            problems=1,
            samples=samples,
            params=SamplingParams(arguments.max_new_tokens, arguments.temperature, seed=arguments.seed),
            opening=opening,
        )
    return annotate(session.model, session.tokenizer, group, chosen)
