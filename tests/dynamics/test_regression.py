import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rom.dynamics.least_squares import Constraint
from rom.dynamics.normal import normal
from rom.dynamics.regression import fit_ridge, fit_stlsq, ridge, ridge_path

seeds = st.integers(0, 2**32 - 1)


def rms(A):
    return np.sqrt(np.mean(A**2, axis=0))


def stlsq(A, Y, threshold, **options):
    return fit_stlsq(normal(A, Y, exact=True), threshold, **options)


def problem(seed, n=60, p=6, targets=2):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(n, p)) * 10.0 ** rng.uniform(-3, 3, p)
    return A, rng.normal(size=(n, targets)), rng


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0, 10))
def test_ridge_solves_its_normal_equations(seed, alpha):
    A, Y, _ = problem(seed)
    C = ridge(A, Y, alpha)
    gradient = (A.T @ (A @ C.T - Y) / len(A) + alpha * rms(A)[:, None] ** 2 * C.T) / rms(A)[:, None]
    assert np.abs(gradient).max() < 1e-10


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0, 1))
def test_units_of_the_columns_change_nothing(seed, alpha):
    A, Y, rng = problem(seed)
    unit = 10.0 ** rng.uniform(-3, 3, A.shape[1])
    assert_allclose(ridge(A * unit, Y, alpha) * unit, ridge(A, Y, alpha), rtol=1e-8)
    relative = [
        stlsq(B, Y, 0.1, alpha=alpha, relative=True) * s for B, s in ((A * unit, unit), (A, 1.0))
    ]
    assert_allclose(*relative, rtol=1e-8, atol=1e-300)


def test_dependent_columns_share_the_coefficient():
    a = np.random.default_rng(0).normal(size=(30, 1))
    assert_allclose(ridge(np.hstack([a, a]), 3 * a), [[1.5, 1.5]])


@settings(max_examples=25, deadline=None)
@given(seeds)
def test_sparse_coefficients_are_recovered_exactly(seed):
    rng = np.random.default_rng(seed)
    A = rng.normal(size=(80, 12))
    C = rng.uniform(0.5, 2, (3, 12)) * rng.choice([-1, 0, 1], (3, 12))
    found = stlsq(A, A @ C.T, threshold=0.3)
    assert_allclose(found, C, atol=1e-12)
    assert np.count_nonzero(found) == np.count_nonzero(C)


@settings(max_examples=25, deadline=None)
@given(seeds, st.floats(0.01, 0.5), st.booleans())
def test_thresholded_fit_is_a_fixed_point(seed, threshold, relative):
    A, Y, _ = problem(seed)
    A = A / rms(A)
    C = stlsq(A, Y, threshold, relative=relative)
    unit = rms(Y)[:, None] / rms(A) if relative else np.ones_like(C)
    assert np.all((C == 0) | (np.abs(C) >= threshold * unit))
    for row, y in zip(C, Y.T, strict=True):
        kept = row != 0
        assert_allclose(
            row[kept], ridge(A[:, kept], y[:, None])[0] if kept.any() else [], rtol=1e-8
        )


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0.01, 100))
def test_penalised_fit_solves_its_normal_equations(seed, weight):
    A, Y, rng = problem(seed)
    A = A / rms(A)
    P = np.sqrt(weight) * rng.normal(size=(4, 2 * A.shape[1]))
    C = stlsq(A, Y, 0.0, penalty=P)
    gradient = ((A @ C.T - Y).T @ A / len(A)).ravel() + P.T @ (P @ C.ravel())
    assert np.abs(gradient).max() < 1e-8 * max(1.0, weight)


@pytest.mark.parametrize("relative", [False, True])
def test_a_huge_threshold_leaves_nothing(relative):
    A, Y, _ = problem(0)
    assert not stlsq(A, Y, 1e9, relative=relative).any()


@settings(max_examples=15, deadline=None)
@given(seeds, st.booleans())
def test_a_path_of_ridge_parameters_is_the_fits_one_by_one(seed, exact):
    A, Y, _ = problem(seed)
    alphas = [0.0, 1e-3, 1.0, 10.0]
    path = ridge_path(normal(A, Y, exact=exact), alphas)
    for alpha, coef in zip(alphas, path, strict=True):
        assert_allclose(coef * rms(A), ridge(A, Y, alpha) * rms(A), rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize("exact", [False, True])
def test_ridge_path_takes_the_least_norm_of_dependent_columns(exact):
    a = np.random.default_rng(0).normal(size=(30, 1))
    assert_allclose(ridge_path(normal(np.hstack([a, a]), 3 * a, exact=exact), 0.0), [[[1.5, 1.5]]])


@settings(max_examples=15, deadline=None)
@given(seeds, st.floats(0, 1))
def test_sums_give_what_the_rows_give(seed, threshold):
    A, Y, _ = problem(seed)
    A = A / rms(A)
    found = fit_stlsq(normal(A, Y), threshold, alpha=1e-6)
    assert_allclose(found, stlsq(A, Y, threshold, alpha=1e-6), rtol=1e-8, atol=1e-13)


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("alpha", [0.0, 0.1])
def test_constrained_fit_meets_its_constraint_and_its_optimality(exact, alpha):
    A, Y, rng = problem(3)
    A = A / rms(A)
    matrix, value = rng.normal(size=(3, 12)), rng.normal(size=3)
    C = fit_ridge(normal(A, Y, exact=exact), alpha, constraint=Constraint(matrix, value))
    assert_allclose(matrix @ C.ravel(), value, atol=1e-12)
    gradient = ((A @ C.T - Y).T @ A / len(A) + alpha * C).ravel()
    multipliers = np.linalg.lstsq(matrix.T, gradient)[0]
    assert_allclose(matrix.T @ multipliers, gradient, atol=1e-12)


def test_thresholding_keeps_to_the_constraint():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(80, 4))
    C = np.array([[1.0, 2.0, 0.0, 0.0], [0.0, -2.0, 0.0, 0.5]])
    Y = A @ C.T + 0.1 * rng.normal(size=(80, 2))
    exchange = np.zeros((1, 8))
    exchange[0, [1, 5]] = 1.0  # the second coefficients cancel
    found = fit_stlsq(normal(A, Y), 0.3, constraint=Constraint(exchange, np.zeros(1)))
    assert np.array_equal(found != 0, C != 0)
    assert abs(found[0, 1] + found[1, 1]) < 1e-13


def test_a_constraint_on_terms_that_were_dropped_is_refused():
    A = np.random.default_rng(0).normal(size=(50, 2))
    constraint = Constraint(np.array([[0.0, 1.0]]), np.array([0.1]))
    with pytest.raises(ValueError, match="No coefficients of the 1 terms that are left"):
        fit_stlsq(normal(A, A[:, :1]), 0.5, constraint=constraint)


def test_almost_dependent_terms_lose_no_digits_with_the_rows_root():
    rng = np.random.default_rng(0)
    A = rng.normal(size=(200, 3))
    A[:, 2] = A[:, 0] + 1e-7 * rng.normal(size=200)
    C = np.array([[1.0, 2.0, 3.0]])
    assert_allclose(fit_ridge(normal(A, A @ C.T, exact=True)), C, atol=1e-7)
