"""The result in one sentence, computed from the data, that claims no more than the intervals carry."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from attnpo.discovery.result import DiscoveryResult
from attnpo.evaluation.comparison import Difference
from attnpo.reporting.benchmarks import mean_point, shared_names
from attnpo.reporting.run_folder import Arm, RunFolder
from attnpo.reporting.wording import (
    arm_note,
    arm_title,
    direction,
    percent,
    plural,
    signed,
    signed_bounds,
    tokens_pair,
)

HELD_OUT = re.compile(r"(?<![a-z])(held[-_ ]?out|test|validation|valid|dev|eval)(?![a-z])", re.IGNORECASE)
START = "the model it started from"


@dataclass(frozen=True)
class Headline:
    """The sentence, further sentences that qualify it, and the arm it is about."""

    sentence: str
    details: tuple[str, ...]
    subject: Arm | None
    reference: Arm | None


def headline(run: RunFolder) -> Headline:
    """Return the result of a run in a sentence.

    The subject is the AttnPO arm where there is one, else the last trained arm; the reference is the starting model.
    """
    evaluated = run.evaluated
    if not evaluated:
        return Headline(_without_evaluation(run), (), None, None)
    base = next((arm for arm in evaluated if arm.starts), None)
    trained = [arm for arm in evaluated if not arm.starts]
    if not trained:
        runs = any(arm.log or arm.trained is not None for arm in run.arms)
        rest = "What was trained has not been evaluated." if runs else "Nothing has been trained yet."
        return Headline(f"{_alone(evaluated[0])} {rest}", (), evaluated[0], None)
    told = [arm for arm in trained if arm.told]
    subject = next((arm for arm in trained if arm.method == "attnpo"), (told or trained)[-1])
    if not subject.told and (base is None or base.start):
        sentence = f"{_alone(subject)} No file here says what it was trained from."
        return Headline(sentence, (), subject, None)
    if base is None:
        sentence = f"{_alone(subject)} The model it started from was not measured."
        return Headline(sentence, _against_others(subject, trained), subject, None)
    difference = subject.minus(base)
    if difference is None:
        sentence = f"{_alone(subject)} The model it started from was measured otherwise: no comparison."
        return Headline(sentence, _against_others(subject, trained), subject, base)
    details = (*_against_others(subject, trained), _caveat(difference, subject, trained))
    return Headline(_change(subject, base, difference), details, subject, base)


def problems(arm: Arm) -> str:
    """Return how many problems an arm was measured on; `held-out` only where the data set's name says so."""
    assert arm.evaluation is not None
    held_out = "held-out " if HELD_OUT.search(arm.evaluation.dataset) else ""
    return plural(arm.evaluation.num_problems, f"{held_out}problem")


def _alone(arm: Arm) -> str:
    assert arm.evaluation is not None
    summary = arm.evaluation.overall
    name = "The starting model" if arm.starts else arm_title(arm.name)
    tokens = f"{summary.response_tokens.value:,.0f}"
    return f"{name} answers {percent(summary.accuracy.value)} of {problems(arm)} right with {tokens} tokens a response."


def _change(arm: Arm, base: Arm, difference: Difference) -> str:
    assert arm.evaluation is not None
    assert base.evaluation is not None
    now, before = arm.evaluation.overall, base.evaluation.overall
    name, share, old_share = arm_title(arm.name), percent(now.accuracy.value), percent(before.accuracy.value)
    tokens, old_tokens = tokens_pair(now.response_tokens.value, before.response_tokens.value)
    n = problems(arm)
    rates = f"{share} against {old_share} of {n}"
    lengths = f"{tokens} against {old_tokens} tokens a response"
    shorter = f"{name} needs {tokens} tokens a response, where {START} needed {old_tokens}"
    longer = f"{name} needs {tokens} tokens a response, more than the {old_tokens} of {START}"
    righter = f"{name} answers {share} of {n} right, where {START} answered {old_share}"
    wronger = f"{name} answers fewer problems right than {START}: {rates}"
    sentences = {
        (1, -1): f"{name} answers {share} of {n} right with {tokens} tokens a response, "
        f"where {START} needed {old_tokens} for {old_share}.",
        (0, -1): f"{shorter}, with no measurable difference in accuracy ({rates}).",
        (-1, -1): f"{shorter}, but it answers fewer problems right: {rates}.",
        (1, 0): f"{righter}, with no measurable difference in length ({lengths}).",
        (0, 0): f"{name} shows no measurable difference from {START}: {rates} right, {lengths}.",
        (-1, 0): f"{wronger}, with no measurable difference in length ({lengths}).",
        (1, 1): f"{righter}, but at greater length: {lengths}.",
        (0, 1): f"{longer}, with no measurable difference in accuracy ({rates}).",
        (-1, 1): f"{wronger}, and needs more tokens: {lengths}.",
    }
    return sentences[direction(difference.accuracy), direction(difference.tokens)]


def _against_others(subject: Arm, trained: list[Arm]) -> tuple[str, ...]:
    """Return one sentence for each other main arm (controls stay in the table)."""
    sentences = []
    for other in trained:
        if other is subject or other.method not in ("tlmre", "rloo", "grpo"):
            continue
        difference = subject.minus(other)
        if difference is not None:
            sentences.append(f"Against {_named(other)}: {difference_words(difference)}.")
    return tuple(sentences)


def _named(arm: Arm) -> str:
    note = arm_note(arm.name)
    return f"{arm_title(arm.name)} ({note})" if note else arm_title(arm.name)


def difference_words(difference: Difference) -> str:
    """Return a difference in words, with its 95 % intervals: accuracy in points, length in tokens."""
    points = 100 * difference.accuracy.value
    interval = signed_bounds(difference.accuracy, 100)
    change = f"{signed(f'{abs(points):.1f}', points)} points, {interval}"
    way = direction(difference.accuracy)
    accuracy = (
        f"no measurable difference in accuracy ({change})"
        if way == 0
        else f"{'more' if way > 0 else 'fewer'} problems right ({change})"
    )
    tokens = difference.tokens
    change = f"{signed(f'{abs(tokens.value):.1f}', tokens.value)} tokens a response, {signed_bounds(tokens)}"
    way = direction(tokens)
    length = (
        f"no measurable difference in length ({change})"
        if way == 0
        else f"{'shorter' if way < 0 else 'longer'} responses ({change})"
    )
    return f"{length}; {accuracy}"


def _caveat(difference: Difference, subject: Arm, trained: list[Arm]) -> str:
    how = (
        "Differences are taken problem by problem"
        if difference.paired
        else "Differences set the two intervals against each other"
    )
    seeds = sum(arm.method == subject.method for arm in trained)
    choice = (
        f" Of {seeds} such runs in this folder the sentence is about the first, {subject.name}." if seeds > 1 else ""
    )
    return (
        f"{how}; intervals are 95 % over problems. Each arm is one training run: how far another training seed "
        f"would move it is not in these intervals.{choice}"
    )


def _without_evaluation(run: RunFolder) -> str:
    several = [arm for arm in run.arms if arm.benchmarks]
    if several:
        return _over_data_sets(several)
    if not run.discoveries:
        verified = next((heads.verification for heads in run.heads if heads.verification is not None), None)
        if verified is not None:
            return verified.verdict
        return "No arm has been evaluated yet." if run.arms else "What the heads of this folder were put to."
    sentence = " ".join(_found(found) for found in run.discoveries)
    return f"{sentence} No arm has been evaluated." if run.arms else sentence


def _found(found: DiscoveryResult) -> str:
    proof = (
        ", clearly more than any trivial rule on pairs of like length"
        if found.proven
        else "; that they do more than trivial rules is not proven"
    )
    return (
        f"{plural(len(found.chosen), 'head')} of {Path(found.model).name} "
        f"{'ranks' if len(found.chosen) == 1 else 'rank'} {percent(found.chosen_sra.value)} of pairs of an essential "
        f"and a redundant step right{proof}."
    )


def _over_data_sets(arms: list[Arm]) -> str:
    """Return the mean over the data sets that all arms share, of the subject and of the starting model."""
    names = shared_names(arms)
    base = next((arm for arm in arms if arm.starts), None)
    trained = [arm for arm in arms if not arm.starts]
    subject = next((arm for arm in trained if arm.method == "attnpo"), trained[-1] if trained else arms[0])
    now = mean_point(subject, names)
    if not names or now is None:
        return f"{plural(len(arms), 'arm')} measured on different data sets."
    accuracy, tokens = now
    sentence = (
        f"Over {plural(len(names), 'data set')} {arm_title(subject.name)} answers {percent(accuracy.value)} right on "
        f"average with {tokens.value:,.0f} tokens a response"
    )
    before = None if base is None or base is subject else mean_point(base, names)
    if before is None:
        return f"{sentence}."
    return f"{sentence}, {START} {percent(before[0].value)} with {before[1].value:,.0f}."
