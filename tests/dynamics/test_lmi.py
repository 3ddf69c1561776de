import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from rom.dynamics.lmi import is_positive, minimise, positive


def symmetric(rng, *shape):
    A = rng.normal(size=shape)
    return (A + np.swapaxes(A, -1, -2)) / 2


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12))
def test_the_least_eigenvalue_as_a_linear_matrix_inequality(seed, n):
    A = symmetric(np.random.default_rng(seed), n, n)
    x = minimise(np.zeros((1, 1)), np.ones(1), -np.eye(n)[None], constant=A)
    assert_allclose(x[0], np.linalg.eigvalsh(A)[0], atol=1e-7)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 10))
def test_the_nearest_positive_matrix_is_the_one_without_negative_eigenvalues(seed, n):
    """Higham (1988): its eigenvalues are those of the given matrix, or 0 where those are less."""
    A = symmetric(np.random.default_rng(seed), n, n)
    A /= np.linalg.norm(A)
    i, j = np.triu_indices(n)
    F = np.zeros((len(i), n, n))
    F[np.arange(len(i)), i, j] = F[np.arange(len(i)), j, i] = 1.0
    H = np.einsum("kab,lab->kl", F, F)
    x = minimise(H, np.einsum("kab,ab->k", F, A), F, constant=np.zeros((n, n)))
    found, (values, vectors) = np.tensordot(x, F, 1), np.linalg.eigh(A)
    # A gap of 1e-8 in half the square of the distance, which is as convex as squares are.
    assert_allclose(np.sum((found - A) ** 2), np.sum(values.clip(max=0) ** 2), atol=1e-7)
    assert_allclose(found, vectors * values.clip(0) @ vectors.T, atol=3e-4)


def test_no_matrix_is_positive_where_another_one_forbids_it():
    """Where Y is positive and orthogonal to all F_k, none of their sums is positive definite."""
    rng = np.random.default_rng(0)
    Y = np.eye(4) + 0.1 * symmetric(rng, 4, 4)
    F = symmetric(rng, 3, 4, 4)
    F -= np.einsum("kab,ab->k", F, Y)[:, None, None] * Y / np.sum(Y**2)
    assert positive(F) is None
    found = positive(np.concatenate([F, np.eye(4)[None]]))
    assert is_positive(np.tensordot(found[:3], F, 1) + found[3] * np.eye(4))
