import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rom.dynamics import PolynomialLibrary, SINDy
from rom.dynamics.energy import energy_rate, energy_squares, production, up_to
from rom.dynamics.library import monomials


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 3), st.integers(0, 2))
def test_its_kernel_is_where_nonlinear_terms_do_no_work(seed, rank, degree, n_inputs):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(100, rank))
    exponents = PolynomialLibrary(degree).exponents(rank + n_inputs)
    G = production(exponents, rank, energy_squares(exponents, Z) / len(Z))
    linear = (exponents[:, :rank].sum(axis=1) < 2) | exponents[:, rank:].any(axis=1)
    assert not G.reshape(len(G), rank, -1)[:, :, linear].any()
    coef = rng.normal(size=G.shape[1])
    coef -= np.linalg.pinv(G) @ (G @ coef)
    nonlinear = coef.reshape(rank, -1)[:, ~linear]
    work = np.sum(Z * (monomials(Z, exponents[~linear, :rank]) @ nonlinear.T), axis=1)
    assert_allclose(work, 0, atol=1e-10)


def test_a_large_penalty_makes_a_fitted_model_preserve_energy():
    rng = np.random.default_rng(0)
    Z, y = rng.normal(size=(200, 3)), rng.normal(size=(200, 3))
    works = []
    for energy in (0.0, 1e8):
        model = SINDy(threshold=0.0, energy=energy).fit(Z, y)
        nonlinear = model.polynomial().exponents.sum(axis=1) == 2
        terms = monomials(Z, model.polynomial().exponents[nonlinear])
        works.append(np.abs(np.sum(Z * (terms @ model.coef_[:, nonlinear].T), axis=1)).max())
    assert works[1] < 1e-6 * works[0]


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 3))
def test_the_energy_about_a_centre_changes_at_the_rate_of_the_polynomial(seed, rank, degree):
    rng = np.random.default_rng(seed)
    exponents = up_to(rank, degree)
    coef, centre = rng.normal(size=(rank, len(exponents))), rng.normal(size=rank)
    norm = rng.normal(size=(rank, rank))
    norm = norm + norm.T
    rate, powers = energy_rate(exponents, centre, norm)
    w = rng.normal(size=(20, rank))
    expected = np.sum(w @ norm * (monomials(centre + w, exponents) @ coef.T), axis=1)
    assert_allclose(monomials(w, powers) @ rate @ coef.ravel(), expected, rtol=1e-8, atol=1e-8)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(2, 3))
def test_production_is_that_of_the_rows_whatever_parts_they_come_in(seed, rank, degree):
    """The size of z·N(z) for a single term N, and for each of many parts of the rows."""
    rng = np.random.default_rng(seed)
    Z, exponents = rng.normal(size=(60_000 // rank**3, rank)), up_to(rank, degree)
    parts = (energy_squares(exponents, Z[rows]) for rows in (slice(None, 7), slice(7, None)))
    G = production(exponents, rank, sum(parts) / len(Z)).reshape(-1, rank, len(exponents))
    for i in range(rank):
        for k in np.flatnonzero(exponents.sum(axis=1) > 1):
            produced = Z[:, i] * monomials(Z, exponents[[k]])[:, 0]
            size = np.sqrt(np.mean(produced**2) / np.mean(np.sum(Z**2, axis=1)))
            assert_allclose(np.linalg.norm(G[:, i, k]), size, rtol=1e-10)
