import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics.linbreg import linbreg_path
from rom.dynamics.normal import normal
from rom.dynamics.regression import fit_stlsq
from rom.dynamics.sparse import (
    CRITERIA,
    SOLVERS,
    choose,
    criterion,
    cut,
    fit_sparse,
    forward_path,
    stlsq_path,
    subset_path,
)
from rom.dynamics.sr3 import fit_sr3

seeds = st.integers(0, 2**32 - 1)


def problem(seed=0, n=200, p=8, noise=0.5):
    """Two targets of a few terms each, from terms that are correlated and of unequal size."""
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, p)) @ (np.eye(p) + 0.3 * rng.normal(size=(p, p)))
    C = rng.uniform(1, 2, (2, p)) * (rng.random((2, p)) < 0.4)
    return A, A @ C.T + noise * rng.normal(size=(n, 2)), C


def squares(A, Y, path):
    return np.stack([((Y - A @ coef.T) ** 2).sum(axis=0) for coef in path])


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("threshold", ["bic", "aicc", 0.3])
def test_every_solver_finds_the_terms_of_clear_data(solver, threshold):
    A, Y, C = problem(noise=1e-9)
    found = normal(A, Y, exact=True)
    coef = fit_sparse(found, solver, threshold)
    assert np.all((coef != 0) >= (C != 0))
    if threshold == 0.3:  # a criterion may take a term of the size of the noise
        assert_array_equal(coef != 0, C != 0)
    assert_allclose(coef, C, atol=1e-8)


@settings(max_examples=8, deadline=None)
@given(seeds)
def test_best_subsets_are_the_best_of_all(seed):
    A, Y, _ = problem(seed, p=6, noise=3.0)
    found = squares(A, Y, subset_path(normal(A, Y)))
    for size in range(7):
        fits = []
        for terms in itertools.combinations(range(6), size):
            B = A[:, terms]
            fits.append(((Y - B @ np.linalg.lstsq(B, Y)[0]) ** 2).sum(axis=0))
        assert_allclose(found[size], np.min(fits, axis=0), rtol=1e-9)


def test_forward_selection_is_greedy():
    A, Y, _ = problem(noise=2.0)
    path = forward_path(normal(A, Y))
    assert_array_equal(np.count_nonzero(path, axis=2), np.arange(9)[:, None] * [1, 1])
    errors = squares(A, Y, path)
    for step in range(8):
        for i in range(2):
            now = np.flatnonzero(path[step, i])
            fits = [
                ((Y[:, i] - A[:, t] @ np.linalg.lstsq(A[:, t], Y[:, i])[0]) ** 2).sum()
                for t in ([*now, j] for j in range(8) if j not in now)
            ]
            assert_allclose(errors[step + 1, i], min(fits), rtol=1e-9)


def test_forward_selection_stops_when_told_and_at_dependent_terms():
    A, Y, _ = problem()
    assert len(forward_path(normal(A, Y), 3)) == 4
    assert len(forward_path(normal(np.hstack([A, A]), Y))) == 9


def test_a_path_of_thresholds_is_the_fits_one_by_one():
    A, Y, _ = problem()
    found, thresholds = normal(A, Y), [0.0, 0.1, 1.0, 10.0]
    expected = [fit_stlsq(found, threshold) for threshold in thresholds]
    assert_array_equal(stlsq_path(found, thresholds), expected)
    path = stlsq_path(found)
    assert np.all(path[0] != 0)
    assert not path[-1].any()


@pytest.mark.parametrize("norm", ["l0", "l1"])
def test_sr3_leaves_what_is_above_its_threshold(norm):
    """For orthonormal terms the fixed point is the threshold of the correlations."""
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 4)))
    A = Q * np.sqrt(50)
    coef = np.array([[2.0, -0.5, 0.2, 0.05]])
    found = fit_sr3(normal(A, A @ coef.T), 0.1, norm=norm, relaxation=1.0)
    assert_allclose(found, np.where(np.abs(coef) > 0.1, coef, 0.0), atol=1e-12)


def test_linearised_bregman_takes_orthonormal_terms_by_size():
    Q, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(50, 4)))
    A = Q * np.sqrt(50)
    coef = np.array([0.2, -2.0, 0.5, 1.0])
    path = linbreg_path(normal(A, A @ coef[:, None]), max_iter=2000)[:, 0]
    assert_array_equal(
        path != 0,
        [[False] * 4, [0, 1, 0, 0], [0, 1, 0, 1], [0, 1, 1, 1], [True] * 4],
    )
    assert_allclose(path[-1], coef)


@pytest.mark.parametrize("solver", SOLVERS)
def test_terms_that_are_not_offered_are_not_taken(solver):
    A, Y, _ = problem()
    offered = np.arange(8) % 3 != 0
    coef = fit_sparse(normal(A, Y), solver, "bic", offered=offered)
    assert not coef[:, ~offered].any()
    assert_allclose(
        coef[:, offered], fit_sparse(normal(A[:, offered], Y), solver, "bic"), atol=1e-12
    )


@pytest.mark.parametrize("solver", SOLVERS)
def test_units_of_terms_do_not_matter_to_a_criterion(solver):
    A, Y, _ = problem()
    unit = 10.0 ** np.arange(-4, 4)
    relative = solver in ("stlsq", "sr3")
    coef = fit_sparse(normal(A * unit, Y), solver, "bic", relative=relative) * unit
    assert_allclose(coef, fit_sparse(normal(A, Y), solver, "bic", relative=relative), rtol=1e-8)


def test_criteria_are_those_of_their_papers():
    mean_square, n_terms = np.array([2.0, 1.5]), np.array([1, 4])
    aic = 50 * np.log(mean_square) + 2 * n_terms
    assert_allclose(criterion(mean_square, n_terms, 50, "aic"), aic)
    corrected = aic + 2 * n_terms * (n_terms + 1) / (50 - n_terms - 1)
    assert_allclose(criterion(mean_square, n_terms, 50, "aicc"), corrected)
    bic = 50 * np.log(mean_square) + np.log(50) * n_terms
    assert_allclose(criterion(mean_square, n_terms, 50, "bic"), bic)
    assert criterion(mean_square, np.array([49, 60]), 50, "aicc").tolist() == [np.inf, np.inf]


@pytest.mark.parametrize("kind", CRITERIA)
def test_pure_noise_needs_few_terms_and_an_exact_fit_no_more(kind):
    rng = np.random.default_rng(0)
    A = rng.normal(size=(500, 6))
    Y = np.stack([A[:, 2], 1e-13 * rng.normal(size=500) + A[:, 4]], axis=1)
    coef = choose(normal(A, Y), forward_path(normal(A, Y)), kind)
    assert_array_equal(coef != 0, [[0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]])


def test_rows_worth_less_choose_fewer_terms():
    A, Y, _ = problem(noise=3.0)
    found = normal(A, Y)
    path = subset_path(found)
    sizes = [np.count_nonzero(choose(found, path, "bic", n_samples=n)) for n in (3, 200, 1e6)]
    assert sizes[0] < sizes[1] < sizes[2]


def test_what_a_path_took_too_early_is_cut():
    """The sum of two terms comes in first, and is not needed once both are there."""
    rng = np.random.default_rng(0)
    A = rng.normal(size=(100, 2))
    A = np.hstack([A, A.sum(axis=1, keepdims=True) + 0.1 * rng.normal(size=(100, 1))])
    found = normal(A, A[:, :2].sum(axis=1, keepdims=True) + 1e-6 * rng.normal(size=(100, 1)))
    path = forward_path(found)
    assert path[1, 0, 2] != 0
    assert_array_equal(cut(found, path, np.full((1, 3), 0.1)) != 0, [[True, True, False]])
    assert not cut(found, path, np.full((1, 3), 5.0)).any()


def test_large_libraries_are_refused_by_the_exact_search():
    A = np.random.default_rng(0).normal(size=(50, 36))
    with pytest.raises(ValueError, match="at most 35 terms, but there are 36"):
        subset_path(normal(A, A[:, :1]))
