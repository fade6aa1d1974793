"""The range of every numeric setting that a training run inherits from TRL and transformers."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from attnpo.ranges import (
    AT_LEAST_0,
    AT_LEAST_1,
    COUNT,
    NUMBER,
    PATIENCE,
    POSITIVE,
    POSITIVE_SHARE,
    SEED,
    SHARE,
    TEMPERATURE,
    Range,
)

_DECAY = Range(0, 1, below=True)
_EVERY = Range(0, above=True)  # below 1: a share of the run
_RATE = Range(0, largest=100)  # a step of this size leaves nothing of the weights
_PORT = Range(1, 65535, whole=True)

INHERITED_RANGES: Final[dict[str, Range]] = {
    # Length of the run
    "num_train_epochs": POSITIVE,
    "max_steps": replace(AT_LEAST_1, also=(-1,), note="-1 leaves it to num_train_epochs"),
    "seed": SEED,
    "data_seed": SEED,
    # Batches
    "per_device_train_batch_size": AT_LEAST_1,
    "per_device_eval_batch_size": AT_LEAST_1,
    "gradient_accumulation_steps": AT_LEAST_1,
    "eval_accumulation_steps": AT_LEAST_1,
    "generation_batch_size": AT_LEAST_1,
    "steps_per_generation": AT_LEAST_1,
    "num_iterations": AT_LEAST_1,
    "num_generations": Range(2, whole=True),
    "num_generations_eval": AT_LEAST_1,
    "pad_to_multiple_of": replace(AT_LEAST_1, also=("auto",)),
    # Optimizer
    "learning_rate": _RATE,
    "warmup_steps": AT_LEAST_0,
    "weight_decay": _RATE,
    "adam_beta1": _DECAY,
    "adam_beta2": _DECAY,
    "adam_epsilon": AT_LEAST_0,
    "max_grad_norm": replace(AT_LEAST_0, note="0 does not clip"),
    "label_smoothing_factor": _DECAY,
    "neftune_noise_alpha": AT_LEAST_0,
    # When something happens
    "logging_steps": _EVERY,
    "eval_steps": _EVERY,
    "save_steps": _EVERY,
    "eval_delay": AT_LEAST_0,
    "save_total_limit": AT_LEAST_1,
    "torch_empty_cache_steps": AT_LEAST_1,
    "num_completions_to_print": COUNT,
    # Machine
    "dataloader_num_workers": COUNT,
    "dataloader_prefetch_factor": AT_LEAST_1,
    "ddp_bucket_cap_mb": AT_LEAST_1,
    "ddp_timeout": Range(1, whole=True, largest=10**7),
    "local_rank": Range(-1, whole=True),
    # Sampling
    "max_completion_length": AT_LEAST_1,
    "max_tool_calling_iterations": COUNT,
    "temperature": replace(TEMPERATURE, also=(), note="at 0 a group is one response, of which nothing can be learnt"),
    "top_p": POSITIVE_SHARE,
    "top_k": COUNT,
    "min_p": SHARE,
    "repetition_penalty": POSITIVE,
    "vllm_server_port": _PORT,
    "vllm_group_port": _PORT,
    "vllm_server_timeout": PATIENCE,
    "vllm_gpu_memory_utilization": POSITIVE_SHARE,
    "vllm_max_model_length": AT_LEAST_1,
    "vllm_tensor_parallel_size": AT_LEAST_1,
    "vllm_importance_sampling_clip_max": POSITIVE,
    "vllm_importance_sampling_clip_min": AT_LEAST_0,
    "vllm_importance_sampling_cap": POSITIVE,
    # Loss
    "beta": AT_LEAST_0,
    "epsilon": AT_LEAST_0,
    "epsilon_high": AT_LEAST_0,
    "delta": POSITIVE,
    "sapo_temperature_neg": POSITIVE,
    "sapo_temperature_pos": POSITIVE,
    "vespo_k_pos": AT_LEAST_0,
    "vespo_k_neg": AT_LEAST_0,
    "vespo_lambda_pos": AT_LEAST_0,
    "vespo_lambda_neg": AT_LEAST_0,
    "router_aux_loss_coef": AT_LEAST_0,
    "reward_weights": NUMBER,
    "ref_model_mixup_alpha": SHARE,
    "ref_model_sync_steps": AT_LEAST_1,
    "top_entropy_quantile": SHARE,
    "entropy_coef": NUMBER,
    "entropy_coef_min": NUMBER,
    "entropy_coef_max": NUMBER,
    "entropy_coef_delta": AT_LEAST_0,
    "entropy_target": AT_LEAST_0,
    "off_policy_mask_threshold": NUMBER,
}
