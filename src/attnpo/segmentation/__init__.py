"""Text to steps: trigger phrases as data, merging, and spans of the sampled token ids."""

from attnpo.segmentation.merging import Segment, merge_short
from attnpo.segmentation.offsets import OffsetDecoder, decode_with_offsets
from attnpo.segmentation.phrases import PhraseFamilies, PhraseFamily, phrase_counts
from attnpo.segmentation.segmenter import Segmenter, answer_mask, step_index
from attnpo.segmentation.strategy import ParagraphStrategy, PhraseStrategy, Strategy, build_strategy
from attnpo.segmentation.text import TextSegmentation, segment_text

__all__ = [
    "OffsetDecoder",
    "ParagraphStrategy",
    "PhraseFamilies",
    "PhraseFamily",
    "PhraseStrategy",
    "Segment",
    "Segmenter",
    "Strategy",
    "TextSegmentation",
    "answer_mask",
    "build_strategy",
    "decode_with_offsets",
    "merge_short",
    "phrase_counts",
    "segment_text",
    "step_index",
]
