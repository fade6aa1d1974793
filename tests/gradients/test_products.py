"""Algebra and files against brute force in float64."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from attnpo.errors import OutputError
from attnpo.gradients import Products, Store, jackknife, moments_of
from attnpo.gradients import store as store_module
from attnpo.gradients.basis import Basis
from attnpo.gradients.store import adam_weights
from attnpo.statistics import Floats

BATCHES, CREDITS, SIZE = 7, 3, 40


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


@pytest.mark.parametrize("unknown", [0, 3])
def test_what_a_batch_makes_undefined_has_no_estimate(unknown):
    values = np.array([1.0, 2.0, 1.5, 1.2])
    values[unknown] = np.nan
    assert jackknife(values) is None


def test_moments_of_two_halves_leave_each_batch_out_of_its_own(gradients):
    halves = [gradients[0::2], gradients[1::2]]
    found = products_of(halves[0]).moments().mean(products_of(halves[1]).moments())
    assert np.allclose(found.between_SMM[0], np.mean([between(half) for half in halves], axis=0))
    for half, other, start in ((0, 1, 1), (1, 0, 1 + len(halves[0]))):
        for left_out in range(len(halves[half])):
            rest = [np.delete(halves[half], left_out, axis=0), halves[other]]
            assert np.allclose(found.between_SMM[start + left_out], np.mean([between(r) for r in rest], axis=0))
    assert len(found.within_SMM) == 1 + BATCHES


def test_errors_of_two_halves_are_those_of_two_means(gradients):
    """The mean of |g|^2 over batches is linear in them, so that its variance is known: two means of 4 and 3 batches."""
    halves = [gradients[0::2], gradients[1::2]]
    joined = products_of(halves[0]).moments().mean(products_of(halves[1]).moments())
    found = jackknife(joined.within_SMM[:, 0, 0], joined.parts)
    squares = [(half[:, 0] ** 2).sum(axis=1) for half in halves]
    assert found.error**2 == pytest.approx(sum(s.var(ddof=1) / len(s) for s in squares) / 4)
    assert found.df == BATCHES - 2
    alone = products_of(gradients).moments()
    assert jackknife(alone.within_SMM[:, 0, 0], alone.parts).df == BATCHES - 1


def test_weights_of_the_other_half_keep_the_mean():
    """Weights of the same batches make the mean gradient too small; those of the other half do not."""
    rng, own, apart = np.random.default_rng(5), [], []
    for _ in range(60):
        gradients = 0.5 + rng.normal(size=(8, 1, 400))
        square = gradients[:, 0] ** 2
        halves = [gradients[half::2] / square[1 - half :: 2].mean(axis=0) ** 0.25 for half in (0, 1)]
        first, second = (products_of(half).moments() for half in halves)
        apart.append(first.mean(second).between_SMM[0, 0, 0])
        own.append(products_of(gradients / square.mean(axis=0) ** 0.25).moments().between_SMM[0, 0, 0])
    many = 0.5 + rng.normal(size=(200_000, 4))
    wanted = 400 * 0.25 * ((many**2).mean(axis=1) ** -0.5).mean()
    error = np.std(apart) / len(apart) ** 0.5
    assert abs(np.mean(apart) - wanted) < 4 * error
    eight = 0.5 + rng.normal(size=(200_000, 8))
    assert np.mean(own) < 400 * 0.25 * ((eight**2).mean(axis=1) ** -0.5).mean() - 4 * error


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


def test_parts_of_batches_have_the_moments_of_whole_ones():
    """Problems of two kinds, some of each in a batch of five: for each kind, mean and noise of five of its own."""
    problems, batches, rng = 5, 30, np.random.default_rng(9)
    mean, spread, found = np.array([[1.0, -0.5], [0.2, 0.1]]), (2.0, 0.5), []
    for _ in range(400):
        kinds = rng.random((batches, problems)) < 0.3
        gradients = mean[kinds.astype(int)] + np.array(spread)[kinds.astype(int)][..., None] * rng.normal(
            size=(batches, problems, 2)
        )
        for kind in (False, True):
            parts = (gradients * (kinds == kind)[..., None]).mean(axis=1)[:, None]
            moments = products_of(parts).moments((kinds == kind).mean(axis=1))
            found.append([moments.between_SMM[0, 0, 0], moments.within_SMM[0, 0, 0]])
    for kind in (0, 1):
        own = np.array(found[kind::2])
        square = mean[kind] @ mean[kind]
        wanted = [square, square + 2 * spread[kind] ** 2 / problems]
        assert (abs(own.mean(axis=0) - wanted) < 4 * own.std(axis=0) / 20).all()


def test_moments_of_parts_leave_each_batch_out(gradients):
    shares = np.array([0.5, 0.25, 0.0, 1.0, 0.5, 0.75, 0.25])
    gradients *= shares[:, None, None]
    found = products_of(gradients).moments(shares)
    for row, left_out in enumerate([None, *range(BATCHES)]):
        kept = [number for number in range(BATCHES) if number != left_out]
        pairs = [(a, b) for a in kept for b in kept if a != b]
        between = sum(gradients[a] @ gradients[b].T for a, b in pairs) / sum(shares[a] * shares[b] for a, b in pairs)
        noise = sum(gradients[a] @ gradients[a].T - shares[a] ** 2 * between for a in kept) / shares[kept].sum()
        assert np.allclose(found.between_SMM[row], between)
        assert np.allclose(found.within_SMM[row] - found.between_SMM[row], noise)
    alone = products_of(gradients).moments(np.array([0.0, 0, 0, 1, 0, 0, 0]))
    assert np.isnan(alone.between_SMM[0]).all()


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
    wanted_by_name = {"plain": products_of(gradients)}
    for half in (0, 1):
        second_moment = (gradients[1 - half :: 2, 1] ** 2).mean(axis=0)
        weights = 1 / (np.sqrt(second_moment) + 0.01 * np.sqrt(second_moment.mean()))
        wanted_by_name[f"adam/{half}"] = products_of(gradients[half::2], weights)
    assert found.keys() == wanted_by_name.keys()
    for metric, wanted in wanted_by_name.items():
        assert np.allclose(found[metric].within_BMM, wanted.within_BMM)
        assert np.allclose(found[metric].with_sum_BMM, wanted.with_sum_BMM)
    store.keep_products(found)
    kept = store.kept_products()
    assert kept is not None
    for name, own in found.items():
        assert np.array_equal(kept[name].with_sum_BMM, own.with_sum_BMM)
    moments = moments_of(kept)
    assert moments["adam"].between_SMM.shape == moments["plain"].between_SMM.shape
    assert not list(store.folder.glob("0*.safetensors"))


def test_what_one_batch_alone_moves_does_not_make_all_the_noise():
    """A coordinate that the other half never moves has a finite weight, a hundred times that of a common one."""
    weights = adam_weights(np.array([4.0, 4.0, 0.0, 4.0]), mean=3.0)
    assert weights[2] / weights[0] == pytest.approx((2 + 0.01 * 3**0.5) / (0.01 * 3**0.5))
    assert not adam_weights(np.zeros(3), 0.0).any()


def test_store_of_other_settings_is_refused(tmp_path):
    Store(tmp_path, 1, 0).claim({"temperature": 1.0})
    with pytest.raises(OutputError, match="temperature"):
        Store(tmp_path, 1, 0).claim({"temperature": 0.6})


def test_a_store_whose_settings_are_gone_is_refused(tmp_path):
    (tmp_path / "00000.safetensors").write_bytes(b"gradients")
    with pytest.raises(OutputError, match=r"00000\.safetensors: there, and settings\.json, .* is not"):
        Store(tmp_path, 1, 0).claim({"temperature": 1.0})


def test_a_file_that_is_cut_off_is_named(tmp_path):
    store = Store(tmp_path, 1, 0)
    (tmp_path / "00000.safetensors").write_bytes(b"no")
    with pytest.raises(OutputError, match=r"00000\.safetensors: cannot be read .* remove it"):
        store.products()
