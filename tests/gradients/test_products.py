"""Algebra and files against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnpo.errors import OutputError
from attnpo.gradients import Products, Store, jackknife
from attnpo.gradients import store as store_module
from attnpo.gradients.basis import Basis
from attnpo.gradients.products import Floats

BATCHES, CREDITS, SIZE = 5, 3, 40


@pytest.fixture
def gradients() -> Floats:
    rng = np.random.default_rng(0)
    return rng.normal(size=(CREDITS, SIZE)) + rng.normal(size=(BATCHES, CREDITS, SIZE))


def products_of(gradients: Floats, weights: Floats | float = 1.0) -> Products:
    weighed = gradients * weights
    return Products(
        np.einsum("bmd,bnd->bmn", weighed, gradients), np.einsum("bmd,nd->bmn", weighed, gradients.sum(axis=0))
    )


def between(gradients: Floats) -> Floats:
    """Mean of <g_mb, g_nb'> over all pairs of different batches."""
    pairs = [(a, b) for a in range(len(gradients)) for b in range(len(gradients)) if a != b]
    return np.mean([gradients[a] @ gradients[b].T for a, b in pairs], axis=0)


def test_moments_with_and_without_each_batch(gradients):
    moments = products_of(gradients).moments()
    assert np.allclose(moments.between_SMM[0], between(gradients))
    assert np.allclose(moments.within_SMM[0], np.mean([g @ g.T for g in gradients], axis=0))
    for left_out in range(BATCHES):
        rest = np.delete(gradients, left_out, axis=0)
        assert np.allclose(moments.between_SMM[1 + left_out], between(rest))
        assert np.allclose(moments.within_SMM[1 + left_out], np.mean([g @ g.T for g in rest], axis=0))


def test_a_combination_of_credits_follows_from_the_products(gradients):
    made = np.concatenate([gradients, gradients[:, :1] - 0.3 * gradients[:, 1:2]], axis=1)
    weights = np.array([1, -0.3, 0])
    found = products_of(gradients).moments().between_SMM
    assert np.allclose(weights @ found @ weights, products_of(made).moments().between_SMM[:, -1, -1])


def test_jackknife_of_a_mean_is_the_standard_error_of_the_mean():
    values = np.array([1.0, 4.0, 2.0, 7.0])
    rest = [np.delete(values, left_out).mean() for left_out in range(4)]
    found = jackknife(np.array([values.mean(), *rest]))
    assert found.value == pytest.approx(3.5)
    assert found.error == pytest.approx(values.std(ddof=1) / 2)


def test_two_batches_have_no_jackknife(gradients):
    with pytest.raises(ValueError, match="at least three"):
        products_of(gradients[:2]).moments()


def saved(store: Store, gradients: Floats) -> None:
    """Write every batch with rows of its own: one independent credit fewer than there are, where one is a sum."""
    for number, rows in enumerate(gradients):
        turned = np.random.default_rng(number).normal(size=(2, CREDITS))
        # credit 2 = turned combination of the two stored rows
        coefficients = np.vstack([np.eye(2), turned[0, :2]])
        store.save(number, {"plain": torch.from_numpy(rows[:2])}, Basis((0, 1), coefficients))
        gradients[number] = coefficients @ rows[:2].astype(np.float32)


@pytest.mark.parametrize("cells", [64, 2**20])
def test_store_reads_some_coordinates_at_a_time(tmp_path, gradients, monkeypatch, cells):
    monkeypatch.setattr(store_module, "CELLS", cells)
    store = Store(tmp_path / "g", BATCHES, common=1)
    store.claim({"a": 1})
    assert store.missing() == list(range(BATCHES))
    gradients[:, :, 7] = 0.0  # a coordinate that nothing moves
    saved(store, gradients)
    assert store.missing() == []
    found = store.products()
    second_moment = (gradients[:, 1] ** 2).mean(axis=0)
    weights = np.where(second_moment > 0, 1 / np.sqrt(np.where(second_moment > 0, second_moment, 1)), 0)
    for metric, wanted in {"plain": products_of(gradients), "adam": products_of(gradients, weights)}.items():
        assert np.allclose(found[metric].within_BMM, wanted.within_BMM)
        assert np.allclose(found[metric].with_sum_BMM, wanted.with_sum_BMM)
    store.keep_products(found)
    kept = store.kept_products()
    assert kept is not None
    assert np.array_equal(kept["adam"].with_sum_BMM, found["adam"].with_sum_BMM)
    assert not list(store.folder.glob("0*.safetensors"))


def test_store_of_other_settings_is_refused(tmp_path):
    Store(tmp_path, 1, 0).claim({"temperature": 1.0})
    with pytest.raises(OutputError, match="temperature"):
        Store(tmp_path, 1, 0).claim({"temperature": 0.6})


def test_a_file_that_is_cut_off_is_named(tmp_path):
    store = Store(tmp_path, 1, 0)
    (tmp_path / "00000.safetensors").write_bytes(b"no")
    with pytest.raises(OutputError, match=r"00000\.safetensors: cannot be read .* remove it"):
        store.products()
