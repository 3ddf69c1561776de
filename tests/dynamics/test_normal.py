import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from rom.dynamics import FourierLibrary, PolynomialLibrary
from rom.dynamics.library import monomials
from rom.dynamics.normal import (
    Normal,
    is_resolved,
    library_normals,
    normal,
    polynomial_normal,
    polynomial_normals,
    sum_normals,
)
from rom.dynamics.products import folded, half
from rom.threads import slices

seeds = st.integers(0, 2**32 - 1)


def agree(found: Normal, other: Normal, rtol=1e-12):
    size = np.sqrt(np.diag(other.gram))
    assert_allclose(found.gram, other.gram, atol=rtol * np.outer(size, size).max())
    assert_allclose(
        found.cross, other.cross, atol=rtol * np.outer(size, np.sqrt(other.squares)).max()
    )
    assert_allclose(found.squares, other.squares, rtol=rtol)
    assert_allclose(found.n_rows, other.n_rows, rtol=rtol)


@settings(max_examples=25, deadline=None)
@given(seeds, st.integers(1, 600), st.integers(1, 4), st.integers(0, 4), st.booleans())
def test_monomials_are_summed_like_their_rows(seed, n_rows, n, degree, weighted):
    rng = np.random.default_rng(seed)
    Z, Y = rng.normal(size=(n_rows, n)), rng.normal(size=(n_rows, 3))
    weights = rng.uniform(0, 2, n_rows) if weighted else None
    exponents = PolynomialLibrary(degree).exponents(n)
    expected = normal(monomials(Z, exponents), Y, weights)
    agree(polynomial_normal(exponents, Z, Y, weights), expected)


@pytest.mark.parametrize("weighted", [False, True])
def test_wide_libraries_are_summed_like_their_rows(weighted):
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(3000, 10)), rng.normal(size=(3000, 2))
    weights = rng.uniform(0, 2, 3000) if weighted else None
    exponents = PolynomialLibrary(3).exponents(10)
    expected = normal(monomials(Z, exponents), Y, weights)
    agree(polynomial_normal(exponents, Z, Y, weights), expected)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("n", "degree", "n_targets"), [(3, 2, 3), (10, 3, 2), (7, 2, 1), (2, 5, 2)]
)
def test_each_product_is_formed_once(n, degree, n_targets, bias):
    """All that a product of two terms depends on is which variables are in it, and how often."""
    rng = np.random.default_rng(0)
    exponents = PolynomialLibrary(degree, include_bias=bias).exponents(n)
    found = folded(exponents, n_targets)
    different = np.unique((exponents[:, None] + exponents).reshape(-1, n), axis=0)
    place = found.place[: len(exponents), : len(exponents)]
    assert len(np.unique(place)) == len(different)
    if n == 10:
        assert found.n_products < half(exponents, n_targets).n_products / 3
    Z = rng.normal(size=(16 * len(exponents), n))
    Y, weights = rng.normal(size=(len(Z), n_targets)), rng.uniform(0, 2, len(Z))
    expected = normal(monomials(Z, exponents), Y, weights)
    agree(polynomial_normal(exponents, Z, Y, weights), expected)


@pytest.mark.parametrize(
    "exponents",
    [[[3, 2]], [[0, 0], [0, 0], [2, 1]], [[4, 0], [1, 1], [0, 1]], [[0, 5], [0, 2]]],
)
def test_any_list_of_monomials_will_do(exponents):
    """Also without the lower powers that these are formed from, and with repetitions."""
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(300, 2)), rng.normal(size=(300, 1))
    exponents = np.array(exponents)
    agree(polynomial_normal(exponents, Z, Y), normal(monomials(Z, exponents), Y))


@pytest.mark.parametrize("exact", [False, True])
def test_sums_of_parts_add_up_to_the_whole(exact):
    rng = np.random.default_rng(0)
    A, Y = rng.normal(size=(90, 5)), rng.normal(size=(90, 2))
    parts = [normal(A[s], Y[s], exact=exact) for s in slices(90, 7)]
    whole = sum_normals(parts)
    agree(whole, normal(A, Y))
    if exact:
        assert whole.root.shape == (7, 7)
        rows = np.hstack([A, Y])
        assert_allclose(whole.root.T @ whole.root, rows.T @ rows, atol=1e-12)


def test_libraries_of_other_terms_are_summed_in_parts():
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(9000, 30)), rng.normal(size=(9000, 1))
    library = FourierLibrary(2)
    found = sum_normals(library_normals(library.terms, Z, Y, slices(9000, 2)))
    agree(found, normal(library.terms(Z), Y))


@pytest.mark.parametrize("exact", [False, True])
def test_sums_of_many_parts_take_the_memory_of_few(exact):
    library, held = FourierLibrary(10), []
    for n_rows in (4000, 16000):
        Z = np.random.default_rng(0).normal(size=(n_rows, 10))
        tracemalloc.start()
        library_normals(library.terms, Z, Z, slices(n_rows, 1), exact=exact)
        held.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert held[1] < 1.2 * held[0]


def test_a_weight_of_two_is_the_row_twice():
    rng = np.random.default_rng(0)
    Z, Y = rng.normal(size=(40, 2)), rng.normal(size=(40, 1))
    counts = rng.integers(0, 3, 40)
    exponents = PolynomialLibrary(2).exponents(2)
    twice = polynomial_normal(exponents, np.repeat(Z, counts, 0), np.repeat(Y, counts, 0))
    agree(polynomial_normal(exponents, Z, Y, counts.astype(float)), twice)


def test_what_the_sums_cannot_resolve_is_told():
    A = np.random.default_rng(0).normal(size=(50, 3))
    Y = A[:, :1]
    assert is_resolved(normal(A * [1.0, 1e9, 1e-9], Y))
    near = np.hstack([A, A[:, :1] + 1e-5 * A[:, 1:2]])
    assert not is_resolved(normal(near, Y))
    assert is_resolved(normal(near, Y, exact=True))
    assert not is_resolved(normal(np.hstack([A, 0 * Y]), Y))


def test_blocks_are_summed_each():
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(1000, 2))
    exponents = PolynomialLibrary(2).exponents(2)
    blocks = slices(1000, 9)
    for block, found in zip(blocks, polynomial_normals(exponents, Z, Z, blocks), strict=True):
        agree(found, normal(monomials(Z[block], exponents), Z[block]))
    assert_array_equal(np.concatenate([np.arange(1000)[b] for b in blocks]), np.arange(1000))


def test_the_users_arrays_are_not_written_to():
    Z = np.random.default_rng(0).normal(size=(30, 2))
    before = Z.copy()
    Z.setflags(write=False)
    polynomial_normal(PolynomialLibrary(2).exponents(2), Z, Z, np.full(30, 2.0))
    normal(Z, Z, np.full(30, 2.0), exact=True)
    assert_array_equal(Z, before)
