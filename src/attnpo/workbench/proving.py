"""What `attnpo discover` proves of a head set beyond its choice: intervention, transfer, stability."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.attention import HeadSet, readable_heads
from attnpo.discovery import DiscoverySettings, read_traces
from attnpo.discovery.evidence import InterventionResult, StabilityResult, TransferResult
from attnpo.discovery.gates import Gates
from attnpo.discovery.intervention import InterventionSettings, intervene, usable_traces
from attnpo.discovery.stability import Intervals, measure_stability
from attnpo.discovery.transfer import GROUPINGS, transfer_groups, transfer_table
from attnpo.errors import ConfigError, DataError, nearest
from attnpo.files import UserFile
from attnpo.models import ModelSource, find_model, load_config
from attnpo.reporting import save_intervention, save_stability
from attnpo.rollouts import Rollout
from attnpo.signals import rivals, score_steps
from attnpo.workbench.arguments import DiscoverArguments, ModelArguments
from attnpo.workbench.loading import Session, open_model


@dataclass
class Proving:
    """The further proofs of one run of the command.

    Attributes:
        arguments: what is asked for.
        model_arguments: how checkpoints are loaded.
        settings: those of discovery.
        session: model, tokenizer and sampler.
        output_dir: where results and plots go.
        source: where the traces come from, as results name it.
        dataset_name: the data set as results name it.
    """

    arguments: DiscoverArguments
    model_arguments: ModelArguments
    settings: DiscoverySettings
    session: Session
    output_dir: Path
    source: str
    dataset_name: str

    def intervene(
        self,
        rollouts: Sequence[Rollout],
        scores_of: Callable[[Sequence[Rollout]], Sequence[Any]],
        head_set: HeadSet,
        verifier: Any,
        progress: Progress | None,
    ) -> InterventionResult | None:
        """Delete steps by score and regenerate answers; None where that was not asked for.

        `scores_of` gives the (K,) scores of each of the responses that are chosen.
        """
        if not self.arguments.intervene:
            return None
        chosen = usable_traces(rollouts, self.arguments.intervention_traces, self.settings.seed)
        result = intervene(
            chosen,
            scores_of(chosen),
            tokenizer=self.session.tokenizer,
            sampler=self.session.sampler,
            segmenter=self.session.segmenter,
            verifier=verifier,
            settings=intervention_settings(self.arguments, self.settings),
            output_dir=self.output_dir,
            context={"model": self.session.model_name, "traces": self.source, **self.session.context_of_responses},
            heads=[(head.layer, head.head) for head in head_set.heads],
            model_name=self.session.model_name,
            dataset_name=self.dataset_name,
            progress=progress,
        )
        self.session.close()
        save_intervention(result, self.output_dir / "intervention.png")
        return result

    def transfer_traces(self) -> dict[Path, list[Rollout]]:
        """Return the labelled responses of other discoveries.

        Raises:
            DataError: a file holds none.
        """
        found = {}
        for path in transfer_files(self.arguments):
            gates = Gates(self.settings.min_pass_rate, self.settings.min_steps)
            found[path] = gates.after_labels(gates.before_labels(read_traces(path, self.session.segmenter)))
            if not found[path]:
                raise DataError(
                    f"--transfer {path}: no labelled response to choose or report on ({gates.counts.sentence()}); give "
                    "the probing_set.jsonl of another discovery"
                )
        return found

    def transfer(
        self,
        rollouts: list[Rollout],
        scores: list[Any],
        others: Mapping[Path, list[Rollout]],
        progress: Progress | None,
    ) -> TransferResult | None:
        """Choose heads on one group and report on the others; None where that was not asked for."""
        if self.arguments.transfer is None:
            return None
        heads, _ = readable_heads(self.session.model)
        if self.arguments.transfer in GROUPINGS:
            groups, grouped_by = transfer_groups(rollouts, self.arguments.transfer), self.arguments.transfer
        else:
            groups, grouped_by = [self.dataset_name] * len(rollouts), "data set"
            rollouts, scores = list(rollouts), list(scores)
            for path, labelled in others.items():
                scores += score_steps(
                    self.session.model,
                    self.session.tokenizer,
                    labelled,
                    heads,
                    batch_size=self.settings.batch_size,
                    progress=progress,
                    description=f"scoring {path.name}",
                )
                rollouts += labelled
                groups += [str(path)] * len(labelled)
        result = transfer_table(
            rollouts, scores, groups, heads, self.settings, model_name=self.session.model_name, grouped_by=grouped_by
        )
        result.save(self.output_dir / "transfer.json")
        return result

    def checkpoints(self) -> list[str]:
        """Return the checkpoints to compare with the model."""
        return [name.strip() for name in (self.arguments.checkpoints or "").split(",") if name.strip()]

    def _checkpoint(self, name: str) -> ModelSource:
        arguments = self.model_arguments
        return find_model(name, None, arguments.revision, arguments.trust_remote_code, setting="--checkpoints")

    def check_checkpoints(self, head_set: HeadSet) -> None:
        """Look at their configurations before traces are paid for.

        Raises:
            ConfigError: one cannot be loaded.
            HeadSetError: the heads do not fit one.
        """
        for name in self.checkpoints():
            head_set.validate_for(load_config(self._checkpoint(name)), name)

    def stability(
        self, rollouts: Sequence[Rollout], head_set: HeadSet, progress: Progress | None
    ) -> StabilityResult | None:
        """Compare the scores of checkpoints with the model's; None where there are none."""
        names = self.checkpoints()
        if not names:
            return None

        def models() -> Iterator[tuple[str, Any]]:
            yield self.session.model_name, self.session.model
            for name in names:  # one at a time in memory, beside the first
                yield name, open_model(self.model_arguments, self._checkpoint(name))

        result = measure_stability(
            models(),
            self.session.tokenizer,
            rollouts,
            head_set,
            min_sra=self.arguments.checkpoints_min_sra,
            min_pearson=self.arguments.checkpoints_min_pearson,
            batch_size=self.settings.batch_size,
            intervals=Intervals(self.settings.level, self.settings.resamples, self.settings.seed),
            progress=progress,
        )
        result.save(self.output_dir / "stability.json")
        save_stability(result, self.output_dir / "stability.png")
        return result


def check_proofs(arguments: DiscoverArguments, settings: DiscoverySettings) -> None:
    """Check what proofs are asked for before anything is loaded.

    Raises:
        ConfigError: options contradict each other, or an amount cannot be read.
        DataError: a file is missing.
    """
    for path in transfer_files(arguments):
        hint = f"name {', '.join(GROUPINGS)}, or labelled rollouts files{nearest(str(path), GROUPINGS)}"
        UserFile(path, name=f"--transfer {path}", hint=hint).check()
    if arguments.checkpoints and not arguments.verify:
        raise ConfigError("--checkpoints: compared on a head set's traces; name the head set with --verify")
    if arguments.verify and arguments.transfer:
        raise ConfigError("--transfer: chooses heads, --verify takes given ones; run them one after the other")
    if arguments.verify:
        rivals(settings.signals, flag="--signals")  # nothing is fitted here
    intervention_settings(arguments, settings)


def intervention_settings(arguments: DiscoverArguments, settings: DiscoverySettings) -> InterventionSettings:
    """Return how steps are deleted and answers regenerated."""
    return InterventionSettings(
        amounts=arguments.intervention_amounts,
        samples=arguments.intervention_samples,
        sampling=replace(settings.sampling, max_new_tokens=arguments.intervention_max_new_tokens),
        level=settings.level,
        resamples=settings.resamples,
    )


def transfer_files(arguments: DiscoverArguments) -> list[Path]:
    """Return the labelled rollouts files that heads are transferred to."""
    names = arguments.transfer
    return [] if names is None or names in GROUPINGS else [Path(part.strip()) for part in names.split(",")]
