"""A run read as far as it goes without weights, and checked: what a run and a dry run begin with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from attnpo.attention import HeadSet, check_readable, other_model, resolve_heads
from attnpo.datasets import ProblemRow
from attnpo.errors import DataError
from attnpo.models import ModelSource, find_model, load_config, load_tokenizer
from attnpo.sampling.prompts import give_template_settings, render_prompt
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.training import AdapterSettings, AttnPOConfig
from attnpo.training.checkpoints import check_no_run_before
from attnpo.training.checks import Findings, RunParts, examine
from attnpo.training.checks.data import planned
from attnpo.training.components import needed_heads, needed_labeler, reads_no_heads, settle_dtype, verifier_of
from attnpo.training.estimate import Layout, meta_model, model_shape, with_lora
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.continuing import check_continued
from attnpo.workbench.probing import Probe
from attnpo.workbench.problems import asked_problems, load_data
from attnpo.workbench.written import note_disk


@dataclass
class PlannedRun:
    """A run without its weights.

    Attributes:
        parts: what was checked.
        source: the model.
        problems: what is trained on.
        eval_problems: what evaluations while training ask.
        too_long: id, prompt and number of tokens of the problems left out by `max_prompt_tokens`.
        heads: heads that are read, None where the method reads none.
        lora: PEFT's configuration of the adapters, None without.
        probe: whether the heads keep their meaning is looked at with it, None where it is not.
    """

    parts: RunParts
    source: ModelSource | None = None
    problems: list[ProblemRow] = field(default_factory=list)
    eval_problems: list[ProblemRow] = field(default_factory=list)
    too_long: list[tuple[str, Any, int]] = field(default_factory=list)
    heads: HeadSet | None = None
    lora: Any = None
    probe: Probe | None = None


def plan_run(
    arguments: TrainArguments,
    data: DataArguments,
    probe: ProbeArguments,
    adapters: AdapterSettings,
    args: AttnPOConfig,
    layout: Layout,
    here: bool,
    findings: Findings,
) -> PlannedRun:
    """Read a run's configuration, tokenizer, data and heads, and make every check.

    Args:
        arguments: which model.
        data: which problems.
        probe: what the heads are probed with.
        adapters: which adapters are trained.
        args: the training settings.
        layout: how the run is spread over devices.
        here: whether it takes place on this machine.
        findings: what was found before; it is added to.
    """
    run = PlannedRun(RunParts(args, layout, here, uses_lora=adapters.use_peft))
    parts = run.parts
    with findings.catching():
        args.model_init_kwargs = adapters.model_options(args.model_options()) or None
    with findings.catching():
        if probe.probe:
            run.probe = Probe.read(probe, args)
    _read_model(run, arguments, findings)
    _read_problems(run, arguments, data, findings)
    with findings.catching():
        name = None if run.source is None else run.source.name
        run.heads = needed_heads(args.build_credit(), args, args.heads, parts.config, name)
        looked_at = run.heads
        if run.probe is not None and looked_at is None and parts.config is not None:
            looked_at = resolve_heads(str(args.heads), parts.config, name)
        if looked_at is not None and parts.model is not None:
            check_readable(parts.model, looked_at.heads)
        if looked_at is not None and run.source is not None:
            line = other_model(looked_at, (*run.source.names, parts.config.name_or_path), f"--model {run.source.name}")
            if line is not None:
                findings.note(line)
        findings.facts["heads"] = _said_heads(run, args)
        if args.heads is not None and run.probe is None and (reason := reads_no_heads(args)):
            findings.note(f"heads: {args.heads} is not read, {reason}; leave it out")
    _build_parts(run, findings)
    examine(parts, findings)
    if here:
        with findings.catching():
            check_no_run_before(args)
        with findings.catching():
            check_continued(arguments, data, adapters, args, run.heads, findings)
    with findings.catching():
        run.lora = adapters.lora()
        if run.lora is not None and parts.model is not None:
            parts.model = with_lora(parts.model, run.lora)
    with findings.catching():
        plan = planned(parts)
        if plan is not None and parts.model is not None and not findings.problems:
            note_disk(args, model_shape(parts.model), plan, findings)
    return run


def _read_model(run: PlannedRun, arguments: TrainArguments, findings: Findings) -> None:
    parts, args = run.parts, run.parts.args
    with findings.catching():
        revision = parts.model_options.get("revision")
        run.source = find_model(arguments.model, arguments.base_model, revision, args.trust_remote_code)
        parts.config = load_config(run.source)
        settle_dtype(args, run.source, parts.config)
        parts.tokenizer = load_tokenizer(run.source, arguments.markers)
        give_template_settings(parts.tokenizer, args.chat_template_kwargs)
        parts.tokenizer.padding_side = parts.tokenizer.truncation_side = "left"
    # Under ZeRO-3 every model that is built is dealt out over the GPUs at once: there it is checked once it is loaded.
    if parts.config is not None and args.zero_stage() != 3:
        with findings.catching():
            parts.model = meta_model(
                parts.config,
                attn_implementation=parts.model_options.get("attn_implementation"),
                trust_remote_code=args.trust_remote_code,
            )


def _read_problems(run: PlannedRun, arguments: TrainArguments, data: DataArguments, findings: Findings) -> None:
    parts, column = run.parts, run.parts.args.solution_column
    limit, tokenizer = arguments.max_prompt_tokens, run.parts.tokenizer
    with findings.catching():
        run.problems = load_data(data, column, "train")
        findings.facts["data"] = f"{data.data}: {len(run.problems):,} problems"
    with findings.catching():
        if arguments.eval_data:
            options = replace(
                data,
                data=arguments.eval_data,
                split=arguments.eval_split,
                num_problems=arguments.eval_problems,
                problems_seed=None,
            )
            parts.has_eval_data = True
            run.eval_problems = load_data(options, column, "heldout")
            findings.facts["eval data"] = f"{arguments.eval_data}: {len(run.eval_problems):,} problems"
    if tokenizer is not None:
        run.problems, said = asked_problems(run.problems, tokenizer, data.raw_prompts)
        run.eval_problems, of_eval = asked_problems(run.eval_problems, tokenizer, data.raw_prompts)
        for line in filter(None, (said, of_eval)):
            findings.note(line)
    if limit is not None and tokenizer is not None:
        with findings.catching():
            run.problems, run.too_long = within_limit(run.problems, tokenizer, limit, findings)
        with findings.catching():
            run.eval_problems, _ = within_limit(run.eval_problems, tokenizer, limit, findings)
    parts.problems, parts.max_prompt_tokens = len(run.problems), limit
    parts.prompts = [problem.prompt for problem in (*run.problems, *run.eval_problems)]


def within_limit(
    problems: Sequence[ProblemRow], tokenizer: Any, limit: int, findings: Findings
) -> tuple[list[ProblemRow], list[tuple[str, Any, int]]]:
    """Return the problems whose prompt has at most `limit` tokens, and id, prompt and tokens of those that have more.

    Raises:
        DataError: none is left.
    """
    lengths = [len(render_prompt(tokenizer, problem.prompt)) for problem in problems]
    pairs = list(zip(problems, lengths, strict=True))
    kept = [problem for problem, tokens in pairs if tokens <= limit]
    if problems and not kept:
        raise DataError(f"max_prompt_tokens: no prompt has {limit} tokens or fewer; raise it")
    if len(kept) < len(problems):
        left_out = len(problems) - len(kept)
        findings.note(f"{left_out:,} of {len(problems):,} problems left out: prompts above {limit} tokens")
    return kept, [(p.problem_id, p.prompt, tokens) for p, tokens in pairs if tokens > limit]


def _build_parts(run: PlannedRun, findings: Findings) -> None:
    """Build what cuts, verifies and labels, and throw it away; ask what a method asks of a prompt."""
    args = run.parts.args
    with findings.catching():
        strategy = build_strategy(args.segmentation, args.phrases_file, args.min_step_chars)
        if run.parts.tokenizer is not None:
            Segmenter(run.parts.tokenizer, strategy)
    with findings.catching():
        if run.parts.here or args.verifier != "code":  # another machine's sandbox cannot be tried here
            verifier_of(args).close()
    with findings.catching():
        method = args.build_credit()
        needed_labeler(method, args)
        if run.problems:
            method.ask(run.problems[0].prompt, group_id=0, sample=0, progress_step=0)


def _said_heads(run: PlannedRun, args: AttnPOConfig) -> str:
    if run.heads is None:
        reason = reads_no_heads(args)
        return f"none: {reason}" if reason else str(args.heads)
    said = ", ".join(map(str, run.heads.heads))
    origin = "" if run.heads.found_by == "given" else f", found on {run.heads.model_id}"
    return f"{args.heads}: {said} (layer.head){origin}"
