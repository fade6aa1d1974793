"""The method of `examples/new_method.py`, by following its page: one file, numbers by hand, one training step."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import pytest
import torch

from attnpo.cli.main import main
from attnpo.credit import build_method

ROOT = Path(__file__).parents[2]


@pytest.fixture
def in_examples(monkeypatch):
    monkeypatch.chdir(ROOT / "examples")
    monkeypatch.syspath_prepend(str(ROOT / "examples"))
    yield
    sys.modules.pop("new_method", None)


def test_factors_by_hand(in_examples):
    from attnpo.credit import StepBatch

    method = build_method("new_method:LowerHalf", {"share": 0.25})
    steps = StepBatch(
        scores_BK=torch.tensor([[0.1, 0.3, 0.2, 9.0], [0.1, 0.3, 0.2, 0.4]]),
        step_mask_BK=torch.tensor([[True, True, True, False], [True] * 4]),
        step_lengths_BK=torch.tensor([[2, 2, 2, 0], [2, 2, 2, 2]]),
        answer_lengths_B=torch.tensor([3, 3]),
        response_lengths_B=torch.tensor([10, 12]),
        prompt_lengths_B=torch.tensor([4, 4]),
        advantages_B=torch.tensor([0.5, -0.5]),
        correct_B=torch.tensor([True, True]),
        pass_rate_B=torch.tensor([0.5, 0.5]),
        progress_step=0,
        row_ids_B=torch.tensor([0, 1]),
    )
    assert method.gamma(steps).tolist() == [[0.25, 1, 1, 1], [1, 1, 1, 1]]  # the median of three is 0.2


def test_the_page_shows_it_and_its_line_trains(in_examples, tmp_path, capsys):
    page = (ROOT / "docs" / "new-method.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"attnpo train (.*?--output_dir) \S+", page.replace("\\\n", " "), re.S)
    line = re.sub(r"--max_steps \d+ ", "--max_steps 1 ", line)
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", line)]
    small = "--num_problems 16 --num_generations 4 --per_device_train_batch_size 8 --report_to none --save_strategy no"
    main(["train", *words, str(tmp_path / "out"), *small.split()])
    kept = json.loads((tmp_path / "out" / "training.json").read_text(encoding="utf-8"))
    assert "new_method:LowerHalf" in json.dumps(kept)
    main(["methods", "new_method:LowerHalf"])
    said = capsys.readouterr().out
    assert "lower-half" in said
    assert "share" in said
