"""Find and prove Key-Focus Heads: sample, gate, label, score every head, choose, report (method, section 2)."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress

from attnpo.attention import Head, HeadSet, check_readable, config_fingerprint, score_steps
from attnpo.collecting import Segments, Verifies, collect_rollouts, model_fingerprint, read_groups
from attnpo.credit import CreditSettings
from attnpo.datasets import ProblemRow
from attnpo.discovery.credit import credit_accuracy_intervals
from attnpo.discovery.gates import GateCounts, failed_gate, probing_set
from attnpo.discovery.random_model import random_copy
from attnpo.discovery.ranking import PairTable, pair_table, sra, sra_interval
from attnpo.discovery.result import DiscoveryResult, EnsembleResult, RuleResult, judge
from attnpo.discovery.selection import Ensemble, choose, ensemble_sra, greedy_selection, top_selection
from attnpo.discovery.settings import DiscoverySettings
from attnpo.errors import DataError
from attnpo.labeling import Labeler
from attnpo.output import prepare_output_dir
from attnpo.rollouts import Rollout
from attnpo.sampling import Sampler
from attnpo.statistics import Interval

Scores = list[NDArray[np.float32]]


def discover(
    model: Any,
    tokenizer: Any,
    problems: Sequence[ProblemRow],
    sampler: Sampler,
    segmenter: Segments,
    verifier: Verifies,
    labeler: Labeler,
    settings: DiscoverySettings,
    output_dir: Path,
    progress: Progress | None = None,
    *,
    model_name: str = "",
    dataset_name: str = "",
    labeler_name: str = "",
    context: Mapping[str, Any] | None = None,
    credit: CreditSettings | None = None,
) -> DiscoveryResult:
    """Run a discovery and write `discovery_rollouts.jsonl`, `discovery.json` and `heads.json`.

    Heads are chosen on one half of the problems; SRA, trivial rules and credit accuracy are measured on the other. A
    killed run continues where it stopped when called again with the same settings. Settings of choice and report may
    change.

    Args:
        model: the causal language model.
        tokenizer: its tokenizer.
        problems: the problems; at least one.
        sampler: draws the model's own responses.
        segmenter: cuts them into steps.
        verifier: judges them.
        labeler: labels the steps of the responses that pass the gates.
        settings: how to sample, gate and choose.
        output_dir: where the files go.
        progress: display, or None.
        model_name: the model, as results and head set should name it.
        dataset_name: the data set, as the results should name it.
        labeler_name: the labeler, as the results should name it.
        context: whatever else the responses depend on (verifier, step strategy, …), as JSON values; results in
            `output_dir` made under another context are refused.
        credit: settings of Eq. 6-8 for the credit accuracy; None takes the published ones.

    Raises:
        UnsupportedModelError: the model has no attention that can be read.
        DataError: there are no problems, or too few responses are left after the gates.
        OutputError: the folder cannot be written, or holds results of other settings.
    """
    start = time.perf_counter()
    if not problems:
        raise DataError("discover: there are no problems; give a data set with at least one row")
    check_readable(model)
    prepare_output_dir(output_dir)
    collected = collect_rollouts(
        output_dir / "discovery_rollouts.jsonl",
        problems,
        tokenizer=tokenizer,
        sampler=sampler,
        segmenter=segmenter,
        verifier=verifier,
        samples=settings.samples_per_problem,
        params=settings.sampling,
        settings={
            "model": model_name,
            "model_fingerprint": model_fingerprint(model),
            "dataset": dataset_name,
            "labeler": labeler_name,
            "min_pass_rate": settings.min_pass_rate,
            "min_steps": settings.min_steps,
            **(context or {}),
        },
        labeler=labeler,
        needs_labels=lambda rollout: failed_gate(rollout, settings.min_pass_rate, settings.min_steps) is None,
        progress=progress,
        description="sampling",
    )
    rollouts, gates = probing_set(read_groups(collected.path, problems), settings.min_pass_rate, settings.min_steps)
    selecting = _problems_to_select_on(rollouts, gates, settings)
    scores = score_steps(model, tokenizer, rollouts, batch_size=settings.batch_size, progress=progress)
    result = analyse(
        rollouts,
        scores,
        selecting,
        settings,
        gates=gates,
        layers_and_heads=_layers_and_heads(model),
        random_scores=_random_scores(model, tokenizer, rollouts, settings, progress),
        names={"model": model_name, "dataset": dataset_name, "labeler": labeler_name},
        credit=credit,
    )
    result = result.model_copy(update={"wall_seconds": time.perf_counter() - start})
    result.save(output_dir / "discovery.json")
    head_set(result, model).save(output_dir / "heads.json")
    return result


def analyse(
    rollouts: Sequence[Rollout],
    scores: Scores,
    selecting: set[str],
    settings: DiscoverySettings,
    *,
    gates: GateCounts,
    layers_and_heads: tuple[int, int],
    random_scores: Scores | None = None,
    names: Mapping[str, str],
    credit: CreditSettings | None = None,
) -> DiscoveryResult:
    """Choose heads on some problems and measure them on the others; no model, no files.

    Args:
        rollouts: the probing set: labelled, correct responses.
        scores: per response (K steps, N = layers × heads) scores.
        selecting: ids of the problems to choose heads on; the other problems are reported on.
        settings: how to choose.
        gates: how the probing set came about.
        layers_and_heads: layers, heads a layer.
        random_scores: the same responses scored by a random-initialised copy of the model.
        names: `model`, `dataset` and `labeler` as the result should name them.
        credit: settings for the credit accuracy.
    """
    select = [i for i, r in enumerate(rollouts) if r.problem_id in selecting]
    report = [i for i, r in enumerate(rollouts) if r.problem_id not in selecting]
    select_pairs, report_pairs = (
        pair_table([rollouts[i] for i in half], [scores[i] for i in half]) for half in (select, report)
    )
    n_layers, per_layer = layers_and_heads
    shape = (n_layers, per_layer)
    curves = {name: _curve(select_pairs, name, settings) for name in ("greedy", "top")}
    chosen = choose(curves[settings.selection], settings.num_heads)
    best_single = curves["top"][0].heads

    matched_M = report_pairs.length_matched_M

    def interval(differences_M: NDArray[np.float64], problems_M: NDArray[np.int64]) -> Interval:
        return sra_interval(differences_M, problems_M, settings.level, settings.resamples, settings.seed)

    def measured(differences_M: NDArray[np.float64]) -> RuleResult:
        return RuleResult(
            sra=interval(differences_M, report_pairs.problems_M),
            sra_length_matched=interval(differences_M[matched_M], report_pairs.problems_M[matched_M])
            if matched_M.any()
            else None,
        )

    trivial = {name: measured(differences_M) for name, differences_M in report_pairs.trivial_rules().items()}
    if random_scores is not None:
        random_select, random_report = (
            pair_table([rollouts[i] for i in half], [random_scores[i] for i in half]) for half in (select, report)
        )
        found = choose(_curve(random_select, settings.selection, settings), settings.num_heads)
        trivial["random model"] = measured(random_report.ensemble(found.heads))
        trivial["random model, all heads"] = measured(random_report.trivial_rules()["all heads"])

    ours = measured(report_pairs.ensemble(chosen.heads))
    pairs_of_heads = _as_heads(chosen.heads, per_layer)
    matched_problems = len(np.unique(report_pairs.problems_M[matched_M]))
    proven, verdict = judge(pairs_of_heads, ours.sra, ours.sra_length_matched, trivial, matched_problems)
    reported = [rollouts[i] for i in report]
    return DiscoveryResult(
        model=names["model"],
        dataset=names["dataset"],
        labeler=names["labeler"],
        seed=settings.seed,
        gates=gates,
        num_layers=n_layers,
        num_heads=per_layer,
        num_select=len(select),
        num_report=len(report),
        sra_select=sra(select_pairs.differences_MN).reshape(shape).tolist(),
        sra_report=sra(report_pairs.differences_MN).reshape(shape).tolist(),
        relative_attention=relative_attention(reported, [scores[i] for i in report]).reshape(shape).tolist(),
        pairs_report=len(report_pairs),
        pairs_report_length_matched=int(matched_M.sum()),
        problems_report_length_matched=matched_problems,
        greedy=_curve_results(curves["greedy"], report_pairs, per_layer),
        top=_curve_results(curves["top"], report_pairs, per_layer),
        chosen=pairs_of_heads,
        chosen_by=settings.selection,
        chosen_sra=ours.sra,
        chosen_sra_length_matched=ours.sra_length_matched,
        best_single_sra=measured(report_pairs.ensemble(best_single)).sra,
        trivial=trivial,
        credit_accuracy=credit_accuracy_intervals(
            reported,
            [scores[i][:, list(chosen.heads)].mean(axis=1, dtype=np.float64) for i in report],
            credit,
            level=settings.level,
            resamples=settings.resamples,
            seed=settings.seed,
        ),
        proven=proven,
        verdict=verdict,
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
            "seed": result.seed,
            "responses": {"selected_on": result.num_select, "reported_on": result.num_report},
            "pairs_reported_on": result.pairs_report,
            **{name: None if i is None else i.model_dump() for name, i in intervals.items()},
            "trivial": {name: rule.model_dump() for name, rule in result.trivial.items()},
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


def _curve_results(curve: Sequence[Ensemble], report: PairTable, per_layer: int) -> list[EnsembleResult]:
    return [
        EnsembleResult(
            heads=_as_heads(ensemble.heads, per_layer),
            sra_select=ensemble.sra,
            sra_report=ensemble_sra(report, ensemble.heads),
        )
        for ensemble in curve
    ]


def _as_heads(indices: Sequence[int], per_layer: int) -> list[tuple[int, int]]:
    return [divmod(index, per_layer) for index in indices]


def _problems_to_select_on(rollouts: Sequence[Rollout], gates: GateCounts, settings: DiscoverySettings) -> set[str]:
    ids = list(dict.fromkeys(rollout.problem_id for rollout in rollouts))
    if len(ids) < 2:
        raise DataError(
            f"discover: the responses left belong to {len(ids)} problems, at least 2 are needed to choose heads on one "
            f"half and report on the other ({gates.sentence()}); use more problems or samples, or lower min_pass_rate"
        )
    random.Random(settings.seed).shuffle(ids)
    return set(ids[: min(max(1, round(settings.select_share * len(ids))), len(ids) - 1)])


def _random_scores(
    model: Any,
    tokenizer: Any,
    rollouts: Sequence[Rollout],
    settings: DiscoverySettings,
    progress: Progress | None,
) -> Scores | None:
    if not settings.random_model:
        return None
    fresh = random_copy(model, settings.seed)
    return score_steps(
        fresh, tokenizer, rollouts, batch_size=settings.batch_size, progress=progress, description="random model"
    )


def _layers_and_heads(model: Any) -> tuple[int, int]:
    config = model.config.get_text_config(decoder=True)
    return config.num_hidden_layers, config.num_attention_heads
