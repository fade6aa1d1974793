from __future__ import annotations

import sys
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM

from attnpo.tinyworld.pretrain import main


def pretrain(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> None:
    monkeypatch.setattr(sys, "argv", ["pretrain", *arguments])
    main()


def test_a_model_of_another_size_and_style_says_how_it_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = '{"merge": 0.5, "merge_name_last": 1}'
    small = ("--hidden_size", "64", "--num_hidden_layers", "1", "--style", style)
    pretrain(monkeypatch, "--output", str(tmp_path), "--steps", "2", "--batch", "2", "--problems", "5", *small)
    config = AutoModelForCausalLM.from_pretrained(tmp_path).config
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (64, 1, 2)
    made = f"--seed 0 --batch 2 --steps 2 --style '{style}' --hidden_size 64 --num_hidden_layers 1\n"
    assert made in (tmp_path / "README.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--hidden_size", "100"), "hidden_size is 100; give a multiple of 64"),
        (("--num_hidden_layers", "0"), "num_hidden_layers is 0; give 1 or more"),
        (("--hidden_size", "64", "--resume", "."), "are those of --resume's model; leave them out"),
        (("--style", '{"merge": 1.5}'), "merge is 1.5; give a share from 0 to 1"),
        (("--style", '{"check_again": 1}'), "check_again is 1, which never ends; give a share below 1"),
    ],
)
def test_bad_sizes_and_styles_are_one_line(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    said: str,
) -> None:
    with pytest.raises(SystemExit):
        pretrain(monkeypatch, "--output", str(tmp_path / "out"), *arguments)
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
