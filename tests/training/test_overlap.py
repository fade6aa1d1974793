"""Segmenting and verifying while others decode: the same results, each failure where it always was."""

from __future__ import annotations

import json
import threading

import faulty_verifier
import pytest
from small_training import config

from attnpo.errors import ConfigError
from attnpo.rollouts import SegmentedResponse
from attnpo.sampling import TransformersSampler
from attnpo.training import AttnPOTrainer
from attnpo.training.overlap import MOST_AT_ONCE, BackgroundChecks
from attnpo.verification import ExactVerifier, FunctionVerifier

FAST = {"per_device_train_batch_size": 8, "gradient_accumulation_steps": 1, "max_completion_length": 64}


def cut(ids, in_think=False) -> SegmentedResponse:
    return SegmentedResponse(
        text=" ".join(map(str, ids)),
        n_tokens=len(ids),
        steps=(),
        think_chars=(0, 0),
        answer_chars=(0, 0),
        answer_tokens=(0, 0),
        closed=False,
        in_think=in_think,
    )


class Verify:
    """Right is a text that ends with the solution; notes who was asked what, and whether two asked at once."""

    def __init__(self, fails_on: str | None = None):
        self.asked: list[tuple[str, str]] = []
        self.threads: list[threading.Thread] = []
        self.fails_on = fails_on
        self.alone = threading.Lock()

    def __call__(self, texts, solutions):
        assert self.alone.acquire(blocking=False), "called from two threads at once"
        try:
            self.asked += zip(texts, solutions, strict=True)
            self.threads.append(threading.current_thread())
            if self.fails_on in texts:
                raise ValueError("cannot read this answer")
            return [text.endswith(solution) for text, solution in zip(texts, solutions, strict=True)]
        finally:
            self.alone.release()


def test_results_are_those_of_the_foreground_and_nothing_is_asked_twice():
    verify = Verify()
    checks = BackgroundChecks(cut, verify, lambda: 0)
    responses = [[i, i % 7] for i in range(3 * MOST_AT_ONCE)] + [[0, 0]]
    solutions = [str(i % 5) for i in range(3 * MOST_AT_ONCE)] + ["0"]
    for _ in range(2):
        for ids, solution in zip(responses, solutions, strict=True):
            checks.submit(ids, False, solution)
    texts = [cut(ids).text for ids in responses]
    assert [
        checks.segmented(ids, False, solution).text for ids, solution in zip(responses, solutions, strict=True)
    ] == texts
    verdicts, _ = checks.verdicts(texts, solutions)
    assert verdicts == [float(text.endswith(solution)) for text, solution in zip(texts, solutions, strict=True)]
    assert sorted(verify.asked) == sorted(set(zip(texts, solutions, strict=True)))
    assert threading.main_thread() not in verify.threads


def test_what_was_not_handed_in_is_worked_out_where_it_is_asked_for():
    verify = Verify()
    checks = BackgroundChecks(cut, verify, lambda: 0)
    checks.submit([1, 2], False, "2")
    checks.submit([7], False, {"no": "text"})
    assert checks.segmented([3, 4], False, "4").text == "3 4"
    assert checks.segmented([7], False, {"no": "text"}).text == "7"
    assert checks.verdicts(["3 4", "1 2", "5 6"], ["4", "2", "0"]) == ([1.0, 1.0, 0.0], 0)
    checks.forget()
    assert checks.verdicts(["1 2"], ["2"]) == ([1.0], 0)
    assert verify.asked == [("1 2", "2"), ("3 4", "4"), ("5 6", "0"), ("1 2", "2")]


def test_errors_are_raised_where_the_result_is_asked_for():
    verify = Verify(fails_on="1 2")

    def strict(ids, in_think):
        if ids[0] == 9:
            raise KeyError("no such token")
        return cut(ids)

    checks = BackgroundChecks(strict, verify, lambda: 0)
    for ids in ([1, 2], [9], [3]):
        checks.submit(ids, False, "2")
    with pytest.raises(KeyError, match="no such token"):
        checks.segmented([9], False, "2")
    with pytest.raises(ValueError, match="cannot read this answer"):
        checks.verdicts(["1 2", "3"], ["2", "2"])
    assert checks.verdicts(["3"], ["2"]) == ([0.0], 0)


def test_a_verifier_of_too_few_verdicts_is_no_silent_loss():
    checks = BackgroundChecks(cut, lambda texts, solutions: [True], lambda: 0)
    checks.submit([1], False, "1")
    checks.submit([2], False, "1")
    with pytest.raises(ValueError, match="1 verdicts on 2"):
        checks.verdicts(["3", "4"], ["1", "1"])


def test_a_worker_that_dies_and_one_that_hangs_cost_their_response_only(tmp_path, monkeypatch):
    monkeypatch.setenv("FAULTS", str(tmp_path))
    with FunctionVerifier("faulty_verifier:judge", timeout=1.0, workers=2) as verifier:

        class Words:
            def __call__(self, ids, in_think):
                return cut(ids).__class__(**{**vars(cut(ids)), "text": f"<think>{ids[0]}</think>{ids[1]}"})

        texts = [f"<think>{i}</think>5" for i in range(6)]
        for kind, text in zip(faulty_verifier.KINDS, texts, strict=False):
            (tmp_path / kind).write_text(text)
        (tmp_path / "raises").write_text("nobody")
        checks = BackgroundChecks(Words(), verifier.verify, lambda: verifier.pool.interrupted)
        for i in range(6):
            checks.submit([i, 5], False, "5")
        verdicts, interrupted = checks.verdicts(texts, ["5"] * 6)
        assert (verdicts, interrupted) == ([0.0, 0.0, 1.0, 1.0, 1.0, 1.0], 2)
        assert checks.verdicts(texts, ["5"] * 6) == (verdicts, 0)
        (tmp_path / "raises").write_text("<think>7</think>5")
        checks.submit([7, 5], False, "5")
        with pytest.raises(ConfigError, match="cannot read this answer"):
            checks.verdicts(["<think>7</think>5"], ["5"])


@pytest.fixture
def train(model, tokenizer, problems, tmp_path):
    def run(name: str, verifier=None, **settings) -> AttnPOTrainer:
        args = config(tmp_path / name, save_rollouts=True, **{**FAST, **settings})
        trainer = AttnPOTrainer(model, args, problems, processing_class=tokenizer, verifier=verifier)
        trainer.train()
        return trainer

    return run


def test_the_first_response_is_verified_while_others_still_decode(train, monkeypatch):
    began = threading.Event()

    class Telling(ExactVerifier):
        def verify(self, responses, solutions):
            began.set()
            return super().verify(responses, solutions)

    plain, waited = TransformersSampler.stream, []

    def stream(self, rows, params):
        for count, pair in enumerate(plain(self, rows, params)):
            if count == 1:  # the first one was handed on: the rest waits until it is being verified
                waited.append(began.wait(30))
            yield pair

    monkeypatch.setattr(TransformersSampler, "stream", stream)
    train("run", Telling())
    assert waited == [True]


@pytest.mark.parametrize("group_sampler", [True, False])
def test_a_run_has_the_numbers_of_one_without_a_background(train, model, group_sampler):
    def numbers(name: str, background: bool) -> tuple[list[dict], list[dict]]:
        settings = {"group_sampler": group_sampler, "check_in_background": background, "learning_rate": 0.0}
        trainer = train(name, **settings)
        untimed = {
            key: value
            for key, value in trainer.state.log_history[0].items()
            if not any(word in key for word in ("time", "runtime", "per_second"))
        }
        return [json.loads(line) for line in trainer.rollouts_path.read_text().splitlines()], untimed

    assert numbers("with", True) == numbers("without", False)
