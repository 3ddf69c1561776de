"""The energy that a polynomial model, or its nonlinear terms alone, produce."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import comb

from rom.dynamics.library import monomials, powers
from rom.dynamics.regression import rms


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


def up_to(rank: int, degree: int) -> NDArray[np.int64]:
    """Powers (n_monomials, rank) of all monomials of degree 0 to `degree`, by degree."""
    return np.concatenate([powers(rank, d) for d in range(degree + 1)])
