from __future__ import annotations

import math
import statistics

import pytest
from fake_policy import FakePolicy, make_requests, world_tokenizer
from hypothesis import given
from hypothesis import strategies as st

from attnpo.credit import build_method
from attnpo.errors import ConfigError


def words(number):
    """A response that ends in its answer; all of its length stands before that."""
    return " 3" * number + "</think>0"


def lengths_of(texts):
    return [len(world_tokenizer()(text, add_special_tokens=False)["input_ids"]) + 1 for text in texts]


def sample(texts, **settings):
    fake = FakePolicy(write=lambda item: texts[item.sample], correct=lambda text, solution: text.endswith("0"))
    drawn = build_method("dot", settings).sample(make_requests(size=len(texts)), fake.policy)
    return [len(response.ids) for response in drawn.responses], drawn.responses


def test_the_longest_of_an_all_right_group_is_cut():
    texts = [words(4)] * 3 + [words(60)]
    before = lengths_of(texts)
    limit = math.floor(statistics.mean(before) + statistics.stdev(before))
    after, responses = sample(texts, deviations=1, margin=2)
    assert after == [*before[:3], limit]
    assert [response.finished for response in responses] == [True, True, True, False]
    assert list(responses[3].ids) == world_tokenizer()(texts[3], add_special_tokens=False)["input_ids"][:limit]


def test_nothing_is_cut_in_a_group_with_a_wrong_response_nor_for_a_few_tokens():
    texts = [words(4)] * 3 + [words(60)]
    assert sample([*texts[:2], words(4) + "1", texts[3]], deviations=1, margin=2)[0][3] == lengths_of(texts)[3]
    assert sample(texts, deviations=1, margin=500)[0] == lengths_of(texts)
    # three standard deviations are more than a group of four can hold: (n - 1) / sqrt(n) = 1.5
    assert sample(texts, margin=2)[0] == lengths_of(texts)


@given(st.lists(st.integers(1, 200), min_size=1, max_size=12), st.floats(0, 4))
def test_the_limit_against_its_definition(lengths, deviations):
    limit = build_method("dot", {"deviations": deviations}).outlier_length(lengths)
    assert limit >= 1
    if len(set(lengths)) == 1:
        assert limit == lengths[0]
    else:
        spread = statistics.stdev(lengths)
        assert statistics.mean(lengths) + deviations * spread - 1 <= limit
        assert limit <= statistics.mean(lengths) + deviations * spread + 1e-9


def test_published_settings():
    dot = build_method("dot")
    assert (dot.settings.deviations, dot.settings.margin, dot.settings.resample_groups) == (3, 32, 10)
    assert (dot.settings.advantage, dot.settings.scale_advantages) == ("grpo", True)


def test_small_groups():
    texts = [words(4), words(60)]
    before = lengths_of(texts)
    assert sample(texts, deviations=0, margin=2)[0] == [before[0], sum(before) // 2]
    assert sample(texts, deviations=1, margin=2)[0] == before  # no response is that far above the mean of two
    alone, responses = sample(texts[1:], deviations=0, margin=1)
    assert alone == before[1:]
    assert responses[0].finished


@given(st.integers(1, 40), st.floats(0, 7))
def test_groups_in_which_nothing_can_be_cut_are_refused(size, deviations):
    dot = build_method("dot", {"deviations": deviations})
    lengths = [1] * (size - 1) + [10**6]  # the farthest that one of them can be from the mean
    if dot.outlier_length(lengths) < 10**6 - 1:
        dot.check(256, size)
    elif size == 1 or deviations > (size - 1) / math.sqrt(size) + 1e-9:
        with pytest.raises(ConfigError, match=rf"^deviations: of {size} responses none lies"):
            dot.check(256, size)


def test_the_published_distance_takes_eleven_responses():
    build_method("dot").check(256, 11)
    with pytest.raises(ConfigError, match=r"^deviations: of 10 responses none lies 3 .* \(at most 2.85\)"):
        build_method("dot").check(256, 10)
    with pytest.raises(ConfigError, match=r"^margin: 0 is not allowed"):
        build_method("dot", {"margin": 0})
