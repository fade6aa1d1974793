"""Step labels without a label and without a judge: by what deleting a step does to the model's own answer."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from rich.progress import Progress

from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.labeling.base import StepLabels, no_labels, steps_fingerprint
from attnpo.labeling.causal.calibration import Threshold, calibrate
from attnpo.labeling.causal.deletion import TraceBuilder
from attnpo.labeling.causal.effects import effects_alone, eliminate, open_trace
from attnpo.labeling.causal.effects_file import EffectsFile, Measurement
from attnpo.labeling.causal.resampling import resampled_accuracy
from attnpo.labeling.causal.scorer import Cost, VariantScorer
from attnpo.labeling.causal.settings import CausalSettings
from attnpo.output import write_atomically
from attnpo.progress import bar
from attnpo.rollouts import Rollout, check_token_ids
from attnpo.sampling import Sampler, TransformersSampler
from attnpo.statistics import Floats
from attnpo.verification import Verifier

log = logging.getLogger(__name__)

_EFFECTS = ("model_fingerprint", "causal_target")
_CALIBRATION = ("causal_calibration", "causal_confidence", "causal_false_alarms", "causal_threshold")
_Name = tuple[str, int, str]
"""Problem id, sample, fingerprint of the response's steps."""
_QUANTILES = (0.0, 0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99, 1.0)


class CausalLabeler:
    """Labels the steps of a model's own correct responses by the effect of deleting them.

    Effects of all responses are measured first and written as they are made; then the threshold is found from them,
    once, and kept beside them; then the responses are labelled. A killed run measures nothing twice.

    Attributes:
        name: "causal".
        settings: what the labels depend on.
    """

    name = "causal"

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        settings: CausalSettings,
        path: Path,
        verifier: Verifier | None = None,
        sampler: Sampler | None = None,
        progress: Progress | None = None,
        *,
        model_fingerprint: str = "",
        engine: Mapping[str, Any] | None = None,
    ):
        """Prepare; nothing is computed or written yet.

        Args:
            model: the model that wrote the responses.
            tokenizer: its tokenizer.
            settings: how to measure and calibrate.
            path: the effects file (JSON Lines); its settings and the threshold lie beside it as `<stem>.settings.json`
                and `<stem>.threshold.json`.
            verifier: judges resampled answers.
            sampler: draws resampled answers; the model itself if absent.
            progress: display, or None.
            model_fingerprint: tells this model from others under the same name; effects of another are refused.
            engine: tells what draws resampled answers from other engines and weights, as JSON values; None where it is
                the model. Answers of another are drawn again; labels that were stored of them are refused.

        Raises:
            ConfigError: answers are to be resampled, but there is no verifier.
        """
        if settings.causal_resample and verifier is None:
            raise ConfigError("causal_resample: resampled answers have to be verified; give a verifier, or set it to 0")
        drawn_by = {} if engine is None else {"causal_resample_engine": dict(engine)}
        self.settings: Mapping[str, Any] = {"model_fingerprint": model_fingerprint, **asdict(settings), **drawn_by}
        self._settings = settings
        self._model, self._tokenizer = model, tokenizer
        self._path, self._progress = path, progress
        self._verifier, self._sampler = verifier, sampler
        self._traces = TraceBuilder(tokenizer)
        self._scorer = VariantScorer(
            model,
            batch_tokens=settings.causal_batch_tokens,
            pass_tokens=settings.causal_pass_tokens,
            share_prefix=settings.causal_share_prefix,
        )
        self._threshold: Threshold | None = None
        self._recalled: set[_Name] = set()
        self._labels: Counter[str] = Counter()
        self._responses = 0
        self._lost: dict[str, list[float]] = {}

    def label(self, rollouts: Sequence[Rollout]) -> Iterator[tuple[int, StepLabels]]:
        """Yield `(index, labels)`: at once of responses that cannot be labelled, of the others once all are measured.

        Evidence is `effects` (nats), one a step and null for a step that owns no token; `alone`, the effects before the
        second look; and, where answers were resampled, `accuracy_lost`.

        Raises:
            OutputError: the effects file belongs to other settings or other responses, or some of the responses have
                labels by another threshold than the one that is kept.
            DataError: there are too few effects to find a threshold, or a response is malformed: its steps, or a
                token that the model does not know.
        """
        wanted: list[int] = []
        for index, rollout in enumerate(rollouts):
            reason = _why_not(rollout)
            if reason is None:
                wanted.append(index)
            else:
                yield index, no_labels(reason)
        if not wanted:
            return
        chosen = [rollouts[index] for index in wanted]
        check_token_ids(chosen, int(self._model.config.get_text_config(decoder=True).vocab_size))
        file = self._open()
        self._measure_alone(file, chosen)
        threshold = self._find_threshold(file, chosen)
        if self._settings.causal_eliminate:
            self._eliminate(file, chosen, threshold)
        if self._settings.causal_resample:
            self._resample(file, chosen)
        for index, rollout in zip(wanted, chosen, strict=True):
            labels = self._labelled(file, rollout, threshold)
            self.recall(rollout, labels)
            yield index, labels

    def recall(self, rollout: Rollout, labels: StepLabels) -> None:
        """Take the labels of one response into the report."""
        if not labels.labels:
            return
        self._recalled.add(_name(rollout))
        self._responses += 1
        self._labels.update(labels.labels)
        for label, lost in zip(labels.labels, labels.evidence.get("accuracy_lost", ()), strict=False):
            if lost is not None:
                self._lost.setdefault(label, []).append(lost)

    def report(self) -> dict[str, Any]:
        """Return threshold, distribution of the effects, labels and cost, over all runs that wrote the effects file."""
        file = self._open()
        threshold = self._threshold or self._stored_threshold()[0]
        effects = _finite([value for row in file.rows(self._final) for value in row["effects"]])
        report: dict[str, Any] = {
            "responses": self._responses,
            "labels": dict(self._labels),
            "threshold": None if threshold is None else threshold.model_dump(),
            "doubtful": None if threshold is None else threshold.doubtful,
            "effect_quantiles": {f"{q:g}": float(np.quantile(effects, q)) for q in _QUANTILES} if len(effects) else {},
            "answer_logprob": _mean([row["answer_logprob"] for row in file.rows("alone")]),
            "open_seams": sum(row["open_seams"] for row in file.rows("alone")),
            "plain_because": self._scorer.plain_because,
            "cost": {},
        }
        kinds: tuple[Measurement, ...] = ("alone", "eliminated")
        for measurement in kinds:
            total = Cost()
            for row in file.rows(measurement):
                total = total.plus(Cost(**row["cost"]))
            if total.variants:
                report["cost"][measurement] = {**asdict(total), "tokens_over_plain": total.tokens / total.plain_tokens}
        if self._lost:
            report["accuracy_lost"] = {label: float(np.mean(lost)) for label, lost in self._lost.items()}
        return report

    @property
    def _final(self) -> Measurement:
        return "eliminated" if self._settings.causal_eliminate else "alone"

    def _open(self) -> EffectsFile:
        return EffectsFile(self._path, {name: self.settings[name] for name in _EFFECTS})

    def _measure_alone(self, file: EffectsFile, rollouts: Sequence[Rollout]) -> None:
        done = [rollout for rollout in rollouts if file.get(rollout, "alone")]
        with bar(self._progress, "effects of steps", len(rollouts), done=len(done)) as advance:
            for rollout in rollouts:
                if file.get(rollout, "alone"):
                    continue
                trace, before = self._traces(rollout), self._scorer.cost.plus(Cost())
                prefix = open_trace(self._scorer, trace)
                effects_K = effects_alone(self._scorer, prefix, trace, self._settings.causal_target)
                row = {
                    "effects": _jsonable(effects_K),
                    "answer_logprob": float(prefix.logprobs[-len(trace.answer) :].sum()),
                    "open_seams": sum(trace.open_seams((k,)) for k in trace.deletable),
                    "cost": asdict(self._scorer.cost.plus(before, -1)),
                }
                file.add(rollout, "alone", row)
                advance(1, self._speed())

    def _eliminate(self, file: EffectsFile, rollouts: Sequence[Rollout], threshold: Threshold) -> None:
        todo = [rollout for rollout in rollouts if not self._eliminated(file, rollout, threshold)]
        with bar(self._progress, "second look", len(rollouts), done=len(rollouts) - len(todo)) as advance:
            for rollout in todo:
                trace, before = self._traces(rollout), self._scorer.cost.plus(Cost())
                alone_K = _array((file.get(rollout, "alone") or {})["effects"])
                found_K = alone_K
                deleted = tuple(np.flatnonzero(alone_K <= threshold.threshold).tolist())
                # A single dispensable step is measured in the whole trace, as it was.
                if len(deleted) > 1:
                    prefix = open_trace(self._scorer, trace)
                    found = eliminate(
                        self._scorer, prefix, trace, alone_K, threshold.threshold, self._settings.causal_target
                    )
                    found_K, deleted = found.effects, found.deleted
                row = {
                    "effects": _jsonable(found_K),
                    "deleted": list(deleted),
                    "threshold": threshold.threshold,
                    "cost": asdict(self._scorer.cost.plus(before, -1)),
                }
                file.add(rollout, "eliminated", row)
                advance(1, self._speed())

    def _eliminated(self, file: EffectsFile, rollout: Rollout, threshold: Threshold) -> bool:
        row = file.get(rollout, "eliminated")
        return row is not None and row["threshold"] == threshold.threshold

    def _resample(self, file: EffectsFile, rollouts: Sequence[Rollout]) -> None:
        assert self._verifier is not None
        sampler = self._sampler or TransformersSampler(self._model, self._tokenizer)
        how = {name: value for name, value in self.settings.items() if name.startswith("causal_resample")}
        todo = [rollout for rollout in rollouts if (file.get(rollout, "resampled") or {}).get("how") != how]
        with bar(self._progress, "resampling answers", len(rollouts), done=len(rollouts) - len(todo)) as advance:
            for rollout in todo:
                accuracy = resampled_accuracy(
                    rollout,
                    self._traces(rollout),
                    self._settings.causal_resample,
                    self._settings.sampling,
                    tokenizer=self._tokenizer,
                    sampler=sampler,
                    verifier=self._verifier,
                )
                row = {"accuracy": float(accuracy[0]), "without": _jsonable(accuracy[1:]), "how": how}
                file.add(rollout, "resampled", row)
                advance(1)

    def _find_threshold(self, file: EffectsFile, rollouts: Sequence[Rollout]) -> Threshold:
        threshold, found_from = self._stored_threshold()
        if self._recalled and found_from.isdisjoint(self._recalled):
            raise OutputError(
                f"{self._threshold_path}: not the threshold by which {len(self._recalled)} of the responses have "
                "labels; to label all by one, remove this file and the labels"
            )
        if threshold is None or not (self._recalled or found_from <= set(map(_name, rollouts))):
            rows = [file.get(rollout, "alone") or {} for rollout in rollouts]
            threshold = calibrate(_finite([value for row in rows for value in row["effects"]]), self._settings)
            content = {
                "settings": self._threshold_settings(),
                "threshold": threshold.model_dump(),
                "found_from": sorted(map(_name, rollouts)),
            }
            write_atomically(self._threshold_path, json.dumps(content, indent=2) + "\n")
        if threshold.doubtful is not None:
            log.warning("causal labels: %s; do not trust the threshold before looking at them", threshold.doubtful)
        self._threshold = threshold
        return threshold

    def _stored_threshold(self) -> tuple[Threshold | None, set[_Name]]:
        """Return the threshold an earlier run found with these settings, and the responses that it was found from."""
        if not self._threshold_path.exists():
            return None, set()
        try:
            stored = json.loads(self._threshold_path.read_text(encoding="utf-8"))
            if stored["settings"] != self._threshold_settings():
                return None, set()
            return Threshold(**stored["threshold"]), {(str(a), int(b), str(c)) for a, b, c in stored["found_from"]}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{self._threshold_path}: not a threshold ({error}); remove it to find it again") from error

    def _threshold_settings(self) -> dict[str, Any]:
        return {name: self.settings[name] for name in (*_EFFECTS, *_CALIBRATION)}

    @property
    def _threshold_path(self) -> Path:
        return self._path.with_name(f"{self._path.stem}.threshold.json")

    def _labelled(self, file: EffectsFile, rollout: Rollout, threshold: Threshold) -> StepLabels:
        alone = (file.get(rollout, "alone") or {})["effects"]
        effects = (file.get(rollout, self._final) or {})["effects"]
        evidence: dict[str, Any] = {"effects": effects}
        if self._settings.causal_eliminate:
            evidence["alone"] = alone
        resampled = file.get(rollout, "resampled") if self._settings.causal_resample else None
        if resampled is not None:
            evidence["accuracy_lost"] = [
                None if without is None else resampled["accuracy"] - without for without in resampled["without"]
            ]
        return StepLabels(tuple(threshold.label(effect) for effect in _array(effects).tolist()), evidence)

    def _speed(self) -> str:
        cost = self._scorer.cost
        return f"{cost.tokens / max(cost.seconds, 1e-9):,.0f} tok/s"


def _name(rollout: Rollout) -> _Name:
    return rollout.problem_id, rollout.sample, steps_fingerprint(rollout)


def _why_not(rollout: Rollout) -> str | None:
    if rollout.correct is False:
        return "the answer is not correct"
    if rollout.answer_tokens[1] <= rollout.answer_tokens[0]:
        return "there is no final answer"
    if not any(step.tokens[1] > step.tokens[0] for step in rollout.steps):
        return "no step owns a token"
    return None


def _mean(values: Sequence[float]) -> float | None:
    return float(np.mean(values)) if values else None


def _jsonable(values: Floats) -> list[float | None]:
    return [None if np.isnan(value) else float(f"{value:.6g}") for value in values.tolist()]


def _array(values: Sequence[float | None]) -> Floats:
    return np.array([np.nan if value is None else value for value in values], dtype=np.float64)


def _finite(values: Sequence[float | None]) -> Floats:
    array = _array(values)
    return array[np.isfinite(array)]
