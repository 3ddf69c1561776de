"""Polynomial models with a ball that every trajectory ends in, and the proof of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import block_diag

from rom.base import Polynomial
from rom.dynamics.energy import PRODUCED, energy_rate, gram, in_units, typical_size
from rom.dynamics.lmi import is_positive, minimise

Array = NDArray[np.float64]

# How often a ball is searched for, in units in which it must not be much larger than one, and by
# what factor they grow.
TRIES, STEP = 6, 4.0


class TrappingRegion(NamedTuple):
    """Whether all trajectories end in a ball, which ball, and why or why not."""

    certified: bool
    centre: Array
    """m, (rank,)."""
    radius: float
    """R: all trajectories end where ``(z - m)·P (z - m) <= R²``; infinite where not certified."""
    margin: float
    """A rate per unit of time: the energy above that of the ball, ``|z - m|² - R²``, falls at
    least as ``exp(-2 margin t)``."""
    norm: Array
    """P, (rank, rank)."""
    reason: str


def trapping_region(
    polynomial: Polynomial, *, centre: ArrayLike | None = None, norm: ArrayLike | None = None
) -> TrappingRegion:
    """Find a ball that all trajectories of dz/dt = f(z) enter and never leave again.

    The rate of change of the energy ``E = w·P w / 2``, w = z - m, is a polynomial. The ball is
    certified by writing ``margin (R² - w·P w) - dE/dt`` as v·M v, with v = (1, w), or all
    monomials of degree 2 and less for a cubic f, and M positive definite, which the eigenvalues
    of M show. For a quadratic f the quadratic terms must preserve the energy; then it is possible
    if and only if the symmetric part of the linear terms about m is negative definite.

    Parameters
    ----------
    polynomial : Polynomial
        f, of degree 1 to 3, without inputs.
    centre : array_like, shape (rank,), optional
        m. By default, where f has no cubic terms, the point about which the linear terms damp
        most; else the origin.
    norm : array_like, shape (rank, rank), optional
        P, symmetric and positive definite: the identity by default, so that the ball is round.

    Returns
    -------
    TrappingRegion
        ``certified`` is False where no proof was found, and ``reason`` says why.

    Raises
    ------
    ValueError
        If the shape of `centre` or `norm` is wrong, or `norm` is not positive definite.

    Notes
    -----
    The proof holds up to rounding. That none is found proves nothing: the ball, the shape and the
    quadratic energy are only sufficient.

    References
    ----------
    Schlegel & Noack (2015), J. Fluid Mech. 765, 325. Sums of squares: Goulart & Chernyshenko
    (2012), Physica D 241, 692.

    Examples
    --------
    The Lorenz system: the centre is (0, 0, σ + ρ), the radius b (σ + ρ) / (2 √(b - 1)).

    >>> from rom.dynamics import PolynomialLibrary
    >>> exponents = PolynomialLibrary(2, include_bias=False).exponents(3)
    >>> coef = np.zeros((3, 9))
    >>> coef[0, [0, 1]], coef[1, [0, 1, 5]], coef[2, [2, 4]] = (-10, 10), (28, -1, -1), (-8 / 3, 1)
    >>> region = trapping_region(Polynomial(exponents, coef))
    >>> region.certified, region.centre.round(2) + 0, round(region.radius, 2)
    (True, array([ 0.,  0., 38.]), 39.25)
    """
    coef = np.asarray(polynomial.coef, dtype=np.float64)
    rank = len(coef)
    P = _check_norm(norm, rank)
    m = np.zeros(rank) if centre is None else np.array(centre, dtype=np.float64)
    if m.shape != (rank,):
        raise ValueError(f"centre must have shape ({rank},), but its shape is {m.shape}.")
    used = coef.any(axis=0)
    exponents, coef = polynomial.exponents[used], coef[:, used]
    if exponents[:, rank:].any():
        return _failed(m, P, "The model has inputs: its energy depends on what they do.")
    exponents = exponents[:, :rank]
    degree = int(exponents.sum(axis=1).max(initial=0))
    if not 1 <= degree <= 3:
        return _failed(m, P, f"The polynomial has degree {degree}: only 1 to 3 are treated.")
    size = typical_size(exponents, coef)
    if degree < 3:
        if _produced(exponents, coef, P) > PRODUCED:
            return _failed(m, P, "The quadratic terms produce energy in this norm.")
        if centre is None:
            m = size * _most_damped(exponents, in_units(exponents, coef, size), P)
    for _ in range(TRIES):
        rate = float(np.linalg.norm(in_units(exponents, coef, size)))
        region = _certify(exponents, coef, m, P, size, rate)
        if region.certified:
            finer = _certify(exponents, coef, m, P, region.radius, region.margin)
            return finer if finer.certified else region
        size *= STEP
    return region


def most_damped(damping: Array, slopes: Array, norm: Array) -> Array:
    """The point m with the largest s for which ``damping + Σ_k m_k slopes_k - s norm`` is positive.

    Parameters
    ----------
    damping : ndarray, shape (rank, rank)
        ``w·damping w`` is the energy lost by the terms linear in w = z - m, where m is 0, in units
        in which all is of order one.
    slopes : ndarray, shape (rank, rank, rank)
        Its change with each coordinate of m.
    norm : ndarray, shape (rank, rank)
        Positive definite.

    Returns
    -------
    ndarray, shape (rank,)
        0 where the solver fails.

    Examples
    --------
    >>> slopes = np.array([[[1.0, 0.0], [0.0, -1.0]], [[0.0, 0.0], [0.0, 0.0]]])
    >>> most_damped(np.diag([-1.0, 3.0]), slopes, np.eye(2)).round(3) + 0
    array([2., 0.])
    """
    rank = len(norm)
    F = np.array([*slopes, -norm])
    # Far centres cost a little, so that there is one best even where only some coordinates matter.
    far, most = np.diag(np.append(np.full(rank, 1e-6), 1e-12)), np.eye(rank + 1)[rank]
    x = minimise(far, most, F, constant=damping)
    return np.zeros(rank) if x is None else x[:rank]


class Inequality:
    """What certifies a ball: ``constant + coef·of_coef + (margin, margin R², free)·of_extra > 0``.

    That matrix M makes v·M v equal to ``margin (R² - w·P w) - dE/dt``, if ``odd @ coef`` is zero.
    """

    def __init__(self, exponents: NDArray[np.int64], centre: Array, norm: Array) -> None:
        rank = len(centre)
        spread, free = gram(rank, 2 if exponents.sum(axis=1).max() == 3 else 1)
        rate, _ = energy_rate(exponents, centre, norm)
        self.odd = rate[len(spread) :]
        self.of_coef = -np.tensordot(rate[: len(spread)].T, spread, 1)
        linear, _ = energy_rate(np.eye(rank, dtype=np.int64), np.zeros(rank), norm)
        square = linear @ np.eye(rank).ravel()
        of_square = np.tensordot(square, spread[: len(square)], 1)
        self.of_extra = np.concatenate([[-of_square, spread[0]], free])


def _certify(
    exponents: NDArray[np.int64], coef: Array, m: Array, P: Array, size: float, rate: float
) -> TrappingRegion:
    """The smallest ball about `m`, found in units of `size` and `rate`.

    Divided by the margin, the matrix is linear in 1 / margin, R² and what is free.
    """
    scaled = in_units(exponents, coef, size) / rate
    inequality = Inequality(exponents, m / size, P)
    of_margin, *others = inequality.of_extra
    energy = np.tensordot(scaled.ravel(), inequality.of_coef, 1)
    F = np.array([_with(energy, 1.0), *(_with(M, 0.0) for M in others)])
    # The least R²; where that leaves it open, the largest margin.
    up = np.zeros(len(F))
    up[:2] = 1e-5, 1.0
    x = minimise(np.zeros((len(F), len(F))), -up, F, constant=_with(of_margin, 0.0))
    if x is None:
        return _failed(m, P, "No ball about this centre: energy grows at any distance.")
    radius, margin = float(np.sqrt(x[1]) * size), float(rate / x[0])
    return TrappingRegion(True, m, radius, margin, P, "Outside the ball the energy falls.")


def _with(M: Array, positive: float) -> Array:
    """The matrix and a number that must be positive as well."""
    return block_diag(M, positive)


def _produced(exponents: NDArray[np.int64], coef: Array, P: Array) -> float:
    """Energy that the quadratic terms produce, relative to what they could."""
    rate, powers = energy_rate(exponents, np.zeros(len(P)), P)
    cubic = powers.sum(axis=1) == 3
    could = np.linalg.norm(np.abs(rate[cubic]) @ np.abs(coef.ravel()))
    return float(np.linalg.norm(rate[cubic] @ coef.ravel()) / could) if could else 0.0


def _most_damped(exponents: NDArray[np.int64], coef: Array, P: Array) -> Array:
    """The point about which the linear terms of a quadratic model damp the energy most."""

    def damping(m: Array) -> Array:
        of_coef = Inequality(exponents, m, P).of_coef
        return np.tensordot(coef.ravel(), of_coef, 1)[1:, 1:]

    coef = coef / np.linalg.norm(coef)
    here = damping(np.zeros(len(P)))
    return most_damped(here, np.array([damping(e) - here for e in np.eye(len(P))]), P)


def _check_norm(norm: ArrayLike | None, rank: int) -> Array:
    P = np.eye(rank) if norm is None else np.array(norm, dtype=np.float64)
    if P.shape != (rank, rank) or not np.array_equal(P, P.T) or not is_positive(P):
        raise ValueError(
            f"norm must be a symmetric positive definite matrix of shape ({rank}, {rank}), but "
            f"it is {P.tolist()}."
        )
    return P


def _failed(centre: Array, norm: Array, reason: str) -> TrappingRegion:
    return TrappingRegion(False, centre, float("inf"), 0.0, norm, reason)
