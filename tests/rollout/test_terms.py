"""Compiled polynomials against their definition."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from rom.base import Polynomial
from rom.rollout import terms


@njit(**terms.JIT)
def evaluate(model, z, u):
    return terms.field(model, z, u)


@njit(**terms.JIT)
def differentiate(model, z, u):
    return terms.jacobian(model, z, u)


def definition(polynomial, z, u):
    return polynomial.coef @ np.prod(np.concatenate([z, u]) ** polynomial.exponents, axis=1)


def polynomials():
    return st.tuples(
        st.integers(1, 9), st.integers(0, 3), st.integers(0, 30), st.floats(0, 1), st.integers(0)
    )


def make(case):
    rank, n_inputs, n_terms, share, seed = case
    rng = np.random.default_rng(seed)
    exponents = rng.integers(0, 3, size=(n_terms, rank + n_inputs))
    exponents *= rng.random(exponents.shape) < 0.4  # monomials may be there twice
    coef = rng.normal(size=(rank, n_terms)) * (rng.random((rank, n_terms)) < share)
    return Polynomial(exponents, coef), rng.uniform(-1, 1, rank), rng.uniform(-1, 1, n_inputs)


@settings(max_examples=40, deadline=None)
@given(polynomials())
def test_any_polynomial_and_its_derivative_are_what_they_are_by_definition(case):
    polynomial, z, u = make(case)
    model = terms.terms_of(polynomial)
    scale = 1 + np.abs(polynomial.coef).sum()
    exact = definition(polynomial, z, u)
    np.testing.assert_allclose(evaluate(model, z, u), exact, atol=1e-14 * scale)
    step = 1e-20  # a complex step has no rounding error
    derivative = [definition(polynomial, z + 1j * step * e, u).imag / step for e in np.eye(len(z))]
    np.testing.assert_allclose(differentiate(model, z, u).T, derivative, atol=1e-12 * scale)
    plain = terms.jacobian(lambda z, u: definition(polynomial, z, u), z, u)
    np.testing.assert_allclose(plain.T, derivative, atol=1e-5 * scale)


def test_products_are_formed_once_and_shared():
    """Of xy, xyz and x²yz all factors but the last are formed: xy, xx and xx·y."""
    exponents = np.array([[1, 1, 0], [1, 1, 1], [2, 1, 1]])
    model = terms.terms_of(Polynomial(exponents, np.eye(3)))
    assert len(model.left) == 3
    assert len(set(zip(model.left, model.right, strict=True))) == 3
    assert np.all(model.left < 4 + np.arange(3))  # factors come before their products


def test_terms_without_coefficients_are_left_out():
    exponents = np.array([[1, 0], [0, 1], [3, 4]])
    model = terms.terms_of(Polynomial(exponents, np.array([[1.0, 0, 0], [0, 2.0, 0]])))
    assert len(model.left) == 0
    np.testing.assert_array_equal(model.coef, [1, 2])


def test_the_factor_that_most_terms_have_is_taken_out_and_they_stand_together():
    """y + x + xy + x³ + 1 is y + 1 + x (1 + y + xx)."""
    exponents = np.array([[0, 1], [1, 0], [1, 1], [3, 0], [0, 0]])
    coef = np.array([[1.0, 2, 3, 4, 5], [1, 2, 0, 0, 5]])
    model = terms.terms_of(Polynomial(exponents, coef))
    x, y, one, xx = range(4)
    found = sorted(zip(model.last[:5], model.place[:5], model.coef[:5], strict=True))
    assert found == [(x, y, 3), (x, one, 2), (x, xx, 4), (one, y, 1), (one, one, 5)]
    np.testing.assert_array_equal(model.last[:5], [one] * 2 + [x] * 3)
    assert sorted(model.place[5:]) == [x, y, one]  # nothing to share
    np.testing.assert_array_equal(model.last[5:], one)


@pytest.mark.parametrize(("share", "full"), [(1.0, True), (0.02, False)])
def test_the_full_matrix_is_taken_where_it_is_nearly_full(share, full):
    rng = np.random.default_rng(0)
    exponents = np.concatenate([np.eye(20), *(np.eye(20) + e for e in np.eye(20))]).astype(int)
    coef = rng.normal(size=(20, len(exponents))) * (rng.random((20, len(exponents))) < share)
    model = terms.terms_of(Polynomial(exponents, coef))
    assert (model.full.size > 0) == full
    assert (len(model.coef) == 0) == full
    z = rng.normal(size=20)
    exact = definition(Polynomial(exponents, coef), z, np.zeros(0))
    np.testing.assert_allclose(evaluate(model, z, np.zeros(0)), exact, atol=1e-11)


def test_what_is_not_finite_shows():
    model = terms.terms_of(Polynomial(np.array([[2]]), np.ones((1, 1))))
    assert np.isnan(evaluate(model, np.array([np.nan]), np.zeros(0))[0])
    assert np.isinf(evaluate(model, np.array([1e200]), np.zeros(0))[0])
