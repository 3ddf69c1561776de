"""The energy that a polynomial model, or its nonlinear terms alone, produce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, null_space
from scipy.special import comb

from rom.base import Polynomial
from rom.dynamics.library import monomials, powers
from rom.dynamics.lmi import positive
from rom.dynamics.regression import rms

# Energy produced by quadratic terms, over what they could, that counts as rounding.
PRODUCED = 1e-12
# Unknowns of an energy and its proof past which none is searched for: some seconds.
LARGEST = 130


def energy_production(exponents: NDArray[np.int64], Z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Matrix from coefficients to the energy production of the nonlinear terms.

    With nonlinear terms N(z) the energy |z|²/2 changes by z·N(z), a polynomial whose coefficients
    are sums of those of N. Each is taken times the root mean square of its monomial over the
    training rows and divided by that of |z|, so that it has the unit of dz/dt.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank + n_inputs)
        Powers of the terms. Linear terms, and those with inputs, count as no nonlinearity.
    Z : ndarray, shape (n_time, rank)
        Training states.

    Returns
    -------
    ndarray, shape (n_monomials, rank * n_terms)
        It acts on ``coef.ravel()``, coef (rank, n_terms). Its kernel preserves energy exactly.

    Examples
    --------
    The terms z1² and -z0 z1 in the two equations exchange energy and produce none.

    >>> from rom.dynamics.library import powers
    >>> G = energy_production(powers(2, 2), np.random.default_rng(0).normal(size=(50, 2)))
    >>> bool(np.allclose(G @ [0.0, 0.0, 1.0, 0.0, -1.0, 0.0], 0))
    True
    """
    rank = Z.shape[1]
    degree, of_inputs = exponents[:, :rank].sum(axis=1), exponents[:, rank:].sum(axis=1)
    terms = np.flatnonzero((degree >= 2) & (of_inputs == 0))
    products = exponents[terms, :rank] + np.eye(rank, dtype=np.int64)[:, None]
    unique, which = np.unique(products.reshape(-1, rank), axis=0, return_inverse=True)
    production = np.zeros((len(unique), rank, len(exponents)))
    production[which.reshape(rank, -1), np.arange(rank)[:, None], terms] = 1.0
    size = rms(monomials(Z, unique)) / np.sqrt(np.mean((Z**2).sum(axis=1)))
    return (size[:, None, None] * production).reshape(len(unique), -1)


def energy_rate(
    exponents: NDArray[np.int64], centre: NDArray[np.float64], norm: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Matrix from coefficients to the rate of change of an energy about a centre.

    With dz/dt = f(z) and w = z - centre, the energy w·P w / 2 changes by w·P f(centre + w), a
    polynomial in w.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank)
        Powers of the terms of f.
    centre : ndarray, shape (rank,)
    norm : ndarray, shape (rank, rank)
        P, symmetric.

    Returns
    -------
    rate : ndarray, shape (n_monomials, rank * n_terms)
        It acts on ``coef.ravel()``, coef (rank, n_terms).
    monomials : ndarray of int, shape (n_monomials, rank)
        Powers of w, by degree from 0 to one more than that of f.

    Examples
    --------
    About 1, the energy w²/2 of dz/dt = z² changes by w (1 + w)² = w + 2 w² + w³.

    >>> rate, _ = energy_rate(np.array([[2]]), np.ones(1), np.eye(1))
    >>> rate @ [1.0]
    array([0., 1., 2., 1.])
    """
    rank, degree = len(centre), int(exponents.sum(axis=1).max())
    lower, upper = up_to(rank, degree), up_to(rank, degree + 1)
    place = {tuple(powers): i for i, powers in enumerate(upper.tolist())}
    left = np.maximum(exponents[:, None] - lower, 0)
    shifted = np.prod(comb(exponents[:, None], lower) * centre**left, axis=2)
    rate = np.zeros((len(upper), rank, len(exponents)))
    for i, unit in enumerate(np.eye(rank, dtype=np.int64)):
        to = [place[tuple(powers)] for powers in (lower + unit).tolist()]
        rate[to] += norm[i][:, None] * shifted.T[:, None]
    return rate.reshape(len(upper), -1), upper


def gram(rank: int, degree: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Matrices M with ``v·M v`` a given polynomial, v the monomials up to a degree.

    Parameters
    ----------
    rank : int
        Number of variables.
    degree : int
        Highest degree in v: half of that of the polynomial.

    Returns
    -------
    spread : ndarray, shape (n_monomials, n, n)
        For each monomial up to twice the degree, a matrix M whose ``v·M v`` it is.
    free : ndarray, shape (n_free, n, n)
        A basis of all M whose ``v·M v`` is zero: what two matrices of one polynomial differ by.

    Examples
    --------
    With v = (1, x, x²), x² is 1 times x² as well as x times x.

    >>> spread, free = gram(1, 2)
    >>> spread.shape, free.shape
    ((5, 3, 3), (1, 3, 3))
    """
    v = up_to(rank, degree)
    pairs: dict[tuple[int, ...], list[NDArray[np.float64]]] = {}
    for a in range(len(v)):
        for b in range(a, len(v)):
            M = np.zeros((len(v), len(v)))
            M[a, b] += 0.5
            M[b, a] += 0.5
            pairs.setdefault(tuple((v[a] + v[b]).tolist()), []).append(M)
    matrices = [pairs[tuple(powers)] for powers in up_to(rank, 2 * degree).tolist()]
    free = [other - first for first, *others in matrices for other in others]
    spread = np.array([np.mean(of, axis=0) for of in matrices])
    return spread, np.array(free).reshape(-1, len(v), len(v))


def search_energy(polynomial: Polynomial) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """P and m of an energy ``(z - m)·P (z - m) / 2`` that falls wherever it is large.

    With b = P m, its rate of change ``(P z - b)·f(z)`` is linear in P and b. For a quadratic f,
    those P are taken for which its cubic terms vanish; then its quadratic ones must be negative
    definite. For a cubic f, a number less the rate must be a sum of squares. Both are linear
    matrix inequalities, beside P > 0.

    Parameters
    ----------
    polynomial : Polynomial
        f, of degree 2 or 3, without inputs.

    Returns
    -------
    tuple of ndarray, shapes (rank, rank) and (rank,), or None where none was found

    Examples
    --------
    The terms z0 z1 and -2 z0² produce none of the energy 2 z0² + z1².

    >>> f = Polynomial(np.array([[1, 0], [0, 1], [1, 1], [2, 0]]),
    ...                np.array([[-1.0, 0, 1, 0], [0, -1, 0, -2]]))
    >>> P, m = search_energy(f)
    >>> (P / P[1, 1]).round(6) + 0
    array([[2., 0.],
           [0., 1.]])
    """
    exponents, coef = polynomial
    rank = len(coef)
    half = 1 if exponents.sum(axis=1).max() == 2 else 2
    spread, free = gram(rank, half)
    i, j = np.triu_indices(rank)
    shapes = np.zeros((len(i), rank, rank))
    shapes[np.arange(len(i)), i, j] = shapes[np.arange(len(i)), j, i] = 1.0
    if len(shapes) + rank + len(free) > LARGEST:
        return None
    of_shape = np.array(
        [energy_rate(exponents, np.zeros(rank), P)[0] @ coef.ravel() for P in shapes]
    )
    kept = of_shape[:, len(spread) :]  # monomials of odd degree, which no sum of squares has
    basis = null_space(kept.T, rcond=PRODUCED).T if kept.size else np.eye(len(shapes))
    if not len(basis):
        return None
    monomial = {tuple(e): n for n, e in enumerate(up_to(rank, 2 * half).tolist())}
    of_b = np.zeros((rank, len(spread)))
    for k, e in enumerate(exponents.tolist()):
        of_b[:, monomial[tuple(e)]] -= coef[:, k]
    rates = np.concatenate([basis @ of_shape[:, : len(spread)], of_b])
    proofs = -np.tensordot(rates, spread, 1)
    energies = np.concatenate([np.tensordot(basis, shapes, 1), np.zeros((rank, rank, rank))])
    level = spread[0]  # the number that the rate is taken from
    F = [block_diag(M, P) for M, P in zip(proofs, energies, strict=True)]
    F += [block_diag(M, np.zeros((rank, rank))) for M in (level, *free)]
    x = positive(np.array(F))
    if x is None:
        return None
    P: NDArray[np.float64] = np.tensordot(x[: len(basis)], energies[: len(basis)], 1)
    return P, np.linalg.solve(P, x[len(basis) : len(basis) + rank]).astype(np.float64)


def up_to(rank: int, degree: int) -> NDArray[np.int64]:
    """Powers (n_monomials, rank) of all monomials of degree 0 to `degree`, by degree."""
    return np.concatenate([powers(rank, d) for d in range(degree + 1)])
