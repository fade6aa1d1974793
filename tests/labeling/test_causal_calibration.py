from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnpo.errors import ConfigError, DataError
from attnpo.labeling.causal import CausalSettings, calibrate
from attnpo.labeling.causal.calibration import fit_mixture, mirror_threshold, noise_scale, otsu_split

CALIBRATIONS = ("mixture", "otsu", "mirror")


def two_groups(noise: float, n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Effects of dispensable steps (normal around 0) and of needed ones (log-normal, 0.4 to 60 nats)."""
    rng = np.random.default_rng(seed)
    return noise * rng.standard_normal(n), np.exp(rng.normal(np.log(5.0), 0.8, n // 2))


@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("noise", [0.005, 0.1, 0.4])
def test_two_groups_are_told_apart(calibration: str, noise: float) -> None:
    redundant, essential = two_groups(noise)
    threshold = calibrate(np.concatenate([redundant, essential]), CausalSettings(causal_calibration=calibration))  # type: ignore[arg-type]
    wrong = (redundant > threshold.threshold).sum() + (essential <= threshold.threshold).sum()
    assert wrong / (len(redundant) + len(essential)) < 0.03
    assert threshold.noise == pytest.approx(noise, rel=0.1)
    assert threshold.doubtful is None
    assert threshold.redundant_up_to <= threshold.threshold <= threshold.essential_above


def test_the_undecided_band_holds_what_is_doubtful() -> None:
    redundant, essential = two_groups(0.4)
    effects = np.concatenate([redundant, essential])
    narrow = calibrate(effects, CausalSettings(causal_confidence=0.6))
    wide = calibrate(effects, CausalSettings(causal_confidence=0.9))
    assert wide.redundant_up_to < narrow.redundant_up_to < narrow.threshold == wide.threshold
    assert wide.threshold < narrow.essential_above < wide.essential_above
    labels = np.array([wide.label(effect) for effect in effects])
    truth = np.array(["redundant"] * len(redundant) + ["essential"] * len(essential))
    decided = labels != "undecided"
    assert (labels[decided] == truth[decided]).mean() > 0.98
    assert 0 < (~decided).mean() < 0.3


def test_labels_by_hand() -> None:
    threshold = calibrate(np.concatenate(two_groups(0.1)), CausalSettings())
    assert threshold.label(threshold.redundant_up_to) == "redundant"
    assert threshold.label(-50.0) == "redundant"
    assert threshold.label(threshold.threshold) == "undecided"
    assert threshold.label(np.nextafter(threshold.essential_above, 9)) == "essential"
    assert threshold.label(float("nan")) == "undecided"


@pytest.mark.parametrize("calibration", CALIBRATIONS)
def test_order_and_unit_do_not_matter(calibration: str) -> None:
    effects = np.concatenate(two_groups(0.1))
    settings = CausalSettings(causal_calibration=calibration)  # type: ignore[arg-type]
    plain = calibrate(effects, settings)
    shuffled = calibrate(np.random.default_rng(1).permutation(effects), settings)
    bigger = calibrate(7 * effects, settings)
    for name in ("redundant_up_to", "threshold", "essential_above", "noise"):
        assert getattr(shuffled, name) == pytest.approx(getattr(plain, name), rel=1e-6)
        assert getattr(bigger, name) == pytest.approx(7 * getattr(plain, name), rel=1e-3)


def test_a_heap_of_zeros_is_no_group_of_its_own() -> None:
    redundant, essential = two_groups(0.005)
    effects = np.concatenate([np.zeros(4000), np.abs(redundant), essential])
    threshold = calibrate(effects, CausalSettings())
    assert np.abs(redundant).max() < threshold.threshold < np.quantile(essential, 0.05)


def test_one_group_is_said_to_be_one() -> None:
    effects = 0.2 * np.random.default_rng(0).standard_normal(2000)
    assert "do not fall into two groups" in str(calibrate(effects, CausalSettings()).doubtful)


def test_a_threshold_of_ones_own_replaces_the_calibration() -> None:
    threshold = calibrate(np.concatenate(two_groups(0.1)), CausalSettings(causal_threshold=0.7))
    assert (threshold.calibration, threshold.redundant_up_to, threshold.essential_above) == ("given", 0.7, 0.7)
    alone = calibrate(np.array([0.5]), CausalSettings(causal_threshold=0.7))
    assert alone.label(0.5) == "redundant"


@pytest.mark.parametrize("effects", [[], [1.0], [0.3, 0.3], [float("nan"), 1.0]])
def test_too_few_effects_are_refused(effects: list[float]) -> None:
    with pytest.raises(DataError, match="too few to find a threshold"):
        calibrate(np.array(effects), CausalSettings())


@given(st.lists(st.integers(-20, 20), min_size=2, max_size=30).filter(lambda values: len(set(values)) > 1))
def test_otsu_leaves_the_least_variance_within(values: list[int]) -> None:
    x = np.sort(np.array(values, dtype=np.float64))

    def within(split: float) -> float:
        return sum(((side - side.mean()) ** 2).sum() for side in (x[x <= split], x[x > split]))

    middles = [(a + b) / 2 for a, b in zip(np.unique(x)[:-1], np.unique(x)[1:], strict=True)]
    assert within(otsu_split(x)) == pytest.approx(min(map(within, middles)))


@given(st.lists(st.integers(-8, 12), min_size=1, max_size=40), st.sampled_from([0.1, 0.3, 0.9]))
def test_mirror_takes_the_smallest_threshold_with_few_false_alarms(values: list[int], share: float) -> None:
    effects = np.array(values, dtype=np.float64)
    fitting = [
        t
        for t in sorted({abs(v) for v in values})
        if (effects > t).sum() and (1 + (effects < -t).sum()) / (effects > t).sum() <= share
    ]
    assert mirror_threshold(effects, share) == (fitting[0] if fitting else float("inf"))


def test_no_threshold_strict_enough_is_said() -> None:
    with pytest.raises(DataError, match="no threshold keeps false alarms under 5%"):
        calibrate(np.array([-1.0, 1.0, 2.0]), CausalSettings(causal_calibration="mirror"))


def test_mixture_recovers_what_was_mixed() -> None:
    rng = np.random.default_rng(0)
    x = np.sort(np.concatenate([rng.normal(0, 1.2, 7000), rng.normal(8, 2, 3000)]))
    mixture = fit_mixture(x)
    assert mixture.weights == pytest.approx((0.7, 0.3), abs=0.02)
    assert mixture.means == pytest.approx((0, 8), abs=0.15)
    assert mixture.deviations == pytest.approx((1.2, 2), abs=0.1)
    assert mixture.separation == pytest.approx(8 / np.sqrt((1.2**2 + 2**2) / 2), rel=0.05)
    grid = mixture.cut(0.5)
    assert mixture.probability(np.array([grid]))[0] == pytest.approx(0.5, abs=0.01)
    assert mixture.cut(0.1) < grid < mixture.cut(0.9)


def test_noise_is_read_off_the_negative_side() -> None:
    rng = np.random.default_rng(0)
    effects = np.concatenate([0.3 * rng.standard_normal(20_000), rng.uniform(5, 20, 5000)])
    assert noise_scale(effects) == pytest.approx(0.3, rel=0.03)
    assert noise_scale(np.array([1.0, 2.0])) == noise_scale(np.array([-1e-9, 2.0])) == 1e-3


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"causal_target": "all"}, "causal_target: 'all' is not one of answer, boxed, trace"),
        ({"causal_calibration": "kmeans"}, "not one of mixture, otsu, mirror"),
        ({"causal_confidence": 0.4}, r"causal_confidence: 0.4 is not allowed; use a number from 0.5 to 1, 1 excluded"),
        ({"causal_false_alarms": 0.0}, "causal_false_alarms"),
        ({"causal_batch_tokens": 0}, "causal_batch_tokens: 0 is not allowed; use an integer of at least 1"),
        ({"causal_resample": -1}, "causal_resample: -1 is not allowed; use an integer of at least 0"),
        ({"causal_target": "trace"}, "set it to false for 'trace'"),
    ],
)
def test_settings_that_cannot_be_meant(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        CausalSettings(**settings)  # type: ignore[arg-type]
