from __future__ import annotations

from itertools import pairwise

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from attnpo.segmentation import (
    ParagraphStrategy,
    PhraseStrategy,
    Segmenter,
    answer_mask,
    decode_with_offsets,
    step_index,
)

FIXTURE = settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
FINE = PhraseStrategy(min_chars=0)
STRATEGIES = [FINE, PhraseStrategy(), ParagraphStrategy()]
PIECES = [
    "<think>",
    "</think>",
    "</th",
    "ink>",
    "Bob ",
    "Wait",
    " But",
    "\n",
    "\n\nSo",
    "é",
    "🦜",
    "\u200d",
    "tool call é",
]


def owners(tokenizer, ids, segmented) -> list[int | str | None]:
    """The documented rule, token by token: the part that holds the token's first character."""
    _, spans = decode_with_offsets(tokenizer, ids)
    result: list[int | str | None] = []
    for start, _ in spans:
        owner: int | str | None = None
        for number, step in enumerate(segmented.steps):
            if step.chars[0] <= start < step.chars[1]:
                owner = number
        if segmented.closed and start >= segmented.answer_chars[0]:
            owner = "answer"
        result.append(owner)
    special = {token_id for token_id, token in tokenizer.added_tokens_decoder.items() if token.special}
    for position in reversed(range(len(ids))):
        if ids[position] not in special:
            break
        result[position] = None
    return result


@given(data=st.data())
@FIXTURE
def test_every_token_has_its_documented_owner(exact_tokenizer, data) -> None:
    text = "".join(data.draw(st.lists(st.sampled_from(PIECES), max_size=25)))
    ids = exact_tokenizer(text)["input_ids"]
    noise = data.draw(st.lists(st.integers(0, len(exact_tokenizer) - 1), max_size=5))
    at = data.draw(st.integers(0, len(ids)))
    end = [exact_tokenizer.eos_token_id] * data.draw(st.integers(0, 1)) + [exact_tokenizer.pad_token_id] * data.draw(
        st.integers(0, 2)
    )
    ids = [*ids[:at], *noise, *ids[at:], *end]
    strategy = STRATEGIES[data.draw(st.integers(0, len(STRATEGIES) - 1))]
    segmented = Segmenter(exact_tokenizer, strategy)(ids)
    expected = owners(exact_tokenizer, ids, segmented)
    assert segmented.n_tokens == len(ids)
    assert step_index(segmented, len(ids)) == [o if isinstance(o, int) else -1 for o in expected]
    assert answer_mask(segmented, len(ids)) == [o == "answer" for o in expected]
    tokens = [step.tokens for step in segmented.steps]
    assert all(a[1] == b[0] for a, b in pairwise(tokens))
    start, stop = segmented.answer_tokens
    assert 0 <= start <= stop <= len(ids)


def token_texts(tokenizer, ids, span) -> str:
    return "".join(tokenizer.decode([token_id]) for token_id in ids[slice(*span)])


def test_a_whole_response(bpe) -> None:
    ids = [*bpe("<think>Bob has 5. Wait, no.\n</think>So \\boxed{5}")["input_ids"], bpe.eos_token_id, bpe.pad_token_id]
    segmented = Segmenter(bpe, FINE)(ids)
    assert [token_texts(bpe, ids, step.tokens) for step in segmented.steps] == ["Bob has 5.", " Wait, no.\n"]
    assert token_texts(bpe, ids, segmented.answer_tokens) == "So \\boxed{5}"
    assert segmented.answer_tokens[1] == len(ids) - 2
    think = ids.index(bpe.convert_tokens_to_ids("<think>"))
    close = ids.index(bpe.convert_tokens_to_ids("</think>"))
    index = step_index(segmented, len(ids) + 3)
    assert (index[think], index[close]) == (-1, -1)
    assert not answer_mask(segmented, len(ids))[close]
    assert index[-5:] == [-1] * 5
    assert step_index(segmented, 4) == index[:4]


def test_a_token_over_a_border_belongs_where_it_begins(bpe) -> None:
    bpe.add_tokens(["5</think>\nSo", ">6"])
    ids = bpe.convert_tokens_to_ids(["B", "5</think>\nSo", "6"])
    segmented = Segmenter(bpe, FINE)(ids)
    assert [step.tokens for step in segmented.steps] == [(0, 2)]
    assert segmented.answer_tokens == (2, 3)
    split = bpe.convert_tokens_to_ids(["B", "<", "/", "t", "h", "i", "n", "k", ">6", "6"])
    segmented = Segmenter(bpe, FINE)(split)
    assert segmented.closed
    assert segmented.answer_tokens == (9, 10)
    assert segmented.text[slice(*segmented.answer_chars)] == "66"


def test_a_split_character_keeps_its_tokens_together(bpe) -> None:
    ids = bpe("a🦜 Wait🦜b")["input_ids"]
    first, second = Segmenter(bpe, FINE)(ids).steps
    assert bpe.decode(ids[slice(*first.tokens)]) == "a🦜"
    assert bpe.decode(ids[slice(*second.tokens)]) == " Wait🦜b"


def test_truncated_and_empty_responses(bpe) -> None:
    ids = bpe("Bob. Wait")["input_ids"]
    for ending in ([], [bpe.eos_token_id]):
        segmented = Segmenter(bpe, FINE)([*ids, *ending])
        assert not segmented.closed
        assert segmented.answer_tokens == (len(ids), len(ids))
        assert segmented.steps[-1].tokens[1] == len(ids)
    assert Segmenter(bpe, FINE)([]).steps == ()
    only_end = Segmenter(bpe, FINE)([bpe.eos_token_id])
    assert (only_end.steps, only_end.answer_tokens, only_end.n_tokens) == ((), (0, 0), 1)
