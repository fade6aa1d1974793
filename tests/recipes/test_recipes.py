"""Every file in recipes/ is read as its command would read it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from accelerate.commands.config.config_args import load_config_from_file
from model_folders import QWEN3_1_7B, QWEN_1_5B, QWEN_7B, model_folder, problems_file

from attnpo.attention import config_fingerprint
from attnpo.cli.main import main
from attnpo.cli.parsing import parse
from attnpo.training import AdapterSettings
from attnpo.training.estimate import read_layout
from attnpo.workbench.arguments import DataArguments, ModelArguments, ProbeArguments, StepArguments, TrainArguments
from attnpo.workbench.dry_run import planned_config

RECIPES = Path(__file__).parents[2] / "recipes"
EVERY = sorted(RECIPES.glob("*.yaml"))
LAYOUTS = sorted((RECIPES / "accelerate").glob("*.yaml"))
TRAINING = [path for path in EVERY if "discover" not in path.stem and "evaluate" not in path.stem]
PAPERS = [path for path in TRAINING if "tinyworld" not in path.stem]


def name(path: Path) -> str:
    return path.stem


def settings(path: Path) -> dict:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def parsed(path: Path, *types):
    return parse("x", types, ["--config", str(path)], "", "").parts


@pytest.mark.parametrize("path", TRAINING, ids=name)
def test_a_training_recipe_is_valid(path):
    layout = 8 if path.stem.endswith(("1.5b", "7b", "server")) else 1
    *_, args = parsed(path, TrainArguments, DataArguments, ProbeArguments, AdapterSettings, planned_config(layout))
    assert args.method == "attnpo"


@pytest.mark.parametrize("path", [p for p in EVERY if "discover" in p.stem], ids=name)
def test_a_discovery_recipe_is_valid(path):
    from attnpo.discovery import DiscoverySettings
    from attnpo.labeling.causal import CausalSettings
    from attnpo.labeling.judge import JudgeSettings
    from attnpo.sampling.engines import EngineSettings
    from attnpo.workbench.arguments import DiscoverArguments

    own = (DiscoverArguments, ModelArguments, DataArguments, StepArguments)
    parsed(path, *own, DiscoverySettings, EngineSettings, JudgeSettings, CausalSettings)


def test_the_evaluation_recipe_is_valid():
    from attnpo.evaluation import EvaluationSettings
    from attnpo.sampling.engines import EngineSettings
    from attnpo.workbench.arguments import EvaluateArguments

    own = (EvaluateArguments, ModelArguments, DataArguments, StepArguments)
    parsed(RECIPES / "tinyworld-evaluate.yaml", *own, EvaluationSettings, EngineSettings)


@pytest.mark.parametrize("path", LAYOUTS, ids=name)
def test_accelerate_takes_its_files(path):
    config = load_config_from_file(str(path))
    layout = read_layout(path)
    assert layout.processes == config.num_processes
    assert layout.mixed_precision == "bf16"


def test_the_layouts_are_those_they_are_called():
    found = {path.stem: read_layout(path) for path in LAYOUTS}
    assert {stem: layout.kind for stem, layout in found.items()} == {
        "one-gpu": "single",
        "multi-gpu": "ddp",
        "fsdp2": "fsdp2",
        "zero2": "zero2",
        "zero3": "zero3",
        "two-nodes": "fsdp2",
    }
    assert found["two-nodes"].machines == 2


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_the_papers_settings(path):
    found = settings(path)
    paper = {
        "alpha_len": 0.2,
        "alpha_base": 2.0,
        "lam": 2.0,
        "schedule_steps": 1000,
        "gamma_floor": 0.0,
        "advantage": "rloo",
        "loss_type": "dapo",
        "beta": 0.0,
        "num_iterations": 1,
        "num_generations": 8,
        "max_completion_length": 16384,
        "max_prompt_tokens": 1024,
        "temperature": 1.0,
        "bf16": True,
    }
    assert {key: found[key] for key in paper} == paper
    if "lora" not in path.stem:
        assert found["learning_rate"] == 2e-6
        assert found["model_init_kwargs"]["dtype"] == "float32"
        processes = 4 if path.stem.endswith("1.5b-vllm-server") else 8
        responses = processes * found["per_device_train_batch_size"] * found["gradient_accumulation_steps"]
        assert responses == 128 * 8


@pytest.mark.parametrize("path", PAPERS, ids=name)
def test_model_and_data_are_pinned(path):
    found = settings(path)
    assert re.fullmatch(r"agentica-org/DeepScaleR-Preview-Dataset@[0-9a-f]{40}", found["data"])
    assert re.fullmatch(r"[0-9a-f]{40}", found["model_init_kwargs"]["revision"])


def test_variants_of_a_recipe_differ_where_they_should():
    for size in ("1.5b", "7b"):
        base = settings(RECIPES / f"deepseek-r1-distill-qwen-{size}.yaml")
        server = settings(RECIPES / f"deepseek-r1-distill-qwen-{size}-vllm-server.yaml")
        lora = settings(RECIPES / f"deepseek-r1-distill-qwen-{size}-lora.yaml")
        differing = {key for key in base | server if base.get(key) != server.get(key)}
        assert {key for key in differing if not key.startswith("vllm_")} <= {
            "output_dir",
            "gradient_accumulation_steps",
        }
        differing = {key for key in base | lora if base.get(key) != lora.get(key)}
        assert differing <= {
            "output_dir",
            "model_init_kwargs",
            "use_peft",
            "lora_r",
            "lora_alpha",
            "learning_rate",
            "vllm_gpu_memory_utilization",
        }


def test_qwen3_differs_from_the_others_by_its_model_alone():
    for own, other in (("lora", "1.5b-lora"), ("discover", "7b-discover")):
        qwen, deepseek = (
            settings(RECIPES / f"{n}.yaml") for n in (f"qwen3-1.7b-{own}", f"deepseek-r1-distill-qwen-{other}")
        )
        differing = {key for key in qwen | deepseek if qwen.get(key) != deepseek.get(key)}
        model = {"model", "model_init_kwargs", "heads"} if own == "lora" else {"model", "revision"}
        assert differing == {*model, "chat_template_kwargs", "output_dir"}
        assert qwen["chat_template_kwargs"] == {"enable_thinking": True}  # and no opening: it writes <think> itself
    discover, lora = (settings(RECIPES / f"qwen3-1.7b-{kind}.yaml") for kind in ("discover", "lora"))
    assert lora["heads"] == f"{discover['output_dir']}/heads.json"
    assert lora["model_init_kwargs"]["revision"] == discover["revision"]
    assert lora["max_prompt_tokens"] + lora["max_completion_length"] < QWEN3_1_7B["max_position_embeddings"]


@pytest.mark.parametrize("path", [*EVERY, *LAYOUTS], ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_file_says_what_it_needs_and_how_it_is_run(path):
    top = "".join(line for line in path.read_text(encoding="utf-8").splitlines(keepends=True) if line.startswith("#"))
    assert "attnpo " in top
    for word in ("# Needs:", "# Run", "# Expect:"):
        assert word in top
    for mentioned in re.findall(r"recipes/[\w./-]+\.yaml", top):
        assert (RECIPES.parent / mentioned).is_file(), mentioned


@pytest.mark.parametrize("path", EVERY, ids=name)
def test_a_file_installs_what_its_settings_ask_for(path):
    found, text = settings(path), path.read_text(encoding="utf-8")
    installs = re.findall(r"pip install (.+?)(?:;|\.\s|  |$)", text, flags=re.MULTILINE)
    extras = {extra for line in installs for extra in re.findall(r"[\w-]+", line.partition("[")[2].partition("]")[0])}
    vllm = found.get("use_vllm", False) or found.get("engine") == "vllm"
    assert ("vllm" in extras, "peft" in extras) == (vllm, found.get("use_peft", False))
    # vLLM's newest version within the extra's bounds takes no newer transformers (docs/engines.md).
    assert all("'transformers<5.18'" in line for line in installs if "vllm" in line)
    flash = found.get("model_init_kwargs", {}).get("attn_implementation") == "flash_attention_2"
    assert ("--no-build-isolation flash-attn" in installs) == flash
    assert flash == any("flash-attn" in line for line in installs)


def test_the_published_heads_fit_the_shape():
    from transformers import Qwen2Config

    from attnpo.attention import HeadSet, published_head_sets

    heads = HeadSet.load(published_head_sets()["deepseek-r1-distill-qwen-1.5b"])
    assert heads.config_fingerprint == config_fingerprint(Qwen2Config(**QWEN_1_5B))


@pytest.mark.parametrize(
    ("recipe", "layout"),
    [
        ("deepseek-r1-distill-qwen-1.5b", "multi-gpu"),
        ("deepseek-r1-distill-qwen-7b-lora", None),
        ("qwen3-1.7b-lora", None),
    ],
)
def test_a_dry_run_of_the_real_shape(recipe, layout, tmp_path, capsys):
    shapes = {
        "1.5b": (QWEN_1_5B, 1_777_088_000),
        "7b-lora": (QWEN_7B, 7_615_616_512),
        "1.7b-lora": (QWEN3_1_7B, 1_720_574_976),
    }
    lora, processes = "lora" in recipe, 8 if layout else 1
    shape, parameters = next(found for end, found in shapes.items() if recipe.endswith(f"-{end}"))
    argv = {
        "config": RECIPES / f"{recipe}.yaml",
        "model": model_folder(tmp_path / "model", **shape),
        "data": problems_file(tmp_path / "problems.jsonl"),
        "output_dir": tmp_path / "out",
        "max_completion_length": 64,  # the counts and the weights are what is looked at
        **({"heads": "16.2,20.9,23.2"} if lora else {}),
        **({"layout": RECIPES / "accelerate" / f"{layout}.yaml"} if layout else {"device_memory": 80}),
    }
    flags = [part for key, value in argv.items() for part in (f"--{key}", str(value))]
    with pytest.raises(SystemExit) as exit_:
        main(["train", *flags, "--dry_run", "--json"])
    captured = capsys.readouterr()
    assert exit_.value.code == 0, captured.err
    found = json.loads(captured.out)
    terms = {term["name"]: term["bytes"] for term in found["memory"][0]["terms"]}
    adapters = terms["gradients"] // 4 if lora else 0
    assert terms["weights"] == (2 * parameters + 4 * adapters if adapters else 4 * parameters)
    assert found["plan"]["responses_per_batch"] == 128 * processes
