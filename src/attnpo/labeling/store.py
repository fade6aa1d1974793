"""Labels on disk as they are made: a killed run goes on where it stopped and labels nothing twice."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.progress import Progress

from attnpo.errors import DataError, OutputError
from attnpo.files import UserFile
from attnpo.labeling.base import MayAnswerLater, RecallsLabels, StepLabeler, StepLabels, steps_fingerprint, with_labels
from attnpo.ledger import Ledger, json_row, settings_path
from attnpo.output import prepare_output_dir
from attnpo.progress import bar
from attnpo.rollouts import Rollout

log = logging.getLogger(__name__)

Key = tuple[str, int]
"""Problem id and sample number."""
StoredLabels = tuple[Key, str, StepLabels]


def label_rollouts(
    labeler: StepLabeler,
    rollouts: Sequence[Rollout],
    path: Path,
    progress: Progress | None = None,
    description: str = "labelling",
) -> list[Rollout]:
    """Label every response, writing each one's labels the moment they are known.

    Args:
        labeler: what labels.
        rollouts: the segmented responses; problem id and sample name each one. Those without steps are left as they
            are.
        path: the labels file, one response a row; what it holds is not labelled again. The labeler's settings lie
            beside it as `<stem>.settings.json`.
        progress: display, or None.
        description: text of the progress bar.

    Returns:
        all rollouts, in their order; the steps of those that the labeler has no labels for carry none.

    Raises:
        DataError: two rollouts have the same name, a labeler's answer or a row is malformed, or not one response
            could be labelled.
        OutputError: the file was made with other settings or for other responses, or cannot be written.
        EngineError: a server that labels is gone for good; what was labelled before is on disk.
    """
    wanted = [rollout for rollout in rollouts if rollout.steps]
    by_key = _by_key(wanted)
    prepare_output_dir(path.parent)
    try:
        ledger = Ledger(path, _PARSE, {"labeler": labeler.name, **labeler.settings})
    except OutputError as error:
        anew = f"to label the same responses anew, remove {path} and {settings_path(path)}"
        raise OutputError(f"{error}; {anew}") from error
    done: dict[Key, StepLabels] = {}
    stored = _stored(ledger, by_key)
    for key, labels in stored.items():
        if isinstance(labeler, MayAnswerLater) and not labeler.is_final(labels):
            continue
        if isinstance(labeler, RecallsLabels):
            labeler.recall(by_key[key], labels)
        done[key] = labels
    todo = [rollout for key, rollout in by_key.items() if key not in done]
    path.touch()
    with bar(progress, description, len(wanted), done=len(done)) as advance:
        for index, labels in labeler.label(todo) if todo else ():
            rollout = todo[index]
            if labels.labels:
                with_labels(rollout, labels.labels, f"labeler {labeler.name}")
            if stored.get(_key(rollout)) != labels:
                ledger.append(_row(rollout, labels))
            done[_key(rollout)] = labels
            advance(1, _unlabelled_note(done.values()))
    missing = [key for key in by_key if key not in done]
    if missing:
        raise DataError(f"labeler {labeler.name}: said nothing of {len(missing)} responses, first {missing[0]}")
    _say_unlabelled(labeler, list(done.values()))
    return [_labelled(rollout, done) for rollout in rollouts]


def read_labels(path: Path) -> Iterator[StoredLabels]:
    """Yield `((problem id, sample), fingerprint of the response's steps, labels)` of every row of a labels file.

    Raises:
        DataError: the file is missing, or a row is malformed.
    """
    return (_PARSE(line, where) for where, line in UserFile(path, "labels file").lines())


def _stored_labels(row: Any) -> StoredLabels:
    labels = StepLabels(tuple(row["labels"]), dict(row["evidence"]))
    return (row["problem_id"], row["sample"]), row["fingerprint"], labels


_PARSE = json_row("a row of labels", _stored_labels, "remove it to label the response again")


def _stored(ledger: Ledger[StoredLabels], wanted: dict[Key, Rollout]) -> dict[Key, StepLabels]:
    """Return what the file holds of the wanted responses; of one that was labelled again, the later labels."""
    found: dict[Key, StepLabels] = {}
    for where, (key, fingerprint, labels) in ledger.rows():
        rollout = wanted.get(key)
        if rollout is None:
            continue
        if fingerprint != steps_fingerprint(rollout):
            raise OutputError(
                f"{where}: labels another response, or other steps, of problem {key[0]!r}, sample {key[1]}; remove the "
                "file or choose another output folder"
            )
        if labels.labels:
            with_labels(rollout, labels.labels, where)
        found[key] = labels
    return found


def _row(rollout: Rollout, labels: StepLabels) -> str:
    row = {
        "problem_id": rollout.problem_id,
        "sample": rollout.sample,
        "fingerprint": steps_fingerprint(rollout),
        "labels": list(labels.labels),
        "evidence": dict(labels.evidence),
    }
    return json.dumps(row, ensure_ascii=False)


def _key(rollout: Rollout) -> Key:
    return rollout.problem_id, rollout.sample


def _by_key(rollouts: Iterable[Rollout]) -> dict[Key, Rollout]:
    by_key: dict[Key, Rollout] = {}
    for rollout in rollouts:
        if by_key.setdefault(_key(rollout), rollout) is not rollout:
            raise DataError(
                f"rollouts: problem {rollout.problem_id!r}, sample {rollout.sample} appears twice; "
                "give every response to a problem a sample number of its own"
            )
    return by_key


def _labelled(rollout: Rollout, done: dict[Key, StepLabels]) -> Rollout:
    labels = done[_key(rollout)].labels if rollout.steps else ()
    return with_labels(rollout, labels) if labels else rollout


def _unlabelled_note(done: Iterable[StepLabels]) -> str | None:
    count = sum(not labels.labels for labels in done)
    return f"{count} without labels" if count else None


def _say_unlabelled(labeler: StepLabeler, done: Sequence[StepLabels]) -> None:
    reasons = Counter(labels.reason for labels in done if not labels.labels)
    if not reasons:
        return
    counts = ", ".join(f"{count}: {reason}" for reason, count in reasons.most_common())
    if reasons.total() == len(done):
        raise DataError(f"labeler {labeler.name}: none of the {len(done)} responses could be labelled ({counts})")
    log.warning("labeler %s: %d of %d responses have no labels (%s)", labeler.name, reasons.total(), len(done), counts)
