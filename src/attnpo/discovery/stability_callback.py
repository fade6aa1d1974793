"""The probe inside a training run: every k steps the model in training reads the fixed probe set."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate.utils import broadcast_object_list
from numpy.typing import NDArray
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from attnpo.attention import Head, HeadSet, readable_heads
from attnpo.discovery.evidence import Reselection, StabilityPoint, StabilityResult
from attnpo.discovery.probe import ProbeSettings, StartScores
from attnpo.discovery.stability import crossings, select_again, stability_point
from attnpo.discovery.verify import with_evidence
from attnpo.errors import OutputError
from attnpo.output import write_atomically
from attnpo.rollouts import Rollout
from attnpo.signals import score_steps

log = logging.getLogger(__name__)

RESULT_FILE, POINTS_FILE, START_FILE = "stability.json", "stability.jsonl", "probe_start.npz"
HEADS_FILE = "heads_probed.json"


class StabilityCallback(TrainerCallback):
    """Scores the probe set with the model in training, and says so when its heads lose their meaning.

    Training itself is not touched: no gradients, evaluation mode for the pass alone, no random numbers drawn. The
    first process reads while the others wait; where parameters are sharded over processes all of them make the pass
    together. The first one's numbers count everywhere.

    Writes `stability.jsonl` (one point a line), `stability.json`, `probe_start.npz` (the scores at the start) and
    `heads_probed.json` (the heads in force, which carry this evidence) into `output_dir`, and `heads-STEP.json` where
    heads were chosen anew. A run that goes on from a checkpoint finds them
    there: points of steps that it makes again are dropped, and heads chosen before the checkpoint are put in force.
    """

    def __init__(
        self,
        tokenizer: Any,
        rollouts: Sequence[Rollout],
        heads: HeadSet,
        output_dir: Path,
        settings: ProbeSettings | None = None,
        *,
        report: Callable[[Mapping[str, float]], None] | None = None,
        on_reselect: Callable[[HeadSet], None] | None = None,
        model_name: str = "",
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            tokenizer: renders the prompts.
            rollouts: the probe set (`read_probe`).
            heads: the head set at the start.
            output_dir: where the files go.
            settings: how to probe.
            report: gets `probe/sra` and the like at each probe, on every process, to be written into the log line of
                that step.
            on_reselect: gets each new head set, on every process.
            model_name: model that training starts from, as the result names it.
        """
        self.tokenizer = tokenizer
        self.rollouts = list(rollouts)
        self.original = heads
        self.heads = heads
        self.output_dir = output_dir
        self.settings = settings or ProbeSettings()
        self.report = report
        self.on_reselect = on_reselect
        self.model_name = model_name
        self.points: list[StabilityPoint] = []
        self.reselections: list[Reselection] = []
        self._start: StartScores | None = None
        self._is_first = True

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Read the start, or what an earlier run left of it."""
        self._is_first = state.is_world_process_zero
        found = self._earlier(state.global_step) if self._is_first and state.global_step > 0 else None
        self.points, self.reselections = _from_first(found) or ([], [])
        if self.reselections:
            self._put_in_force(self.reselections[-1])
        if self.points:
            if self._is_first:
                self._write()
            return
        if state.global_step > 0 and self._is_first:
            log.warning(
                "probe: no scores of step 0 in %s; step %d counts as the start", self.output_dir, state.global_step
            )
        heads = readable_heads(kwargs["model"])[0] if self.settings.reselect else self.original.heads
        scores = self._score(kwargs["model"], heads)
        if scores is not None:
            self._start = StartScores.of(heads, scores)
            self.output_dir.mkdir(parents=True, exist_ok=True)
            self._start.save(self.output_dir / START_FILE, self.rollouts)
            scores = self._start.of_heads(self.heads.heads)
        self._add_point(scores, state.global_step)
        self._mind_bounds(kwargs["model"], state.global_step, warned=0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Probe every k steps and after the last one; asks for a log line at that step."""
        if state.global_step % self.settings.every and state.global_step < state.max_steps:
            return
        warned = len(self._warnings())
        self._add_point(self._score(kwargs["model"], self.heads.heads), state.global_step)
        if self.report is not None:
            self.report(_metrics(self.points[-1]))
        control.should_log = True
        self._mind_bounds(kwargs["model"], state.global_step, warned)

    @property
    def result(self) -> StabilityResult:
        """Everything so far."""
        return StabilityResult(
            model=self.model_name,
            heads=_as_pairs(self.original.heads),
            points=self.points,
            min_sra=self.settings.min_sra,
            min_pearson=self.settings.min_pearson,
            warnings=self._warnings(),
            reselections=self.reselections,
            num_responses=len(self.rollouts),
            num_steps=sum(len(rollout.steps) for rollout in self.rollouts),
        )

    def _warnings(self) -> list[str]:
        return crossings(self.points, self.settings.min_sra, self.settings.min_pearson)

    def _mind_bounds(self, model: Any, step: int, warned: int) -> None:
        """Warn of what fell under its bound with the last point, and choose heads anew where that is asked for."""
        fresh = self._warnings()[warned:]
        if self._is_first:
            for line in fresh:
                log.warning("probe: %s", line)
        if fresh and self.settings.reselect:
            self._reselect(model, step)

    def _earlier(self, step: int) -> tuple[list[StabilityPoint], list[Reselection]] | None:
        """Points and re-selections of an earlier run up to `step`; None where it was not probed."""
        path = self.output_dir / START_FILE
        if not (path.exists() and (self.output_dir / RESULT_FILE).exists()):
            return None
        self._start = StartScores.load(path, self.rollouts)
        needed = set(self.original.heads)
        if not needed <= set(self._start.by_head) or (self.settings.reselect and needed == set(self._start.by_head)):
            raise OutputError(
                f"{path}: does not hold the scores of every head asked for; keep heads and probe_reselect of the "
                "first run, or choose another output_dir"
            )
        result = StabilityResult.load(self.output_dir / RESULT_FILE)
        return (
            [point for point in result.points if (point.step or 0) <= step],
            [each for each in result.reselections if each.step <= step],
        )

    def _add_point(self, scores: list[NDArray[np.float32]] | None, step: int) -> None:
        point = None
        if scores is not None:
            assert self._start is not None
            point = stability_point(
                self.rollouts,
                scores,
                self._start.of_heads(self.heads.heads),
                self.heads.heads,
                name=f"step {step}",
                step=step,
                intervals=self.settings.intervals,
            )
        self.points.append(_from_first(point))
        if self._is_first:
            self._write()

    def _reselect(self, model: Any, step: int) -> None:
        heads = readable_heads(model)[0]
        scores = self._score(model, heads)
        reselection = None
        if scores is not None:
            found = select_again(
                self.rollouts,
                scores,
                [heads.index(head) for head in self.heads.heads],
                num_heads=self.settings.num_heads or len(self.original.heads),
                seed=self.settings.intervals.seed,
            )
            reselection = Reselection(
                step=step,
                old=_as_pairs(self.heads.heads),
                new=_as_pairs([heads[n] for n in found.columns]),
                sra_old=found.sra_old,
                sra_new=found.sra_new,
            )
        chosen: Reselection = _from_first(reselection)
        self.reselections.append(chosen)
        self._put_in_force(chosen)
        if self._is_first:
            log.warning("probe: %s", _told(chosen))
            if chosen.new != chosen.old:
                self.heads.save(self.output_dir / f"heads-{step}.json")
            self._write()

    def _put_in_force(self, chosen: Reselection) -> None:
        if chosen.new == _as_pairs(self.heads.heads):
            return
        self.heads = self.original.model_copy(
            update={
                "heads": [Head(*pair) for pair in chosen.new],
                "sra": chosen.sra_new,
                "found_by": "greedy",
                "evidence": {"reselected_at_step": chosen.step, "instead_of": [list(pair) for pair in chosen.old]},
            }
        )
        if self.on_reselect is not None:
            self.on_reselect(self.heads)

    def _score(self, model: Any, heads: Sequence[Head]) -> list[NDArray[np.float32]] | None:
        """Scores of the probe set, on the first process; the others get None."""
        sharded = _is_sharded(model)
        if not (self._is_first or sharded):
            return None
        # The layers of an adapter stay in the model below it, which can leave out logits that nobody reads.
        base = model.get_base_model() if hasattr(model, "get_base_model") and not sharded else model
        with torch.random.fork_rng(devices=_cuda_devices(model)):
            scores = score_steps(base, self.tokenizer, self.rollouts, heads, batch_size=self.settings.batch_size)
        return scores if self._is_first else None

    def _write(self) -> None:
        result = self.result
        text = "".join(point.model_dump_json() + "\n" for point in result.points)
        path = self.output_dir / POINTS_FILE
        stored = path.read_text(encoding="utf-8") if path.exists() else ""
        if text.startswith(stored):
            with path.open("a", encoding="utf-8") as file:
                file.write(text[len(stored) :])
        else:
            write_atomically(path, text)
        result.save(self.output_dir / RESULT_FILE)
        with_evidence(self.heads, stability=result).save(self.output_dir / HEADS_FILE)


def _as_pairs(heads: Sequence[Head]) -> list[tuple[int, int]]:
    return [(head.layer, head.head) for head in heads]


def _metrics(point: StabilityPoint) -> dict[str, float]:
    metrics = {"probe/sra": point.sra.value, "probe/pearson": point.pearson.value}
    if point.sra_length_matched is not None:
        metrics["probe/sra_length_matched"] = point.sra_length_matched.value
    return metrics


def _told(chosen: Reselection) -> str:
    old, new = (", ".join(f"{layer}.{head}" for layer, head in pairs) for pairs in (chosen.old, chosen.new))
    if chosen.new == chosen.old:
        return f"step {chosen.step}: no other heads do better than {old} (SRA {chosen.sra_old:.3f}); they stay"
    return (
        f"step {chosen.step}: heads {new} (SRA {chosen.sra_new:.3f} on the half they were not chosen on) take the "
        f"place of {old} ({chosen.sra_old:.3f})"
    )


def _from_first(value: Any) -> Any:
    """Return the first process's value on every process."""
    box = [value]
    broadcast_object_list(box, from_process=0)
    return box[0]


def _is_sharded(model: Any) -> bool:
    """Whether each process holds a part of the parameters only (ZeRO-3, FSDP), so that all must make a pass."""
    if any(type(module).__name__ == "FullyShardedDataParallel" for module in model.modules()):
        return True
    return any(hasattr(parameter, "ds_id") or hasattr(parameter, "device_mesh") for parameter in model.parameters())


def _cuda_devices(model: Any) -> list[int]:
    devices = {parameter.device for parameter in model.parameters()}
    return sorted({device.index or 0 for device in devices if device.type == "cuda"})
