"""Judges behind a real HTTP server that answers slowly, wrongly, not at all, or with the truth."""

from __future__ import annotations

import contextlib
import json
import threading
from collections import Counter
from dataclasses import replace
from types import SimpleNamespace

import fake_server as fake
import pytest
from judged import ORACLE, ROLLOUTS, TRUTH, judge, run, truth
from oracle_judges import load_script, oracle_server, true_labels, world_rollouts

from attnpo.errors import ConfigError
from attnpo.labeling.judge import labeler as labeler_module
from attnpo.labeling.judge.report import JudgeReport

SECRET = "sk-3f9a0c-very-secret"


def asked(server):
    """How often each request was made."""
    return Counter(json.dumps(request.body, sort_keys=True) for request in server.requests)


def test_three_judges_are_asked_once_each_and_their_consensus_labels(tmp_path):
    with fake.FakeServer(truth) as server:
        labels, report = run(server, tmp_path)
    assert labels == TRUTH
    assert len(server.requests) == 12 == len(asked(server))
    assert Counter(request.body["seed"] for request in server.requests) == {0: 4, 1: 4, 2: 4}
    body = server.requests[0].body
    assert server.requests[0].path == "/v1/chat/completions"
    assert (body["model"], body["temperature"], body["max_tokens"]) == ("oracle", 0.6, 8192)
    assert body["response_format"]["type"] == "json_schema"
    assert body["response_format"]["json_schema"]["schema"]["additionalProperties"] is False
    assert (report.responses, report.unlabelled, [one.voted for one in report.judges]) == (4, {}, [4, 4, 4])
    row = json.loads((tmp_path / "run" / "labels.jsonl").read_text().splitlines()[0])
    assert [vote["labels"] for vote in row["evidence"]["votes"]] == [row["labels"]] * 3


def test_what_is_told_of_the_form_is_a_setting(tmp_path):
    for form, sent in (("json_object", {"type": "json_object"}), ("none", None)):
        with fake.FakeServer(truth) as server:
            run(server, tmp_path / form, judge_structured_output=form)
        assert server.requests[0].body.get("response_format") == sent
    with fake.FakeServer(truth) as server:
        body = '{"max_tokens": null, "max_completion_tokens": 9, "seed": null, "top_p": 0.9}'
        run(server, tmp_path / "body", judge_count=1, judge_body=body, judge_temperature=None)
    sent = server.requests[0].body
    assert sent.keys() == {"model", "messages", "response_format", "max_completion_tokens", "top_p"}
    assert (sent["max_completion_tokens"], sent["top_p"]) == (9, 0.9)


@pytest.mark.parametrize(
    "failure",
    [
        fake.status(429, retry_after=0.02),
        fake.status(500),
        fake.status(503, retry_after=0.02),
        fake.not_json(),
        fake.html(),
        fake.closed(),
        fake.reset(),
        replace(fake.chat("cut"), ending="cut"),
        fake.slow(fake.chat("late"), 0.4),
        fake.odd({"error": {"message": "upstream is busy"}}),
        fake.odd({"choices": []}),
        fake.dying(0.1),
    ],
    ids=str,
)
def test_failures_that_pass_are_waited_out(tmp_path, failure):
    with fake.FakeServer([failure], then=truth) as server:
        labels, report = run(server, tmp_path, ROLLOUTS[:2], judge_timeout=0.2, judge_patience=10.0)
    assert labels == TRUTH[:2]
    assert [one.attempts for one in report.judges] == [2, 2, 2]
    (summary,) = report.servers
    assert summary.requests == 6
    assert summary.retries >= 1


def test_an_unusable_answer_is_asked_for_again_with_what_is_wrong(tmp_path):
    n_steps = len(ROLLOUTS[0].steps)
    short = json.dumps({"steps": [{"step": 1, "label": "essential"}]})
    broken = [
        fake.chat("<think>hm</think>" + short, tokens=5, prompt_tokens=7),
        fake.chat("{", tokens=5, prompt_tokens=7),
    ]
    with fake.FakeServer(broken, then=truth) as server:
        labels, report = run(server, tmp_path, ROLLOUTS[:1], judge_count=1)
    assert labels == TRUTH[:1]
    first, second, third = (request.body for request in server.requests)
    assert [message["role"] for message in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][0] == first["messages"][0] == third["messages"][0]
    assert second["messages"][1]["content"] == short
    assert "no label for step 2, 3" in second["messages"][2]["content"]
    assert f"every step from 1 to {n_steps} exactly once" in second["messages"][2]["content"]
    assert "it holds no JSON object" in third["messages"][2]["content"]
    assert [body["seed"] for body in (first, second, third)] == [0, 1000, 2000]
    (summary,) = report.judges
    last = ORACLE.answer(third)["usage"]
    assert (summary.voted, summary.attempts) == (1, 3)
    assert summary.prompt_tokens == 14 + last["prompt_tokens"]
    assert summary.completion_tokens == 10 + last["completion_tokens"]


def test_a_cut_off_answer_says_so(tmp_path):
    with fake.FakeServer([fake.chat('{"steps": [', finish="length")], then=truth) as server:
        run(server, tmp_path, ROLLOUTS[:1], judge_count=1)
    assert "it was cut off at the limit of its length" in server.requests[1].body["messages"][2]["content"]


def test_answers_in_parts_or_without_content_are_read(tmp_path):
    def in_parts(request):
        answer = ORACLE.answer(request.body)
        message = answer["choices"][0]["message"]
        message["content"] = [{"type": "text", "text": message["content"]}]
        return fake.odd(answer)

    with fake.FakeServer([fake.chat(None, reasoning_content="…")], then=in_parts) as server:
        labels, report = run(server, tmp_path, ROLLOUTS[:1], judge_count=1)
    assert labels == TRUTH[:1]
    assert report.judges[0].attempts == 2
    assert server.requests[1].body["messages"][1]["content"] == "(no answer)"


@pytest.mark.parametrize(("rule", "labelled"), [("majority", True), ("unanimous", False)])
def test_a_judge_that_never_answers_validly_abstains(tmp_path, rule, labelled, caplog):
    def second_is_broken(request):
        bad = (
            request.body["seed"] % 1000 == 1
            and ROLLOUTS[0].prompt[0]["content"] in request.body["messages"][0]["content"]
        )
        return fake.chat("I cannot say.") if bad else truth(request)

    with fake.FakeServer(second_is_broken) as server:
        labels, report = run(server, tmp_path, judge_consensus=rule)
    assert labels[1:] == TRUTH[1:]
    assert labels[0] == (TRUTH[0] if labelled else (None,) * len(TRUTH[0]))
    assert [one.voted for one in report.judges] == [4, 3, 4]
    assert report.judges[1].abstained == {"no valid answer": 1}
    assert report.judges[1].attempts == 3 + 3
    assert report.unlabelled == ({} if labelled else {"fewer than 3 of 3 judges voted": 1})
    assert ("1 of 4 responses have no labels (1: fewer than 3 of 3 judges voted)" in caplog.text) is not labelled
    assert report.agreement.steps == sum(len(labels) for labels in TRUTH[1:])
    assert report.agreement.steps_left_out == len(TRUTH[0])
    assert [pair.steps for pair in report.agreement.pairs] == [
        report.agreement.steps,
        report.agreement.steps + len(TRUTH[0]),
        report.agreement.steps,
    ]


def two_at_once():
    """A server that answers a request once another is under way beside it (or has not come for long)."""
    met = threading.Barrier(2)

    def answer(request):
        with contextlib.suppress(threading.BrokenBarrierError):
            met.wait(20)
        return fake.slow(truth(request), 0.02)

    return answer


def test_requests_under_way_are_bounded_at_each_server(tmp_path):
    with fake.FakeServer(two_at_once()) as one, fake.FakeServer(two_at_once()) as other:
        labels, report = run(
            one,
            tmp_path,
            world_rollouts(8),
            judge_concurrency=2,
            judge_base_urls=f"{one.base_url},{one.base_url},{other.base_url}",
        )
    assert (one.most_at_once, other.most_at_once) == (2, 2)
    assert (len(one.requests), len(other.requests)) == (16, 8)
    assert [(server.base_url, server.requests) for server in report.servers] == [
        (one.base_url, 16),
        (other.base_url, 8),
    ]
    assert None not in labels[0]


def test_equal_responses_are_judged_once(tmp_path):
    twins = [replace(ROLLOUTS[0], sample=sample) for sample in range(5)]
    with fake.FakeServer(lambda request: fake.slow(truth(request), 0.02)) as server:
        labels, report = run(server, tmp_path, twins, judge_concurrency=8)
    assert labels == TRUTH[:1] * 5
    assert len(server.requests) == 3
    assert [one.cache_hits for one in report.judges] == [4, 4, 4]


def test_an_interrupted_consumer_loses_no_answer(tmp_path, monkeypatch):
    rollouts = world_rollouts(12)
    first, released = threading.Semaphore(12), threading.Event()

    def gated(request):
        if not first.acquire(blocking=False):
            released.wait(30)
        return truth(request)

    def wait(futures, timeout):
        released.set()  # the run is ending; only now come the answers that are under way
        return real_wait(futures, timeout)

    real_wait = labeler_module.wait
    monkeypatch.setattr(labeler_module, "wait", wait)
    with fake.FakeServer(gated) as server:
        taken = judge(server, tmp_path / "cache").label(rollouts)
        for _ in range(2):
            next(taken)
        taken.close()
        made = len(server.requests)
        assert 6 <= made <= 12 + 4
        assert len(list((tmp_path / "cache").rglob("*.json"))) == made
        labels, _ = run(server, tmp_path, rollouts)
    assert len(server.requests) == 36 == len(asked(server))
    assert labels == [true_labels(rollout) for rollout in rollouts]


def test_the_cache_is_shared_by_runs_and_knows_what_an_answer_depends_on(tmp_path):
    def total(**changes):
        with fake.FakeServer(truth) as server, judge(server, tmp_path / "cache", **changes) as labeler:
            list(labeler.label(ROLLOUTS))
        return len(server.requests), sum(one.cache_hits for one in labeler.judge_report().judges)

    assert total() == (12, 0)
    # Another port, consensus, concurrency or patience buys nothing.
    assert total(judge_consensus="majority", judge_concurrency=1, judge_patience=9.0, judge_attempts=1) == (0, 12)
    assert total(judge_count=4) == (4, 12)
    assert total(judge_temperature=0.0) == (12, 0)
    assert total(judge_models="other") == (12, 0)
    assert total(judge_seed=2) == (4, 8)  # seed 2 is there from the first, 3 from the fourth judge, 4 is new
    kept = [json.loads(path.read_text()) for path in (tmp_path / "cache").rglob("*.json")]
    assert len(kept) == 12 + 4 + 12 + 12 + 4
    assert all("messages" not in one["request"] and one["response"]["choices"] for one in kept)


def test_a_damaged_answer_is_bought_again_and_said(tmp_path, caplog):
    with fake.FakeServer(truth) as server:
        run(server, tmp_path)
        next((tmp_path / "cache").rglob("*.json")).write_text('{"resp')
        with judge(server, tmp_path / "cache") as labeler:
            list(labeler.label(ROLLOUTS))
    assert len(server.requests) == 13
    assert "not an answer of a judge; it is asked for again" in caplog.text


def test_unusable_answers_are_kept_for_a_better_reading(tmp_path, monkeypatch):
    from attnpo.labeling.judge import asking

    def in_words(request):
        answer = ORACLE.answer(request.body)
        message = answer["choices"][0]["message"]
        message["content"] = message["content"].replace("{", "(").replace("}", ")")
        return fake.Reply(answer)

    with fake.FakeServer(in_words) as server:
        with judge(server, tmp_path / "cache") as labeler:
            assert [labels.labels for _, labels in labeler.label(ROLLOUTS)] == [()] * 4
        paid = len(server.requests)
        strict = asking.read_answer
        monkeypatch.setattr(asking, "read_answer", lambda text, n: strict(text.replace("(", "{").replace(")", "}"), n))
        with judge(server, tmp_path / "cache") as labeler:
            labels = dict(labeler.label(ROLLOUTS))
    assert len(server.requests) == paid
    assert [labels[index].labels for index in range(4)] == TRUTH


def test_the_key_goes_to_the_server_and_nowhere_else(tmp_path, monkeypatch, caplog):
    monkeypatch.setenv("JUDGE_KEY", SECRET)

    def echoes(request):
        header = request.headers["authorization"]
        answer = ORACLE.answer(request.body)
        if request.number < 3:
            answer["choices"][0]["message"]["content"] = f"no JSON, but {header}"
        answer["system_fingerprint"] = header
        return fake.Reply(answer)

    with fake.FakeServer([fake.status(500, f"Bearer {SECRET}")], then=echoes) as server, caplog.at_level("DEBUG"):
        labels, report = run(server, tmp_path, judge_api_key_env="JUDGE_KEY")
        assert labels == TRUTH
        assert {request.headers["authorization"] for request in server.requests} == {f"Bearer {SECRET}"}
        refusing = fake.FakeServer(lambda request: fake.status(401, f"bad key {SECRET}"))
        with refusing, pytest.raises(ConfigError) as caught:
            run(refusing, tmp_path / "refused", judge_api_key_env="JUDGE_KEY")
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert len(written) == 12 + 3 + 2 + 1  # votes, unusable answers, labels and settings, settings of the refused run
    said = [report.model_dump_json(), str(caught.value), repr(caught.value), caplog.text]
    assert not any(SECRET.encode() in data for data in written)
    assert not any(SECRET in text for text in said)


def test_the_oracle_script_serves_the_same_judges(tmp_path):
    script = load_script()
    server = script.serve(script.OracleJudge(), port=0)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    address = SimpleNamespace(base_url=f"http://127.0.0.1:{server.server_address[1]}/v1")
    labels, report = run(address, tmp_path)
    server.shutdown()
    server.server_close()
    assert labels == TRUTH
    assert report.agreement.fleiss_kappa.value == pytest.approx(1)


def test_noisy_judges_agree_on_better_labels_than_any_of_them_gives(tmp_path):
    rollouts = world_rollouts(30)
    truth_by_step = [label for rollout in rollouts for label in true_labels(rollout)]

    def right(labels):
        return sum(a == b for a, b in zip(labels, truth_by_step, strict=True)) / len(labels)

    with oracle_server(error_rate=0.2, broken_rate=0.1, seed=3) as server:
        majority, report = run(server, tmp_path / "a", rollouts, judge_consensus="majority")
        with judge(server, tmp_path / "a" / "cache") as labeler:
            unanimous = dict(labeler.label(rollouts[::-1]))
    # Every broken answer was asked for again.
    assert len(server.requests) == sum(one.attempts for one in report.judges) > 90
    rows = {row["problem_id"]: row for row in map(json.loads, (tmp_path / "a" / "run" / "labels.jsonl").open())}
    votes = [
        [label for rollout in rollouts for label in rows[rollout.problem_id]["evidence"]["votes"][judge]["labels"]]
        for judge in range(3)
    ]
    singly = [right(labels) for labels in votes]
    assert all(0.7 < share < 0.9 for share in singly)
    together = [label for labels in majority for label in labels]
    assert right(together) > max(singly) + 0.05
    agreed = [label for index in reversed(range(len(rollouts))) for label in unanimous[index].labels]
    decided = [(a, b) for a, b in zip(agreed, truth_by_step, strict=True) if a != "undecided"]
    assert len(decided) > 0.3 * len(agreed)
    assert sum(a == b for a, b in decided) / len(decided) > right(together)

    found = JudgeReport.model_validate_json(report.model_dump_json()).agreement
    assert found == labeler.judge_report().agreement
    assert found.steps == len(truth_by_step)
    assert found.steps_left_out == 0
    same = [
        sum(a == b for a, b in zip(votes[i], votes[j], strict=True)) / len(votes[0])
        for i, j in ((0, 1), (0, 2), (1, 2))
    ]
    assert [pair.same for pair in found.pairs] == pytest.approx(same)
    every = Counter(label for labels in votes for label in labels)
    expected = sum((count / every.total()) ** 2 for count in every.values())
    assert found.fleiss_kappa.value == pytest.approx((sum(same) / 3 - expected) / (1 - expected))
    assert found.fleiss_kappa.low < found.fleiss_kappa.value < found.fleiss_kappa.high
    assert sum((Counter(one.labels) for one in report.judges), Counter()) == every
