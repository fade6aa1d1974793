"""Discovery from traces to proofs: find the heads of a model, or repeat the evidence of a head set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import HeadSet, resolve_heads
from attnpo.collecting import model_fingerprint
from attnpo.discovery import DiscoveryResult, DiscoverySettings, GateCounts, discover, read_traces, sample_traces
from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult, VerificationResult
from attnpo.discovery.gates import Gates
from attnpo.discovery.measure import ensemble
from attnpo.discovery.run import PROBING_SET_FILE
from attnpo.discovery.transfer import GROUPINGS, PROBLEM_GROUPINGS, check_grouping, transfer_groups
from attnpo.discovery.verify import verify_heads, with_evidence
from attnpo.errors import ConfigError, DataError
from attnpo.files import UserFile
from attnpo.labeling import StepLabeler, label_rollouts
from attnpo.labeling.build import build_labeler
from attnpo.labeling.causal import CausalLabeler, CausalSettings
from attnpo.labeling.given import GivenLabeler
from attnpo.labeling.judge import JudgeLabeler, JudgeSettings
from attnpo.output import held, prepare_output_dir
from attnpo.reporting import save_ensemble_curves, save_heatmap
from attnpo.rollouts import Rollout, prompt_text, read_rollouts
from attnpo.sampling.engines import EngineSettings
from attnpo.sampling.honoured import check_own
from attnpo.signals import rivals, score_steps, wants_logits
from attnpo.verification import Verifier
from attnpo.workbench.arguments import DataArguments, DiscoverArguments, ModelArguments, StepArguments
from attnpo.workbench.drawn import Drawn
from attnpo.workbench.loading import Session, open_session, open_verifier
from attnpo.workbench.proving import Proving, check_proofs

logger = logging.getLogger(__name__)

CAUSAL = "causal"


@dataclass(frozen=True)
class Found:
    """Heads that were found and proven.

    Attributes:
        head_set: the heads with their evidence, as `heads.json` holds them.
        result: how every head ranks steps.
        intervention: accuracy after steps were deleted by score; None where that was not asked for.
        transfer: heads chosen on one group and reported on another; None where that was not asked for.
        judges: what the judges agreed on, in a sentence; empty where others labelled.
    """

    head_set: HeadSet
    result: DiscoveryResult
    intervention: InterventionResult | None
    transfer: TransferResult | None
    judges: str


@dataclass(frozen=True)
class Verified:
    """A head set whose evidence was repeated.

    Attributes:
        head_set: the heads with the new evidence beside the old, as `heads.json` holds them.
        result: every figure then and now.
        intervention: accuracy after steps were deleted by score; None where that was not asked for.
        stability: scores of the checkpoints; None where there are none.
        gates: which responses were measured on.
        responses: how many responses there were.
        known: how many of them the heads were found on.
    """

    head_set: HeadSet
    result: VerificationResult
    intervention: InterventionResult | None
    stability: StabilityResult | None
    gates: GateCounts
    responses: int
    known: int


@dataclass
class Discovering:
    """One discovery in `arguments.output_dir`: made, it has checked what can be checked; `discover` or `verify` run it.

    Raises:
        AttnPOError: something is missing or malformed, or contradicts itself.
    """

    arguments: DiscoverArguments
    model_arguments: ModelArguments
    data_arguments: DataArguments
    step_arguments: StepArguments
    settings: DiscoverySettings
    engine: EngineSettings
    judge: JudgeSettings
    causal: CausalSettings

    def __post_init__(self) -> None:
        """Check what can be checked before anything is loaded, then load tokenizer and problems."""
        self._check()
        spec = self.step_arguments.labeler
        self.built = build_labeler(spec, self.judge) if spec and spec != CAUSAL else None
        self.output_dir = prepare_output_dir(Path(self.arguments.output_dir))
        problems: list[Any] | None = [] if self.arguments.traces else None
        self.session: Session = open_session(
            self.model_arguments,
            self.data_arguments,
            self.step_arguments,
            self.engine,
            problems=problems,
            split="heldout" if self.arguments.verify else "train",
        )
        if not self.arguments.traces:
            self.session.check_room(self.session.problems, self.settings.max_new_tokens, self.settings.opening)
            if self.arguments.transfer in PROBLEM_GROUPINGS:
                check_grouping(self.session.problems, self.arguments.transfer)
        self.source = self.arguments.traces or "sampled"
        self.dataset_name = self.session.dataset_name or self.source
        self.proving = Proving(
            self.arguments,
            self.model_arguments,
            self.settings,
            self.session,
            self.output_dir,
            self.source,
            self.dataset_name,
        )

    def discover(self, progress: Progress | None = None) -> Found:
        """Find heads and prove them; writes `heads.json`, `discovery.json` and the proofs.

        Raises:
            AttnPOError: something is missing or malformed, or the engine or a judge went away.
        """
        self._check_signals()
        with self._working() as verifier:
            traces = self._traces(verifier, progress)
            if self.arguments.transfer in GROUPINGS:
                transfer_groups(traces, self.arguments.transfer)  # says what is missing before labels are paid for
            others = self.proving.transfer_traces()
            labeler = self._labeler(traces, verifier, progress)
            found = discover(
                self.session.model,
                self.session.tokenizer,
                traces,
                labeler,
                self.settings,
                self.output_dir,
                progress,
                model_name=self.session.model_name,
                dataset_name=self.dataset_name,
                source=self.source,
            )
            save_heatmap(found.result, self.output_dir / "sra.png")
            save_ensemble_curves(found.result, self.output_dir / "ensembles.png")
            columns = [found.heads.index(head) for head in found.head_set.heads]
            keys = [(r.problem_id, r.sample) for r in found.rollouts]
            scores = dict(zip(keys, ensemble(found.scores, columns), strict=True))
            intervention = self.proving.intervene(
                [r for r in found.rollouts if r.problem_id not in found.selecting],
                lambda chosen: [scores[r.problem_id, r.sample] for r in chosen],
                found.head_set,
                verifier,
                progress,
            )
            transfer = self.proving.transfer(found.rollouts, found.scores, others, progress)
        proven = with_evidence(found.head_set, intervention=intervention, transfer=transfer)
        proven.save(self.output_dir / "heads.json")
        judges = self.built.judge_report().sentence() if isinstance(self.built, JudgeLabeler) else ""
        return Found(proven, found.result, intervention, transfer, judges)

    def verify(self, progress: Progress | None = None) -> Verified:
        """Repeat a head set's evidence on other traces; writes `heads.json`, `verification.json` and the proofs.

        Raises:
            AttnPOError: something is missing or malformed, or the engine or a judge went away.
        """
        assert self.arguments.verify is not None
        head_set = resolve_heads(self.arguments.verify, self.session.config, self.session.model_name)
        self.proving.check_checkpoints(head_set)
        self._check_signals()
        with self._working() as verifier:
            traces = self._traces(verifier, progress)
            known = self._found_on(traces)
            gates = Gates(self.settings.min_pass_rate, self.settings.min_steps)
            passing = gates.before_labels(traces)
            labeler = self._labeler(traces, verifier, progress)
            labelled = label_rollouts(labeler, passing, self.output_dir / "labels.jsonl", progress)
            rollouts = gates.after_labels(labelled)
            if not rollouts:
                raise DataError(f"verify: no response to measure on ({gates.counts.sentence()}); use more problems")
            result = verify_heads(
                head_set,
                self.session.model,
                self.session.tokenizer,
                rollouts,
                self.settings,
                model_name=self.session.model_name,
                dataset_name=self.dataset_name,
                labeler_name=labeler.name,
                progress=progress,
            )
            result.save(self.output_dir / "verification.json")
            intervention = self.proving.intervene(rollouts, self._scores_by(head_set), head_set, verifier, progress)
            stability = self.proving.stability(rollouts, head_set, progress)
        verified = with_evidence(head_set, intervention=intervention, stability=stability, verification=result)
        verified.save(self.output_dir / "heads.json")
        return Verified(verified, result, intervention, stability, gates.counts, len(traces), known)

    def _scores_by(self, head_set: HeadSet) -> Callable[[Sequence[Rollout]], list[Any]]:
        """Return what reads the step scores of a head set on some responses: its heads' mean."""

        def read(rollouts: Sequence[Rollout]) -> list[Any]:
            scores = score_steps(
                self.session.model,
                self.session.tokenizer,
                rollouts,
                head_set.heads,
                batch_size=self.settings.batch_size,
            )
            return [scores_KN.mean(axis=1) for scores_KN in scores]

        return read

    def _found_on(self, traces: Sequence[Rollout]) -> int:
        """How many responses the head set was found on, as far as its probing set still lies beside it."""
        probing_set = Path(str(self.arguments.verify)).parent / PROBING_SET_FILE
        if not Path(str(self.arguments.verify)).is_file() or not probing_set.is_file():
            return 0
        known = {(prompt_text(rollout.prompt), rollout.response_ids) for rollout in read_rollouts(probing_set)}
        return sum((prompt_text(rollout.prompt), rollout.response_ids) in known for rollout in traces)

    def _check(self) -> None:
        labeler = self.step_arguments.labeler
        if not labeler and not self.arguments.traces:
            raise ConfigError(
                "--labeler: say what labels the steps: judge (LLM judges), causal (no label or judge needed), "
                "file:labels.jsonl, or module:function (the small world's is attnpo.tinyworld:label_steps)"
            )
        if self.arguments.traces:
            UserFile(Path(self.arguments.traces), name=f"--traces {self.arguments.traces}").check()
            self._check_temperature(Path(self.arguments.traces))
        check_own(self.engine.engine, self.settings.sampling.own())
        self.engine.check_opening(self.settings.opening)
        if self.arguments.intervene:
            self.engine.check_continues("--intervene")
        if labeler == CAUSAL and self.causal.causal_resample:
            self.engine.check_continues("--causal_resample")
        check_proofs(self.arguments, self.settings)

    def _check_signals(self) -> None:
        """Check that signals fit the model; where another engine samples, no weights are loaded for that."""
        signals = rivals(self.settings.signals, flag="--signals", fits_probe=not self.arguments.verify)
        if not signals:
            return
        model = self.session.model if self.session.loads_model else self._without_weights()
        for signal in signals:
            signal.check(model)

    def _without_weights(self) -> Any:
        from attnpo.training.estimate import meta_model  # brings TRL, which takes seconds

        options = self.model_arguments
        return meta_model(
            self.session.config,
            attn_implementation=options.attn_implementation,
            trust_remote_code=options.trust_remote_code,
        )

    def _check_temperature(self, traces: Path) -> None:
        """Say where signals are read at another temperature than the traces were sampled at, as far as it is known."""
        signals = rivals(self.settings.signals, flag="--signals", fits_probe=not self.arguments.verify)
        if not wants_logits(signals):
            return
        ours = self.settings.temperature
        theirs = Drawn.beside(traces).sampling.get("temperature", ours)
        if theirs != ours:
            logger.warning(
                "--traces %s: sampled at temperature %g; signals read log-probabilities and entropies at %g; give "
                "--temperature %g",
                traces,
                theirs,
                ours,
                theirs,
            )

    @contextmanager
    def _working(self) -> Iterator[Verifier]:
        with ExitStack() as stack:
            stack.callback(self.session.close)
            stack.enter_context(held(self.output_dir))
            if isinstance(self.built, JudgeLabeler):
                stack.enter_context(self.built)
            yield stack.enter_context(open_verifier(self.step_arguments))

    def _traces(self, verifier: Verifier, progress: Progress | None) -> list[Rollout]:
        if self.arguments.traces:
            return read_traces(Path(self.arguments.traces), self.session.segmenter, verifier)
        context = {"model": self.session.model_name, "dataset": self.dataset_name, **self.session.context_of_responses}
        traces = sample_traces(
            self.output_dir,
            self.session.problems,
            tokenizer=self.session.tokenizer,
            sampler=self.session.sampler,
            segmenter=self.session.segmenter,
            verifier=verifier,
            settings=self.settings,
            context=context,
            progress=progress,
        )
        self.session.close()  # before the model is loaded that scores are read in
        return traces

    def _drawn_by(self) -> dict[str, Any]:
        """Return what tells an engine with a model of its own, and its weights, from others."""
        context = self.session.context
        return {name: context[name] for name in ("engine", "weights", "served", "dtype") if name in context}

    def _labeler(self, traces: Sequence[Rollout], verifier: Any, progress: Progress | None) -> StepLabeler:
        if self.step_arguments.labeler == CAUSAL:
            draws = bool(self.causal.causal_resample)
            return CausalLabeler(
                self.session.model,
                self.session.tokenizer,
                self.causal,
                self.output_dir / "causal_effects.jsonl",
                verifier=verifier,
                sampler=self.session.sampler if draws else None,
                progress=progress,
                model_fingerprint=model_fingerprint(self.session.model),
                engine=self._drawn_by() if draws and not self.session.loads_model else None,
            )
        if self.built is not None:
            return self.built
        if not any(step.label for rollout in traces for step in rollout.steps):
            raise ConfigError(f"--labeler: {self.arguments.traces} carries no labels; say what labels the steps")
        return GivenLabeler(f"labels in {self.arguments.traces}")
