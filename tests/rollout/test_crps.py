"""The score as an integral, as an expectation, and as an average over pairs of members."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rom.rollout.crps import crps, sample_crps

values = st.floats(-100, 100, width=32)
ensembles = arrays(np.float64, st.integers(2, 8), elements=values)


@given(ensembles, values)
def test_it_is_the_squared_distance_of_the_distribution_functions(ensemble, truth):
    points = np.sort(np.append(ensemble, truth))
    middle = (points[1:] + points[:-1]) / 2
    forecast = np.mean(ensemble[:, None] <= middle, axis=0)
    integral = np.sum((forecast - (truth <= middle)) ** 2 * np.diff(points))
    np.testing.assert_allclose(crps(ensemble, truth, fair=False), integral, atol=1e-9)


@given(ensembles, values)
def test_the_fair_score_is_its_mean_over_all_pairs_of_members(ensemble, truth):
    # So its expectation does not depend on how many members there are.
    pairs = [crps(np.array(pair), truth) for pair in combinations(ensemble, 2)]
    np.testing.assert_allclose(crps(ensemble, truth), np.mean(pairs), atol=1e-9)


@given(ensembles, values, values)
def test_it_moves_and_scales_with_the_variable(ensemble, truth, shift):
    score = crps(ensemble, truth)
    np.testing.assert_allclose(crps(ensemble + shift, truth + shift), score, atol=1e-9)
    np.testing.assert_allclose(crps(-3 * ensemble, -3 * truth), 3 * score, atol=1e-9)


def test_of_one_member_it_is_the_absolute_error():
    np.testing.assert_array_equal(crps([[1.0, -2.0]], [3.0, 1.0], fair=False), [2, 3])
    with pytest.raises(ValueError, match="two members, but the ensemble has 1"):
        crps([[1.0]], [1.0])


@pytest.mark.parametrize("n_members", [2, 5, 50])
def test_a_perfect_normal_ensemble_of_any_size_scores_one_over_root_pi(n_members):
    draws = np.random.default_rng(n_members).normal(size=(n_members + 1, 40_000))
    score = crps(draws[1:], draws[0])
    error = 4 * score.std() / np.sqrt(score.size)
    assert abs(score.mean() - 1 / np.sqrt(np.pi)) < error
    unfair = crps(draws[1:], draws[0], fair=False).mean()
    assert abs(unfair - (1 + 1 / n_members) / np.sqrt(np.pi)) < error


def test_a_sharper_or_a_biased_ensemble_scores_worse():
    draws = np.random.default_rng(0).normal(size=(21, 20_000))
    perfect = crps(draws[1:], draws[0]).mean()
    assert crps(0.5 * draws[1:], draws[0]).mean() > perfect + 0.01
    assert crps(2 * draws[1:], draws[0]).mean() > perfect + 0.01
    assert crps(draws[1:] + 0.5, draws[0]).mean() > perfect + 0.01


@given(arrays(np.float64, (6, 2), elements=values), arrays(np.float64, (3, 4, 2), elements=values))
def test_one_sample_for_all_truths_scores_as_that_ensemble_for_each(sample, truth):
    everywhere = np.broadcast_to(sample[:, None, None], (6, 3, 4, 2))
    for fair in (True, False):
        expected = crps(everywhere, truth, fair=fair)
        np.testing.assert_allclose(sample_crps(sample, truth, fair=fair), expected, atol=1e-9)


def test_what_is_not_finite_has_no_score_and_spoils_no_other():
    ensemble = np.array([[1.0, np.nan, 1.0], [3.0, 3.0, 3.0]])
    np.testing.assert_array_equal(crps(ensemble, [2.0, 2.0, np.inf]), [0, np.nan, np.nan])
    truth = np.array([[2.0, 2.0, np.nan]])
    np.testing.assert_array_equal(sample_crps(ensemble, truth), [[0, np.nan, np.nan]])


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"\(3,\), but it is \(5, 2\)"):
        crps(np.zeros((5, 2)), np.zeros(3))
    with pytest.raises(ValueError, match=r"\(5, 2\) and \(3,\)"):
        sample_crps(np.zeros((5, 2)), np.zeros(3))
