"""What a training run's layout is checked for before anything is sampled."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from accelerate import ParallelismConfig
from small_training import config

from attnpo.errors import ConfigError, UnsupportedModelError
from attnpo.training import AttnPOTrainer
from attnpo.training.sharding import check_layout, whole_parameters


def accelerator(deepspeed: dict | None = None, zero_stage: int = 2, fsdp: int | None = None, parallelism=None):
    plugin = None if deepspeed is None else SimpleNamespace(deepspeed_config=deepspeed, zero_stage=zero_stage)
    sharding = None if fsdp is None else SimpleNamespace(fsdp_version=fsdp)
    state = SimpleNamespace(deepspeed_plugin=plugin, fsdp_plugin=sharding)
    return SimpleNamespace(state=state, parallelism_config=parallelism)


@pytest.mark.parametrize(
    ("given", "options", "words"),
    [
        ({"deepspeed": {"tensor_parallel": {"autotp_size": 4}}}, {}, "tensor_parallel.autotp_size=4"),
        ({"deepspeed": {"sequence_parallel_size": 2}}, {}, "sequence_parallel_size=2: sequence parallelism"),
        ({"parallelism": ParallelismConfig(cp_size=2)}, {}, "cp_size=2"),
        ({"deepspeed": {}, "zero_stage": 3}, {"gathers_zero3": False}, "set ds3_gather_for_generation=true"),
        ({"fsdp": 1}, {}, "does not run on FSDP1; set fsdp_version: 2"),
    ],
)
def test_layouts_that_are_refused(model, given, options, words):
    with pytest.raises(ConfigError, match=words) as error:
        check_layout(accelerator(**given), model, group_sampler=True, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"deepspeed": {"zero_optimization": {"stage": 2}, "tensor_parallel": {"autotp_size": 1}}},
        {"deepspeed": {}, "zero_stage": 3},
        {"fsdp": 2},
        {"parallelism": ParallelismConfig(dp_shard_size=4)},
    ],
)
def test_layouts_that_leave_attention_whole(model, given):
    check_layout(accelerator(**given), model, group_sampler=True)


@pytest.mark.parametrize("gathers", [True, False])
def test_shards_that_will_not_be_put_together_are_told(model, caplog, gathers):
    settings = {"zero_optimization": {"stage3_gather_16bit_weights_on_model_save": gathers}}
    check_layout(accelerator(deepspeed=settings, zero_stage=3), model, group_sampler=True)
    assert ("set zero3_save_16bit_model" in caplog.text) is not gathers


def test_without_our_sampler_fsdp1_and_zero3_run_as_trl_has_them(model):
    check_layout(accelerator(fsdp=1), model, group_sampler=False)
    check_layout(accelerator(deepspeed={}, zero_stage=3), model, group_sampler=False, gathers_zero3=False)


@pytest.mark.parametrize("sizes", [{"tp_size": 2}, {"cp_size": 2}, {"sp_size": 2}])
def test_the_configuration_refuses_before_a_model_is_loaded(tmp_path, sizes):
    with pytest.raises(ConfigError, match=rf"{next(iter(sizes))}=2 .* splits the"):
        config(tmp_path, parallelism_config=ParallelismConfig(**sizes))


def test_the_trainer_refuses_a_split_model(model, tokenizer, problems, tmp_path):
    model.config.distributed_config = SimpleNamespace(tp_size=2, tp_plan="auto", pp_size=1)
    with pytest.raises(UnsupportedModelError, match="tensor parallelism"):
        AttnPOTrainer(model, config(tmp_path), problems, processing_class=tokenizer)


def test_whole_parameters_leaves_other_models_alone(model):
    before = dict(model.named_parameters())
    with whole_parameters(model):
        assert all(p is before[name] for name, p in model.named_parameters())
