"""Identities of the scores, the baselines and the valid time."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rom.rollout.horizon import holding_time, skilful_span, valid_time
from rom.rollout.skill import (
    anomaly_correlation,
    damped_persistence,
    lag_one_autocorrelation,
    skill_score,
)

positive = arrays(np.float64, 5, elements=st.floats(1e-3, 1e3))


@given(positive, positive)
def test_skill_is_one_for_no_error_zero_for_the_baseline_and_scale_free(error, baseline):
    np.testing.assert_array_equal(skill_score(0 * error, baseline), 1)
    np.testing.assert_array_equal(skill_score(baseline, baseline), 0)
    np.testing.assert_allclose(skill_score(4 * error, 4 * baseline), skill_score(error, baseline))
    np.testing.assert_array_equal(skill_score(error, baseline) > 0, error < baseline)


@given(arrays(np.float64, (4, 6), elements=st.floats(-100, 100)))
def test_anomaly_correlation_is_a_cosine(fields):
    other = np.roll(fields, 1, axis=1) + 1
    correlation = anomaly_correlation(fields, other)
    assert np.all(np.isnan(correlation) | (np.abs(correlation) <= 1 + 1e-12))
    own = anomaly_correlation(fields, -3 * fields)
    large = np.abs(fields).max(axis=1) > 1e-100
    np.testing.assert_allclose(own[large], -1)
    assert np.isnan(anomaly_correlation(np.zeros((1, 3)), np.ones((1, 3))))[0]


def test_autocorrelation_of_an_autoregression_is_its_coefficient():
    rng = np.random.default_rng(0)
    coefficient = np.array([0.9, 0.5, -0.6])
    Z = np.zeros((20_000, 3))
    for i in range(1, len(Z)):
        Z[i] = coefficient * Z[i - 1] + rng.normal(size=3)
    found = lag_one_autocorrelation(5 + Z, [slice(0, 10_000), slice(10_000, 20_000)])
    np.testing.assert_allclose(found, [0.9, 0.5, 0], atol=0.03)


def test_autocorrelation_pairs_no_rows_across_a_gap():
    Z = np.array([[1.0], [1.0], [-1.0], [-1.0]])
    assert lag_one_autocorrelation(Z, [slice(0, 2), slice(2, 4)]) == 1
    assert lag_one_autocorrelation(Z, [slice(0, 4)]) == pytest.approx(1 / 3)


def test_damped_persistence_goes_from_the_start_to_the_mean():
    z0, mean, rho = np.array([2.0, -3.0]), np.array([1.0, 1.0]), np.array([0.5, 1.0])
    z = damped_persistence(z0, np.array([0.0, 0.5, 1.0, 200.0]), mean, rho)
    np.testing.assert_allclose(z[0], z0)
    np.testing.assert_allclose(z[:, 0], [2, 1 + np.sqrt(0.5), 1.5, 1])
    np.testing.assert_allclose(z[:, 1], -3)  # an autocorrelation of 1 is persistence


@given(arrays(np.float64, (3, 8), elements=st.floats(0, 2)), st.floats(0.1, 1.9))
def test_valid_time_is_the_first_excess(error, tolerance):
    lead = np.arange(8.0) ** 1.5
    time, exceeded = valid_time(error, lead, tolerance)
    for row, each, past in zip(error, time, exceeded, strict=True):
        inside = lead < each if past else lead <= each
        assert np.all(row[inside] <= tolerance)
        assert (row[lead == each][0] > tolerance) == past
        assert past or each == lead[-1]
    looser, _ = valid_time(error, lead, tolerance + 0.1)
    assert np.all(looser >= time)


@given(arrays(np.float64, (3, 8), elements=st.floats(0, 2)), st.floats(0.1, 1.9))
def test_a_forecast_holds_to_the_lead_before_the_first_excess(error, tolerance):
    lead = np.arange(8.0) ** 1.5
    time, exceeded = valid_time(error, lead, tolerance)
    held = holding_time(error, lead, tolerance)
    for row, last, first, past in zip(error, held, time, exceeded, strict=True):
        assert np.all(row[lead <= last] <= tolerance) or last == 0
        assert last == (lead[max(0, np.flatnonzero(lead == first)[0] - 1)] if past else lead[-1])


def test_an_error_that_is_not_a_number_exceeds():
    time, exceeded = valid_time([0.0, 0.1, np.nan], [0.0, 1.0, 2.0], 0.4)
    assert (time, exceeded) == (2.0, True)
    assert holding_time([0.0, 0.1, np.nan], [0.0, 1.0, 2.0], 0.4) == 1.0


def test_skilful_span_needs_every_baseline():
    assert skilful_span([[1.0, 1.0], [-1.0, 0.0]], [1.0, 2.0]) is None
    assert skilful_span([[np.nan, 1.0], [1.0, 1.0]], [0.0, 2.0]) == (2.0, 2.0)


def test_skilful_span_bridges_a_few_failures_and_no_coin_tosses():
    periodic = np.ones(100)
    periodic[12::13] = -1
    assert skilful_span(periodic[None], np.arange(100)) == (0.0, 99.0)
    died_away = np.r_[np.ones(10), np.tile([-0.02, 0.02], 45)]
    assert skilful_span(died_away[None], np.arange(100)) == (0.0, 11.0)
    assert skilful_span(np.full((1, 9), 1e-9), np.arange(9)) is None  # rounding is no skill
