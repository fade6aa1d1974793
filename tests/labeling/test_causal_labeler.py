from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer

from attnpo.errors import ConfigError, DataError, OutputError
from attnpo.labeling import StepLabels, label_rollouts, label_steps
from attnpo.labeling.causal import CausalLabeler, CausalSettings
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, SampleRequest, SamplingParams
from attnpo.segmentation import Segmenter, build_strategy
from attnpo.tinyworld import checkpoint_path, generate_problems, reference_trace
from attnpo.tinyworld import label_steps as oracle
from attnpo.verification import build_verifier

Small = tuple[Any, Any, list[Rollout]]


@pytest.fixture(scope="module")
def small() -> Small:
    """The shipped checkpoint, and reference traces that overthink; the oracle's labels are on the steps."""
    model = AutoModelForCausalLM.from_pretrained(checkpoint_path()).eval()
    tokenizer = AutoTokenizer.from_pretrained(checkpoint_path())
    segmenter = Segmenter(tokenizer, build_strategy("paragraphs"))
    rollouts = []
    for problem in generate_problems("train", 8, seed=3, difficulties=(2,)):
        text = reference_trace(problem, random.Random(problem.id))
        ids = [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        prompt = [{"role": "user", "content": problem.question}]
        rollout = Rollout(problem.id, prompt, problem.solution, 0, tuple(ids), text, True, True)
        rollouts.append(label_steps(oracle, rollout.with_segmentation(segmenter(ids))))
    return model, tokenizer, rollouts


def labeler(small: Small, path: Path, **settings: Any) -> CausalLabeler:
    return CausalLabeler(small[0], small[1], CausalSettings(**settings), path, model_fingerprint="m")


def all_labels(small: Small, path: Path, **settings: Any) -> dict[int, StepLabels]:
    return dict(labeler(small, path, **settings).label(small[2]))


@pytest.fixture(scope="module")
def uninterrupted(small: Small, tmp_path_factory: pytest.TempPathFactory) -> dict[int, StepLabels]:
    return all_labels(small, tmp_path_factory.mktemp("causal") / "effects.jsonl")


def test_labels_agree_with_the_oracle(small: Small, uninterrupted: dict[int, StepLabels]) -> None:
    pairs = [
        (said, step.label, effect)
        for index, labels in uninterrupted.items()
        for said, step, effect in zip(labels.labels, small[2][index].steps, labels.evidence["effects"], strict=True)
        if step.label != "undecided"
    ]
    effects = {truth: np.array([e for _, t, e in pairs if t == truth]) for truth in ("essential", "redundant")}
    auc = (effects["essential"][:, None] > effects["redundant"]).mean()
    assert auc > 0.95
    decided = [(said, truth) for said, truth, _ in pairs if said != "undecided"]
    assert len(decided) > 0.9 * len(pairs)
    assert np.mean([said == truth for said, truth in decided]) > 0.9


def test_evidence_and_report(small: Small, tmp_path: Path) -> None:
    causal = labeler(small, tmp_path / "effects.jsonl")
    labelled = label_rollouts(causal, small[2], tmp_path / "labels.jsonl")
    assert [len(r.steps) for r in labelled] == [len(r.steps) for r in small[2]]
    rows = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    report = causal.report()
    assert report["responses"] == len(rows) == 8
    assert sum(report["labels"].values()) == sum(len(r.steps) for r in small[2])
    every = [effect for row in rows for effect in row["evidence"]["effects"]]
    assert report["effect_quantiles"]["0.5"] == pytest.approx(np.median(every))
    low, high = report["threshold"]["redundant_up_to"], report["threshold"]["essential_above"]
    for row in rows:
        for effect, label in zip(row["evidence"]["effects"], row["labels"], strict=True):
            assert label == ("essential" if effect > high else "redundant" if effect <= low else "undecided")
    cost = report["cost"]
    assert cost["alone"]["variants"] == 8 + len(every)
    assert cost["alone"]["tokens"] < cost["alone"]["plain_tokens"]
    assert cost["alone"]["tokens_over_plain"] == cost["alone"]["tokens"] / cost["alone"]["plain_tokens"]
    assert report["plain_because"] is None
    assert report["doubtful"] is None
    json.dumps(report, allow_nan=False)
    # A later run labels nothing, and reports the same.
    again = labeler(small, tmp_path / "effects.jsonl")
    assert label_rollouts(again, small[2], tmp_path / "labels.jsonl") == labelled
    assert again.report() == report


def test_plain_passes_give_the_same_labels(small: Small, tmp_path: Path, uninterrupted: dict[int, StepLabels]) -> None:
    found = all_labels(small, tmp_path / "effects.jsonl", causal_share_prefix=False)
    for index, labels in found.items():
        assert labels.labels == uninterrupted[index].labels
        np.testing.assert_allclose(
            labels.evidence["effects"], uninterrupted[index].evidence["effects"], atol=1e-4, rtol=1e-5
        )


class Killed(Exception):
    pass


@pytest.mark.parametrize("calls", [3, 15, 30])
def test_a_killed_run_measures_nothing_twice(
    small: Small, tmp_path: Path, uninterrupted: dict[int, StepLabels], monkeypatch: pytest.MonkeyPatch, calls: int
) -> None:
    path, left = tmp_path / "effects.jsonl", [calls]
    forward = small[0].forward

    def mortal(*args: Any, **arguments: Any) -> Any:
        left[0] -= 1
        if left[0] < 0:
            raise Killed
        return forward(*args, **arguments)

    first = labeler(small, path)
    with monkeypatch.context() as patch:
        patch.setattr(small[0], "forward", mortal)
        with pytest.raises(Killed):
            list(first.label(small[2]))
    before = path.read_text(encoding="utf-8")
    path.write_text(before + '{"problem_id": "half', encoding="utf-8")
    assert {i: labels.labels for i, labels in labeler(small, path).label(small[2])} == {
        i: labels.labels for i, labels in uninterrupted.items()
    }
    after = path.read_text(encoding="utf-8")
    assert after.startswith(before)
    rows = [json.loads(line) for line in after.splitlines()]
    names = [(row["problem_id"], row["sample"], row["measurement"]) for row in rows]
    assert len(names) == len(set(names)) == 2 * 8


def test_the_threshold_found_once_serves_the_responses_left_over(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "effects.jsonl"
    whole = all_labels(small, path)
    stored = (tmp_path / "effects.threshold.json").read_text()
    goes_on = labeler(small, path)
    for index in range(2, len(small[2])):
        goes_on.recall(small[2][index], whole[index])
    assert dict(goes_on.label(small[2][:2])) == {0: whole[0], 1: whole[1]}
    assert (tmp_path / "effects.threshold.json").read_text() == stored
    # Another calibration finds its own, on the effects already measured.
    rows = path.read_text().splitlines()
    other = all_labels(small, path, causal_eliminate=False, causal_threshold=1e9)
    assert {label for labels in other.values() for label in labels.labels} == {"redundant"}
    assert path.read_text().splitlines() == rows


def test_a_threshold_serves_no_other_responses(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "effects.jsonl"
    whole = all_labels(small, path)
    alone = dict(labeler(small, tmp_path / "alone.jsonl").label(small[2][:5]))
    # Some of the responses that it was found from are not asked for: another trial in the same folder.
    assert dict(labeler(small, path).label(small[2][:5])) == alone
    found = json.loads((tmp_path / "effects.threshold.json").read_text())
    assert found == json.loads((tmp_path / "alone.threshold.json").read_text())
    assert [name[0] for name in found["found_from"]] == sorted(rollout.problem_id for rollout in small[2][:5])
    # Where some of them have labels by it, labels of two thresholds would stand side by side.
    mixed = labeler(small, path)
    mixed.recall(small[2][7], whole[7])
    with pytest.raises(OutputError, match=r"effects\.threshold\.json: not the threshold by which 1 of the responses"):
        list(mixed.label(small[2][5:7]))
    grown = labeler(small, path)
    grown.recall(small[2][0], alone[0])
    list(grown.label(small[2][5:7]))
    assert json.loads((tmp_path / "effects.threshold.json").read_text()) == found


def test_effects_of_others_are_refused(small: Small, tmp_path: Path) -> None:
    path = tmp_path / "effects.jsonl"
    all_labels(small, path, causal_eliminate=False)
    with pytest.raises(OutputError, match="other settings: causal_target"):
        all_labels(small, path, causal_eliminate=False, causal_target="trace")
    with pytest.raises(OutputError, match="model_fingerprint"):
        list(CausalLabeler(*small[:2], CausalSettings(), path, model_fingerprint="x").label(small[2]))
    changed = replace(small[2][0], response=small[2][0].response + "!")
    with pytest.raises(OutputError, match="another response, or of other steps"):
        list(labeler(small, path).label([changed]))
    path.write_text(path.read_text() + '{"problem_id": 1}\n')
    with pytest.raises(DataError, match="row 9: not a row of effects"):
        list(labeler(small, path).label(small[2]))
    (tmp_path / "effects.threshold.json").write_text("{}")
    path.write_text("".join(line + "\n" for line in path.read_text().splitlines()[:-1]))
    with pytest.raises(DataError, match="not a threshold"):
        list(labeler(small, path).label(small[2]))


def test_responses_that_cannot_be_labelled_say_why(small: Small, tmp_path: Path) -> None:
    rollout = small[2][0]
    stepless = tuple(replace(step, tokens=(0, 0)) for step in rollout.steps)
    odd = [replace(rollout, correct=False), replace(rollout, answer_tokens=(5, 5)), replace(rollout, steps=stepless)]
    path = tmp_path / "effects.jsonl"
    reasons = [labels.reason for _, labels in labeler(small, path).label(odd)]
    assert reasons == ["the answer is not correct", "there is no final answer", "no step owns a token"]
    assert not path.exists()
    found = dict(labeler(small, path).label([odd[0], *small[2]]))
    assert not found[0].labels
    assert all(found[index + 1].labels for index in range(8))


class AnswerByHand:
    """Answers right as long as the think part still says the last value; notes what it is asked."""

    def __init__(self, tokenizer: Any, rollout: Rollout):
        self.tokenizer, self.rollout, self.asked = tokenizer, rollout, []  # type: ignore[var-annotated]

    def sample(
        self, requests: Sequence[SampleRequest], params: SamplingParams
    ) -> Iterator[tuple[int, SampledResponse]]:
        for index in reversed(range(len(requests))):
            text = self.tokenizer.decode(requests[index].prompt_ids)
            assert requests[index].prompt == text  # nobody may ask the question anew
            self.asked.append((requests[index].key, requests[index].sample))
            right = f"={self.rollout.solution}." in text.replace(" ", "") and requests[index].sample != 3
            answer = self.rollout.solution if right else "no"
            ids = self.tokenizer(f"The answer is \\boxed{{{answer}}}.", add_special_tokens=False)["input_ids"]
            yield index, SampledResponse([*ids, self.tokenizer.eos_token_id], True)


def test_resampled_answers(small: Small, tmp_path: Path) -> None:
    model, tokenizer, rollouts = small
    rollout = rollouts[0]
    sampler = AnswerByHand(tokenizer, rollout)
    settings, drawn = CausalSettings(causal_resample=4, causal_threshold=0.3), []
    with build_verifier("exact") as verifier:
        causal = CausalLabeler(model, tokenizer, settings, tmp_path / "e.jsonl", verifier, sampler)
        [(_, labels)] = causal.label([rollout])
        list(causal.label([rollout]))
        asked = len(sampler.asked)
        for weights in ("a", "a", "b"):
            engine = {"engine": {"engine": "server"}, "served": {"weights": weights}}
            other = AnswerByHand(tokenizer, rollout)
            again = CausalLabeler(model, tokenizer, settings, tmp_path / "e.jsonl", verifier, other, engine=engine)
            list(again.label([rollout]))
            drawn.append(len(other.asked))
    assert drawn == [asked, 0, asked]  # what other weights answered is no answer of these
    lost = labels.evidence["accuracy_lost"]
    text = rollout.response
    says = [f"={rollout.solution}." in text[slice(*step.chars)].replace(" ", "") for step in rollout.steps]
    assert sum(says) == 1
    assert lost == [0.75 if said else 0.0 for said in says]
    assert len(sampler.asked) == len(set(sampler.asked)) == 4 * (1 + len(says))
    by_label = {
        name: [x for x, label in zip(lost, labels.labels, strict=True) if label == name] for name in labels.labels
    }
    assert causal.report()["accuracy_lost"] == {name: np.mean(values) for name, values in by_label.items()}


def test_resampling_with_the_model_itself(small: Small, tmp_path: Path) -> None:
    model, tokenizer, rollouts = small
    settings = CausalSettings(causal_resample=2, causal_resample_tokens=64, causal_threshold=0.3)
    with build_verifier("exact") as verifier:
        causal = CausalLabeler(model, tokenizer, settings, tmp_path / "e.jsonl", verifier)
        found = list(causal.label(rollouts[:2]))
    assert all(-1 <= lost <= 1 for _, labels in found for lost in labels.evidence["accuracy_lost"])
    row = next(json.loads(x) for x in (tmp_path / "e.jsonl").read_text().splitlines() if "resampled" in x)
    assert row["accuracy"] == 1.0


def test_resampling_needs_a_verifier(small: Small, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"causal_resample: .* give a verifier"):
        labeler(small, tmp_path / "e.jsonl", causal_resample=2)
