"""Accelerate's configuration files, read as layouts."""

from __future__ import annotations

import pytest

from attnpo.errors import ConfigError
from attnpo.training.estimate import Layout, read_layout

BASE = "compute_environment: LOCAL_MACHINE\nmixed_precision: bf16\nnum_machines: 1\nnum_processes: 8\n"


@pytest.fixture
def file(tmp_path):
    def write(text: str, base: str = BASE):
        path = tmp_path / "layout.yaml"
        path.write_text(base + text)
        return path

    return write


def test_ddp(file):
    assert read_layout(file("distributed_type: MULTI_GPU\n")) == Layout("ddp", 8, mixed_precision="bf16")


def test_fsdp2(file):
    layout = read_layout(file("distributed_type: FSDP\nfsdp_config: {fsdp_version: 2, fsdp_offload_params: true}\n"))
    assert (layout.kind, layout.offload_weights, layout.shards_weights) == ("fsdp2", True, True)


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_deepspeed(file, stage):
    text = (
        "distributed_type: DEEPSPEED\n"
        f"deepspeed_config: {{zero_stage: {stage}, offload_optimizer_device: cpu, gradient_accumulation_steps: 4}}\n"
    )
    layout = read_layout(file(text))
    assert (layout.kind, layout.offload_optimizer, layout.accumulation) == (f"zero{stage}", True, 4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("distributed_type: MULTI_GPU\nnum_proceses: 4\n", ["num_proceses", "did you mean num_processes"]),
        ("distributed_type: FSDP\nfsdp_config: {fsdp_version: 1}\n", ["fsdp_version", "2"]),
        ("distributed_type: 'NO'\n", ["distributed_type", "num_processes is 8"]),
        ("distributed_type: XLA\n", ["distributed_type", "XLA"]),
        ("distributed_type: DEEPSPEED\ndeepspeed_config: {zero_stage: 7}\n", ["zero_stage", "7"]),
        ("mixed_precision: [\n", ["not valid YAML"]),
    ],
    ids=["typo", "fsdp1", "one-process", "unsupported", "stage", "malformed"],
)
def test_what_is_refused(file, text, words):
    with pytest.raises(ConfigError) as error:
        read_layout(file(text))
    for word in ["layout.yaml", *words]:
        assert word in str(error.value)


def test_processes_that_machines_cannot_share(file):
    text = "distributed_type: MULTI_GPU\nnum_machines: 3\nnum_processes: 8\ncompute_environment: LOCAL_MACHINE\n"
    with pytest.raises(ConfigError, match="num_machines=3"):
        read_layout(file(text, base=""))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ConfigError, match="no such accelerate"):
        read_layout(tmp_path / "nowhere.yaml")


def test_deepspeeds_own_file_is_read(file, tmp_path):
    own = tmp_path / "ds.json"
    text = f"distributed_type: DEEPSPEED\ndeepspeed_config: {{deepspeed_config_file: {own}, zero3_init_flag: true}}\n"
    own.write_text(
        '{"zero_optimization": {"stage": 3, "offload_param": {"device": "cpu"}}, "gradient_accumulation_steps": "auto"}'
    )
    layout = read_layout(file(text))
    assert (layout.kind, layout.offload_weights, layout.offload_optimizer) == ("zero3", True, False)
    assert layout.accumulation is None
    own.write_text('{"zero_optimization": {"stage": 2}, "gradient_accumulation_steps": 8}')
    assert (read_layout(file(text)).kind, read_layout(file(text)).accumulation) == ("zero2", 8)
    for content, said in (("[]", "must hold settings"), ("{}", "zero_stage: 0; choose"), ("{", "not valid JSON")):
        own.write_text(content)
        with pytest.raises(ConfigError, match=said):
            read_layout(file(text))
    own.unlink()
    with pytest.raises(ConfigError, match=r"ds\.json"):
        read_layout(file(text))


def test_another_way_of_spreading_has_its_own_offload_alone():
    layout = Layout("zero3", 8, offload_optimizer=True, offload_weights=True)
    assert layout.as_kind("ddp") == Layout("ddp", 8)
    assert layout.as_kind("zero2") == Layout("zero2", 8, offload_optimizer=True)
    fsdp = Layout("fsdp2", 8, offload_weights=True, activation_checkpointing=True)
    assert fsdp.as_kind("zero3") == Layout("zero3", 8, offload_weights=True)
