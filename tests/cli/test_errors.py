"""A user's mistake is one clear line on stderr and exit code 2, before anything expensive."""

from __future__ import annotations

import json

import pytest
from transformers import MambaConfig, MambaForCausalLM

from attnpo.attention import HeadSet, config_fingerprint
from attnpo.cli.main import COMMANDS, main
from attnpo.output import held, prepare_output_dir
from attnpo.tinyworld import checkpoint_path

SMALL = {
    "num_generations": 2,
    "per_device_train_batch_size": 2,
    "max_completion_length": 16,
    "max_steps": 1,
    "use_cpu": True,
    "bf16": False,
    "report_to": "none",
    "segmentation": "paragraphs",
    "verifier": "exact",
}


def flags(**settings) -> list[str]:
    return [part for name, value in settings.items() for part in (f"--{name}", str(value))]


def fails(capsys, command: str, *words: str, **settings) -> str:
    """Run a command that must fail; return its error line, which must hold all `words`."""
    with pytest.raises(SystemExit) as exit_:
        main([command, *flags(**settings)])
    assert exit_.value.code == 2
    error = [line for line in capsys.readouterr().err.splitlines() if line.startswith("attnpo ")]
    assert len(error) == 1, error
    assert error[0].startswith(f"attnpo {command}: error: ")
    for word in words:
        assert word in error[0]
    return error[0]


def train(capsys, tmp_path, *words, **settings) -> str:
    settings = {
        "model": "tinyworld",
        "data": "tinyworld",
        "num_problems": 4,
        "output_dir": tmp_path / "out",
        **settings,
    }
    return fails(capsys, "train", *words, **{**SMALL, **settings})


@pytest.fixture
def rows(tmp_path):
    def write(name: str, rows: list[dict]):
        path = tmp_path / name
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        return path

    return write


def test_missing_head_set(capsys, tmp_path):
    train(capsys, tmp_path, "nowhere.json", heads=tmp_path / "nowhere.json")


def test_no_head_set(capsys, tmp_path):
    train(capsys, tmp_path, "heads", "attnpo discover")


def test_malformed_head_set(capsys, tmp_path):
    path = tmp_path / "heads.json"
    path.write_text('{"heads": [[2, 0]')
    train(capsys, tmp_path, "heads.json", heads=path)


def test_a_head_that_does_not_exist(capsys, tmp_path):
    train(capsys, tmp_path, "99.0", "layers 0 to 3", heads="2.0,99.0")


def test_head_set_of_another_model(capsys, tmp_path):
    from transformers import Qwen2Config

    config = Qwen2Config(num_hidden_layers=4, num_attention_heads=4, hidden_size=64)
    path = tmp_path / "heads.json"
    HeadSet(
        model_id="other/model",
        config_fingerprint=config_fingerprint(config),
        num_layers=4,
        num_heads=4,
        heads=[(2, 0)],
        sra=0.9,
        found_by="test",
        evidence={},
    ).save(path)
    train(capsys, tmp_path, "other/model", heads=path)


def test_data_without_the_prompt_column(capsys, tmp_path, rows):
    path = rows("data.jsonl", [{"question": "1+1?", "solution": "2"}])
    train(capsys, tmp_path, "data.jsonl", "'prompt'", "question", heads="2.0", data=path)


def test_data_without_the_solution_column(capsys, tmp_path, rows):
    path = rows("data.jsonl", [{"prompt": "1+1?", "answer": "2"}])
    train(capsys, tmp_path, "data.jsonl", "'solution'", "answer", heads="2.0", data=path)


def test_empty_data(capsys, tmp_path, rows):
    train(capsys, tmp_path, "empty.jsonl", "no rows", heads="2.0", data=rows("empty.jsonl", []))


def test_missing_data(capsys, tmp_path):
    train(capsys, tmp_path, "nowhere.jsonl", heads="2.0", data=tmp_path / "nowhere.jsonl")


def test_a_row_that_is_not_json(capsys, tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"prompt": "a", "solution": "b"}\nnonsense\n')
    train(capsys, tmp_path, "data.jsonl, row 2", heads="2.0", data=path)


def test_model_without_softmax_attention(capsys, tmp_path):
    config = MambaConfig(
        vocab_size=576, hidden_size=16, num_hidden_layers=2, state_size=4, eos_token_id=1, pad_token_id=0
    )
    folder = tmp_path / "mamba"
    MambaForCausalLM(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (folder / name).write_bytes((checkpoint_path() / name).read_bytes())
    train(capsys, tmp_path, "attention", heads="0.0", model=folder)


def test_model_that_is_not_there(capsys, tmp_path):
    settings = {
        "data": "tinyworld",
        "num_problems": 2,
        "output_dir": tmp_path / "out",
        "labeler": "attnpo.tinyworld:label_steps",
    }
    fails(capsys, "discover", "no-such-model", model=tmp_path / "no-such-model", **settings)
    train(capsys, tmp_path, "no-such-model", heads="2.0", model=tmp_path / "no-such-model")


@pytest.mark.parametrize("command", ["train", "evaluate", "discover", "quickstart"])
def test_unwritable_output_folder(capsys, tmp_path, command):
    (tmp_path / "file").write_text("in the way")
    settings = {"output_dir": tmp_path / "file" / "out"}
    if command != "quickstart":
        settings |= {"model": "tinyworld", "data": "tinyworld", "num_problems": 2}
    if command == "discover":
        settings |= {"labeler": "attnpo.tinyworld:label_steps"}
    if command == "train":
        settings |= {**SMALL, "heads": "2.0"}
    fails(capsys, command, "file/out", "cannot write", **settings)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"method": "magic"}, ("magic", "tlmre")),
        ({"alpha_len": 1.5}, ("alpha_len", "1.5")),
        ({"num_generations": 3, "per_device_train_batch_size": 4}, ("num_generations",)),
        ({"verifier": "no_module:f"}, ("no_module",)),
        ({"phrases_file": "nowhere.yaml"}, ("nowhere.yaml",)),
        ({"resume_from_checkpoint": "nowhere"}, ("nowhere",)),
        ({"segmentation": "words"}, ("words", "paragraphs")),
        ({"importance_sampling_level": "sequence"}, ("importance_sampling_level",)),
        ({"method": "oracle"}, ("step_labeler",)),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_setting_that_is_not_allowed(capsys, tmp_path, settings, words):
    train(capsys, tmp_path, *words, **{"heads": "2.0", **settings})


def test_a_setting_that_does_not_exist(capsys, tmp_path):
    path = tmp_path / "config.yaml"
    path.write_text("model: tinyworld\nlearning_rat: 1\n")
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--config", str(path)])
    assert exit_.value.code == 2
    assert "learning_rat" in capsys.readouterr().err


@pytest.mark.parametrize("content", [None, "a: [1", "just text"])
def test_a_config_file_that_cannot_be_read(capsys, tmp_path, content):
    path = tmp_path / "config.yaml"
    if content is not None:
        path.write_text(content)
    fails(capsys, "evaluate", "config.yaml", config=path)


def test_unknown_command(capsys):
    with pytest.raises(SystemExit) as exit_:
        main(["trian"])
    assert exit_.value.code == 2
    assert "trian" in capsys.readouterr().err


@pytest.mark.parametrize("command", list(COMMANDS))
def test_help_shows_an_example(capsys, command):
    with pytest.raises(SystemExit) as exit_:
        main([command, "--help"])
    assert exit_.value.code == 0
    text = capsys.readouterr().out
    assert "example:" in text
    assert f"attnpo {command}" in text


@pytest.mark.parametrize(
    ("command", "settings"),
    [
        ("train", {**SMALL, "method": "rloo"}),
        ("evaluate", {"verifier": "exact", "max_new_tokens": 16}),
        ("discover", {"labeler": "attnpo.tinyworld:label_steps", "verifier": "exact", "max_new_tokens": 16}),
        ("gradients", {"methods": "rloo", "verifier": "exact", "max_new_tokens": 16}),
        ("coldstart", {"data": "worked.jsonl", "worked_column": "worked", "max_steps": 1}),
    ],
)
def test_a_folder_that_another_command_writes_into(capsys, monkeypatch, tmp_path, command, settings):
    monkeypatch.chdir(tmp_path)
    row = {"prompt": "Ann has 2 pens and 3 more. How many?", "solution": "5", "worked": "Ann has 2 + 3 = 5 pens."}
    (tmp_path / "worked.jsonl").write_text(f"{json.dumps(row)}\n" * 4)
    given = {"model": "tinyworld", "data": "tinyworld", "num_problems": 4, **settings}
    with held(prepare_output_dir(tmp_path / "out")):
        fails(
            capsys,
            command,
            "out: another command is writing into this output folder",
            **given,
            output_dir=tmp_path / "out",
        )


def test_report_on_an_empty_folder(capsys, tmp_path):
    fails(capsys, "report", str(tmp_path), run_dir=tmp_path)


def test_inspect_without_scores_or_heads(capsys, tmp_path):
    path = tmp_path / "rollouts.jsonl"
    path.write_text("{}\n")
    fails(capsys, "inspect", "rollouts.jsonl, row 1", rollouts=path)
    fails(capsys, "inspect", "nowhere.jsonl", rollouts=tmp_path / "nowhere.jsonl")


def test_responses_without_a_closed_think_part_are_incorrect_and_teach_nothing(capsys, tmp_path):
    # 16 tokens are too few to close the think part: the steps are made and logged, and nothing is credited.
    words = ("1 step, and no update", "1 of 1 groups without advantage: 1 all responses wrong")
    train(capsys, tmp_path, *words, heads="2.0", logging_steps=1, group_sampler=True)
    assert not (tmp_path / "out" / "model.safetensors").exists()
    row = json.loads((tmp_path / "out" / "log.jsonl").read_text().splitlines()[0])
    assert row["attnpo/accuracy"] == 0.0
    assert row["attnpo/gamma"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "value"),
    [
        ([], None),
        (["--world", "gsm"], "gsm"),
        (["--seed", "1", "--world=gsm"], "gsm"),
        (["--world"], ""),
    ],
)
def test_a_setting_that_decides_others_is_looked_up_before_they_are_read(arguments, value):
    from attnpo.cli.parsing import given_value

    assert (given_value(arguments, "world") or None) == (value or None)
