"""The paper whose method this is."""

from __future__ import annotations

PAPER = {
    "title": "ATTNPO: Attention-Guided Process Supervision for Efficient Reasoning",
    "id": "2602.09953",
    "citation": """@article{nie2026attnpo,
  title         = {ATTNPO: Attention-Guided Process Supervision for Efficient Reasoning},
  author        = {Shuaiyi Nie and Siyu Ding and Wenyuan Zhang and Linhao Yu and Tianmeng Yang and Yao Chen and
                   Weichong Yin and Yu Sun and Hua Wu and Tingwen Liu},
  year          = {2026},
  eprint        = {2602.09953},
  archivePrefix = {arXiv},
  primaryClass  = {cs.CL},
}""",
}
