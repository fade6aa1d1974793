from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from small_policy import END, ids_of, policy_of
from transformers import AutoTokenizer

from attnpo.credit import Requests, build_method
from attnpo.credit.methods.lcr1 import COMPRESSION, ONE_TAG, TAG
from attnpo.errors import ConfigError, DataError
from attnpo.tinyworld import checkpoint_path

QUESTION = "Suppose Gus has 8 shells. Kim has 5 more than Gus. How many shells does Kim have?"
ANSWER = "\n</think>\n\nSo Kim has 13. The answer is \\boxed{13}."
LONG = "Hmm, Kim has 8+5=13.\n\nLet me verify. 13-5=8.\n\nWait, 13-5=8, yes." + ANSWER
CUT = "Hmm, Kim has 8+5=13." + ANSWER
WRONG = "Hmm, Kim has 8+5=12.\n\nLet me verify. 12-5=7.\n</think>\n\nSo Kim has 12. The answer is \\boxed{12}."
UNFOUND = "Hmm, Kim sold it.\n\nWait, Kim has it.\n</think>\n\nSo Kim has 13. The answer is \\boxed{13}."
TWICE = "Kim has 8+5=13.\n</think>\nWait.\n</think>\n\nThe answer is \\boxed{13}."


@pytest.fixture(scope="module")
def tokenizer():
    return AutoTokenizer.from_pretrained(checkpoint_path())


def sampled(tokenizer, texts, calls=None, **settings):
    prompt = tokenizer.apply_chat_template(
        [{"role": "user", "content": QUESTION}], add_generation_prompt=True, return_dict=False
    )
    n = len(texts)
    requests = Requests([tuple(prompt)] * n, ["13"] * n, [0] * n, list(range(n)), max_new_tokens=128)
    return build_method("lcr1", settings).sample(requests, policy_of(tokenizer, texts, calls))


def test_right_responses_are_cut_and_nothing_is_encoded_anew(tokenizer):
    calls = []
    drawn = sampled(tokenizer, [LONG, CUT, WRONG, UNFOUND, TWICE], calls)
    texts = [tokenizer.decode(response.ids) for response in drawn.responses]
    assert texts == [text + END for text in (CUT, CUT, WRONG, UNFOUND, TWICE)]
    long, kept = ids_of(tokenizer, LONG), drawn.responses[0].ids
    start = len(ids_of(tokenizer, "Hmm, Kim has 8+5=13.")) - 1
    assert kept == long[:start] + long[len(long) - len(kept) + start :]
    close = tokenizer.convert_tokens_to_ids("</think>")
    think = long.index(close)
    tags = [ids_of(tokenizer, text).index(close) for text in (CUT, CUT, UNFOUND)]
    assert drawn.facts[TAG] == [tags[0], tags[1], -1, tags[2], -1]
    assert drawn.responses[0].ids[tags[0]] == close
    assert drawn.facts[COMPRESSION] == pytest.approx([1 - start / think, 1 - start / tags[1], 0, -1, 0])
    assert drawn.facts[ONE_TAG] == [1, 1, 1, 1, 0]
    assert all(response.finished for response in drawn.responses)
    assert calls == [5, 1]  # the responses, then what the sentences state: 13 alone may be 13


def test_missing_answers_and_users_detectors(tokenizer):
    assert sampled(tokenizer, [UNFOUND], missing_reward=0.0).facts[COMPRESSION] == [0]
    drawn = sampled(tokenizer, [LONG], detector="small_detector:after_the_first_word")
    assert tokenizer.decode(drawn.responses[0].ids).startswith("Hmm\n</think>")
    with pytest.raises(ConfigError, match=r"^detector 'small_detector:nothing'"):
        build_method("lcr1", {"detector": "small_detector:nothing"})
    with pytest.raises(ConfigError, match=r"^detector: 'judge' is not allowed"):
        build_method("lcr1", {"detector": "judge"})


@pytest.mark.parametrize("name", ["lcr1", "decs", "depo"])
def test_programs_have_no_first_answer(name):
    method = build_method(name)
    method.check(256, 8, "math")
    with pytest.raises(ConfigError, match=rf"^verifier: method '{name}' looks for the answer in sentences"):
        method.check(256, 8, "code")
    build_method(name, {"detector": "small_detector:after_the_first_word"}).check(256, 8, "code")


def groups(make_groups, rows, one_tag):
    return replace(make_groups(rows), facts={ONE_TAG: torch.tensor([one_tag], dtype=torch.float32)})


def test_worked_rewards_and_advantages(make_groups):
    # right: the first three; L_max = 80. The fourth is right in the answer, but closes twice.
    made = groups(make_groups, [(True, 20), (True, 40), (True, 80), (True, 160), (False, 100)], [1, 1, 1, 0, 1])
    lcr1 = build_method("lcr1")
    rewards = lcr1.rewards(made)
    assert rewards.tolist() == [[2.75, 2.5, 2.0, 0.0, 0.75]]
    assert lcr1.advantages(rewards, made)[0].tolist() == pytest.approx([1.15, 0.9, 0.4, -1.6, -0.85])
    own = build_method("lcr1", {"length_for_wrong": False, "format_reward": 0.5, "length_weight": 2})
    assert own.rewards(made).tolist() == [[3.0, 2.5, 1.5, 1.0, 0.5]]


def test_a_group_without_a_right_one_has_no_length_reward(make_groups):
    made = groups(make_groups, [(False, 20), (False, 40), (True, 10)], [1, 0, 0])
    assert build_method("lcr1").rewards(made).tolist() == [[1, 0, 1]]
    with pytest.raises(DataError, match=r"^method lcr1: needs closing tags"):
        build_method("lcr1").rewards(make_groups([(True, 5), (False, 5)]))


def test_the_closing_tag_alone_gets_the_compress_reward(make_steps):
    steps = make_steps([[1.0], [1.0], [1.0]], advantage=[0.5, -1.0, 0.25])
    steps = replace(steps, facts={TAG: torch.tensor([2.0, 0.0, -1.0]), COMPRESSION: torch.tensor([0.75, -1.0, 0.0])})
    lcr1 = build_method("lcr1", {"compress_weight": 2})
    spread = lcr1.spread(steps, lcr1.gamma(steps), torch.full((3, 4), -1))
    assert spread.tolist() == [[0.5, 0.5, 2.0, 0.5], [-3.0, -1.0, -1.0, -1.0], [0.25] * 4]
