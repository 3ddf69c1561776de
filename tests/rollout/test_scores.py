"""Scores of whole forecasts: identities and known values."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rom.rollout.scores import histogram_distance, relative_error

states = arrays(np.float64, (12, 2), elements=st.floats(-100, 100))


def test_the_norm_is_the_largest_singular_value():
    truth = np.diag([4.0, 3.0])
    assert relative_error(truth + np.diag([0.0, 2.0]), truth) == 0.5
    assert relative_error(np.zeros((2, 2)), truth) == 1
    assert relative_error(-truth, truth) == 2
    assert relative_error(truth, truth) == 0


@given(states, st.floats(0.1, 10))
def test_errors_scale_and_obey_the_triangle_inequality(other, factor):
    truth = np.random.default_rng(0).normal(size=(12, 2))
    error = relative_error(truth + other, truth)
    assert relative_error(truth + factor * other, truth) == pytest.approx(factor * error, abs=1e-9)
    assert relative_error(factor * (truth + other), factor * truth) == pytest.approx(error)
    assert (
        error
        <= relative_error(truth + other / 2, truth)
        + relative_error(truth + other - other / 2, truth)
        + 1e-9
    )


@given(states, states)
def test_total_variation_is_a_distance(one, other):
    distance = histogram_distance(one, other, 7)
    assert np.all((distance >= 0) & (distance <= 1 + 1e-12))
    np.testing.assert_allclose(histogram_distance(other, one, 7), distance)
    np.testing.assert_array_equal(histogram_distance(one[::-1], one, 7), 0)


def test_half_of_the_rows_elsewhere_is_half():
    truth = np.zeros((10, 1))
    forecast = np.repeat([[0.0], [1.0]], 10, axis=0)  # twice as many rows
    assert histogram_distance(forecast, truth, 41) == 0.5
    assert histogram_distance(truth + 5, truth, 41) == 1


@pytest.mark.parametrize("level", [0.0, 1.0, -1e30])
def test_values_one_rounding_apart_are_apart(level):
    truth = np.full((10, 1), level)
    assert histogram_distance(np.nextafter(truth, np.inf), truth, 41) == 1


def test_a_forecast_that_ended_is_infinitely_far():
    truth = np.eye(3)
    assert relative_error(np.full((3, 3), np.nan), truth) == np.inf
    np.testing.assert_array_equal(histogram_distance(np.full((5, 3), np.nan), truth, 4), np.inf)


@pytest.mark.parametrize(
    ("forecast", "truth", "message"),
    [
        (np.eye(3), np.eye(2), r"\(3, 3\) and \(2, 2\)"),
        (np.ones(3), np.ones(3), r"\(3,\) and \(3,\)"),
        (np.ones((0, 2)), np.ones((3, 2)), r"\(0, 2\) and \(3, 2\)"),
        (np.eye(2), np.full((2, 2), np.nan), "truth must be finite"),
    ],
)
def test_states_that_do_not_fit_are_refused(forecast, truth, message):
    with pytest.raises(ValueError, match=message):
        relative_error(forecast, truth)
    with pytest.raises(ValueError, match=message):
        histogram_distance(forecast, truth, 4)


def test_what_has_no_score_is_refused():
    with pytest.raises(ValueError, match="each of the truth's 3, but it has 2"):
        relative_error(np.ones((2, 1)), np.ones((3, 1)))
    with pytest.raises(ValueError, match="truth is zero"):
        relative_error(np.ones((3, 1)), np.zeros((3, 1)))
    with pytest.raises(ValueError, match="n_bins must be at least 1, but it is 0"):
        histogram_distance(np.ones((3, 1)), np.ones((3, 1)), 0)
