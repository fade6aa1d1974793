"""The small world's fast tokenizer: one token a world word, one a digit, bytes for everything else."""

from __future__ import annotations

import random
from functools import lru_cache

from tokenizers import AddedToken
from tokenizers.pre_tokenizers import ByteLevel
from transformers import PreTrainedTokenizerFast, Qwen2Tokenizer

from attnpo.tinyworld.problems import NAMES, UNITS, generate_problems
from attnpo.tinyworld.traces import reference_trace

BOS, EOS, PAD = "<|begin_of_sentence|>", "<|end_of_sentence|>", "<|endoftext|>"
USER, ASSISTANT = "<|user|>", "<|assistant|>"
THINK, END_THINK = "<think>", "</think>"

CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'assistant' %}"
    "{{ '" + ASSISTANT + "' + message['content'] + eos_token }}"
    "{% elif message['role'] == 'user' %}"
    "{{ '" + USER + "' + message['content'] }}"
    "{% else %}{{ message['content'] }}{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '" + ASSISTANT + THINK + "\\n' }}{% endif %}"
)
"""As DeepSeek-R1's: a system message stands bare after bos, the generation prompt opens the think part."""

_SAMPLE = 4000


@lru_cache(maxsize=1)
def _lexicon() -> tuple[str, ...]:
    """All words that world text is made of, in byte-level spelling and as Qwen2's pre-tokenizer cuts them."""
    splitter = Qwen2Tokenizer(vocab={PAD: 0}, merges=[]).backend_tokenizer.pre_tokenizer
    assert splitter is not None
    rng = random.Random(0)
    texts = [" ".join(("", *NAMES, *UNITS)), ".".join(("", *NAMES))]
    for problem in generate_problems("train", _SAMPLE, seed=-1):
        texts += [problem.question, reference_trace(problem, rng)]
    pieces = {piece for text in texts for piece, _ in splitter.pre_tokenize_str(text)}
    return tuple(sorted({"ĊĊ", *(piece for piece in pieces if piece[-1].isalpha() and piece[-1] != "Ċ")}))


def _merges() -> list[tuple[str, str]]:
    """Merges that spell each word from its left end.

    Words after a space come first, so that a word that stands bare (`boxed`) never claims a part of another.
    """
    merges: dict[tuple[str, str], None] = {}
    for word in sorted(_lexicon(), key=lambda word: (not word.startswith("Ġ"), word)):
        for end in range(1, len(word)):
            merges.setdefault((word[:end], word[end]))
    return list(merges)


def build_tokenizer() -> PreTrainedTokenizerFast:
    """The world's tokenizer; `decode(encode(x)) == x` for any text in Unicode's composed form (NFC).

    It is a Qwen2 tokenizer with a vocabulary of its own, since `AutoTokenizer` reads the tokenizer of every
    checkpoint of that architecture as one.
    """
    vocabulary: dict[str, int] = {}
    for token in (PAD, BOS, EOS, USER, ASSISTANT, THINK, END_THINK):
        vocabulary[token] = len(vocabulary)
    merges: list = _merges()  # pairs, as tokenizers takes them
    for piece in (*sorted(ByteLevel.alphabet()), *(left + right for left, right in merges)):
        vocabulary.setdefault(piece, len(vocabulary))
    tokenizer = Qwen2Tokenizer(
        vocab=vocabulary,
        merges=merges,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        unk_token=PAD,
        padding_side="left",
        model_max_length=1024,
        clean_up_tokenization_spaces=False,
    )
    tokenizer.add_tokens([AddedToken(token, special=True) for token in (USER, ASSISTANT)], special_tokens=True)
    # Not special, as in DeepSeek-R1: they survive decoding with skip_special_tokens=True.
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in (THINK, END_THINK)])
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer
