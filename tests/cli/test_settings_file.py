"""Settings that do not exist, stand twice, have the wrong type or would do nothing, in files and flags."""

from __future__ import annotations

import os

import pytest

from attnpo.cli.parsing import parse
from attnpo.errors import ConfigError
from attnpo.sampling import EngineSettings
from attnpo.training import AdapterSettings, AttnPOConfig
from attnpo.workbench.arguments import DataArguments, ProbeArguments, TrainArguments
from attnpo.workbench.idle import idle_settings

TYPES = (TrainArguments, DataArguments, ProbeArguments, AdapterSettings, AttnPOConfig)
CPU = ["--use_cpu", "true", "--bf16", "false", "--output_dir", "out"]


def parsed(argv):
    return parse("train", TYPES, [*argv, *CPU], "", "").parts


@pytest.fixture
def file(tmp_path):
    def write(text: str):
        path = tmp_path / "recipe.yaml"
        path.write_text(text)
        return path

    return write


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("learning_rat: 1.0e-6", ["learning_rat", "did you mean learning_rate?"]),
        ("seed: 1\nalpha_lenn: 0.2\nlamm: 2", ["alpha_lenn", "alpha_len?", "lamm", "lam?"]),
        ("max_steps: many", ["max_steps", "'many'", "a whole number"]),
        ("max_steps: [1]", ["max_steps", "[1]"]),
        ("learning_rate: true", ["learning_rate", "True", "a number"]),
        ("group_sampler: maybe", ["group_sampler", "true or false"]),
        ("num_problems: 1.5", ["num_problems", "1.5"]),
        ("seed: 1\nseed: 2", ["line 2", "seed is set twice"]),
        ("model_init_kwargs: {dtype: float32, dtype: bfloat16}", ["dtype is set twice"]),
        ("alpha_len: 1.5", ["alpha_len", "1.5"]),
        ("group_sampler: true\nuse_vllm: true", ["group_sampler", "use_vllm"]),
        ("- a", ["name: value"]),
    ],
)
def test_a_file_is_refused_in_one_line_that_names_it(file, text, words):
    path = file(text + "\n")
    with pytest.raises(ConfigError) as error:
        parsed(["--config", str(path)])
    line = str(error.value)
    assert "\n" not in line
    for word in [str(path), *words]:
        assert word in line


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--learning_rat", "1"], ["--learning_rat", "did you mean --learning_rate?"]),
        (["--max_step", "3"], ["--max_step", "did you mean --max_steps?"]),  # no abbreviations
        (["--seed", "1", "--seed", "2"], ["--seed", "twice"]),
        (["--max_steps", "many"], ["--max_steps", "many"]),
        (["--alpha_len", "1.5"], ["alpha_len", "1.5"]),
    ],
)
def test_a_flag_is_refused_in_one_line_that_names_it(argv, words):
    with pytest.raises(ConfigError) as error:
        parsed(argv)
    for word in words:
        assert word in str(error.value)


def test_flags_override_the_file_and_numbers_may_be_written_any_way(file):
    path = file("learning_rate: 2e-6\nmax_steps: 7\nheads: 16.2\nmethod_settings: {}\n")
    args = parsed([f"--config={path}", "--max-steps", "9", "--seed", "1", "--seed", "1"])[-1]
    assert (args.learning_rate, args.max_steps, args.heads, args.seed) == (2e-6, 9, "16.2", 1)


@pytest.mark.parametrize(
    "kwargs", ["{dtype: bfloat16, attn_implementation: sdpa, revision: x}", """'{"dtype": "auto"}'"""]
)
def test_a_flag_goes_before_what_a_file_says_of_the_model_under_its_long_name(file, kwargs):
    path = file(f"model_init_kwargs: {kwargs}\n")
    *_, adapters, args = parsed(["--config", str(path), "--dtype", "float32", "--attn_implementation", "eager"])
    found = adapters.model_options(args.model_options())
    assert {name: found[name] for name in ("dtype", "attn_implementation")} == {
        "dtype": "float32",
        "attn_implementation": "eager",
    }
    assert found.get("revision") == ("x" if "revision" in kwargs else None)
    *_, adapters, args = parsed(["--config", str(path)])
    assert adapters.model_options(args.model_options())["dtype"] in ("bfloat16", "auto")


def test_a_flag_goes_before_what_a_file_says_under_its_short_name(file):
    path = file("dtype: bfloat16\nalpha_len: 0.1\n")
    flags = ["--model_init_kwargs", '{"dtype": "float32"}', "--method_settings", '{"alpha_len": 0.3}']
    *_, adapters, args = parsed(["--config", str(path), *flags])
    assert adapters.model_options(args.model_options())["dtype"] == "float32"
    assert args.build_credit().settings.alpha_len == 0.3


def test_two_names_of_one_setting_from_the_same_source_contradict_each_other(file):
    path = file("dtype: bfloat16\nmodel_init_kwargs: {dtype: float32}\n")
    for argv in (["--config", str(path)], ["--dtype", "bfloat16", "--model_init_kwargs", '{"dtype": "float32"}']):
        *_, adapters, args = parsed(argv)
        with pytest.raises(ConfigError, match="dtype: bfloat16, but model_init_kwargs says float32; leave one of them"):
            adapters.model_options(args.model_options())


def test_a_flag_goes_before_the_methods_settings_of_a_file(file):
    path = file("method_settings: {alpha_len: 0.1, lam: 3.0, schedule: false}\n")
    args = parsed(["--config", str(path), "--alpha_len", "0.4", "--difficulty_schedule", "true"])[-1]
    settings = args.build_credit().settings
    assert (settings.alpha_len, settings.lam, settings.schedule) == (0.4, 3.0, True)


def lines(argv):
    found = parse("train", TYPES, [*argv, *CPU], "", "")
    return idle_settings(found.given, found.flags, found.values)


@pytest.mark.parametrize(
    ("argv", "name", "owner"),
    [
        (["--lora_r", "8"], "lora_r", "use_peft"),
        (["--probe_every", "8"], "probe_every", "probe: FILE"),
        (["--vllm_gpu_memory_utilization", "0.5"], "vllm_gpu_memory_utilization", "use_vllm"),
        (
            ["--use_vllm", "true", "--vllm_mode", "server", "--vllm_tensor_parallel_size", "2"],
            "vllm_tensor_parallel_size",
            "colocate",
        ),
        (["--use_vllm", "true", "--vllm_server_port", "80"], "vllm_server_port", "server"),
        (["--problems_seed", "8"], "problems_seed", "num_problems"),
        (["--device_memory", "80"], "device_memory", "--dry_run"),
    ],
)
def test_a_setting_that_would_do_nothing(argv, name, owner):
    (line,) = lines(argv)
    assert line.startswith(f"{name}: ")
    assert owner in line


def test_every_idle_setting_is_named():
    assert len(lines(["--lora_r", "8", "--lora_alpha", "8", "--probe_limit", "3"])) == 3


def test_two_sources_of_the_prompt():
    (line,) = lines(["--prompt_column", "q", "--prompt_template", "{{ q }}"])
    assert "prompt_template" in line


def test_settings_that_work_together_are_left_alone():
    assert lines(["--use_peft", "true", "--lora_r", "8", "--num_problems", "3", "--problems_seed", "1"]) == []


def test_a_flag_may_switch_off_what_a_recipe_sets(file):
    path = file("use_vllm: true\nvllm_gpu_memory_utilization: 0.5\n")
    assert lines(["--config", str(path), "--use_vllm", "false"]) == []
    (line,) = lines(["--config", str(path), "--use_vllm", "false", "--vllm_mode", "server"])
    assert line.startswith("vllm_mode")


def test_a_text_that_looks_like_a_number_stays_what_is_written(file):
    args = parsed(["--config", str(file("heads: 16.10\nhub_revision: 0012\nreward_weights: [1e-1, 2]\n"))])
    found = {name: value for part in args for name, value in vars(part).items()}
    assert (found["heads"], found["hub_revision"], found["reward_weights"]) == ("16.10", "0012", [0.1, 2.0])
    merged = parsed(["--config", str(file("<<: {heads: 16.10}\nseed: 3\n"))])
    assert {name: value for part in merged for name, value in vars(part).items()}["heads"] == "16.10"


def test_environment_variables_of_a_file(file, monkeypatch):
    monkeypatch.setenv("ATTNPO_TEST", "")
    for written in ("3", "0012", "1.10", "no"):
        parsed(["--config", str(file(f"seed: 1\nenv:\n  ATTNPO_TEST: {written}\n"))])
        assert os.environ["ATTNPO_TEST"] == written
    parsed(["--config", str(file("seed: 1\nenv:\n"))])  # its lines commented out
    with pytest.raises(ConfigError, match="env: holds no 'NAME: value' lines"):
        parsed(["--config", str(file("seed: 1\nenv: A=1\n"))])


@pytest.mark.parametrize(("data", "split"), [("mine.jsonl", None), ("mine:rows", None), ("owner/other", "train")])
def test_a_files_split_is_that_of_its_own_data_set(file, data, split):
    path = file("data: owner/name\nsplit: train\n")
    assert parsed(["--config", str(path)])[1].split == "train"
    assert parsed(["--config", str(path), "--data", data])[1].split == split
    assert parsed(["--config", str(path), "--data", data, "--split", "test"])[1].split == "test"
    evaluated = file("eval_data: owner/name\neval_split: train\n")
    assert parsed(["--config", str(evaluated), "--eval_data", data])[0].eval_split == split


def test_what_a_file_says_of_its_engine_is_void_under_another(file):
    path = file("engine: vllm\nmax_model_len: 900\nrows: 4\n")
    (settings,) = parse(
        "discover", (EngineSettings,), ["--config", str(path), "--engine", "transformers"], "", ""
    ).parts
    assert (settings.engine, settings.max_model_len, settings.rows) == ("transformers", None, 4)
