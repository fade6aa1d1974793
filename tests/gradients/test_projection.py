from __future__ import annotations

import torch

from attnpo.gradients.projection import CountSketch, Whole


def test_inner_products_hold_on_average_with_the_stated_spread():
    torch.manual_seed(0)
    x, y = torch.randn(1000), torch.randn(1000)
    y += 0.3 * x
    width, found = 64, []
    for seed in range(400):
        sketch = CountSketch(1000, width, seed=seed)
        found.append(float(sketch(x) @ sketch(y)))
    values, spread = torch.tensor(found), float(x.norm() * y.norm() / width**0.5)
    assert abs(values.mean() - x @ y) < 4 * spread / len(found) ** 0.5
    assert 0.7 * spread < values.std() < 1.4 * spread


def test_linear_and_the_same_for_a_seed():
    x, y = torch.randn(2, 100)
    sketch, again = CountSketch(100, 16), CountSketch(100, 16)
    assert torch.allclose(sketch(x - 2 * y), again(x) - 2 * again(y), atol=1e-5)


def test_a_sketch_no_narrower_than_the_vector_is_exact():
    x, y = torch.randn(2, 10)
    sketch = CountSketch(10, 16)
    assert torch.allclose(sketch(x) @ sketch(y), x @ y, atol=1e-5)
    assert torch.equal(Whole(10)(x), x)
