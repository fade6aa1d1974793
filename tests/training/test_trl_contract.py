"""What step credit relies on inside TRL and transformers; a failure here says what changed upstream."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

import pytest
import torch
from transformers import Trainer
from trl import GRPOConfig, GRPOTrainer

import attnpo.training
from attnpo.training.packing import COMPLETION_KEYS, PREFIX
from attnpo.training.trainer import AttnPOTrainer
from attnpo.training.trl_hooks import OVERRIDDEN, READ, SET


def parameters(function) -> list[str]:
    return list(inspect.signature(function).parameters)


def source(function) -> str:
    return inspect.getsource(inspect.unwrap(function))


@pytest.mark.parametrize(
    ("name", "leading"),
    [
        ("_generate", ["self", "prompts"]),
        ("_generate_single_turn", ["self", "prompt_ids", "images", "multimodal_fields", "num_generations"]),
        ("_generate_and_score_completions", ["self", "inputs"]),
        ("_calculate_rewards", ["self", "inputs", "prompts", "completions", "completion_ids_list"]),
        (
            "_get_per_token_logps_and_entropies",
            ["self", "model", "input_ids", "attention_mask", "logits_to_keep", "batch_size"],
        ),
        ("_get_train_sampler", ["self", "dataset"]),
        ("_prepare_inputs", ["self", "generation_batch"]),
        ("_tokenize_prompts", ["self", "prompts"]),
        ("_compute_loss", ["self", "model", "inputs"]),
        ("log", ["self", "logs", "start_time"]),
    ],
)
def test_signatures(name, leading):
    assert parameters(getattr(GRPOTrainer, name))[: len(leading)] == leading
    assert name in vars(AttnPOTrainer)


def test_generate_returns_prompt_and_response_ids_first():
    assert "return prompt_ids, completion_ids, tool_mask, completions, logprobs" in source(GRPOTrainer._generate)


def test_loss_reads_advantages_after_its_forward_pass():
    text = source(GRPOTrainer._compute_loss)
    assert text.count('inputs["advantages"]') == 1
    assert text.index("self._get_per_token_logps_and_entropies(") < text.index('inputs["advantages"]')
    assert "if advantages.dim() == 1" in text  # a (B, T) advantage is allowed


def test_when_trl_makes_an_old_policy_pass():
    text = source(GRPOTrainer._generate_and_score_completions)
    assert "generate_every = self.args.steps_per_generation * self.num_iterations" in text
    assert "if self.args.gradient_accumulation_steps % generate_every != 0 or (" in text
    assert "self.use_vllm and self.vllm_importance_sampling_correction" in text
    # The policy's own pass comes before the reference's, and before the rewards.
    passes = [i for i in range(len(text)) if text.startswith("self._get_per_token_logps_and_entropies(", i)]
    assert len(passes) == 3
    assert passes[-1] < text.index("self._calculate_rewards(")
    assert text.index("old_per_token_logps, _, _ =") < text.index("ref_per_token_logps, _, _ =")


def test_rewards_are_gathered_in_process_order():
    assert "rewards_per_func = gather(rewards_per_func)" in source(GRPOTrainer._calculate_rewards)
    text = source(GRPOTrainer._generate_and_score_completions)
    assert "self.accelerator.process_index * len(prompts)" in text


def test_every_response_tensor_that_the_loss_reads_is_trimmed():
    text = source(GRPOTrainer._compute_loss) + source(GRPOTrainer._generate_and_score_completions)
    known = {*COMPLETION_KEYS, "prompt_ids", "prompt_mask", "num_items_in_batch"}
    multimodal = {
        "pixel_values", "image_grid_thw", "num_images", "pixel_attention_mask", "spatial_shapes", "num_tiles",
        "image_sizes", "token_type_ids", "mm_token_type_ids", "image_position_ids",
    }  # fmt: skip
    written = {line.split('"')[1] for line in text.splitlines() if line.strip().startswith('output["')}
    assert written <= known | multimodal
    assert {k for k in COMPLETION_KEYS if not k.startswith(PREFIX)} - {
        "completion_ids",
        "completion_mask",
        "advantages",
    } <= written


def test_extra_tensors_survive_shuffling_and_splitting():
    from trl.trainer.utils import shuffle_sequence_dict, split_tensor_dict

    batch = {
        "completion_ids": torch.arange(8).view(4, 2),
        f"{PREFIX}row_ids": torch.arange(4),
        "advantages": torch.arange(4.0),
    }
    for part in split_tensor_dict(shuffle_sequence_dict(batch), 2):
        assert part["completion_ids"][:, 0].tolist() == (2 * part[f"{PREFIX}row_ids"]).tolist()
        assert part["advantages"].tolist() == part[f"{PREFIX}row_ids"].tolist()


def test_token_mean_is_trls_default_loss():
    assert GRPOConfig.__dataclass_fields__["loss_type"].default == "dapo"
    assert GRPOConfig.__dataclass_fields__["beta"].default == 0.0
    assert GRPOConfig.__dataclass_fields__["num_iterations"].default == 1


def test_micro_batches_wait_in_a_list_that_is_made_anew_for_each_generation_batch():
    text = source(GRPOTrainer._prepare_inputs)
    assert "self._buffered_inputs = [" in text
    assert "inputs = self._buffered_inputs[self._step % self.args.steps_per_generation]" in text


def test_an_epoch_and_a_step_begin_before_their_first_batch_is_drawn():
    text = source(Trainer._inner_training_loop)
    assert text.index("callback_handler.on_epoch_begin(") < text.index("self._run_epoch(")
    text = source(Trainer._run_epoch)
    assert text.index("callback_handler.on_step_begin(") < text.index("self.training_step(")
    assert "if step % self.args.gradient_accumulation_steps == 0:" in text
    assert "self._step += 1" in source(GRPOTrainer.training_step)


def private_names(tree: ast.AST) -> set[str]:
    """Private attributes and methods that a module names."""
    named = {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name | ast.Call)
    }
    named |= {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    targets = [
        target
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    named |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in named if name.startswith("_") and not name.startswith("__")}


def test_no_other_private_name_of_trl_is_touched():
    upstream = private_names(ast.parse(inspect.getsource(inspect.getmodule(GRPOTrainer))))
    upstream |= private_names(ast.parse(inspect.getsource(inspect.getmodule(Trainer))))
    folder = Path(attnpo.training.__file__).parent
    touched = {path.name: private_names(ast.parse(path.read_text())) & upstream for path in folder.rglob("*.py")}
    assert touched.pop("trainer.py") == {*OVERRIDDEN, *READ, *SET}
    assert not any(touched.values()), {name: names for name, names in touched.items() if names}


def test_overridden_methods_are_trls():
    assert set(OVERRIDDEN) <= set(vars(GRPOTrainer))


def test_prompts_are_tokenized_to_ids_images_and_fields():
    assert "return prompt_ids, images, multimodal_fields" in source(GRPOTrainer._tokenize_prompts)
    assert "self._tokenize_prompts(prompts)" in source(GRPOTrainer._generate)


def test_what_is_read_of_trl():
    text = source(GRPOTrainer.__init__)
    assert "self._step = 0" in text
    assert 'self._metrics = {"train": defaultdict(list), "eval": defaultdict(list)}' in text
    assert "self._buffered_inputs = None" in text
    assert "self._tokenizer = " in text
    assert "self._entropy_bonus_enabled = " in text
    assert "self._entropy_bonus_enabled" in source(GRPOTrainer._compute_loss)
    assert "self._metrics[mode]" in source(GRPOTrainer.log)


def test_what_is_set_for_transformers_and_trl():
    text = inspect.getsource(inspect.getmodule(Trainer))
    assert "self._created_lr_scheduler = True" in source(Trainer.create_scheduler)
    assert "if self._created_lr_scheduler:" in text
    card = source(GRPOTrainer.create_model_card)
    for name in ("_name", "_paper", "_tag_names"):
        assert f"self.{name}" in card
        assert hasattr(GRPOTrainer, name)
