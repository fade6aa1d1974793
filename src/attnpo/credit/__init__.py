"""From verdicts, lengths and step scores to per-token advantages (AttnPO, Eq. 3-8). Torch only."""

from attnpo.credit.accuracy import CREDIT_CELLS, CreditAccuracy, credit_accuracy
from attnpo.credit.advantages import group_advantages, grpo_advantages, rloo_advantages
from attnpo.credit.asking import Ask
from attnpo.credit.batches import ESSENTIAL, LABEL_CODES, REDUNDANT, UNDECIDED, GroupBatch, StepBatch
from attnpo.credit.layout import pack_steps
from attnpo.credit.methods import METHODS, PRESETS, Method, Preset, build_method, method_class
from attnpo.credit.monitoring import credit_counts, credit_metrics
from attnpo.credit.policy import Continuation, Draw, Drawn, Policy, Probed, Requests, Sampled, TokenStats
from attnpo.credit.repetition import is_repetitive
from attnpo.credit.rescaling import scheduled, step_baseline, step_gamma, token_advantages
from attnpo.credit.rewards import length_z_scores, outcome_rewards, tlmre_rewards
from attnpo.credit.settings import CreditSettings, MethodSettings

__all__ = [
    "CREDIT_CELLS",
    "ESSENTIAL",
    "LABEL_CODES",
    "METHODS",
    "PRESETS",
    "REDUNDANT",
    "UNDECIDED",
    "Ask",
    "Continuation",
    "CreditAccuracy",
    "CreditSettings",
    "Draw",
    "Drawn",
    "GroupBatch",
    "Method",
    "MethodSettings",
    "Policy",
    "Preset",
    "Probed",
    "Sampled",
    "Requests",
    "StepBatch",
    "TokenStats",
    "build_method",
    "credit_accuracy",
    "credit_counts",
    "credit_metrics",
    "group_advantages",
    "grpo_advantages",
    "is_repetitive",
    "length_z_scores",
    "method_class",
    "outcome_rewards",
    "pack_steps",
    "rloo_advantages",
    "scheduled",
    "step_baseline",
    "step_gamma",
    "tlmre_rewards",
    "token_advantages",
]
