"""Settings that several commands share."""

from __future__ import annotations

from dataclasses import dataclass, field

from attnpo.ranges import AtLeast1, Count, Seconds, Seed, Workers


@dataclass
class ModelArguments:
    """Which model, and how it is loaded."""

    model: str | None = field(
        default=None, metadata={"help": "Path or Hub id of a causal language model; 'tinyworld' is the one that ships."}
    )
    revision: str | None = field(default=None, metadata={"help": "Revision of a Hub model."})
    dtype: str = field(default="auto", metadata={"help": "auto (as saved), float32, bfloat16 or float16."})
    device: str = field(
        default="auto", metadata={"help": "auto (an accelerator if there is one), cpu, cuda, cuda:1, …"}
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={"help": "sdpa, eager, flash_attention_2, flex_attention, …; transformers' choice if absent."},
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Allow a Hub model to run its own code."})


@dataclass
class DataArguments:
    """Which problems."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "A .jsonl, .json, .parquet or .csv file; a Hub id (owner/name:config); module:function returning a "
            "datasets.Dataset; 'tinyworld' is the small world's."
        },
    )
    split: str | None = field(default=None, metadata={"help": "Split of a Hub data set."})
    num_problems: AtLeast1 | None = field(default=None, metadata={"help": "Take at most this many problems."})
    prompt_column: str = field(
        default="prompt", metadata={"help": "Column of the prompt; a dot reaches into nested columns."}
    )
    id_column: str = field(default="problem_id", metadata={"help": "Column of the problem id, optional."})
    difficulty_column: str = field(default="difficulty", metadata={"help": "Column of the difficulty, optional."})
    subject_column: str = field(default="subject", metadata={"help": "Column of the subject, optional."})
    prompt_template: str | None = field(
        default=None,
        metadata={"help": "Jinja template of the prompt over a row, or a .jinja file; replaces prompt_column."},
    )
    solution_after: str | None = field(
        default=None, metadata={"help": "The answer is what follows this text in the solution column (GSM8K: '####')."}
    )
    problems_seed: Seed | None = field(
        default=None, metadata={"help": "With num_problems: draw them with this seed; the first ones if absent."}
    )
    skip_bad_rows: bool = field(
        default=False,
        metadata={
            "help": "Leave out rows without prompt or answer, or with another problem's id, and say how many; without "
            "it the first such row is refused."
        },
    )


@dataclass
class StepArguments:
    """How responses are cut into steps, verified and labelled."""

    solution_column: str = field(default="solution", metadata={"help": "Column of the reference answer."})
    segmentation: str = field(default="phrases", metadata={"help": "Steps: phrases (paper) or paragraphs."})
    phrases_file: str | None = field(default=None, metadata={"help": "YAML file that replaces the phrase families."})
    min_step_chars: Count | None = field(default=None, metadata={"help": "Merge steps shorter than this."})
    verifier: str = field(default="math", metadata={"help": "math, exact, choice, code, or your own module:function."})
    verifier_timeout: Seconds = field(default=5.0, metadata={"help": "Seconds an answer may take to verify."})
    verifier_workers: Workers = field(default=1, metadata={"help": "Worker processes that verify."})
    allow_weak_sandbox: bool = field(
        default=False,
        metadata={"help": "Verifier code: run programs even where this system cannot cut them off the network."},
    )
    labeler: str | None = field(
        default=None,
        metadata={
            "help": "module:function (question, response, steps) -> essential / redundant / undecided a step; discover "
            "also takes judge, causal and file:labels.jsonl."
        },
    )
