"""Conformal bands hold whatever the errors are: the guarantee itself, counted out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats

from rom.rollout.adaptive import adaptive_thresholds
from rom.rollout.coverage import coverage
from rom.rollout.intervals import (
    calibrated_band,
    conformal_band,
    in_band,
    simultaneous_score,
)

numbers = st.one_of(
    st.sampled_from([0.0, 1.0, -1.0, np.nan, np.inf, 1e300]), st.floats(-1e3, 1e3, width=32)
)
curves = arrays(np.float64, st.tuples(st.integers(2, 14), st.just(3), st.just(2)), elements=numbers)
levels = st.sampled_from([0.5, 0.7, 0.8, 0.9])


@given(curves, levels, st.integers(1, 4))
def test_of_any_rollouts_no_more_are_missed_by_the_band_of_the_others_than_stated(
    error, level, size
):
    # The proof of the guarantee: exchangeable blocks are these in random order.
    block = np.arange(len(error)) // size
    share = []
    for k in range(block[-1] + 1):
        own = block == k
        if own.all():
            return
        band = conformal_band(error[~own], level=level, block=block[~own])
        share.append(in_band(error[own], band.radius).mean())
    assert np.sum(share) >= level * len(share) - 1e-9


@given(curves, st.floats(1e-3, 1e3))
def test_the_unit_of_a_coordinate_does_not_matter(error, unit):
    error = np.where(np.abs(error) < 1e200, error, np.nan)
    scaled = error * np.array([unit, 1.0])
    one, other = conformal_band(error, level=0.5), conformal_band(scaled, level=0.5)
    np.testing.assert_allclose(one.radius * [unit, 1.0], other.radius, rtol=1e-6)


def test_of_one_number_the_radius_follows_from_the_order_statistic():
    error = np.random.default_rng(0).normal(size=99)
    band = conformal_band(error[:, None, None])
    kth, power = np.sort(np.abs(error))[89], np.sum(error**4)  # 90 of 99 and one to come
    np.testing.assert_allclose(band.radius[0, 0], kth / (1 - kth**4 / power) ** 0.25)


def test_coverage_is_nominal_for_many_rollouts_of_many_numbers():
    rng = np.random.default_rng(1)
    walks = rng.standard_t(4, size=(4500, 30, 5)).cumsum(axis=1)
    band = conformal_band(walks[:500])
    hits = int(in_band(walks[500:], band.radius).sum())
    # Given the 500, coverage has the distribution Beta(451, 50); this is the tests' on top of it.
    low, high = stats.betabinom.ppf([0.001, 0.999], 4000, 451, 50)
    assert low <= hits <= high


def test_blocks_whose_rollouts_are_alike_keep_the_level():
    rng = np.random.default_rng(2)
    hits = []
    for _ in range(300):
        size = np.exp(rng.normal(size=16))  # of a whole block
        error = np.repeat(size, 5)[:, None, None] * rng.normal(size=(80, 4, 1))
        block = np.repeat(np.arange(16), 5)
        band = conformal_band(error[:75], level=0.8, block=block[:75])
        hits.append(in_band(error[75:76], band.radius)[0])
    low, high = stats.binom.ppf([0.001, 0.999], 300, [0.8, 0.8 + 1 / 16])
    assert low <= np.sum(hits) <= high


def test_a_cell_without_errors_allows_none_and_an_early_end_counts_as_the_largest():
    error = np.random.default_rng(3).normal(size=(40, 3, 2))
    error[:, 0] = 0
    error[7, 2] = np.nan
    band = conformal_band(error)
    assert np.all(band.radius[0] == 0)
    assert np.isfinite(band.radius).all()
    assert np.isinf(band.score[7])
    assert not in_band(error, band.radius)[7]
    error[:4, 2] = np.inf
    assert np.all(conformal_band(error).radius == np.inf)  # more than a tenth ended


@pytest.mark.parametrize(("n", "finite"), [(8, False), (9, True)])
def test_a_finite_band_of_nine_tenths_needs_nine_blocks(n, finite):
    error = np.random.default_rng(4).normal(size=(3 * n, 2, 2))
    block = np.repeat(np.arange(n), 3)
    assert np.isfinite(conformal_band(error, block=block).radius).all() == finite


def test_the_first_half_of_the_blocks_calibrates():
    error = np.random.default_rng(5).normal(size=(60, 2, 1))
    error[30:] *= 100
    block = np.repeat(np.arange(20)[::-1], 3)  # labels need not grow
    found = calibrated_band(error, level=0.8, block=block)
    assert (found.n_calibration, found.coverage.n) == (30, 30)
    assert found.coverage.share < 0.1
    expected = conformal_band(error[:30], level=0.8, block=block[:30])
    np.testing.assert_array_equal(found.band.radius, expected.radius)
    with pytest.raises(ValueError, match="two blocks"):
        calibrated_band(error, block=np.zeros(60))


def test_refusals_and_arrays_left_alone():
    error = np.array([[[-1.0]], [[np.nan]]])
    conformal_band(error, level=0.3)
    np.testing.assert_array_equal(error.ravel(), [-1, np.nan])
    with pytest.raises(ValueError, match=r"n_start, n_lead, n_coordinates.*\(2, 1\)"):
        conformal_band(np.ones((2, 1)))
    with pytest.raises(ValueError, match=r"between 0 and 1, but it is 90"):
        conformal_band(error, level=90)
    with pytest.raises(ValueError, match=r"each of 2 starts.*\(3,\)"):
        conformal_band(error, block=[0, 1, 2])


@given(st.integers(1, 60), st.data())
def test_alone_rollouts_get_the_interval_of_clopper_and_pearson(n, data):
    k = data.draw(st.integers(0, n))
    exact = stats.binomtest(k, n).proportion_ci(0.95, method="exact")
    found = coverage(np.arange(n) < k)
    np.testing.assert_allclose([found.low, found.high], [exact.low, exact.high], atol=1e-12)


def clopper_pearson(share, n):
    """Of a number of rollouts that need not be whole."""
    x = share * n
    return stats.beta.ppf(0.025, x, n - x + 1), stats.beta.ppf(0.975, x + 1, n - x)


def test_blocks_of_one_cost_one_rollout_and_few_blocks_the_ratio_of_students_quantiles():
    """As Korn and Graubard take the variance and its degrees of freedom from the blocks."""
    hits = np.tile([True, True, False, True], 10)
    alone = coverage(hits, block=np.arange(40))
    np.testing.assert_allclose([alone.low, alone.high], clopper_pearson(0.75, 39))
    even = coverage(hits, block=np.repeat(np.arange(5), 8))  # each with the same share
    few = (stats.t.ppf(0.975, 39) / stats.t.ppf(0.975, 4)) ** 2
    np.testing.assert_allclose([even.low, even.high], clopper_pearson(0.75, 40 * few))
    assert even.low < alone.low < alone.high < even.high


def test_rollouts_repeated_are_no_more_than_their_blocks():
    hits = np.random.default_rng(6).random(40) < 0.8
    alone = coverage(hits, block=np.arange(40))
    repeated = coverage(np.repeat(hits, 10), block=np.repeat(np.arange(40), 10))
    assert repeated.n == 400
    assert repeated.low == pytest.approx(alone.low, abs=0.01)
    assert repeated.high == pytest.approx(alone.high, abs=0.01)
    everywhere = coverage(np.ones(400), block=np.repeat(np.arange(40), 10))
    assert everywhere.low == pytest.approx(0.025 ** (1 / 40))


def test_the_interval_by_blocks_holds_the_true_coverage():
    rng = np.random.default_rng(7)
    held = []
    for _ in range(300):
        rate = rng.beta(8, 2, size=30)  # mean 0.8, its own in each block
        hits = rng.random((30, 10)) < rate[:, None]
        _, low, high, _ = coverage(hits.ravel(), block=np.repeat(np.arange(30), 10))
        held.append(low <= 0.8 <= high)
    assert stats.binom.ppf(0.001, 300, 0.93) <= np.sum(held)  # an approximation: 0.95 asked


scores = arrays(np.float64, st.integers(1, 80), elements=st.floats(0, 10, width=16))


@given(scores, st.floats(0.01, 2.0), st.integers(0, 5), levels)
def test_whatever_comes_the_misses_of_the_adaptive_band_add_up_to_its_level(
    score, rate, delay, level
):
    found = adaptive_thresholds(score, [1.0, 2.0, 3.0], level=level, rate=rate, delay=delay)
    bound = (level + rate * (1 + delay)) / (rate * len(score))
    assert abs(np.mean(~found.covered) - (1 - level)) <= bound + 1e-12
    assert found.alpha.min() >= -rate * (1 + delay)
    assert found.alpha.max() <= 1 + rate * (1 + delay)
    np.testing.assert_array_equal(found.covered, score <= found.threshold)


def test_an_adversary_who_always_errs_more_is_covered_all_the_same():
    rising = 2.0 ** np.arange(1, 1000)  # each larger than all before
    found = adaptive_thresholds(rising, [1.0] * 20, rate=0.05)
    assert abs(found.covered.mean() - 0.9) <= 0.95 / (0.05 * 999)
    fixed = rising <= np.quantile([1.0] * 20, 0.9)
    assert not fixed.any()


def test_outcomes_are_used_only_when_they_are_known():
    score = np.array([9.0, 9.0, 9.0, 9.0])
    found = adaptive_thresholds(score, np.arange(1.0, 9.0), level=0.5, rate=0.1, delay=2)
    np.testing.assert_allclose(found.alpha, [0.5, 0.5, 0.5, 0.45])
    np.testing.assert_allclose(found.threshold[:3], found.threshold[0])


def test_refused_thresholds():
    with pytest.raises(ValueError, match="rate must be positive"):
        adaptive_thresholds([1.0], [1.0], rate=0)
    with pytest.raises(ValueError, match="1 are NaN"):
        adaptive_thresholds([np.nan], [1.0])


def test_the_score_is_the_radius_that_would_just_do():
    error = np.random.default_rng(8).normal(size=(20, 3, 2))
    scale = np.array([[1.0, 2.0], [0.5, 1.0], [3.0, 1.0]])
    score = simultaneous_score(error, scale)
    for i in range(20):
        assert in_band(error[i : i + 1], score[i] * scale * (1 + 1e-12))[0]
        assert not in_band(error[i : i + 1], score[i] * scale * (1 - 1e-12))[0]
