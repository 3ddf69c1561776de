"""Sums of rows: in one pass, in parts, over trajectories, by products or by a triangle."""

import dask.array
import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone

from rom.dynamics import (
    DMD,
    AffineOperatorInference,
    OperatorInference,
    PolynomialLibrary,
    SINDy,
)
from rom.dynamics.linear import affine_normals, fit_affine
from rom.dynamics.normal import Normal, normal, sum_normals
from rom.dynamics.operators import monomial_normals, operator_blocks
from rom.dynamics.regression import fit_ridge

MODELS = [
    SINDy(threshold=0.05),
    OperatorInference("cAHN", ridge={"A": 0.1, "H": 0.5}),
    AffineOperatorInference("cA", parameters=1, ridge=1e-3),
    DMD(ridge=0.1),
    DMD(constant=True),
    DMD(constant=True, total_least_squares=True, growth=(-1, 0)),
]


def rows(seed, n=600, offset=3.0):
    rng = np.random.default_rng(seed)
    Z, u = offset + rng.normal(size=(n, 3)), rng.normal(size=(n, 2))
    y = np.cos(Z) @ rng.normal(size=(3, 3)) + u @ rng.normal(size=(2, 3))
    return Z, y, u


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_parts_give_what_all_rows_give(model):
    Z, y, u = rows(0)
    whole, parts = clone(model).fit(Z, y, u=u), clone(model)
    for some in (slice(0, 100), slice(100, 130), slice(130, None)):
        parts.partial_fit(Z[some], y[some], u=u[some])
    assert_allclose(parts.predict(Z, u=u), whole.predict(Z, u=u), rtol=1e-9)
    assert parts.bound_ == whole.bound_
    for found in (parts, whole):
        assert_allclose(found.input_range_, [u.min(axis=0), u.max(axis=0)])


@pytest.mark.parametrize("model", MODELS, ids=str)
def test_trajectories_give_the_sum_of_their_rows(model):
    """Their order is no matter, and no pair or difference reaches from one to the next."""
    Z, _, u = rows(1)
    t, label = np.tile(0.1 * np.arange(60), 10), np.repeat(np.arange(10), 60)
    turned = np.concatenate(np.split(np.arange(600), 10)[::-1])
    one = clone(model).fit(Z, t=t, u=u, trajectory=label)
    other = clone(model).fit(Z[turned], t=t, u=u[turned], trajectory=label)
    assert_allclose(other.predict(Z, u=u), one.predict(Z, u=u), rtol=1e-8)


@pytest.mark.parametrize("tilt", [1.0, 1e-6])
def test_sums_of_nearly_dependent_terms_lose_no_digits(tilt):
    """Products would keep none of the digits that a triangle of the rows keeps."""
    rng = np.random.default_rng(2)
    Z = rng.normal(size=(400, 2))
    Z[:, 1] = Z[:, 0] + tilt * Z[:, 1]
    C = rng.normal(size=(2, 6))
    exponents = np.concatenate(list(operator_blocks("cAH", 2, 0).values()))
    Y = np.stack([Z[:, 0] ** i * Z[:, 1] ** j for i, j in exponents], axis=1) @ C.T
    blocks = [monomial_normals(exponents, Z[s], Y[s]) for s in (slice(0, 150), slice(150, None))]
    found = sum_normals([block for some in blocks for block in some])
    assert (found.root is None) == (tilt == 1.0)
    misfit = np.abs(fit_ridge(found) - C).max()
    assert misfit < 1e-13 / tilt**2
    if found.root is not None:
        assert np.abs(fit_ridge(found._replace(root=None)) - C).max() > 100 * misfit
    assert_allclose(OperatorInference().fit(Z, Y).predict(Z), Y, atol=1e-12)


def test_some_of_the_terms_and_targets_of_a_sum():
    rng = np.random.default_rng(3)
    A, Y = rng.normal(size=(50, 4)), rng.normal(size=(50, 3))
    terms = np.array([True, False, True, True])
    for exact in (False, True):
        whole = normal(A, Y, exact=exact)
        some = Normal.of(whole.part(terms, slice(2)).arrays())
        fresh = np.linalg.lstsq(A[:, terms], Y[:, :2])[0].T
        assert_allclose(fit_ridge(some), fresh, rtol=1e-9)


def test_a_constant_far_from_zero_costs_no_digits():
    """Means are taken out of a triangle as precisely as out of the rows."""
    rng = np.random.default_rng(4)
    Z = 1e6 + rng.normal(size=(200, 2))
    A = np.array([[0.9, 0.2], [-0.1, 0.8]])
    Y = 1e6 + (Z - 1e6) @ A.T
    found = sum_normals(affine_normals(Z, Y, None, constant=True))
    assert_allclose(fit_affine(found, 2, constant=True).A, A, atol=1e-8)


def test_what_was_given_its_operators_learns_from_rows_anew():
    Z, y, _ = rows(5)
    known = OperatorInference.from_operators(c=np.ones(3), A=np.eye(3))
    assert known.normal_ is None
    fresh = OperatorInference("cA").fit(Z, y)
    assert_allclose(known.partial_fit(Z, y).A_, fresh.A_, rtol=1e-10)


ONE_PASS = [
    SINDy(threshold=0.05),
    SINDy(PolynomialLibrary(6), threshold=0.0),  # so many terms are multiplied by BLAS
    SINDy(PolynomialLibrary(2).of(0, 2), threshold=0.0),
    OperatorInference("cAH"),
]


@pytest.mark.parametrize("model", ONE_PASS, ids=str)
@pytest.mark.parametrize("place", [(0, 0), (599, 2), (300, 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["X", "y"])
def test_the_pass_over_the_rows_finds_what_is_not_finite(model, place, value, name):
    Z, y, _ = rows(3)
    {"X": Z, "y": y}[name][place] = value
    with pytest.raises(ValueError, match=rf"{name} contains .* 1 values, .* row {place[0]}, col"):
        clone(model).fit(Z, y)


@pytest.mark.parametrize("model", ONE_PASS, ids=str)
def test_the_pass_over_the_rows_finds_the_largest(model):
    Z, y, u = rows(4)
    largest = 100 * np.linalg.norm(Z, axis=1).max()
    assert_allclose(clone(model).fit(Z, y).bound_, largest)
    assert_allclose(clone(model).fit(Z, y, u=u).bound_, largest)  # which inputs are not part of
    assert_allclose(clone(model).fit(Z, t=np.arange(600.0)).bound_, largest)
    short = Z[:5]  # which leave the sums unresolved
    assert_allclose(
        clone(model).fit(short, y[:5]).bound_, 100 * np.linalg.norm(short, axis=1).max()
    )


@pytest.mark.filterwarnings("ignore:overflow", "ignore:invalid value")
def test_states_whose_squares_overflow_have_no_bound():
    Z, y, _ = rows(5)
    assert OperatorInference("A").fit(1e200 * Z, y).bound_ == np.inf


def test_parts_may_be_blocks_of_a_dask_array():
    Z, y, u = rows(6)
    lazy = [dask.array.from_array(values, chunks=(200, -1)) for values in (Z, y, u)]
    whole, parts = SINDy().fit(Z, y, u=u), SINDy()
    for k in range(3):
        states, targets, inputs = (values.blocks[k] for values in lazy)
        parts.partial_fit(states, targets, u=inputs)
    assert_allclose(parts.coef_, whole.coef_, atol=1e-8)
