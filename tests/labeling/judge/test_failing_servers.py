"""Servers that refuse, fail on some responses or die: what a run loses, and what it does not."""

from __future__ import annotations

import json
import threading

import fake_server as fake
import pytest
from judged import ROLLOUTS, TRUTH, run, truth
from oracle_judges import true_labels, world_rollouts

from attnpo.errors import ConfigError, DataError, EngineError
from attnpo.labeling.judge import labeler as labeler_module


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (
            fake.status(400, "This model's maximum context length is 512 tokens"),
            "prompt longer than the judge's context",
        ),
        (fake.status(400, "the request exceeds the available context size"), "prompt longer than the judge's context"),
        (fake.status(413, "no"), "prompt longer than the judge's context"),
        (fake.status(400, "violates our content policy"), "refused by a content filter"),
    ],
)
def test_a_response_that_a_server_refuses_is_an_abstention(tmp_path, reply, reason):
    def refuse_first(request):
        mine = ROLLOUTS[0].prompt[0]["content"] in request.body["messages"][0]["content"]
        return reply if mine else truth(request)

    with fake.FakeServer(refuse_first) as server:
        labels, report = run(server, tmp_path)
    assert labels == [(None,) * len(TRUTH[0]), *TRUTH[1:]]
    assert [one.abstained for one in report.judges] == [{reason: 1}] * 3
    assert len(server.requests) == 12
    row = next(r for r in map(json.loads, (tmp_path / "run" / "labels.jsonl").open()) if not r["labels"])
    assert str(reply.status) in row["evidence"]["votes"][0]["detail"]


@pytest.mark.parametrize("poison", [fake.status(500, "crash"), fake.odd({"error": {"message": "moderated"}})], ids=str)
def test_a_response_that_a_living_server_fails_on_does_not_end_the_run(tmp_path, poison):
    rollouts = world_rollouts(12)
    true = [true_labels(rollout) for rollout in rollouts]

    def fails_on_first(request):
        mine = rollouts[0].prompt[0]["content"] in request.body["messages"][0]["content"]
        return poison if mine else fake.slow(truth(request), 0.06)

    with fake.FakeServer(fails_on_first) as server:
        labels, report = run(server, tmp_path, rollouts, judge_patience=1.0)
    assert labels == [(None,) * len(true[0]), *true[1:]]
    assert [one.abstained for one in report.judges] == [{"server failed on this response": 1}] * 3


def fails_on(rollouts):
    """A server that crashes on these, answers the others and says what it serves."""
    poison = {rollout.prompt[0]["content"] for rollout in rollouts}

    def answer(request):
        mine = any(text in request.body["messages"][0]["content"] for text in poison)
        return fake.status(500, "crash") if mine else truth(request)

    server = fake.FakeServer(answer)
    server.pages["/v1/models"] = {"object": "list", "data": [{"id": "oracle", "object": "model"}]}
    return server


def test_the_last_responses_of_a_run_fail_alone_though_nobody_is_served_beside_them(tmp_path):
    with fails_on(ROLLOUTS[:1]) as server:
        for _ in range(2):  # the second run asks nothing else
            labels, _ = run(server, tmp_path, judge_patience=0.2)
            assert labels == [(None,) * len(TRUTH[0]), *TRUTH[1:]]


def test_a_server_that_says_what_it_serves_and_serves_nobody_ends_the_run(tmp_path):
    rollouts = world_rollouts(12)
    with fails_on(rollouts) as server, pytest.raises(EngineError, match=r"judge oracle#[123]: .*given up after"):
        run(server, tmp_path, rollouts, judge_patience=0.1)
    with fake.FakeServer(truth) as server:
        labels, _ = run(server, tmp_path, rollouts)
    assert labels == [true_labels(rollout) for rollout in rollouts]


@pytest.mark.parametrize(
    ("reply", "message"),
    [
        (fake.status(400, "unknown field response_format"), "set judge_structured_output to json_object or none"),
        (fake.status(404, "no such model"), "judge oracle#[123]: .*status 404, 'no such model'; check base_url"),
        (fake.status(401, "bad key"), "judge oracle#[123]: .*environment variable OPENAI_API_KEY"),
    ],
)
def test_a_server_that_refuses_everything_ends_the_run_at_once(tmp_path, reply, message):
    with fake.FakeServer(lambda request: reply) as server, pytest.raises(ConfigError, match=message) as caught:
        run(server, tmp_path, world_rollouts(40), judge_concurrency=2)
    assert "\n" not in str(caught.value)
    assert len(server.requests) < 120


def test_a_judge_without_one_valid_answer_stops_the_run_before_it_costs_more(tmp_path, monkeypatch):
    monkeypatch.setattr(labeler_module, "HOPELESS", 2)
    with fake.FakeServer(
        lambda request: fake.chat("No.") if request.body["seed"] % 1000 == 2 else truth(request)
    ) as server:
        message = (
            r"judge oracle#3: no valid answer to its first 2 responses \(2: no valid answer; last: it holds no JSON"
        )
        with pytest.raises(ConfigError, match=message):
            run(server, tmp_path, world_rollouts(40), judge_concurrency=1, judge_attempts=1)
        made = len(server.requests)
        assert made < 120
        with pytest.raises(ConfigError, match=message):
            run(server, tmp_path, world_rollouts(40), judge_concurrency=1, judge_attempts=1)
    assert len(server.requests) == made


def test_all_judges_abstain_and_the_run_ends_with_one_line(tmp_path):
    message = r"labeler judge: none of the 4 responses could be labelled \(4: fewer than 3 of 3 judges voted\)$"
    with fake.FakeServer(lambda request: fake.chat("Well.")) as server, pytest.raises(DataError, match=message):
        run(server, tmp_path)
    assert len(server.requests) == 36
    assert len((tmp_path / "run" / "labels.jsonl").read_text().splitlines()) == 4
    assert len(list((tmp_path / "cache").rglob("*.json"))) == 36


def test_a_dead_server_stops_the_run_with_one_line_and_the_next_run_asks_only_the_rest(tmp_path):
    served = threading.Semaphore(7)

    def then_dead(request):
        return truth(request) if served.acquire(blocking=False) else fake.status(503, "down")

    with fake.FakeServer(then_dead) as server:
        with pytest.raises(
            EngineError, match=r"judge oracle#[123]: .*given up after .*503.*answers so far are in"
        ) as caught:
            run(server, tmp_path, world_rollouts(6), judge_patience=0.2)
        assert "\n" not in str(caught.value)
        assert len(list((tmp_path / "cache").rglob("*.json"))) == 7
    with fake.FakeServer(truth) as server:
        labels, report = run(server, tmp_path, world_rollouts(6))
    assert len(server.requests) == 18 - 7
    assert labels == [true_labels(rollout) for rollout in world_rollouts(6)]
    assert (report.responses, [one.voted for one in report.judges]) == (6, [6, 6, 6])


def test_a_dead_server_does_not_cost_the_answers_of_the_others(tmp_path):
    with fake.FakeServer(lambda request: fake.slow(truth(request), 0.1)) as good, fake.FakeServer(truth) as dead:
        dead.die()
        urls = {"judge_base_urls": f"{good.base_url},{dead.base_url}", "judge_patience": 0.2, "judge_concurrency": 2}
        with pytest.raises(EngineError, match=r"judge oracle#2"):
            run(good, tmp_path, **urls)
        paid = len(good.requests)
        assert 0 < paid == len(list((tmp_path / "cache").rglob("*.json")))
        dead.come_back()
        labels, _ = run(good, tmp_path, **urls)
    assert labels == TRUTH
    assert (len(good.requests), len(dead.requests)) == (4, 4)
