"""Settings of a training run: everything TRL's `GRPOConfig` has, plus the method's own."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import torch
from trl import GRPOConfig

from attnpo.attention import check_parallelism
from attnpo.credit import METHODS, CreditSettings, Method, MethodSettings, build_method, method_class
from attnpo.credit.methods.base import DRAWS
from attnpo.errors import ConfigError
from attnpo.ranges import AtLeast0, AtLeast1, Count, Range, Seconds, Share, SummedTokens, Workers, check_settings
from attnpo.sampling import opening_text
from attnpo.sampling.honoured import check_kwargs, check_own, training_engine
from attnpo.signals import signal_of
from attnpo.training.inherited_ranges import INHERITED_RANGES
from attnpo.training.precision import precision_problem, settle_precision

_KNOWN = {entry.name: entry for entry in fields(CreditSettings)}
CREDIT_FLAGS = {"difficulty_schedule" if name == "schedule" else name: name for name in _KNOWN if name != "num_heads"}
"""Fields of the configuration that are short for `method_settings`, and what those call them."""
_ALLOWED = {flag: _KNOWN[name].metadata["allowed"] for flag, name in CREDIT_FLAGS.items()}
_CREDIT_RANGES = {flag: allowed for flag, allowed in _ALLOWED.items() if isinstance(allowed, Range)}


def _flag(name: str) -> Any:
    """Return the field that is short for a setting of AttnPO's, said where that is declared."""
    known = _KNOWN[name]
    return field(default=None, metadata={"help": f"{known.metadata['help']} AttnPO: {json.dumps(known.default)}."})


@dataclass
class AttnPOConfig(GRPOConfig):
    """Configuration of [`AttnPOTrainer`]: TRL's `GRPOConfig` with the method's settings and the paper's defaults.

    Differs from `GRPOConfig` in these defaults, after the paper: token-mean loss over the
    global batch (`loss_type="dapo"`), no KL (`beta=0`), learning rate 2e-6, 8 responses a prompt.
    """

    INHERITED_RANGES: ClassVar[Mapping[str, Range]] = {**INHERITED_RANGES, **_CREDIT_RANGES}
    SHORT_FOR: ClassVar[Mapping[str, tuple[str, str]]] = {
        flag: ("method_settings", name) for flag, name in CREDIT_FLAGS.items()
    }

    method: str = field(
        default="attnpo",
        metadata={
            "help": f"How credit is assigned: {', '.join(sorted(METHODS))}, or a preset such as attnpo-pa-only; "
            "or module:Class, your own; "
            "`attnpo methods` explains them."
        },
    )
    method_settings: dict[str, Any] | str | None = field(
        default=None,
        metadata={
            "help": "The method's own settings that differ from the published ones, as JSON: "
            "'{\"target_length\": 2048}'. `attnpo methods --method NAME` lists them."
        },
    )
    opening: str = field(
        default="",
        metadata={
            "help": "Text behind the generation prompt of every response, as part of the prompt (\\n: line break): "
            "'<think>\\n' for a model that was trained behind it, where the chat template leaves it out; not for one "
            "that writes <think> itself (Qwen3). What a method puts there follows it."
        },
    )
    heads: str | None = field(
        default=None,
        metadata={
            "help": "Key-Focus Heads: a head set file from `attnpo discover`, the name of one that ships "
            "(deepseek-r1-distill-qwen-1.5b), or layer.head pairs such as '16.2,20.9,23.2'. "
            "Required by methods that read attention."
        },
    )
    signal: str | None = field(
        default=None,
        metadata={
            "help": "What scores the steps in place of the method's own signal (AttnPO: heads): a name of `attnpo "
            "signals`, a probe's file, or module:Class. Only heads and heads_ranked take a head set."
        },
    )

    # Short for `method_settings` (AttnPO, Eq. 3-8). None is the preset's value, else the method's published one, and is
    # replaced by it.
    alpha_len: float | None = _flag("alpha_len")
    alpha_base: float | None = _flag("alpha_base")
    lam: float | None = _flag("lam")
    schedule_steps: int | None = _flag("schedule_steps")
    positive_attenuation: bool | None = _flag("positive_attenuation")
    negative_attenuation: bool | None = _flag("negative_attenuation")
    difficulty_baseline: bool | None = _flag("difficulty_baseline")
    magnitude_modulation: bool | None = _flag("magnitude_modulation")
    difficulty_schedule: bool | None = _flag("schedule")
    gamma_floor: float | None = _flag("gamma_floor")
    advantage: str | None = _flag("advantage")
    scale_advantages: bool | None = _flag("scale_advantages")
    whiten: bool | None = _flag("whiten")
    resample_groups: int | None = _flag("resample_groups")
    baseline_denominator: str | None = _flag("baseline_denominator")

    # Steps
    segmentation: str = field(
        default="phrases", metadata={"help": "How the think part is cut into steps: phrases (paper) or paragraphs."}
    )
    phrases_file: str | None = field(
        default=None, metadata={"help": "YAML file with phrase families that replaces the built-in one."}
    )
    min_step_chars: Count | None = field(
        default=None, metadata={"help": "Steps shorter than this are merged; default 80 for phrases, 0 for paragraphs."}
    )

    # Verdict and truth
    verifier: str = field(
        default="math",
        metadata={"help": "What decides correctness: math, exact, choice, code or module:function."},
    )
    verifier_timeout: Seconds = field(default=5.0, metadata={"help": "Seconds an answer may take to verify."})
    verifier_workers: Workers = field(default=1, metadata={"help": "Worker processes that verify math answers."})
    allow_weak_sandbox: bool = field(
        default=False,
        metadata={"help": "Verifier code: run programs even where this system cannot cut them off the network."},
    )
    solution_column: str = field(default="solution", metadata={"help": "Data set column with the reference answer."})
    step_labeler: str | None = field(
        default=None,
        metadata={"help": "module:function that labels steps, where the truth is known: logs how often credit agrees."},
    )

    # The loss, beside TRL's own settings
    kl_cov_share: Share = field(
        default=0.0,
        metadata={
            "help": "KL-Cov: share of a micro-batch's tokens, those with the highest covariance of advantage and "
            "log-probability, that pay for moving (DOT: 0.002); 0 switches it off. Acts with several updates a batch; "
            "the published loss does not clip the ratio (epsilon and epsilon_high very large)."
        },
    )
    kl_cov_weight: AtLeast0 = field(default=1.0, metadata={"help": "What |log ratio| of these tokens costs."})

    # Speed
    check_in_background: bool = field(
        default=True,
        metadata={
            "help": "Segment and verify responses in threads while others still decode (group_sampler) and while TRL "
            "makes its passes; false for a verifier object that must be called from the main thread only."
        },
    )
    group_sampler: bool = field(
        default=False,
        metadata={
            "help": "Sample with attnpo's own loop (each prompt read once for its group, finished rows dropped, "
            "responses reproducible by seed and step) instead of model.generate. Not with vLLM. Under FSDP2 and ZeRO-3 "
            "each process holds the whole parameters while it samples."
        },
    )
    sampler_attn_implementation: str | None = field(
        default=None, metadata={"help": "With group_sampler: attention to sample with; the model's own if absent."}
    )
    max_sampled_tokens: SummedTokens | None = field(
        default=None,
        metadata={
            "help": "End the run once this many tokens were sampled, probes of the method included; the learning rate "
            "then goes by tokens. max_steps or num_train_epochs stay as bounds."
        },
    )
    keep_models: Count = field(
        default=0,
        metadata={
            "help": "Keep so many models on the way, at equal shares of max_sampled_tokens, in output_dir/course/1, "
            "course/2 and so on."
        },
    )
    answer_chunk: AtLeast1 = field(
        default=64, metadata={"help": "Answer tokens whose attention rows are held at once; bounds extra memory."}
    )
    pack_micro_batches: bool = field(
        default=True,
        metadata={
            "help": "Sort the rows of an optimizer step by length, leave out those of zero advantage, cut padding. "
            "The gradient stays the same; TRL's own statistics (entropy, clip ratio) miss the rows left out."
        },
    )
    save_rollouts: bool = field(
        default=False, metadata={"help": "Append every training response to training_rollouts.jsonl in output_dir."}
    )

    # What a long run forgives
    max_skipped_updates: AtLeast1 = field(
        default=3, metadata={"help": "End the run at this many updates in a row whose gradient is not finite."}
    )
    max_reward_failures: Share = field(
        default=0.05,
        metadata={
            "help": "Share of responses that the verifier or a reward function may fail on before the run ends; such a "
            "response counts as wrong, or gets no reward of the function."
        },
    )

    # Defaults that differ from GRPOConfig, after the paper
    learning_rate: float = field(default=2e-6, metadata={"help": "Initial learning rate of AdamW."})
    scale_rewards: str = field(
        default="none", metadata={"help": "Kept at none: the method decides advantages (see `advantage`)."}
    )

    def __post_init__(self) -> None:
        """Validate what can be validated before a model is loaded.

        Raises:
            ConfigError: a setting is out of range or contradicts another one.
        """
        padding = vars(self)["pad_to_multiple_of"]
        if isinstance(padding, str) and padding.isdecimal():  # as a flag gives it
            self.pad_to_multiple_of = int(padding)
        check_settings(self)
        self.method_settings = _named_values(self.method_settings)
        self.opening = opening_text(self.opening)
        check_parallelism(parallelism=self.parallelism_config)
        if self.runs_on_cpu():
            settle_precision(self)
        bf16 = not self.fp16 if self.bf16 is None else self.bf16
        problem = precision_problem(bf16, self.fp16, self.runs_on_cpu(), self.use_cpu)
        if problem is not None:
            raise ConfigError(problem)
        super().__post_init__()
        if self.keep_models and self.max_sampled_tokens is None:
            raise ConfigError("keep_models: goes by max_sampled_tokens, which is not given; give it, or take this away")
        method_class(self.method)
        signal_of(self.method, self.signal)
        if self.loss_type == "luspo" or self.importance_sampling_level == "sequence":
            raise ConfigError(
                "importance_sampling_level: sequence-level ratios have one factor a response; step credit needs "
                "importance_sampling_level=token and a token-level loss_type such as dapo"
            )
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ConfigError("multi_objective_aggregation: only sum_then_normalize is supported")
        if str(self.scale_rewards).lower() in ("none", "false"):
            self.scale_rewards = "none"  # False, as TRL takes it from Python
        else:
            raise ConfigError(
                f"scale_rewards: {self.scale_rewards} would do nothing, for the method decides advantages; leave it "
                f"out (none), or {_how_to_scale(self.method)}"
            )
        if self.group_sampler and (self.use_vllm or self.use_transformers_continuous_batching):
            raise ConfigError("group_sampler: cannot be combined with use_vllm or continuous batching; switch one off")
        if self.use_vllm and self.use_transformers_continuous_batching:
            raise ConfigError("use_vllm: cannot be combined with continuous batching; switch one off")
        engine = training_engine(self)
        check_own(engine, vars(self))
        check_kwargs(engine, self.generation_kwargs or {})
        method = self.build_credit()
        settings = method.settings
        if method.overrides(*DRAWS) and not self.group_sampler:
            raise ConfigError(
                f"group_sampler: method '{self.method}' goes on from parts of responses, which needs group_sampler=true"
            )
        whole = method.needs_whole_groups or settings.resample_groups
        if whole and self.per_device_rows() % self.num_generations:
            raise ConfigError(
                f"num_generations: method '{self.method}' needs whole groups on each process; "
                f"{self.per_device_rows()} responses a process are no multiple of {self.num_generations}"
            )
        if settings.resample_groups and not self.group_sampler:
            raise ConfigError(
                f"resample_groups: {settings.resample_groups} needs group_sampler=true, which can draw another "
                "problem's responses within a step; set that, or resample_groups to 0"
            )
        if settings.resample_groups and (method.overrides("probe", "prepare") or method.judges_steps):
            raise ConfigError(
                f"resample_groups: method '{self.method}' finds out more about problems or responses before it judges "
                "them, so no group can be judged while it is sampled; set it to 0"
            )
        if settings.resample_groups and method.learns_from_groups:
            raise ConfigError(
                f"resample_groups: method '{self.method}' learns from all groups that are sampled, and would see "
                "only those that stay; set it to 0"
            )
        for flag, name in CREDIT_FLAGS.items():
            if getattr(self, flag) is None and name in method.own_settings():
                setattr(self, flag, getattr(settings, name))

    def runs_on_cpu(self) -> bool:
        """Whether the run takes place on the CPU: it was asked for, or there is nothing else."""
        return self.use_cpu or not torch.accelerator.is_available()

    def zero_stage(self) -> int | None:
        """Return DeepSpeed's stage; None where another engine trains."""
        return None if self.deepspeed_plugin is None else int(self.deepspeed_plugin.zero_stage)

    def per_device_rows(self) -> int:
        """Return how many responses a process samples at once."""
        return self.per_device_train_batch_size * (self.steps_per_generation or self.gradient_accumulation_steps)

    def model_options(self) -> dict[str, Any]:
        """Return `model_init_kwargs` as values by name."""
        return dict(self.model_init_kwargs) if isinstance(self.model_init_kwargs, dict) else {}

    def build_credit(self) -> Method:
        """Return the method, its settings validated: explicit ones go before a preset's, those before published ones.

        A credit flag that the method does not have is checked and passed over, so that the arms of a comparison may
        share a recipe.

        Raises:
            ConfigError: a value is out of range, or `method_settings` names what the method does not have.
        """
        given = {name: getattr(self, flag) for flag, name in CREDIT_FLAGS.items() if getattr(self, flag) is not None}
        CreditSettings(**given)
        known = method_class(self.method).own_settings()
        own = _named_values(self.method_settings)
        method = build_method(self.method, {name: value for name, value in given.items() if name in known} | own)
        method.check(self.max_completion_length or sys.maxsize, self.num_generations, self.verifier)
        return method

    def credit_settings(self) -> MethodSettings:
        """Return the method's settings alone (validated).

        Raises:
            ConfigError: a value is out of range.
        """
        return self.build_credit().settings


def _how_to_scale(method: str) -> str:
    if "scale_advantages" in method_class(method).own_settings():
        return "set scale_advantages, which divides by the group's standard deviation"
    return f"choose a method that has scale_advantages ('{method}' does not)"


def _named_values(settings: dict[str, Any] | str | None) -> dict[str, Any]:
    """Read `method_settings`, JSON on the command line.

    Raises:
        ConfigError: it is no JSON object.
    """
    wanted = 'write them as JSON, {"name": value}'
    if isinstance(settings, str):
        try:
            settings = json.loads(settings)
        except json.JSONDecodeError as error:
            raise ConfigError(f"method_settings: {settings!r} is not JSON ({error}); {wanted}") from error
    if not isinstance(settings, dict | None):
        raise ConfigError(f"method_settings: {settings!r} holds no settings by name; {wanted}")
    return settings or {}
