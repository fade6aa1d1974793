"""What credits change, measured in gradients of responses at hand or sampled now."""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import Head
from attnpo.credit import Policy as MethodPolicy
from attnpo.discovery import read_traces
from attnpo.errors import ConfigError
from attnpo.gradients import (
    Batch,
    Binning,
    GradientsResult,
    Policy,
    Products,
    RedundancyBin,
    Store,
    Wanted,
    bin_name,
    credit_rows,
    fill,
    moments_of,
)
from attnpo.gradients.chosen import choose
from attnpo.gradients.credits import COMMON, TLMRE
from attnpo.gradients.groups import Groups, count_batches, whole_groups
from attnpo.gradients.store import EPSILON, LEAST_BATCHES
from attnpo.gradients.wanted import check_heads, check_run, parse_all
from attnpo.labeling import label_steps
from attnpo.loading import source_fingerprint
from attnpo.models import adapter_parameters
from attnpo.output import held, prepare_output_dir, write_atomically
from attnpo.reporting.gradient_bins import bins_markdown
from attnpo.reporting.gradients import TITLES, gradients_markdown, save_gradients
from attnpo.rollouts import Rollout
from attnpo.sampling import SamplingParams, TransformersSampler
from attnpo.sampling.prompts import opening_text, render_prompt
from attnpo.signals import Signal, rivals, score_signals, score_steps
from attnpo.training.budget import TokenCount
from attnpo.training.policy import PolicyDraws, build_policy
from attnpo.verification import Verifier
from attnpo.workbench.annotating import sample_groups
from attnpo.workbench.arguments import DataArguments, GradientsArguments, ModelArguments, StepArguments
from attnpo.workbench.drawn import Drawn, check_limit
from attnpo.workbench.loading import Session, open_session, open_verifier, read_heads

logger = logging.getLogger(__name__)

ROLLOUTS_FILE = "gradients_rollouts.jsonl"
MOST_TOKENS = 4096
"""Limit on a response where nothing says another."""
SKETCH = 262_144
"""Numbers that a gradient is sketched to where all of them whole would take too much disk."""
WHOLE_BYTES = 8 * 2**30


def measure_gradients(
    arguments: GradientsArguments,
    model_arguments: ModelArguments,
    data_arguments: DataArguments,
    step_arguments: StepArguments,
    progress: Progress | None = None,
) -> GradientsResult:
    """Hold credits against each other on the same responses; writes `gradients.json`, `.md` and `.svg`.

    Args:
        arguments: which credits and responses, and how gradients are kept.
        model_arguments: which model; of one with adapters, gradients are by these alone.
        data_arguments: which problems, where responses are sampled.
        step_arguments: how responses are cut, verified and labelled.
        progress: display, or None.

    Raises:
        AttnPOError: something is missing or malformed.
    """
    if arguments.redundancy_bins == 1:
        raise ConfigError("--redundancy_bins 1: one bin holds every problem; give 2 or more, or leave it out")
    wanted = parse_all(arguments.methods, arguments.strengths)
    rivals(arguments.signals, [] if arguments.heads else None, flag="--signals")  # names what cannot be read
    if drawn := Drawn.beside(Path(arguments.rollouts)) if arguments.rollouts else None:
        drawn.check_plain(arguments.temperature)
        limit = drawn.limit(arguments.max_new_tokens, MOST_TOKENS)
    else:
        limit = MOST_TOKENS if arguments.max_new_tokens is None else arguments.max_new_tokens
        check_run(wanted, limit, arguments.samples_per_problem, step_arguments.verifier)
    output_dir = prepare_output_dir(Path(arguments.output_dir))
    session = open_session(model_arguments, data_arguments, step_arguments, problems=[] if arguments.rollouts else None)
    if step_arguments.labeler and session.labeler is None:
        raise ConfigError(
            f"--labeler {step_arguments.labeler}: gradients take module:function, or the labels that responses carry "
            "(--rollouts with the probing_set.jsonl of a discovery); give one of them"
        )
    session.adapters_apart = True
    heads = read_heads(arguments.heads, session.config, session.source).heads if arguments.heads else []
    if heads:
        check_heads(wanted, heads)
    with held(output_dir), open_verifier(step_arguments) as verifier:
        groups = None
        if drawn:
            groups = whole_groups(_given(drawn.path, session, verifier), arguments.problems_per_batch)
            check_run(wanted, limit, groups.size, step_arguments.verifier, sampled=False)
            check_limit(groups.rollouts, limit)
            drawn.check_policy(session)
        else:
            _check_sampling(arguments, session, limit)
        labelled = session.labeler is not None if groups is None else groups.labelled
        problems = len(session.problems) if groups is None else len(groups.rollouts) // groups.size
        _check_bins(arguments.redundancy_bins, labelled, problems)
        for signal in choose(wanted, arguments.signals, heads, labelled, session.labeler is not None).signals:
            signal.check(session.model)
        if groups is None:
            rollouts = _sampled(arguments, session, verifier, limit, output_dir, progress)
            groups = whole_groups(rollouts, arguments.problems_per_batch)
        run = _Run(arguments, session, verifier, groups, heads, wanted, limit)
        result = run.measure(output_dir, progress)
    result.save(output_dir / "gradients.json")
    binned = "\n" + bins_markdown(result, dict(TITLES)) if result.redundancy_bins else ""
    write_atomically(output_dir / "gradients.md", gradients_markdown(result) + binned)
    save_gradients(result, output_dir / "gradients.svg")
    return result


@dataclass
class _Run:
    """Credits on whole groups of responses."""

    arguments: GradientsArguments
    session: Session
    verifier: Verifier
    groups: Groups
    heads: Sequence[Head]
    wanted: Sequence[Wanted]
    limit: int

    def __post_init__(self) -> None:
        rollouts, bins = self.groups.rollouts, self.arguments.redundancy_bins
        self.binning = Binning.of(rollouts, self.groups.size, bins) if bins else None
        relabels = self.session.labeler is not None
        self.chosen = choose(self.wanted, self.arguments.signals, self.heads, self.groups.labelled, relabels)
        self.credits = self.chosen.credits

    def measure(self, output_dir: Path, progress: Progress | None) -> GradientsResult:
        """Return what is known of every credit."""
        policy = self._policy()
        names = [credit.name for credit in self.credits]
        common = names.index(f"{TLMRE} {COMMON:g}")
        store = Store(output_dir / "gradients", self.groups.batches, common, self.arguments.redundancy_bins or 1)
        sketch = self._sketch(policy.size)
        store.claim(self._settings(policy.size, sketch))
        products = store.kept_products()
        if products is None:
            self._check_disk(store, policy.size, sketch)
            fill(store, self._batch, self.credits, policy, sketch, progress)
            products = store.products(progress)
            store.keep_products(products)
        rollouts = self.groups.rollouts
        return GradientsResult(
            model=self.session.model_name,
            source=self.arguments.rollouts or self.session.dataset_name,
            batches=self.groups.batches,
            problems_per_batch=self.arguments.problems_per_batch,
            group_size=self.groups.size,
            accuracy=sum(bool(rollout.correct) for rollout in rollouts) / len(rollouts),
            tokens=sum(rollout.n_tokens for rollout in rollouts) / len(rollouts),
            parameters=policy.size,
            sketch=sketch,
            adam_epsilon=EPSILON,
            heads=[(head.layer, head.head) for head in self.heads],
            progress_step=self.arguments.progress_step,
            rows=credit_rows(moments_of(products), self.credits),
            left_out=dict(self.chosen.left_out),
            redundancy_bins=self._bins(products),
        )

    def _bins(self, products: Mapping[str, Products]) -> list[RedundancyBin]:
        """Return what is known of each bin of problems."""
        if self.binning is None:
            return []
        found = []
        for number in range(self.arguments.redundancy_bins):
            shares_B = self.binning.shares(number, self.groups.batches)
            moments = moments_of(products, bin_name(number), shares_B)
            found.append(self.binning.described(number, moments, self.credits))
        return found

    def _policy(self) -> Policy:
        model, tokenizer = self.session.model, self.session.tokenizer
        parameters = adapter_parameters(model) or [each for each in model.parameters() if each.requires_grad]
        return Policy(model, parameters, tokenizer.pad_token_id, self.arguments.temperature, self.arguments.micro_batch)

    def _sketch(self, parameters: int) -> int | None:
        """Return what gradients are sketched to, the same with bins and without; None keeps them whole."""
        numbers = parameters * len(self.credits) * self.groups.batches
        if self.arguments.sketch is None and 4 * numbers > WHOLE_BYTES:
            return SKETCH
        return self.arguments.sketch or None

    def _check_disk(self, store: Store, parameters: int, sketch: int | None) -> None:
        """Check that there is room for what is still to be written until the inner products are taken."""
        width, moments = (parameters, 0) if sketch is None else (2 * sketch, store.moments_bytes(parameters))
        gradients = 4 * width * len(self.credits) * len(store.missing()) * store.parts
        if gradients + moments > (free := shutil.disk_usage(store.folder).free):
            smaller = f", or a new one with --sketch {min(SKETCH, width // 8)}" if gradients > moments else ""
            raise ConfigError(
                f"--output_dir {store.folder.parent}: gradients still to come take up to "
                f"{(gradients + moments) / 2**30:.1f} GiB, and {free / 2**30:.1f} are free; name a folder on a larger "
                f"disk{smaller}"
            )

    def _settings(self, parameters: int, sketch: int | None) -> dict[str, Any]:
        """Return everything that the gradients on disk depend on."""
        digest = hashlib.sha256()
        for rollout in self.groups.rollouts:
            digest.update(rollout.to_json().encode("utf-8", "surrogatepass"))
        return {
            "model": self.session.model_name,
            "model_fingerprint": self.session.context.get("model_fingerprint"),
            "parameters": parameters,
            "rollouts": digest.hexdigest()[:16],
            "problems_per_batch": self.arguments.problems_per_batch,
            "temperature": self.arguments.temperature,
            "limit": self.limit,
            "verifier": self.session.context.get("verifier"),
            "progress_step": self.arguments.progress_step,
            "heads": [list(head) for head in self.heads],
            "methods": {entry.name: dict(entry.settings) for entry in self.wanted},
            "credits": [credit.name for credit in self.credits],
            "sketch": sketch,
            "adam_epsilon": EPSILON,
            **self._sources(),
            **({"redundancy_bins": self.arguments.redundancy_bins} if self.arguments.redundancy_bins else {}),
        }

    def _sources(self) -> dict[str, Any]:
        """Return what tells the user's own methods, signals and verifier from what they were before."""
        verifier = self.session.context.get("verifier_source")
        named = {entry.method for entry in self.wanted} | {signal.name for signal in self.chosen.signals}
        found = {"verifier": verifier, **{name: _source(name) for name in sorted(named)}}
        known = {name: source for name, source in found.items() if source is not None}
        return {"sources": known} if known else {}

    def _batch(self, number: int) -> Batch:
        rollouts = self.groups.batch(number)
        tokenizer, model = self.session.tokenizer, self.session.model
        prompts = [tuple(render_prompt(tokenizer, rollout.prompt, rollout.opening)) for rollout in rollouts]

        def read_scores(some: Sequence[Rollout]) -> list[Any]:
            return score_steps(model, tokenizer, some, self.heads, batch_size=self.arguments.micro_batch)

        return Batch(
            rollouts,
            self.groups.size,
            number,
            self.arguments.progress_step,
            self.limit,
            read_scores=read_scores if self.heads else None,
            heads=self.heads,
            signals=self.chosen.signals,
            read_signals=partial(self._read_signals, number * len(rollouts)),
            policy=self._method_policy,
            prompt_ids=prompts,
            bins=self.binning.of_responses(number * len(rollouts), len(rollouts)) if self.binning else (),
            cut=self._cut,
        )

    def _cut(self, rollouts: Sequence[Rollout], lengths: Sequence[int], labelled: bool) -> list[Rollout]:
        """Return responses as they are where sampling stops after so many tokens, judged all at once."""
        short = []
        for rollout, length in zip(rollouts, lengths, strict=True):
            ids = rollout.response_ids[:length]
            steps = self.session.segmenter(ids, rollout.in_think)
            short.append(replace(rollout, response_ids=ids, finished=False).with_segmentation(steps))
        verdicts = self.verifier.verify([each.full_text for each in short], [each.solution for each in short])
        short = [replace(each, correct=correct) for each, correct in zip(short, verdicts, strict=True)]
        labeler = self.session.labeler
        return short if labeler is None or not labelled else [label_steps(labeler, each) for each in short]

    def _read_signals(
        self, first_row_id: int, rollouts: Sequence[Rollout], signals: Sequence[Signal]
    ) -> Mapping[str, Any]:
        return score_signals(
            self.session.model,
            self.session.tokenizer,
            rollouts,
            signals,
            batch_size=self.arguments.micro_batch,
            temperature=self.arguments.temperature,
            first_row_id=first_row_id,
        )

    def _method_policy(self, batch: Batch) -> MethodPolicy:
        """Return the policy as a method may probe it."""
        longest = max(rollout.n_tokens for rollout in batch.rollouts)
        groups = [row // batch.group_size for row in range(len(batch.rollouts))]
        draws = PolicyDraws(
            TransformersSampler(self.session.model, self.session.tokenizer),
            SamplingParams(longest, self.arguments.temperature, seed=batch.number),
            batch.prompt_ids,
            groups,
            TokenCount(),
            extra=True,
        )
        return build_policy(draws, self.session.segmenter, self.verifier.verify, self.arguments.micro_batch)


def _given(path: Path, session: Session, verifier: Verifier) -> list[Rollout]:
    """Return the responses of a file, labelled where there is a labeler."""
    rollouts, labeler = read_traces(path, session.segmenter, verifier), session.labeler
    return rollouts if labeler is None else [label_steps(labeler, rollout) for rollout in rollouts]


def _source(name: str) -> str | None:
    """Return a hash of what is behind a method's or signal's name: the user's own code, or a probe's file."""
    if name.endswith(".json"):
        return hashlib.sha256(Path(name).read_bytes()).hexdigest()[:16]
    return source_fingerprint(name)


def _check_bins(bins: int, labelled: bool, problems: int) -> None:
    """Check that bins by redundant share can be told apart and hold enough problems for an error.

    Raises:
        ConfigError: steps carry no labels, or the problems are too few.
    """
    if bins and not labelled:
        raise ConfigError(f"--redundancy_bins {bins}: reads labels, and the steps carry none; give --labeler")
    if problems < bins * LEAST_BATCHES:
        raise ConfigError(
            f"--redundancy_bins {bins}: {problems} problems leave a bin fewer than {LEAST_BATCHES}, the fewest whose "
            "noise has an error; give fewer bins, or more problems"
        )


def _check_sampling(arguments: GradientsArguments, session: Session, limit: int) -> None:
    """Check that problems make enough batches and have room for responses."""
    count_batches(len(session.problems), arguments.samples_per_problem, arguments.problems_per_batch)
    session.check_room(session.problems, limit, opening_text(arguments.opening))


def _sampled(
    arguments: GradientsArguments,
    session: Session,
    verifier: Verifier,
    limit: int,
    output_dir: Path,
    progress: Progress | None,
) -> list[Rollout]:
    """Return responses of the model, labelled where there is a labeler."""
    return sample_groups(
        output_dir / ROLLOUTS_FILE,
        session,
        verifier,
        problems=len(session.problems),
        samples=arguments.samples_per_problem,
        params=SamplingParams(limit, arguments.temperature, seed=arguments.seed),
        opening=opening_text(arguments.opening),
        progress=progress,
        description="sampling",
    )
