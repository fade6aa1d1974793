from __future__ import annotations

import json
import random
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from attnpo.discovery.evidence import InterventionResult
from attnpo.discovery.intervention import (
    InterventionSettings,
    intervene,
    plan_deletions,
    usable_traces,
)
from attnpo.errors import ConfigError, DataError, EngineError, OutputError
from attnpo.rollouts import Rollout
from attnpo.sampling import SampledResponse, SamplingParams, request_key

CLOSE = "</think>"
SETTINGS = InterventionSettings(
    amounts="1 step, 30%", samples=3, random_draws=2, sampling=SamplingParams(max_new_tokens=9), resamples=100
)


class Tokenizer:
    """Characters are tokens."""

    def __call__(self, text):
        return {"input_ids": [ord(c) for c in text]}

    def decode(self, ids, **options):
        return "".join(map(chr, ids))


@dataclass
class Answerer:
    """Copies the number out of a step `So it is N.`; without one it guesses right a third of the time."""

    interrupt_after: int | None = None
    backwards: bool = False
    asked: list[str] = field(default_factory=list)

    def sample(self, requests, params):
        order = range(len(requests))
        for done, index in enumerate(reversed(order) if self.backwards else order):
            if done == self.interrupt_after:
                raise EngineError("the engine is gone")
            request = requests[index]
            text = "".join(map(chr, request.prompt_ids))
            assert request.prompt == text  # no chat messages: nobody may ask the question anew
            self.asked.append(text)
            draw = random.Random(f"{params.seed}/{request.key}/{request.sample}").random()
            known = "So it is " in text
            answer = text.split("So it is ")[1].split(".")[0] if known else text.split()[0] if draw < 1 / 3 else "-1"
            ids = [ord(c) for c in answer] + [1]
            yield index, SampledResponse(ids, finished=True)


def traces(toy, n=12):
    """`N?` → one step that states N among idle ones of several lengths."""
    made = []
    rng = random.Random(0)
    for i in range(n):
        steps = [f"So it is {i}.\n\n", *("Wait" + "?" * rng.randrange(1, 9) + "\n\n" for _ in range(3))]
        rng.shuffle(steps)
        ids = (*map(ord, "".join(steps).strip() + f"\n{CLOSE}{i}"), 1)
        base = Rollout(f"p{i // 2}", f"{i} ?", str(i), i % 2, ids, "", True, True)
        made.append(base.with_segmentation(toy.segmenter(ids)))
    return made


def scores_of(rollouts, knows=True):
    """The step that matters scores highest (or lowest)."""
    high = 1.0 if knows else -1.0
    return [
        np.array([high if "So" in r.response[slice(*s.chars)] else 0.1 * k for k, s in enumerate(r.steps)])
        for r in rollouts
    ]


def run(toy, rollouts, output_dir, sampler=None, settings=SETTINGS, scores=None, **changes):
    return intervene(
        rollouts,
        scores_of(rollouts) if scores is None else scores,
        tokenizer=Tokenizer(),
        sampler=sampler or Answerer(),
        segmenter=toy.segmenter,
        verifier=toy.verifier,
        settings=settings,
        output_dir=output_dir,
        context={"model_fingerprint": "m", **changes},
        heads=[(2, 3)],
        model_name="toy",
        dataset_name="toys",
    )


def test_the_step_that_matters_is_missed_and_the_others_are_not(toy, tmp_path):
    rollouts = traces(toy)
    result = run(toy, rollouts, tmp_path)
    assert InterventionResult.load(tmp_path / "intervention.json") == result
    assert [(c.name, c.amount) for c in result.conditions] == [
        ("untouched", ""),
        *((name, amount) for amount in ("1 step", "30%") for name in ("lowest", "random", "highest")),
    ]
    assert (result.num_traces, result.num_problems, result.samples_per_trace) == (12, 6, 3)
    untouched, lowest, highest = result.conditions[0], *(result.condition(n, "1 step") for n in ("lowest", "highest"))
    assert untouched.accuracy.value == lowest.accuracy.value == 1.0
    assert (untouched.deleted_tokens, untouched.difference, untouched.against_random) == (0.0, None, None)
    assert lowest.difference.value == lowest.difference.high == 0.0
    # Without the step each answer is right where its own random number says so: the very same draws, by hand.
    guessed = [
        random.Random(f"0/{request_key(f'intervention/{r.problem_id}/{r.sample}')}/{s}").random() < 1 / 3
        for r in rollouts
        for s in range(3)
    ]
    assert highest.accuracy.value == pytest.approx(np.mean(guessed))
    assert highest.difference.value == pytest.approx(np.mean(guessed) - 1)
    assert highest.difference.high < 0
    assert highest.deleted_steps == lowest.deleted_steps == 1.0
    assert highest.deleted_tokens == pytest.approx(
        np.mean([s.tokens[1] - s.tokens[0] for r in rollouts for s in r.steps if "So" in r.response[slice(*s.chars)]])
    )
    assert result.sampled_tokens > 0
    assert result.think_tokens == np.mean([sum(s.tokens[1] - s.tokens[0] for s in r.steps) for r in rollouts])


def test_random_deletions_are_matched_and_compared_trace_by_trace(toy, tmp_path):
    rollouts = traces(toy)
    result = run(toy, rollouts, tmp_path)
    plans = [plan_deletions(r, s.tolist(), SETTINGS) for r, s in zip(rollouts, scores_of(rollouts), strict=True)]
    rows = [json.loads(line) for line in (tmp_path / "intervention_answers.jsonl").read_text().splitlines()]
    share = {
        ((row["problem_id"], row["sample"]), tuple(row["deleted"])): np.mean([a["correct"] for a in row["answers"]])
        for row in rows
    }
    for name, highest in (("lowest", False), ("highest", True)):
        found = result.condition(name, "30%")
        (amount,) = (a for a in SETTINGS.parsed_amounts if str(a) == "30%")
        ours, theirs, tokens = [], [], []
        for rollout, plan in zip(rollouts, plans, strict=True):
            lengths = [s.tokens[1] - s.tokens[0] for s in rollout.steps]
            draws = plan.at_random[amount, highest]
            assert len(draws) == 2
            trace = (rollout.problem_id, rollout.sample)
            ours.append(share[trace, plan.by_score[amount, highest]])
            theirs.append(np.mean([share[trace, draw] for draw in draws]))
            tokens.append(np.mean([sum(lengths[k] for k in draw) for draw in draws]))
        assert found.accuracy.value == pytest.approx(np.mean(ours))
        assert found.against_random.value == pytest.approx(np.mean(ours) - np.mean(theirs))
        assert found.matched_tokens == pytest.approx(np.mean(tokens))
    both = [result.condition(n, "30%").accuracy.value - result.condition(n, "30%").against_random.value
            for n in ("lowest", "highest")]  # fmt: skip
    assert result.condition("random", "30%").accuracy.value == pytest.approx(np.mean(both))


def test_scores_the_wrong_way_round_show(toy, tmp_path):
    rollouts = traces(toy)
    result = run(toy, rollouts, tmp_path, scores=scores_of(rollouts, knows=False))
    assert result.condition("lowest", "1 step").difference.high < 0
    assert result.condition("lowest", "1 step").against_random.high < 0
    assert result.condition("highest", "1 step").difference.value == 0.0


def test_the_model_reads_prompt_kept_steps_and_closing_tag(toy, tmp_path):
    (rollout,) = traces(toy, 1)
    sampler = Answerer()
    run(toy, [rollout], tmp_path, sampler)
    think = rollout.response.partition(CLOSE)[0]
    pieces = [rollout.response[slice(*step.chars)] for step in rollout.steps]
    assert "".join(pieces) == think
    assert sampler.asked[:3] == [f"0 ?{think}{CLOSE}"] * 3  # untouched, three times
    allowed = {
        f"0 ?{''.join(p for k, p in enumerate(pieces) if k not in gone).rstrip()}\n{CLOSE}"
        for gone in [(), *plan_deletions(rollout, scores_of([rollout])[0].tolist(), SETTINGS).deletions()]
    }
    assert set(sampler.asked) == allowed
    assert len(sampler.asked) == 3 * len(allowed)  # nothing is asked twice


def test_a_killed_intervention_goes_on(toy, tmp_path):
    rollouts = traces(toy)
    whole = run(toy, rollouts, tmp_path / "a")
    folder = tmp_path / "b"
    with pytest.raises(EngineError):
        run(toy, rollouts, folder, Answerer(interrupt_after=35))
    path = folder / "intervention_answers.jsonl"
    assert len(path.read_text().splitlines()) == 11  # complete groups of 3
    with path.open("a") as file:
        file.write('{"problem_id": "p0", "samp')
    sampler = Answerer(backwards=True)
    resumed = run(toy, rollouts, folder, sampler)
    groups = len((tmp_path / "a" / "intervention_answers.jsonl").read_text().splitlines())
    assert len(sampler.asked) == 3 * (groups - 11)
    assert resumed.model_copy(update={"wall_seconds": whole.wall_seconds}) == whole
    again = Answerer()
    assert run(toy, rollouts, folder, again) == resumed
    assert again.asked == []


def test_amounts_and_heads_may_change_but_not_what_answers_depend_on(toy, tmp_path):
    rollouts = traces(toy)
    run(toy, rollouts, tmp_path)
    sampler = Answerer()
    fewer = replace(SETTINGS, amounts="1 step", random_draws=1)
    assert run(toy, rollouts, tmp_path, sampler, fewer).amounts == ["1 step"]
    assert sampler.asked == []
    with pytest.raises(OutputError, match="other settings: model_fingerprint"):
        run(toy, rollouts, tmp_path, sampler, model_fingerprint="other")
    with pytest.raises(OutputError, match="other settings: sampling"):
        run(
            toy,
            rollouts,
            tmp_path,
            sampler,
            replace(SETTINGS, sampling=SamplingParams(max_new_tokens=9, temperature=0.5)),
        )
    changed = [replace(rollouts[0], response_ids=(*rollouts[0].response_ids[:-1], 33, 1)), *rollouts[1:]]
    with pytest.raises(OutputError, match="another trace of problem 'p0', sample 0"):
        run(toy, changed, tmp_path, sampler)
    assert sampler.asked == []


def test_traces_that_cannot_be_used_are_refused(toy, tmp_path):
    rollouts = traces(toy)
    with pytest.raises(DataError, match="there are no correct traces"):
        run(toy, [], tmp_path)
    with pytest.raises(DataError, match="'p0', sample 0 has fewer than two steps"):
        run(toy, [replace(rollouts[0], steps=rollouts[0].steps[:1])], tmp_path)
    with pytest.raises(DataError, match="two traces share problem id and sample number"):
        run(toy, [rollouts[0], rollouts[0]], tmp_path)


def test_usable_traces(toy):
    rollouts = traces(toy)
    spoiled = [
        replace(rollouts[0], correct=False),
        replace(rollouts[1], finished=False),
        replace(rollouts[2], steps=rollouts[2].steps[:1]),
        replace(rollouts[3], answer_tokens=(9, 9)),
        *rollouts[4:],
    ]
    assert usable_traces(spoiled) == rollouts[4:]
    taken = usable_traces(spoiled, limit=5, seed=1)
    assert {r.problem_id for r in taken[:5]} == {"p2", "p3", "p4", "p5"}  # one of each problem, then a second
    assert len(taken) == 5
    assert taken == usable_traces(spoiled, limit=5, seed=1)
    assert usable_traces(spoiled, limit=1) != usable_traces(spoiled, limit=1, seed=4)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"amounts": ""}, "amounts: name at least one"),
        ({"amounts": "20%,all"}, "amounts: 'all' is no amount"),
        ({"samples": 0}, "samples: 0 is not allowed"),
        ({"random_draws": 0}, "random_draws: 0 is not allowed"),
        ({"level": 1.0}, "level: 1.0"),
        ({"resamples": 0}, "resamples: 0 is not allowed"),
    ],
)
def test_settings_out_of_range_are_named(change, words):
    with pytest.raises(ConfigError, match=words):
        InterventionSettings(**change)
