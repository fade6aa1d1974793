"""Settings of a discovery run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from attnpo.ranges import AtLeast1, OpenShare, Seed, Share
from attnpo.sampling import SamplingSettings
from attnpo.signals import rivals


@dataclass
class DiscoverySettings(SamplingSettings):
    """How the probing set is sampled and gated, and how heads are chosen on it."""

    seed: Seed = field(
        default=0, metadata={"help": "Seed of sampling, halves, resamples and the random-initialised model."}
    )
    min_pass_rate: Share = field(
        default=0.5, metadata={"help": "Keep responses to problems with at least this share of correct responses."}
    )
    min_steps: AtLeast1 = field(default=2, metadata={"help": "Keep responses with at least this many steps."})
    num_heads: AtLeast1 = field(default=3, metadata={"help": "Most heads a set may have (the paper's N)."})
    selection: Literal["greedy", "top"] = field(
        default="greedy",
        metadata={"help": "'greedy': add the head that raises the ensemble's SRA most; 'top': best single heads."},
    )
    curve_heads: AtLeast1 = field(default=10, metadata={"help": "Length of the two ensemble curves, in heads."})
    select_share: OpenShare = field(
        default=0.5, metadata={"help": "Share of the problems that heads are chosen on; the others are reported on."}
    )
    batch_size: AtLeast1 = field(default=16, metadata={"help": "Responses a forward pass when scoring."})
    random_model: bool = field(
        default=True, metadata={"help": "Score a random-initialised copy of the model as well, as a trivial rule."}
    )
    signals: str = field(
        default="all",
        metadata={
            "help": "Step signals to set beside the heads (`attnpo signals`): all, none, or names with commas between. "
            "All together take one more forward pass a response; some take its logits."
        },
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        rivals(self.signals, flag="--signals", fits_probe=True)  # names what there is none of, or cannot be read
