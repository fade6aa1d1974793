"""`attnpo inspect`: one response, its steps shaded by what the heads say of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from attnpo.cli.arguments import DataArguments, ModelArguments, StepArguments
from attnpo.cli.console import console, quiet_libraries
from attnpo.cli.parsing import parse
from attnpo.errors import ConfigError, DataError
from attnpo.output import prepare_output_file, write_atomically
from attnpo.ranges import AtLeast1, Count, Seed, Temperature
from attnpo.rollouts import Rollout, read_rollouts

EXAMPLE = """  attnpo inspect runs/quickstart/base/annotated.jsonl
  attnpo inspect --model tinyworld --heads runs/heads/heads.json --data tinyworld --num_problems 1 \\
      --segmentation paragraphs --max_new_tokens 320 --html trace.html
  attnpo inspect --model tinyworld --heads 2.0 --rollouts runs/base/rollouts.jsonl --problem 3fa1 --sample 2"""


@dataclass
class InspectArguments:
    """Which response, from where."""

    rollouts: str | None = field(
        default=None,
        metadata={
            "help": "JSON Lines file of responses, the first argument will do; sampled from the model if absent."
        },
    )
    heads: str | None = field(
        default=None, metadata={"help": "Head set; not needed where the rollouts are annotated already."}
    )
    problem: str | None = field(default=None, metadata={"help": "Problem id (or its beginning); the first if absent."})
    sample: Count = field(default=0, metadata={"help": "Which of the problem's responses."})
    samples_per_problem: AtLeast1 = field(default=8, metadata={"help": "When sampling: responses in the group."})
    max_new_tokens: AtLeast1 = field(default=4096, metadata={"help": "When sampling: limit on a response, in tokens."})
    temperature: Temperature = field(default=1.0, metadata={"help": "When sampling: temperature."})
    seed: Seed = field(default=0, metadata={"help": "When sampling: seed."})
    html: str | None = field(default=None, metadata={"help": "Also write the trace as one HTML page to this file."})


def run(argv: Sequence[str]) -> None:
    """Run the command."""
    arguments, model_arguments, data_arguments, step_arguments = parse(
        "inspect",
        (InspectArguments, ModelArguments, DataArguments, StepArguments),
        argv,
        "Show one response with its steps shaded by score, and score, gamma and label of each.",
        EXAMPLE,
        first="rollouts",
    )
    quiet_libraries()
    from attnpo.reporting import render_trace_html, render_trace_terminal

    html = None if arguments.html is None else Path(arguments.html)
    if html is not None:
        prepare_output_file(html)
    if arguments.rollouts:
        group = _choose(list(read_rollouts(Path(arguments.rollouts))), arguments)
    else:
        group = _sample(arguments, model_arguments, data_arguments, step_arguments)
    if any(step.score is None for rollout in group for step in rollout.steps):
        group = _score(group, arguments, model_arguments)
    rollout = _pick(group, arguments)
    render_trace_terminal(rollout, console)
    if html is not None:
        write_atomically(html, render_trace_html(rollout))
        console.print(f"written to {html}")


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
    from attnpo.attention import resolve_heads
    from attnpo.cli.loading import load_model, load_tokenizer, model_source
    from attnpo.evaluation.annotation import annotate

    if not arguments.heads:
        raise ConfigError(
            "--heads: these responses carry no step scores; name a head set (and --model) to compute them"
        )
    source = model_source(model_arguments.model)
    model = load_model(source, model_arguments)
    heads = resolve_heads(arguments.heads, model.config).heads
    return annotate(model, load_tokenizer(source, model_arguments), group, heads)


def _sample(
    arguments: InspectArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
) -> list[Rollout]:
    import tempfile

    from attnpo.cli.annotating import sample_groups
    from attnpo.cli.loading import open_session, open_verifier
    from attnpo.progress import console_progress
    from attnpo.sampling import SamplingParams

    session = open_session(model_arguments, data_arguments, step_arguments, default_limit=1)
    if arguments.problem is not None:
        wanted = [p for p in session.problems if p.problem_id.startswith(arguments.problem)]
        if not wanted:
            raise DataError(f"--problem {arguments.problem}: not among the {len(session.problems)} problems of --data")
        session.problems = wanted
    session.check_room(session.problems[:1], arguments.max_new_tokens)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_verifier(step_arguments) as verifier,
        console_progress(console) as progress,
    ):
        return sample_groups(
            Path(folder) / "rollouts.jsonl",
            session,
            verifier,
            problems=1,
            samples=arguments.samples_per_problem,
            params=SamplingParams(arguments.max_new_tokens, arguments.temperature, seed=arguments.seed),
            progress=progress,
        )
