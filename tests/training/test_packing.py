from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attnpo.training.packing import pack_micro_batches, rows_to_keep, rows_with_signal, trim_padding

rows = st.tuples(st.integers(1, 5), st.integers(1, 9), st.sampled_from([0.0, 0.0, 1.0, -0.5]))


def batch(rows: list[tuple[int, int, float]], token_advantages: bool) -> dict:
    prompt, width = max(r[0] for r in rows), max(r[1] for r in rows)
    mask = torch.tensor([[1] * n + [0] * (width - n) for _, n, _ in rows])
    advantages = torch.tensor([a for *_, a in rows])
    return {
        "prompt_ids": torch.arange(len(rows))[:, None].expand(-1, prompt),
        "prompt_mask": torch.tensor([[0] * (prompt - n) + [1] * n for n, *_ in rows]),
        "completion_ids": torch.arange(len(rows))[:, None].expand(-1, width),
        "completion_mask": mask,
        "advantages": advantages[:, None] * mask if token_advantages else advantages,
        "num_items_in_batch": mask.sum(),
    }


def split(whole: dict, parts: int) -> list[dict]:
    size = whole["prompt_ids"].size(0) // parts
    return [{k: v[i * size : (i + 1) * size] if v.dim() else v for k, v in whole.items()} for i in range(parts)]


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.none() | st.integers(0, 3), st.booleans(), st.data())
def test_packing_keeps_every_row_with_a_signal_once(parts, size, more, token_advantages, data):
    content = data.draw(st.lists(rows, min_size=parts * size, max_size=parts * size))
    batches = split(batch(content, token_advantages), parts)
    assert rows_with_signal(batches) == sum(advantage != 0 for *_, advantage in content)
    packed = pack_micro_batches(batches, None if more is None else rows_with_signal(batches) + more)
    ids = [int(i) for part in packed for i in part["completion_ids"][:, 0]]
    assert len(packed) == parts
    assert all(1 <= part["completion_ids"].size(0) <= size for part in packed)
    assert len(set(ids)) == len(ids)
    signal = {i for i, (_, _, advantage) in enumerate(content) if advantage != 0}
    assert signal <= set(ids)
    if more is None:
        assert len(ids) == len(content)
    else:  # never fewer than one a micro-batch, never more than there are
        assert len(ids) == min(len(content), max(parts, len(signal) + more))
    lengths = [content[i][0] + content[i][1] for i in ids]
    assert lengths == sorted(lengths, reverse=True)
    for part in packed:  # all tensors of a row move together
        for row, i in enumerate(part["completion_ids"][:, 0].tolist()):
            assert int(part["completion_mask"][row].sum()) == content[i][1]
            assert int(part["prompt_mask"][row].sum()) == content[i][0]


@settings(max_examples=100, deadline=None)
@given(st.lists(rows, min_size=1, max_size=6), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_trimming_cuts_only_what_no_row_uses(content, left, right, token_advantages):
    tight = batch(content, token_advantages)
    wide = {
        name: torch.nn.functional.pad(v, (left, 0) if name.startswith("prompt") else (0, right)) if v.dim() > 1 else v
        for name, v in tight.items()
    }
    trimmed = trim_padding(wide)
    assert all(torch.equal(trimmed[name], value) for name, value in tight.items())


def test_every_process_keeps_as_many_rows_as_the_one_that_needs_most():
    batches = [{"advantages": torch.tensor([0.0, 1.0])}, {"advantages": torch.tensor([[0.0, 0.0], [0.0, -1.0]])}]
    assert rows_to_keep(batches, lambda own: own) == 2
    assert rows_to_keep(batches, lambda own: torch.cat([own, torch.tensor([3])])) == 3
