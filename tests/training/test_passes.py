"""Reading scores inside passes, without TRL and without a model: the passes are told what to return."""

from __future__ import annotations

from contextlib import contextmanager
from types import SimpleNamespace

import pytest
import torch

from attnpo.training.packing import PREFIX, SAMPLING_LOGPS
from attnpo.training.passes import read_loss_pass, read_sampling_pass

LOGPS = torch.arange(20.0).view(5, 4)
NAN = float("nan")


@pytest.fixture
def passes():
    """A pass over some rows, and what reads their scores: the row's number; both say when they are called."""
    told = []

    def make_pass(rows):
        told.append(("pass", rows))
        return LOGPS[rows], 2 * LOGPS[rows], torch.tensor(float(rows.start or 0))

    @contextmanager
    def read(tensors, rows):
        told.append(("open", rows))

        def credit_scores(log_probs_BT, entropies_BT):
            told.append(("scores", rows))
            assert log_probs_BT is not None
            assert entropies_BT is None or torch.equal(entropies_BT, 2 * log_probs_BT)
            return tensors["step_index"][rows, :1].float()

        yield SimpleNamespace(credit_scores=credit_scores)

    return SimpleNamespace(make=make_pass, read=read, told=told)


def test_a_sampling_pass_is_read_in_micro_batches_and_put_together(passes):
    tensors = {"step_index": torch.arange(5)[:, None].expand(5, 4)}
    (logps, entropies, aux_loss), scores_BK = read_sampling_pass(passes.make, passes.read, tensors, 5, 2)
    assert [(what, rows.start) for what, rows in passes.told] == [
        ("open", 0), ("pass", 0), ("scores", 0), ("open", 2), ("pass", 2), ("scores", 2),
        ("open", 4), ("pass", 4), ("scores", 4),
    ]  # fmt: skip
    torch.testing.assert_close(logps, LOGPS)
    torch.testing.assert_close(entropies, 2 * LOGPS)
    assert aux_loss == 2.0
    assert scores_BK.flatten().tolist() == [0, 1, 2, 3, 4]


def test_a_sampling_pass_may_lack_entropies_and_losses(passes):
    tensors = {"step_index": torch.arange(5)[:, None]}
    (_, entropies, aux_loss), _ = read_sampling_pass(lambda rows: (LOGPS[rows], None, None), passes.read, tensors, 5, 5)
    assert entropies is aux_loss is None


def test_the_loss_pass_puts_advantages_in_place_from_its_own_scores(passes):
    inputs = {"advantages": torch.ones(5), f"{PREFIX}step_index": torch.arange(5)[:, None], "completion_ids": LOGPS}

    def credit(tensors, advantages_B, scores_BK):
        assert set(tensors) == {"step_index"}
        return advantages_B[:, None] * scores_BK

    output = read_loss_pass(passes.make, passes.read, inputs, credit)
    assert inputs["advantages"].tolist() == [[0.0], [1.0], [2.0], [3.0], [4.0]]
    assert [what for what, _ in passes.told] == ["open", "pass", "scores"]
    assert output[0] is LOGPS or torch.equal(output[0], LOGPS)
    assert "old_per_token_logps" not in inputs


@pytest.mark.parametrize("old", [None, torch.full((5, 4), -9.0)])
def test_forced_tokens_keep_the_log_probability_they_were_drawn_with(passes, old):
    known_BT = torch.full((5, 4), NAN)
    known_BT[2, 1] = -3.0
    inputs = {"advantages": torch.ones(5, 4), SAMPLING_LOGPS: known_BT}
    if old is not None:
        inputs["old_per_token_logps"] = old
    read_loss_pass(passes.make, passes.read, inputs, credit=None)
    expected = (LOGPS if old is None else old).clone()
    expected[2, 1] = -3.0
    torch.testing.assert_close(inputs["old_per_token_logps"], expected)
    assert [what for what, _ in passes.told] == ["pass"]
