from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import DataError, OutputError
from attnpo.labeling import LABELS, FileLabeler, FunctionLabeler, label_rollouts, response_sha256
from attnpo.labeling.file import LabelledSpan, labels_of_spans
from attnpo.rollouts import Rollout, Step

TEXT = "One. \n\nTwo, three.\n\nFour.\n</think>\n4"
STEPS = tuple(Step(chars, chars) for chars in ((0, 7), (7, 20), (20, 26)))
ROLLOUT = Rollout("p", "q", "4", 1, tuple(range(9)), TEXT, True, True, STEPS)
OTHER = replace(ROLLOUT, problem_id="7", sample=0, response=TEXT + "!")


def labeler(tmp_path, *rows):
    path = tmp_path / "labels.jsonl"
    path.write_text("".join((row if isinstance(row, str) else json.dumps(row)) + "\n" for row in rows))
    return FileLabeler(path)


def row(**changes):
    fields = {"problem_id": "p", "sample": 1, "labels": ["essential", "redundant", "undecided"], **changes}
    return {name: value for name, value in fields.items() if value is not None}


def only(labeler):
    [(_, labels)] = labeler.label([ROLLOUT])
    return labels


def test_rows_name_responses_by_problem_or_by_hash(tmp_path):
    by_hash = {"response_sha256": response_sha256(OTHER.response).upper(), "labels": ["redundant"] * 3}
    both = labeler(tmp_path, row(), by_hash)
    assert [(i, labels.labels) for i, labels in both.label([OTHER, ROLLOUT])] == [
        (0, ("redundant",) * 3),
        (1, ("essential", "redundant", "undecided")),
    ]
    assert both.report() == {"rows": 2, "rows_used": 2}
    assert both.name == "file:labels.jsonl"
    numbered = labeler(tmp_path, row(problem_id=7, sample=0))
    assert len(next(numbered.label([OTHER]))[1].labels) == 3
    # The hash anyone can compute: `printf %s "$response" | sha256sum`.
    assert response_sha256("abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_responses_the_file_does_not_name_are_counted_as_unlabelled(tmp_path, caplog):
    out = label_rollouts(labeler(tmp_path, row()), [ROLLOUT, OTHER], tmp_path / "out" / "labels.jsonl")
    assert [step.label for step in out[1].steps] == [None] * 3
    assert "1 of 2 responses have no labels (1: no row in labels.jsonl)" in caplog.text
    nobody = labeler(tmp_path, row(problem_id="x"))
    with pytest.raises(DataError, match=r"none of the 2 responses could be labelled \(2: no row in labels.jsonl\)"):
        label_rollouts(nobody, [ROLLOUT, OTHER], tmp_path / "none" / "labels.jsonl")
    assert nobody.report() == {"rows": 1, "rows_used": 0}


def test_a_changed_file_is_other_labels(tmp_path):
    out = tmp_path / "out" / "labels.jsonl"
    label_rollouts(labeler(tmp_path, row()), [ROLLOUT], out)
    again = labeler(tmp_path, row())
    label_rollouts(again, [ROLLOUT], out)
    assert again.report() == {"rows": 1, "rows_used": 1}
    with pytest.raises(OutputError, match="labels_sha256"):
        label_rollouts(labeler(tmp_path, row(labels=["essential"] * 3)), [ROLLOUT], out)


def test_a_labels_file_of_an_earlier_run_can_be_given_back(tmp_path):
    made = tmp_path / "made" / "labels.jsonl"
    rule = FunctionLabeler(lambda question, response, steps: ["essential", "redundant", "redundant"], "rule")
    label_rollouts(rule, [ROLLOUT, OTHER], made)
    again = label_rollouts(FileLabeler(made), [ROLLOUT, OTHER], tmp_path / "again.jsonl")
    assert [step.label for step in again[1].steps] == ["essential", "redundant", "redundant"]
    moved = replace(ROLLOUT, steps=(*STEPS[:1], Step((7, 21), (7, 21)), Step((21, 26), (21, 26))))
    with pytest.raises(DataError, match=r"made/labels.jsonl, row 1: its `fingerprint` is that of another response"):
        list(FileLabeler(made).label([moved]))


def test_spans_label_the_steps_they_cover(tmp_path):
    spans = [
        {"start": 0, "end": 4, "label": "essential"},  # all of "One."
        {"start": 12, "end": 18, "label": "redundant"},  # "three." of "Two,three."
        {"start": 20, "end": 22, "label": "redundant"},  # "Fo" of "Four."
    ]
    labels = only(labeler(tmp_path, row(labels=None, spans=spans)))
    assert labels.labels == ("essential", "redundant", "undecided")


def naive(text, chars, spans):
    """Character by character."""
    inked = [i for i in range(*chars) if not text[i].isspace()]
    counts = {
        label: sum(any(s.label == label and s.start <= i < s.end for s in spans) for i in inked) for label in LABELS
    }
    best = max(counts.values())
    winners = [label for label, count in counts.items() if count == best]
    return winners[0] if best and 2 * best >= len(inked) and len(winners) == 1 else "undecided"


@given(
    st.lists(st.tuples(st.integers(0, 25), st.integers(1, 12), st.sampled_from(LABELS)), min_size=1, max_size=6),
)
def test_spans_cover_steps_as_counting_characters_says(drawn):
    spans = [LabelledSpan(start, start + length, label) for start, length, label in drawn]
    assert labels_of_spans(ROLLOUT, spans) == tuple(naive(TEXT, step.chars, spans) for step in STEPS)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "holds no row"),
        (["{"], "row 1: not JSON"),
        (["", "[1]"], "row 2: not a JSON object"),
        ([row(labels=None)], "row 1: give either `labels`"),
        ([row(spans=[])], "row 1: give either `labels`"),
        ([row(labels=None, spans=[])], "row 1: `spans` must be a list of"),
        ([row(labels="essential")], "row 1: `labels` must be a list"),
        ([row(labels=["essential", "vital"])], "row 1, step 1: label 'vital' is not one of essential, redundant"),
        ([row(labels=[["essential"]])], "row 1, step 0: label \\['essential'\\] is not one of"),
        ([row(problem_id=None)], "row 1: name the response"),
        ([row(sample=None)], "row 1: `sample` must be the number"),
        ([row(sample=True)], "row 1: `sample` must be the number"),
        ([row(sample=-1)], "row 1: `sample` must be the number"),
        ([row(sample="1")], "row 1: `sample` must be the number"),
        ([row(problem_id=["p"])], "row 1: `problem_id` must be text"),
        ([row(lables=[])], "row 1: there is no field 'lables'; a row has problem_id, sample"),
        ([row(), row(sample=0, note="x")], "row 2: there is no field 'note'; .* notes belong in `evidence`"),
        ([row(evidence="x")], "row 1: `evidence` must be an object"),
        ([row(fingerprint=7)], "row 1: `fingerprint` must be text"),
        (["[" * 100_000], "row 1: not JSON"),
        ([row(labels=None, spans=[{"start": True, "end": 4, "label": "essential"}])], "span 0: `start` and `end` must"),
        ([row(response_sha256="ab")], "row 1: `response_sha256` must be 64"),
        ([row(), row(problem_id="q"), row()], "row 3: labels the same response as .*row 1; remove one"),
        ([row(labels=None, spans=[{"start": 3, "end": 3, "label": "essential"}])], "span 0: `start` and `end` must"),
        ([row(labels=None, spans=[{"start": 3, "end": 4, "label": "vital"}])], "row 1, span 0: label 'vital'"),
        ([row(labels=None, spans=[{"start": 3}])], "row 1, span 0: needs `start`, `end` and `label`"),
    ],
)
def test_malformed_rows_are_named_before_anything_is_labelled(tmp_path, rows, message):
    with pytest.raises(DataError, match=message) as caught:
        labeler(tmp_path, *rows)
    assert "labels.jsonl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (row(labels=["essential"]), r"row 1: 1 labels, but the response \(problem 'p', sample 1\) has 3 steps"),
        (row(labels=[]), "row 1: 0 labels, but"),
        (
            row(labels=None, spans=[{"start": 3, "end": 99, "label": "essential"}]),
            "row 1: a span ends at 99, but the response .* has 36 characters",
        ),
    ],
)
def test_rows_that_do_not_fit_their_response_are_named(tmp_path, bad, message):
    with pytest.raises(DataError, match=message):
        only(labeler(tmp_path, bad))


def test_two_rows_that_name_one_response_in_two_ways_are_refused(tmp_path):
    by_hash = {"response_sha256": response_sha256(ROLLOUT.response), "labels": ["redundant"] * 3}
    with pytest.raises(DataError, match=r"row 2: labels problem 'p', sample 1, as .*row 1 does"):
        only(labeler(tmp_path, row(), by_hash))


def test_a_hash_beside_the_name_is_checked(tmp_path):
    twins = [replace(ROLLOUT, sample=0), ROLLOUT]
    rows = [row(sample=sample, response_sha256=response_sha256(TEXT)) for sample in range(2)]
    assert len(list(labeler(tmp_path, *rows).label(twins))) == 2
    with pytest.raises(DataError, match=r"row 1: its `response_sha256` is that of another response than problem 'p'"):
        only(labeler(tmp_path, row(response_sha256="0" * 64)))


def test_a_binary_file_is_no_labels_file(tmp_path):
    path = tmp_path / "labels.jsonl"
    path.write_bytes(json.dumps(row()).encode() + b"\n\x80\x02}q\x00\xff.")
    with pytest.raises(DataError, match=r"labels.jsonl, row 2: not text in UTF-8"):
        FileLabeler(path)
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(row()).encode() + b"\r\n")
    assert only(FileLabeler(path)).labels == ("essential", "redundant", "undecided")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"absent.jsonl: no such labels file"):
        FileLabeler(tmp_path / "absent.jsonl")
