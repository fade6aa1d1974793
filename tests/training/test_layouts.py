"""The same step on every layout: gradients and credit of several processes are those of one."""

from __future__ import annotations

import gc

import pytest
import transformers
from layouts import (
    GROUP,
    Trace,
    assert_same_credit,
    assert_same_gradients,
    launch,
    relative_error,
    sample_groups,
    total,
    train,
)
from packaging.version import Version

TWO_UPDATES = {"lr": 0.5, "settings": {"num_iterations": 2, "max_steps": 2}}
SPECS = {
    "plain": {},
    "accumulated": {"micro_batches": 3},
    "unpacked": {"micro_batches": 3, "settings": {"pack_micro_batches": False}},
    # 9 prompts, 3 a micro-batch, windows of 2 micro-batches: the second window of the epoch has one.
    "short_window": {
        "problems": 9,
        "settings": {"gradient_accumulation_steps": 2, "steps_per_generation": 1, "max_steps": 2},
    },
    # 8 prompts, 3 a step: an epoch ends with 2 prompts too few for a step.
    "uneven_epoch": {"problems": 8, "settings": {"max_steps": 3}},
    "two_updates": TWO_UPDATES,
    "split_batch": {"micro_batches": 3, "settings": {"gradient_accumulation_steps": 1, "max_steps": 3}},
    "checkpointed": {"settings": {"gradient_checkpointing": True}},
    "reentrant": {
        "settings": {"gradient_checkpointing": True, "gradient_checkpointing_kwargs": {"use_reentrant": True}}
    },
    "lora": {"lora": True, "micro_batches": 3},
    "bf16": {"settings": {"bf16": True}},
    "sampled": {"samples": True},
    "signal": {"settings": {"signal": "flow_tracer"}},
}
SHARDED = ("accumulated", "two_updates", "checkpointed", "lora", "bf16", "sampled", "signal")
CAN_LOAD_SPLIT = Version(transformers.__version__) >= Version("5.23")
"""transformers 5.17 loads no model split over processes whose parameters do not divide evenly."""
LOADED = {
    "loaded_accumulated": {"distributed": {"fsdp_size": 2}, "micro_batches": 3},
    "tensor_parallel": {"distributed": {"tp_size": 2}},
}
LOADED = LOADED if CAN_LOAD_SPLIT else {}
RESAMPLED = {
    "fsdp_resampled": {
        "fsdp": True,
        "samples": True,
        "settings": {"method": "grpo-std", "num_generations": 3, "resample_groups": 4, "seed": 2},
    }
}
"""Processes that draw groups again, each as often as it has to: with this seed, not equally often."""
ON_FOUR = ("plain", "two_updates", "fsdp_accumulated")


def named(groups) -> dict[str, dict]:
    specs = (
        SPECS
        | (LOADED if CAN_LOAD_SPLIT else {})
        | RESAMPLED
        | {f"fsdp_{name}": {"fsdp": True, **SPECS[name]} for name in SHARDED}
    )
    return {name: {"groups": groups, **spec} for name, spec in specs.items()}


@pytest.fixture(scope="module")
def specs() -> dict[str, dict]:
    return named(sample_groups(9))


@pytest.fixture(scope="module", autouse=True)
def quick_collections():
    """Each run ends with a collection, which would look through all that was imported."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.fixture(scope="module")
def one(specs, tmp_path_factory):
    """Traces of one process, each made when it is first asked for."""
    known: dict[str, Trace] = {}

    def trace(name: str) -> Trace:
        name = name.removeprefix("fsdp_").removeprefix("loaded_")
        if name not in known:
            known[name] = train(tmp_path_factory.mktemp(name), specs[name])
        return known[name]

    return trace


@pytest.fixture(scope="module")
def two(specs, tmp_path_factory) -> dict[str, Trace]:
    return launch(tmp_path_factory.mktemp("two"), specs, 2)


@pytest.fixture(scope="module")
def four(specs, tmp_path_factory) -> dict[str, Trace]:
    return launch(tmp_path_factory.mktemp("four"), {name: specs[name] for name in ON_FOUR}, 4)


NOT_EXACT = ("bf16", "fsdp_bf16", "tensor_parallel")
EXACT = [name for name in [*SPECS, *(f"fsdp_{name}" for name in SHARDED), *LOADED] if name not in NOT_EXACT]


@pytest.mark.parametrize("name", EXACT)
def test_two_processes_equal_one(two, one, name):
    found, expected = two[name], one(name)
    assert bool(found.sharded) == name.startswith(("fsdp_", "loaded_"))
    assert_same_credit(found, expected)
    if "split_batch" in name:  # which rows an update takes is drawn on each process; together they take all
        assert len(found.gradients) == 3
        assert relative_error(total(found.gradients), total(expected.gradients)) <= 1e-5
    else:
        assert_same_gradients(found, expected)


@pytest.mark.skipif(not CAN_LOAD_SPLIT, reason="this transformers loads no model split over processes")
def test_a_model_whose_heads_are_split_is_refused(two):
    assert "heads split over 2 processes (tensor parallelism" in two["tensor_parallel"].refused
    assert "\n" not in two["tensor_parallel"].refused
    assert not any(trace.refused for name, trace in two.items() if name != "tensor_parallel")


def test_sharded_processes_draw_groups_again(two):
    trace = two["fsdp_resampled"]
    assert trace.sharded
    assert sorted(trace.responses) == list(range(12))
    assert any(gradient.any() for gradient in trace.gradients[0].values())
    first, second = trace.turns
    assert first != second, "one process drew again more often than the other"


@pytest.mark.parametrize("name", ON_FOUR)
def test_four_processes_equal_one(four, one, name):
    assert bool(four[name].sharded) == name.startswith("fsdp_")
    assert_same_credit(four[name], one(name))
    assert_same_gradients(four[name], one(name))


@pytest.mark.parametrize("name", ["bf16", "fsdp_bf16"])
def test_two_processes_in_bf16_are_as_near_to_float32_as_one_is(two, one, name):
    exact = one("plain").gradients[0]
    alone = relative_error(one("bf16").gradients[0], exact)
    assert 1e-4 < alone < 0.05
    assert relative_error(two[name].gradients[0], exact) < 2 * alone
    assert two[name].responses == one("plain").responses


def test_the_comparison_would_notice(one):
    """Steps are attenuated and protected, groups stand on two processes, and layouts differ from one another."""
    trace = one("plain")
    credit = {row: seen[0] for row, seen in trace.advantages.items()}
    assert any((a > 0).all() and len(a.unique()) > 1 for a in credit.values()), "PA at work"
    assert any((a <= 0).all() and (a == 0).any() and (a < 0).any() for a in credit.values()), "NA at work"
    assert sorted(trace.responses) == list(range(12))
    assert 6 % GROUP, "the second group is split between two processes"
    assert one("two_updates").gradients[0].keys() == trace.gradients[0].keys()
    assert relative_error(one("two_updates").gradients[1], trace.gradients[0]) > 1e-2, "the policy has moved"
    assert relative_error(one("two_updates").gradients[0], trace.gradients[0]) < 1e-5
    assert not one("lora").gradients[0].keys() & trace.gradients[0].keys()


@pytest.mark.parametrize("name", ["accumulated", "unpacked", "checkpointed", "reentrant"])
def test_how_one_process_cuts_up_the_work_changes_nothing(one, name):
    assert_same_gradients(one(name), one("plain"))
