"""Settings of a training run: everything TRL's `GRPOConfig` has, plus the method's own."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import cast

from trl import GRPOConfig

from attnpo.credit import METHODS, CreditSettings
from attnpo.credit.settings import AdvantageName, BaselineDenominator
from attnpo.errors import ConfigError


@dataclass
class AttnPOConfig(GRPOConfig):
    """Configuration of [`AttnPOTrainer`]: TRL's `GRPOConfig` with the method's settings and the paper's defaults.

    Differs from `GRPOConfig` in these defaults, after the paper (method.md, section 4): token-mean loss over the
    global batch (`loss_type="dapo"`), no KL (`beta=0`), learning rate 2e-6, 8 responses a prompt.
    """

    method: str = field(
        default="attnpo", metadata={"help": f"How credit is assigned; one of: {', '.join(sorted(METHODS))}."}
    )
    heads: str | None = field(
        default=None,
        metadata={
            "help": "Key-Focus Heads: path of a head set file from `attnpo discover`, or layer.head pairs such as "
            "'16.2,20.9,23.2'. Required by methods that read attention."
        },
    )

    # Credit (AttnPO, Eq. 3-8)
    alpha_len: float = field(
        default=0.2, metadata={"help": "Weight of the length term in the reward (Eq. 3), in [0, 1]."}
    )
    alpha_base: float = field(
        default=2.0, metadata={"help": "Exponent of the pass rate in the baseline (Eq. 6), >= 0."}
    )
    lam: float = field(default=2.0, metadata={"help": "Exponent lambda of the floor delta = 1 - p^lambda (Eq. 7)."})
    schedule_steps: int = field(
        default=1000,
        metadata={"help": "T of the difficulty schedule in optimizer steps: attenuate once t > T (1 - p) (Eq. 8)."},
    )
    positive_attenuation: bool = field(
        default=True, metadata={"help": "Reward redundant steps of good responses less (PA)."}
    )
    negative_attenuation: bool = field(
        default=True, metadata={"help": "Do not punish essential steps of correct responses (NA)."}
    )
    difficulty_baseline: bool = field(
        default=True, metadata={"help": "Lower the score baseline on hard prompts (p^alpha_base in Eq. 6)."}
    )
    magnitude_modulation: bool = field(
        default=True,
        metadata={"help": "Attenuate in proportion to score / baseline (Eq. 7); off: straight to the floor."},
    )
    difficulty_schedule: bool = field(default=True, metadata={"help": "Use the schedule of Eq. 8; off: from step 0."})
    gamma_floor: float = field(default=0.0, metadata={"help": "Smallest factor gamma on an advantage, in [0, 1]."})
    advantage: str = field(default="rloo", metadata={"help": "Outcome advantage: rloo (Eq. 4) or grpo."})
    baseline_denominator: str = field(
        default="response",
        metadata={"help": "Denominator of Eq. 6: response (paper) or prompt+response (published code)."},
    )

    # Steps
    segmentation: str = field(
        default="phrases", metadata={"help": "How the think part is cut into steps: phrases (paper) or paragraphs."}
    )
    phrases_file: str | None = field(
        default=None, metadata={"help": "YAML file with phrase families that replaces the built-in one."}
    )
    min_step_chars: int | None = field(
        default=None, metadata={"help": "Steps shorter than this are merged; default 80 for phrases, 0 for paragraphs."}
    )

    # Verdict and truth
    verifier: str = field(
        default="math", metadata={"help": "Who decides correctness: math, exact, or your own module:function."}
    )
    verifier_timeout: float = field(default=5.0, metadata={"help": "Seconds an answer may take to verify."})
    verifier_workers: int = field(default=1, metadata={"help": "Worker processes that verify math answers."})
    solution_column: str = field(default="solution", metadata={"help": "Data set column with the reference answer."})
    step_labeler: str | None = field(
        default=None,
        metadata={"help": "module:function that labels steps, where the truth is known: logs how often credit agrees."},
    )

    # Speed
    group_sampler: bool = field(
        default=False,
        metadata={
            "help": "Sample with attnpo's own loop (each prompt read once for its group, finished rows dropped, "
            "responses reproducible by seed and step) instead of model.generate. Not with vLLM or ZeRO-3/FSDP."
        },
    )
    sampler_attn_implementation: str | None = field(
        default=None, metadata={"help": "With group_sampler: attention to sample with; the model's own if absent."}
    )
    answer_chunk: int = field(
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
        default=False, metadata={"help": "Append every training response to rollouts.jsonl in output_dir."}
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
        super().__post_init__()
        if self.method not in METHODS:
            raise ConfigError(f"method: '{self.method}' is unknown; choose one of {', '.join(sorted(METHODS))}")
        if self.loss_type == "luspo" or self.importance_sampling_level == "sequence":
            raise ConfigError(
                "importance_sampling_level: sequence-level ratios have one factor a response; step credit needs "
                "importance_sampling_level=token and a token-level loss_type such as dapo"
            )
        if self.multi_objective_aggregation != "sum_then_normalize":
            raise ConfigError("multi_objective_aggregation: only sum_then_normalize is supported")
        if self.group_sampler and (self.use_vllm or self.use_transformers_continuous_batching):
            raise ConfigError("group_sampler: cannot be combined with use_vllm or continuous batching; switch one off")
        self.credit_settings()

    def credit_settings(self) -> CreditSettings:
        """Return the method's settings alone (validated).

        Raises:
            ConfigError: a value is out of range.
        """
        return CreditSettings(
            alpha_len=self.alpha_len,
            alpha_base=self.alpha_base,
            lam=self.lam,
            schedule_steps=self.schedule_steps,
            positive_attenuation=self.positive_attenuation,
            negative_attenuation=self.negative_attenuation,
            difficulty_baseline=self.difficulty_baseline,
            magnitude_modulation=self.magnitude_modulation,
            schedule=self.difficulty_schedule,
            gamma_floor=self.gamma_floor,
            advantage=cast(AdvantageName, self.advantage),
            baseline_denominator=cast(BaselineDenominator, self.baseline_denominator),
            seed=self.seed,
        )
