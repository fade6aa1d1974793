"""What to cite: the method's paper and the library that ran it."""

from __future__ import annotations

from attnpo.credit.methods import method_class
from attnpo.training.paper import PAPER
from attnpo.training.record import TrainingRecord

TRL = """@software{vonwerra2020trl,
  title   = {{TRL: Transformers Reinforcement Learning}},
  author  = {von Werra, Leandro and Belkada, Younes and Tunstall, Lewis and Beeching, Edward and Thrush, Tristan and
             Lambert, Nathan and Huang, Shengyi and Rasul, Kashif and Gallouédec, Quentin},
  license = {Apache-2.0},
  url     = {https://github.com/huggingface/trl},
  year    = {2020}
}"""


def citations(record: TrainingRecord) -> str:
    """Return the BibTeX entries, in Markdown."""
    method = method_class(record.method)
    parts = []
    if method.arxiv == PAPER["id"]:
        parts.append(f"```bibtex\n{PAPER['citation']}\n```")
    elif method.arxiv is not None:
        parts.append(f"{method.paper}: [arXiv {method.arxiv}](https://arxiv.org/abs/{method.arxiv})")
    parts.append(f"```bibtex\n{TRL}\n```")
    return "\n\n".join(parts)
