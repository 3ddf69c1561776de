"""The energy that a polynomial model, or its nonlinear terms alone, produce."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, null_space
from scipy.special import comb

from rom.base import Polynomial
from rom.dynamics.library import monomials, powers
from rom.dynamics.lmi import positive
from rom.dynamics.normal import BLOCK_BYTES
from rom.threads import in_threads, slices

# Energy produced by quadratic terms, over what they could, that counts as rounding.
PRODUCED = 1e-12
# Unknowns of an energy and its proof past which none is searched for: some seconds.
LARGEST = 130
# Rates of the model where an energy is searched for whose damping and least axis are at least 1:
# the larger, the rounder the energy, the smaller, the faster it is damped.
FAST = 100.0


def energy_squares(exponents: NDArray[np.int64], Z: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums over rows, which add: of |z|², and of the squares of each monomial of z·N(z).

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank + n_inputs)
        Powers of the terms.
    Z : ndarray, shape (n_time, rank)

    Returns
    -------
    ndarray, shape (1 + n_monomials,)
        Divided by the number of rows, what :func:`production` takes.
    """
    products, _ = _products(exponents, Z.shape[1])
    width = max(1, BLOCK_BYTES // (8 * (1 + len(products))))

    def work(rows: slice) -> NDArray[np.float64]:
        total = np.zeros(1 + len(products))
        for start in range(rows.start, rows.stop, width):
            part = Z[start : min(start + width, rows.stop)]
            total[0] += np.sum(part**2)
            total[1:] += np.sum(monomials(part, products) ** 2, axis=0)
        return total

    return np.asarray(np.sum(in_threads(work, slices(len(Z))), axis=0))


def production(
    exponents: NDArray[np.int64], rank: int, mean_squares: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Matrix from coefficients to the energy production of the nonlinear terms.

    With nonlinear terms N(z) the energy |z|²/2 changes by z·N(z), a polynomial whose coefficients
    are sums of those of N. Each is taken times the root mean square of its monomial over the
    training rows and divided by that of |z|, so that it has the unit of dz/dt.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank + n_inputs)
        Powers of the terms. Linear terms, and those with inputs, count as no nonlinearity.
    rank : int
    mean_squares : ndarray, shape (1 + n_monomials,)
        The :func:`energy_squares` of the training states, divided by their number.

    Returns
    -------
    ndarray, shape (n_monomials, rank * n_terms)
        It acts on ``coef.ravel()``, coef (rank, n_terms). Its kernel preserves energy exactly.

    Examples
    --------
    The terms z1² and -z0 z1 in the two equations exchange energy and produce none.

    >>> from rom.dynamics.library import powers
    >>> Z = np.random.default_rng(0).normal(size=(50, 2))
    >>> G = production(powers(2, 2), 2, energy_squares(powers(2, 2), Z) / 50)
    >>> bool(np.allclose(G @ [0.0, 0.0, 1.0, 0.0, -1.0, 0.0], 0))
    True
    """
    products, which = _products(exponents, rank)
    matrix = np.zeros((len(products), rank, len(exponents)))
    i, terms = np.nonzero(which >= 0)
    matrix[which[i, terms], i, terms] = 1.0
    root = np.sqrt(mean_squares)
    size = np.where(root[1:] > 0, root[1:], 1.0) / root[0]
    return (size[:, None, None] * matrix).reshape(len(products), -1)


def _products(
    exponents: NDArray[np.int64], rank: int
) -> tuple[NDArray[np.int64], NDArray[np.intp]]:
    """The monomials of z·N(z), and which of them z_i makes of each term; -1 if it is linear."""
    degree, of_inputs = exponents[:, :rank].sum(axis=1), exponents[:, rank:].sum(axis=1)
    terms = np.flatnonzero((degree >= 2) & (of_inputs == 0))
    products = exponents[terms, :rank] + np.eye(rank, dtype=np.int64)[:, None]
    unique, places = np.unique(products.reshape(-1, rank), axis=0, return_inverse=True)
    which = np.full((rank, len(exponents)), -1)
    which[:, terms] = places.reshape(rank, -1)
    return unique, which


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
    return next(search_energies(polynomial, (PRODUCED,)), None)


def search_energies(
    polynomial: Polynomial, produced: Sequence[float]
) -> Iterator[tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """As :func:`search_energy`, where terms of odd degree count as vanished that are small.

    Parameters
    ----------
    polynomial : Polynomial
    produced : sequence of float
        How small, over those of the P that makes most of them: for each, an energy if there is one.
    """
    exponents, coef = polynomial
    rank, size = len(coef), typical_size(exponents, coef)
    coef = in_units(exponents, coef, size)
    half = 1 if exponents.sum(axis=1).max() == 2 else 2
    spread, free = gram(rank, half)
    i, j = np.triu_indices(rank)
    shapes = np.zeros((len(i), rank, rank))
    shapes[np.arange(len(i)), i, j] = shapes[np.arange(len(i)), j, i] = 1.0
    if len(shapes) + rank + len(free) > LARGEST:
        return
    of_shape, of_b = _rates(exponents, FAST * coef / np.linalg.norm(coef), shapes)
    kept = of_shape[:, len(spread) :]  # monomials of odd degree, which no sum of squares has
    # A number, of which spread[0] is the matrix, is taken from the rate.
    others = np.array([block_diag(M, np.zeros((rank, rank))) for M in (spread[0], *free)])
    for fraction in produced:
        basis = null_space(kept.T, rcond=fraction).T if kept.size else np.eye(len(shapes))
        rates = np.concatenate([basis @ of_shape[:, : len(spread)], of_b[:, : len(spread)]])
        proofs = -np.tensordot(rates, spread, 1)
        energies = np.concatenate([np.tensordot(basis, shapes, 1), np.zeros((rank, rank, rank))])
        F = np.array([block_diag(M, P) for M, P in zip(proofs, energies, strict=True)])
        x = positive(np.concatenate([F, others])) if len(basis) else None
        if x is not None:
            P: NDArray[np.float64] = np.tensordot(x[: len(F)], energies, 1)
            m = size * np.linalg.solve(P, x[len(basis) : len(F)])
            yield P, m.astype(np.float64)


def _rates(
    exponents: NDArray[np.int64], coef: NDArray[np.float64], shapes: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """By monomial, ``z·P f(z)`` for each P, and ``-b·f(z)`` for each unit vector b."""
    rank, origin = len(coef), np.zeros(len(coef))
    of_shape = np.array([energy_rate(exponents, origin, P)[0] @ coef.ravel() for P in shapes])
    lower = up_to(rank, int(exponents.sum(axis=1).max()))
    place = {tuple(e): n for n, e in enumerate(lower.tolist())}
    of_b = np.zeros((rank, of_shape.shape[1]))
    for k, e in enumerate(exponents.tolist()):
        of_b[:, place[tuple(e)]] -= coef[:, k]
    return of_shape, of_b


def up_to(rank: int, degree: int) -> NDArray[np.int64]:
    """Powers (n_monomials, rank) of all monomials of degree 0 to `degree`, by degree."""
    return np.concatenate([powers(rank, d) for d in range(degree + 1)])


def typical_size(exponents: NDArray[np.int64], coef: NDArray[np.float64]) -> float:
    """A size of states for which linear and highest terms, or constant ones, are alike."""
    degree = exponents.sum(axis=1)
    highest = degree.max()
    linear = float(np.linalg.norm(coef[:, degree == 1])) or float(np.abs(coef).max())
    size = float(np.linalg.norm(coef[:, degree == 0])) / linear
    if highest > 1:
        balance = linear / float(np.linalg.norm(coef[:, degree == highest]))
        size = max(size, balance ** (1 / (highest - 1)))
    return size or 1.0


def in_units(
    exponents: NDArray[np.int64], coef: NDArray[np.float64], size: float
) -> NDArray[np.float64]:
    """The coefficients, all of them rates, for states in units of `size`."""
    return coef * size ** (exponents.sum(axis=1) - 1.0)
