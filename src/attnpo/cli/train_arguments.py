"""Settings of `attnpo train` beside the training configuration."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.ranges import AtLeast1, Correlation, Positive, Share


@dataclass
class TrainArguments:
    """Which model; everything else is in the training configuration."""

    model: str | None = field(
        default=None, metadata={"help": "Path or Hub id of a causal language model; 'tinyworld' is the one that ships."}
    )
    use_peft: bool = field(default=False, metadata={"help": "Train LoRA adapters (needs attnpo[peft])."})
    lora_r: AtLeast1 = field(default=16, metadata={"help": "Rank of the adapters."})
    lora_alpha: AtLeast1 = field(default=32, metadata={"help": "Scale of the adapters."})
    max_prompt_tokens: AtLeast1 | None = field(
        default=None,
        metadata={"help": "Leave out problems whose prompt is longer than this many tokens, and say how many."},
    )
    eval_data: str | None = field(
        default=None,
        metadata={
            "help": "Problems to evaluate on while training, in the forms and columns of data; needs eval_strategy. "
            "Logs eval_reward, eval_completions/mean_length, ..."
        },
    )
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_data, where it is on the Hub."})
    eval_problems: AtLeast1 | None = field(
        default=None, metadata={"help": "Take at most this many problems of eval_data."}
    )
    dry_run: bool = field(
        default=False,
        metadata={
            "help": "Load no weights: read configuration, data, tokenizer and heads, check them against each other, "
            "show counts, memory and what would be written. Exit code 1 where something contradicts itself."
        },
    )
    json: bool = field(default=False, metadata={"help": "With dry_run: print the findings as JSON."})
    layout: str | None = field(
        default=None,
        metadata={
            "help": "With dry_run: accelerate's configuration file that the run will be launched with, on whatever "
            "machine; one process here without it."
        },
    )
    device_memory: Positive | None = field(
        default=None,
        metadata={
            "help": "With dry_run: memory in GiB of the device that is planned for, to say whether the run fits."
        },
    )


@dataclass
class ProbeArguments:
    """Whether the heads keep their meaning while the model trains."""

    probe: str | None = field(
        default=None,
        metadata={
            "help": "File of labelled rollouts (discovery's): score them every probe_every steps, log probe/sra and "
            "probe/pearson (with the scores at the start), write stability.json."
        },
    )
    probe_every: AtLeast1 = field(default=20, metadata={"help": "Optimizer steps between two probes."})
    probe_limit: AtLeast1 = field(default=64, metadata={"help": "Take at most this many of the file's responses."})
    probe_min_sra: Share | None = field(default=None, metadata={"help": "Warn when SRA falls under this."})
    probe_min_pearson: Correlation | None = field(
        default=None, metadata={"help": "Warn when the correlation with the start falls under this (paper: 0.85)."}
    )
    probe_reselect: bool = field(
        default=False, metadata={"help": "At a warning, choose heads anew on the probe set and train on with them."}
    )
