"""Do heads found on one kind of problem serve on another? Easy and hard ones, subjects, data sets: one table."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

import numpy as np

from attnpo.attention import Head
from attnpo.datasets import ProblemRow
from attnpo.discovery.evidence import TransferResult, TransferRow
from attnpo.discovery.halves import selecting_problems
from attnpo.discovery.measure import Scores
from attnpo.discovery.ranking import PairTable, pair_table, wins
from attnpo.discovery.selection import choose, greedy_selection, top_selection
from attnpo.discovery.settings import DiscoverySettings
from attnpo.discovery.signals import rule_result
from attnpo.errors import ConfigError, DataError
from attnpo.rollouts import Rollout
from attnpo.statistics import Interval, paired_difference_interval

PROBLEM_GROUPINGS = ("difficulty", "subject")
"""What a problem states itself."""
GROUPINGS = (*PROBLEM_GROUPINGS, "pass_rate")


def check_grouping(rows: Iterable[Rollout | ProblemRow], key: str) -> None:
    """Check that all rows state what they are grouped by.

    Raises:
        DataError: one does not.
    """
    for row in rows:
        if getattr(row, key) is None:
            raise DataError(
                f"transfer: problem {row.problem_id!r} has no {key}; name the data set's column, or group by "
                f"{', '.join(name for name in GROUPINGS if name != key)}"
            )


def transfer_groups(rollouts: Sequence[Rollout], key: str) -> list[str]:
    """Return the group of each response.

    Args:
        rollouts: the responses.
        key: `difficulty` or `subject` as the data set states them, or `pass_rate`: "easy" above the median pass rate
            of the problems (at it, where none is higher), else "hard". For data sets or files, give `transfer_table`
            their names instead.

    Raises:
        ConfigError: there is no such key.
        DataError: a response lacks it.
    """
    if key not in GROUPINGS:
        raise ConfigError(f"transfer: no grouping {key!r}; choose one of {', '.join(GROUPINGS)}")
    check_grouping(rollouts, key)
    values = [getattr(rollout, key) for rollout in rollouts]
    if key != "pass_rate":
        return [str(value) for value in values]
    rates = {rollout.problem_id: float(value) for rollout, value in zip(rollouts, values, strict=True)}
    middle, highest = statistics.median(rates.values()), max(rates.values())
    return ["easy" if rate > middle or rate == highest else "hard" for rate in map(float, values)]


def transfer_table(
    rollouts: Sequence[Rollout],
    scores: Scores,
    groups: Sequence[str],
    heads: Sequence[Head],
    settings: DiscoverySettings,
    *,
    model_name: str = "",
    grouped_by: str = "",
) -> TransferResult:
    """Choose heads on each group and report them on every other one.

    Each group's problems fall into two parts, one to choose on and one to report on; a problem that is in several
    groups is in the same part of all. A group without pairs in both parts, or with one problem to report on, is left
    out. Beside each row stands the set that the reported group chose for itself, on the
    same pairs.

    Args:
        rollouts: labelled, correct responses.
        scores: per response (K steps, N heads).
        groups: group of each response.
        heads: the head of each column.
        settings: how to choose (`num_heads`, `selection`, `select_share`, `seed`), and the intervals.
        model_name: the model, as the result should name it.
        grouped_by: what tells the groups apart, as the result should name it.

    Raises:
        DataError: fewer than two groups are left.
    """
    selecting = _parts(rollouts, groups, settings)
    tables: dict[str, tuple[PairTable, PairTable]] = {}
    left_out = []
    for group in _ordered(groups):
        halves = [
            [i for i, r in enumerate(rollouts) if groups[i] == group and (r.problem_id in selecting) == chosen]
            for chosen in (True, False)
        ]
        select, report = (_pairs(rollouts, scores, half) for half in halves)
        if select is None or report is None:
            part = "choose" if select is None else "report"
            left_out.append(f"{group}: no pair of an essential and a redundant step to {part} on")
        elif len(np.unique(report.problems_M)) < 2:
            left_out.append(f"{group}: one problem to report on, which has no interval")
        else:
            tables[group] = (select, report)
    if len(tables) < 2:
        raise DataError(
            f"transfer: needs two groups with pairs to choose and to report on, found {len(tables)} of "
            f"{len(set(groups))} ({'; '.join(left_out) or 'all responses are in one group'}); label more responses"
        )
    found = {group: _choose(select, settings) for group, (select, _) in tables.items()}
    rows = [
        _row(selected, reported, tables[reported][1], found, heads, settings)
        for selected in tables
        for reported in tables
        if selected != reported
    ]
    return TransferResult(model=model_name, grouped_by=grouped_by, rows=rows, left_out=left_out)


def _row(
    selected: str,
    reported: str,
    pairs: PairTable,
    found: dict[str, tuple[int, ...]],
    heads: Sequence[Head],
    settings: DiscoverySettings,
) -> TransferRow:
    ours_M, theirs_M = pairs.ensemble(found[selected]), pairs.ensemble(found[reported])
    ours = rule_result(pairs, ours_M, settings)
    return TransferRow(
        selected_on=selected,
        reported_on=reported,
        heads=[(heads[n].layer, heads[n].head) for n in found[selected]],
        sra=ours.sra,
        sra_length_matched=ours.sra_length_matched,
        pairs=len(pairs),
        best_there=rule_result(pairs, theirs_M, settings).sra,
        best_there_heads=[(heads[n].layer, heads[n].head) for n in found[reported]],
        difference=_difference(pairs, ours_M, theirs_M, settings),
    )


def _difference(
    pairs: PairTable,
    ours_M: np.ndarray,
    theirs_M: np.ndarray,
    settings: DiscoverySettings,
) -> Interval:
    problems = pairs.problems_M.tolist()
    return paired_difference_interval(
        wins(theirs_M),
        wins(ours_M),
        problems,
        problems,
        level=settings.level,
        n_resamples=settings.resamples,
        seed=settings.seed,
    )


def _choose(pairs: PairTable, settings: DiscoverySettings) -> tuple[int, ...]:
    select = greedy_selection if settings.selection == "greedy" else top_selection
    return choose(select(pairs, settings.num_heads), settings.num_heads).heads


def _pairs(rollouts: Sequence[Rollout], scores: Scores, indices: Sequence[int]) -> PairTable | None:
    """Pairs of some responses; None where there are none."""
    if not indices:
        return None
    pairs = pair_table([rollouts[i] for i in indices], [scores[i] for i in indices])
    return pairs if len(pairs) else None


def _parts(rollouts: Sequence[Rollout], groups: Sequence[str], settings: DiscoverySettings) -> set[str]:
    """The problems to choose heads on: a share of each group's, decided once for a problem that is in several."""
    chosen: set[str] = set()
    decided: set[str] = set()
    for group in _ordered(groups):
        ids = {r.problem_id: None for r, g in zip(rollouts, groups, strict=True) if g == group}
        new = [problem_id for problem_id in ids if problem_id not in decided]
        decided.update(new)
        if len(new) > 1:
            chosen |= selecting_problems(new, settings.select_share, settings.seed)
    return chosen


def _ordered(groups: Sequence[str]) -> list[str]:
    """The groups, numbers by value."""
    return sorted(set(groups), key=lambda name: (0, float(name), name) if _is_number(name) else (1, 0.0, name))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
