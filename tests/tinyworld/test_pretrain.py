from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM

from attnpo.tinyworld import pretrain as pretrain_file
from attnpo.tinyworld.pretrain import Float32Muon, main


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


@pytest.mark.parametrize("shape", [(6, 4), (4, 6), (5, 5)])
def test_muon_in_float32_is_the_polynomial_of_the_singular_values(shape: tuple[int, int]) -> None:
    """The first update by way of a singular value decomposition, to an accuracy that bfloat16 does not have."""
    gradient = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    weights = torch.nn.Parameter(torch.zeros(shape))
    weights.grad = gradient.clone()
    with Float32Muon():
        torch.optim.Muon([weights], lr=1.0, weight_decay=0.0).step()
    left, values, right = torch.linalg.svd(gradient.double(), full_matrices=False)
    values = values / values.norm()
    for _ in range(5):
        values = 3.4445 * values - 4.7750 * values**3 + 2.0315 * values**5
    wanted = -(max(1, shape[0] / shape[1]) ** 0.5) * left @ values.diag() @ right
    torch.testing.assert_close(weights.detach().double(), wanted, atol=1e-5, rtol=0)


@pytest.mark.parametrize("has", [False, True])
def test_the_processor_says_in_which_type_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has: bool
) -> None:
    seen = set()

    def record(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        if isinstance(module, torch.nn.Linear):
            seen.add(output.dtype)

    hook = torch.nn.modules.module.register_module_forward_hook(record)
    monkeypatch.setattr(pretrain_file, "cpu_computes_in_bfloat16", lambda: has)
    try:
        pretrain_file.pretrain(pretrain_file.Recipe(steps=1, batch=2))
    finally:
        hook.remove()
    assert seen == {torch.bfloat16 if has else torch.float32}
