"""Find Key-Focus Heads: gate and label traces, score every head on them, choose, report (AttnPO, Key-Focus Heads)."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.attention import Head, HeadSet, config_fingerprint, readable_heads
from attnpo.credit import CreditSettings
from attnpo.discovery.gates import GateCounts, Gates
from attnpo.discovery.halves import selecting_problems
from attnpo.discovery.measure import labelled_pairs, measure
from attnpo.discovery.random_model import random_copy
from attnpo.discovery.ranking import PairTable, sra
from attnpo.discovery.result import DiscoveryResult, EnsembleResult
from attnpo.discovery.selection import Ensemble, choose, ensemble_sra, greedy_selection, top_selection
from attnpo.discovery.settings import DiscoverySettings
from attnpo.discovery.signals import fitted_probe, rule_result
from attnpo.errors import DataError
from attnpo.labeling import StepLabeler, label_rollouts
from attnpo.output import prepare_output_dir
from attnpo.rollouts import Rollout, write_rollouts
from attnpo.signals import Signal, StepScores, rivals, score_signals, score_steps, wants_probe
from attnpo.signals.heads import EachHead
from attnpo.signals.probe import Probe, StepStates
from attnpo.statistics import Interval

Scores = list[NDArray[np.float32]]

PROBING_SET_FILE, PROBE_FILE = "probing_set.jsonl", "probe.json"


@dataclass(frozen=True)
class Discovered:
    """What a discovery leaves in memory for the proofs that follow it.

    Attributes:
        result: what was measured, as in `discovery.json`.
        head_set: the chosen heads, as in `heads.json`.
        rollouts: the probing set: labelled, correct responses.
        scores: per response (K steps, N heads).
        heads: the N heads that were read.
        selecting: problems that the heads were chosen on; proofs are made on the others.
    """

    result: DiscoveryResult
    head_set: HeadSet
    rollouts: list[Rollout]
    scores: Scores
    heads: list[Head]
    selecting: set[str]


def discover(
    model: Any,
    tokenizer: Any,
    traces: Sequence[Rollout],
    labeler: StepLabeler,
    settings: DiscoverySettings,
    output_dir: Path,
    progress: Progress | None = None,
    *,
    model_name: str = "",
    dataset_name: str = "",
    source: str = "sampled",
    credit: CreditSettings | None = None,
) -> Discovered:
    """Label traces, score every head on them, choose heads and prove them.

    Heads are chosen on one half of the problems; SRA, trivial rules and credit accuracy are measured on the other.
    Writes `labels.jsonl` as labels come in (a killed run labels nothing twice), `probing_set.jsonl` (the labelled
    traces that passed every gate), `probe.json` (unless `settings.signals` leaves it out), `discovery.json` and
    `heads.json`.

    Args:
        model: the causal language model.
        tokenizer: its tokenizer.
        traces: the model's own responses, verified and cut into steps (`sample_traces`, `read_traces`).
        labeler: labels the steps of the responses that pass the gates.
        settings: how to gate and choose.
        output_dir: where the files go.
        progress: display, or None.
        model_name: the model, as results and head set should name it.
        dataset_name: the data set, as the results should name it.
        source: where the traces came from, as the results should name it.
        credit: settings of Eq. 6-8 for the credit accuracy; None takes the published ones.

    Raises:
        UnsupportedModelError: the model has no attention that can be read, or lacks what a signal reads.
        DataError: too few responses are left after the gates.
        OutputError: the folder cannot be written, or holds labels of other settings.
    """
    start = time.perf_counter()
    heads, unreadable = readable_heads(model)
    signals: list[Signal] = rivals(settings.signals, seed=settings.seed, fits_probe=True)
    for signal in signals:
        signal.check(model)
    prepare_output_dir(output_dir)
    gates = Gates(settings.min_pass_rate, settings.min_steps)
    passing = gates.before_labels(traces)
    if not passing:
        raise DataError(
            f"discover: no response passes the gates ({gates.counts.sentence()}); use more problems or samples, or "
            "lower min_pass_rate"
        )
    rollouts = gates.after_labels(label_rollouts(labeler, passing, output_dir / "labels.jsonl", progress))
    selecting = _problems_to_select_on(rollouts, gates.counts, settings)
    write_rollouts(output_dir / PROBING_SET_FILE, rollouts)
    states = [StepStates()] if wants_probe(settings.signals) else []
    signal_scores = score_signals(
        model,
        tokenizer,
        rollouts,
        [EachHead(heads), *signals, *states],
        batch_size=settings.batch_size,
        temperature=settings.temperature or 1.0,
        progress=progress,
    )
    scores = signal_scores.pop(EachHead.name)
    if states:
        read = signal_scores.pop(StepStates.name)
        fitting = [i for i, rollout in enumerate(rollouts) if rollout.problem_id in selecting]
        probe = fitted_probe(model, [rollouts[i] for i in fitting], [read[i] for i in fitting], model_name)
        probe.save(output_dir / PROBE_FILE)
        signal_scores[Probe.name] = [states_KD @ np.array(probe.weights, dtype=np.float32) for states_KD in read]
    result = analyse(
        rollouts,
        scores,
        selecting,
        settings,
        signal_scores=signal_scores,
        gates=gates.counts,
        heads=heads,
        layers_and_heads=_layers_and_heads(model),
        random_scores=_random_scores(model, tokenizer, rollouts, heads, settings, progress),
        names={"model": model_name, "dataset": dataset_name, "labeler": labeler.name},
        credit=credit,
    )
    result = result.model_copy(
        update={
            "unreadable_layers": unreadable,
            "labeling": labeler.report(),
            "traces": source,
            "wall_seconds": time.perf_counter() - start,
        }
    )
    result.save(output_dir / "discovery.json")
    found = head_set(result, model)
    found.save(output_dir / "heads.json")
    return Discovered(result, found, rollouts, scores, heads, selecting)


def analyse(
    rollouts: Sequence[Rollout],
    scores: Scores,
    selecting: set[str],
    settings: DiscoverySettings,
    *,
    gates: GateCounts,
    heads: Sequence[Head],
    layers_and_heads: tuple[int, int],
    random_scores: Scores | None = None,
    signal_scores: Mapping[str, StepScores] | None = None,
    names: Mapping[str, str],
    credit: CreditSettings | None = None,
) -> DiscoveryResult:
    """Choose heads on some problems and measure them on the others; no model, no files.

    Args:
        rollouts: the probing set: labelled, correct responses.
        scores: per response (K steps, N heads) scores.
        selecting: ids of the problems to choose heads on; the other problems are reported on.
        settings: how to choose.
        gates: how the probing set came about.
        heads: the N heads that were read, one a column of the scores.
        layers_and_heads: layers, heads a layer.
        random_scores: the same responses scored by a random-initialised copy of the model.
        signal_scores: by name of a rival signal, per response (K,) scores.
        names: `model`, `dataset` and `labeler` as the result should name them.
        credit: settings for the credit accuracy.
    """
    select = [i for i, r in enumerate(rollouts) if r.problem_id in selecting]
    report = [i for i, r in enumerate(rollouts) if r.problem_id not in selecting]

    def half(values: Sequence[Any], indices: Sequence[int]) -> list[Any]:
        return [values[i] for i in indices]

    select_pairs, report_pairs = (
        labelled_pairs(half(rollouts, indices), half(scores, indices)) for indices in (select, report)
    )
    curves = {name: _curve(select_pairs, name, settings) for name in ("greedy", "top")}
    chosen = choose(curves[settings.selection], settings.num_heads)
    random_chosen = None
    if random_scores is not None:
        random_pairs = labelled_pairs(half(rollouts, select), half(random_scores, select))
        random_chosen = choose(_curve(random_pairs, settings.selection, settings), settings.num_heads).heads
    measured = measure(
        half(rollouts, report),
        half(scores, report),
        chosen.heads,
        heads,
        settings,
        random_scores=None if random_scores is None else half(random_scores, report),
        random_chosen=random_chosen,
        signal_scores={name: half(own, report) for name, own in (signal_scores or {}).items()},
        credit=credit,
    )
    best_single = rule_result(report_pairs, report_pairs.ensemble(curves["top"][0].heads), settings)

    def layer_map(values_N: Sequence[float]) -> list[list[float | None]]:
        by_head = dict(zip(heads, values_N, strict=True))
        layers, per_layer = layers_and_heads
        return [[by_head.get(Head(layer, head)) for head in range(per_layer)] for layer in range(layers)]

    return DiscoveryResult(
        model=names["model"],
        dataset=names["dataset"],
        labeler=names["labeler"],
        seed=settings.seed,
        gates=gates,
        num_layers=layers_and_heads[0],
        num_heads=layers_and_heads[1],
        num_select=len(select),
        num_report=len(report),
        sra_select=layer_map(sra(select_pairs.differences_MN).tolist()),
        sra_report=layer_map([interval.value for interval in measured.per_head]),
        sra_report_low=layer_map([interval.low for interval in measured.per_head]),
        sra_report_high=layer_map([interval.high for interval in measured.per_head]),
        ties=measured.ties,
        relative_attention=layer_map(relative_attention(half(rollouts, report), half(scores, report)).tolist()),
        pairs_report=measured.pairs,
        pairs_report_length_matched=measured.pairs_length_matched,
        problems_report_length_matched=measured.problems_length_matched,
        greedy=_curve_results(curves["greedy"], report_pairs, heads),
        top=_curve_results(curves["top"], report_pairs, heads),
        chosen=_as_heads(chosen.heads, heads),
        chosen_by=settings.selection,
        chosen_sra=measured.sra,
        chosen_sra_length_matched=measured.sra_length_matched,
        best_single_sra=best_single.sra,
        trivial=measured.trivial,
        signals=measured.signals,
        credit_accuracy=measured.credit_accuracy,
        proven=measured.proven,
        verdict=measured.verdict,
        wall_seconds=0.0,
    )


def head_set(result: DiscoveryResult, model: Any) -> HeadSet:
    """Return the chosen heads as a head set that carries their evidence."""
    intervals: dict[str, Interval | None] = {
        "sra": result.chosen_sra,
        "sra_length_matched": result.chosen_sra_length_matched,
        "best_single_sra": result.best_single_sra,
    }
    return HeadSet(
        model_id=result.model,
        config_fingerprint=config_fingerprint(model.config),
        num_layers=result.num_layers,
        num_heads=result.num_heads,
        heads=[Head(*head) for head in result.chosen],
        sra=result.chosen_sra.value,
        found_by=result.chosen_by,
        evidence={
            "dataset": result.dataset,
            "labeler": result.labeler,
            "labeling": result.labeling,
            "gates": result.gates.model_dump(),
            "seed": result.seed,
            "responses": {"selected_on": result.num_select, "reported_on": result.num_report},
            "pairs_reported_on": result.pairs_report,
            **{name: None if i is None else i.model_dump() for name, i in intervals.items()},
            "trivial": {n: r.model_dump(exclude={"credit_accuracy"}) for n, r in result.trivial.items()},
            "credit_accuracy": {cell: i.model_dump() for cell, i in result.credit_accuracy.items()},
            "proven": result.proven,
            "verdict": result.verdict,
        },
    )


def relative_attention(rollouts: Sequence[Rollout], scores: Scores) -> NDArray[np.float64]:
    """Return (N,) mean over essential and redundant steps of the score over |F|/|o|, its value under even attention."""
    rows = [
        scores_KN[k].astype(np.float64) * rollout.n_tokens / (rollout.answer_tokens[1] - rollout.answer_tokens[0])
        for rollout, scores_KN in zip(rollouts, scores, strict=True)
        for k, step in enumerate(rollout.steps)
        if step.label in ("essential", "redundant")
        and step.tokens[1] > step.tokens[0]
        and rollout.answer_tokens[1] > rollout.answer_tokens[0]
    ]
    return np.mean(rows, axis=0) if rows else np.zeros(scores[0].shape[1])


def _curve(pairs: PairTable, selection: str, settings: DiscoverySettings) -> list[Ensemble]:
    select = greedy_selection if selection == "greedy" else top_selection
    return select(pairs, max(settings.num_heads, settings.curve_heads))


def _curve_results(curve: Sequence[Ensemble], report: PairTable, heads: Sequence[Head]) -> list[EnsembleResult]:
    return [
        EnsembleResult(
            heads=_as_heads(ensemble.heads, heads),
            sra_select=ensemble.sra,
            sra_report=ensemble_sra(report, ensemble.heads),
        )
        for ensemble in curve
    ]


def _as_heads(columns: Sequence[int], heads: Sequence[Head]) -> list[tuple[int, int]]:
    return [(heads[n].layer, heads[n].head) for n in columns]


def _problems_to_select_on(rollouts: Sequence[Rollout], gates: GateCounts, settings: DiscoverySettings) -> set[str]:
    ids = list(dict.fromkeys(rollout.problem_id for rollout in rollouts))
    if len(ids) < 2:
        raise DataError(
            f"discover: the responses left belong to {len(ids)} problems, at least 2 are needed to choose heads on one "
            f"half and report on the other ({gates.sentence()}); use more problems or samples, or lower min_pass_rate"
        )
    return selecting_problems(ids, settings.select_share, settings.seed)


def _random_scores(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    heads: Sequence[Head],
    settings: DiscoverySettings,
    progress: Progress | None,
) -> Scores | None:
    if not settings.random_model:
        return None
    fresh = random_copy(model, settings.seed)
    return score_steps(
        fresh, tokenizer, rollouts, heads, batch_size=settings.batch_size, progress=progress, description="random model"
    )


def _layers_and_heads(model: Any) -> tuple[int, int]:
    config = model.config.get_text_config(decoder=True)
    return config.num_hidden_layers, config.num_attention_heads
