"""The whole way of a model to others: trained, card written, uploaded, loaded where nothing of ours is installed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch
from accelerate.utils import is_peft_model
from card_folders import run_folder
from hub_upload import taking_hub
from huggingface_hub import HfApi, ModelCard
from peft import AutoPeftModelForCausalLM, LoraConfig
from transformers import AutoModelForCausalLM

from attnpo.cli.main import main
from attnpo.errors import ConfigError, OutputError
from attnpo.reporting.card import write_model_card
from attnpo.reporting.card.upload import upload_run
from attnpo.tinyworld import checkpoint_path
from attnpo.training.record import TrainingRecord

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}

# Greedy tokens of the models of folders, where an import of ours (or of TRL) fails.
PLAIN = """
import json, sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("attnpo", "trl"):
            raise ImportError(f"{name} is not installed here")

sys.meta_path.insert(0, Blocked())
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer
torch.set_num_threads(1)
ids = {}
for folder in sys.argv[2:]:
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    messages = [{"role": "user", "content": sys.argv[1]}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    ids[folder] = model.generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist()
print(json.dumps({"ids": ids, "ours": [name for name in sys.modules if name.split(".")[0] in ("attnpo", "trl")]}))
"""


def greedy(model, tokenizer, question: str) -> list[int]:
    messages = [{"role": "user", "content": question}]
    inputs = tokenizer.apply_chat_template(messages, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    return model.eval().generate(**inputs, max_new_tokens=24, do_sample=False)[0].tolist()


def test_trained_models_and_adapters_are_plain_ones(make_trainer, tokenizer, problems, tmp_path):
    question = problems[3]["prompt"][0]["content"]
    before = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
    untrained = greedy(before, tokenizer, question)
    expected: dict[str, list[int]] = {}
    for name, rate, lora in (
        ("whole", 1e-2, None),
        ("adapter", 5e-2, LoraConfig(r=4, target_modules="all-linear", task_type="CAUSAL_LM")),
    ):
        model = AutoModelForCausalLM.from_pretrained(checkpoint_path(), dtype=torch.float32)
        trainer = make_trainer(model, learning_rate=rate, peft_config=lora, max_completion_length=96)
        trainer.args.output_dir = str(tmp_path / name)
        trainer.train()
        trainer.save_model()
        expected[str(tmp_path / name)] = greedy(trainer.model, tokenizer, question)
        assert expected[str(tmp_path / name)] != untrained  # else the test would pass with the model it started from
    merged = AutoPeftModelForCausalLM.from_pretrained(tmp_path / "adapter").merge_and_unload()
    merged.save_pretrained(tmp_path / "merged")
    tokenizer.save_pretrained(tmp_path / "merged")
    expected[str(tmp_path / "merged")] = expected[str(tmp_path / "adapter")]
    run = [sys.executable, "-c", PLAIN, question, *expected]
    done = subprocess.run(run, env=ENVIRONMENT, capture_output=True, text=True, timeout=400, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == {"ids": expected, "ours": []}


def test_training_writes_its_record_and_card(make_trainer):
    trainer = make_trainer(beta=0.02)
    trainer.about.update(model="owner/tiny", data="owner/problems:main")
    trainer.card_writer = write_model_card
    trainer.train()
    trainer.save_state()
    trainer.save_model()
    folder = Path(trainer.args.output_dir)
    record = TrainingRecord.load(folder)
    assert record.head_set is not None
    assert [tuple(head) for head in record.head_set.heads] == [(2, 0), (1, 1)]
    assert record.method_settings["alpha_len"] == 0.2
    assert record.settings["beta"] == 0.02
    assert record.settings["num_generations"] == 4
    assert record.responses_a_step == 16
    assert not any(str(folder) in str(value) for value in record.settings.values())
    card = ModelCard.load(folder / "README.md")
    assert card.data.base_model == "owner/tiny"
    assert "this model has not been evaluated" in card.text
    assert "beta: 0.02" in card.text


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """A Hub on this machine in place of the real one; everything up to HTTP is the real thing."""
    with taking_hub(tmp_path / "hub") as made:
        api = partial(HfApi, endpoint=made.url, token="hf_secret")
        monkeypatch.setattr("transformers.trainer.hf_api", api)
        monkeypatch.setenv("HF_TOKEN", "")
        monkeypatch.setattr("attnpo.reporting.card.upload.HfApi", api)
        yield made


def test_a_record_is_written_where_peft_is_not_installed(make_trainer, monkeypatch):
    monkeypatch.setattr(sys.modules[is_peft_model.__module__], "is_peft_available", lambda: None)  # what it says then
    trainer = make_trainer()
    assert is_peft_model(trainer.model) is None
    trainer.create_model_card()
    assert TrainingRecord.load(Path(trainer.args.output_dir)).adapter is False


def test_pushing_uploads_model_and_card_through_transformers(make_trainer, hub, tmp_path):
    trainer = make_trainer(push_to_hub=True, hub_model_id="me/shorter", hub_token="hf_secret", save_rollouts=True)
    trainer.card_writer = write_model_card
    trainer.train()
    trainer.save_state()
    trainer.save_model()
    run, there = Path(trainer.args.output_dir), tmp_path / "hub" / "me" / "shorter"
    assert hub.created[0]["name"] == "shorter"
    assert hub.commits == ["Model save"]
    assert (there / "model.safetensors").read_bytes() == (run / "model.safetensors").read_bytes()
    assert (there / "figures" / "training.png").exists() == (run / "figures" / "training.png").exists()
    card = ModelCard.load(there / "README.md")
    assert 'from_pretrained("me/shorter"' in card.text
    assert "# shorter" in card.text
    assert TrainingRecord.load(there).hub_model_id == "me/shorter"
    for path in there.rglob("*"):
        assert path.is_dir() or b"hf_secret" not in path.read_bytes(), path
    # The same folder through `attnpo card`, to another repository: responses and their prompts stay.
    assert (run / "training_rollouts.jsonl").exists()
    main(["card", str(run), "--push_to_hub", "me/again", "--private", "true"])
    there = tmp_path / "hub" / "me" / "again"
    assert hub.created[-1]["visibility"] == "private"
    assert 'from_pretrained("me/again"' in (there / "README.md").read_text()
    assert (there / "model.safetensors").exists()
    assert not [path for pattern in ("*rollouts*", "dropped*") for path in there.glob(pattern)]


UP = """
    LICENSE README.md adapter_model.safetensors additional_chat_templates/tool.jinja base/evaluation.json
    chat_template.jinja config.json figures/frontier.png generation_config.json gpqa-diamond/evaluation.json log.jsonl
    merges.txt model-00001-of-00002.safetensors model.safetensors.index.json modeling_own[1].py special_tokens_map.json
    stability.json tokenizer.json tokenizer_config.json trainer_state.json training.json vocab.json
"""
STAYS = """
    report.html run.json train.out training_args.bin training_rollouts.jsonl dropped.jsonl annotated.jsonl
    annotated_rollouts.jsonl rollouts.jsonl rollouts.settings.json rollouts.clock.json products.safetensors
    notes.txt .env gpqa-diamond/rollouts.jsonl gpqa-diamond/rollouts.samples.jsonl gpqa-diamond/annotated.jsonl
    gpqa-diamond/report.html completions/completions_00001.parquet unseen/dropped.jsonl
    discovery/discovery.json discovery/probing_set.jsonl figures/model.safetensors _cache/config.json
    course/1/model.safetensors course/1/config.json course/1/evaluation.json course/1/training_args.bin
    checkpoint-1/model.safetensors checkpoint-1/trainer_state.json checkpoint-1/optimizer.pt runs/events.out.tfevents
"""


def test_of_a_folder_with_folders_below_the_model_its_card_and_its_numbers_go_up_and_nothing_else(hub, tmp_path):
    run = tmp_path / "run [1]"
    for name in (UP + STAYS).split():
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_text("x" if name != "README.md" else "---\ntags: []\n---\n")
    upload_run(run, "me/mine")
    there = tmp_path / "hub" / "me" / "mine"
    up = {path.relative_to(there).as_posix() for path in there.rglob("*") if path.is_file()}
    assert up - {".gitattributes"} == set(UP.split())


def test_what_cannot_be_uploaded_is_said_in_a_line(hub, tmp_path, monkeypatch):
    run = run_folder(tmp_path)
    (run / "training_args.bin").write_bytes(b"x")
    with pytest.raises(OutputError, match="holds no model to upload"):
        upload_run(run, "me/none")
    (run / "model.safetensors").write_bytes(b"x")
    with pytest.raises(ConfigError, match="--push_to_hub a/b/c"):
        upload_run(run, "a/b/c")
    monkeypatch.setattr("attnpo.reporting.card.upload.HfApi", partial(HfApi, endpoint="http://127.0.0.1:9", token="x"))
    with pytest.raises(OutputError, match="out of reach"):
        upload_run(run, "me/none")
