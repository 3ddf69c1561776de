"""Linear maps between rows: least squares, total least squares, eigenvalues kept in a band."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import eig, lstsq

from rom.base import Polynomial
from rom.dynamics.normal import Normal, row_normals
from rom.dynamics.regression import ridge

Array = NDArray[np.float64]


class Affine(NamedTuple):
    """``y = A z + B u + c``; B and c are None where there are no inputs and no constant."""

    A: Array
    B: Array | None
    c: Array | None


class Band(NamedTuple):
    """Growth rates allowed, over a step (discrete time), or per unit of time (None)."""

    low: float
    high: float
    step: float | None = None


def affine_normals(Z: Array, Y: Array, u: Array | None, *, constant: bool = False) -> list[Normal]:
    """Normal equations of blocks of rows of states, inputs and targets, for :func:`fit_affine`.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
    Y : ndarray, shape (n_time, n_targets)
    u : ndarray, shape (n_time, n_inputs), or None
    constant : bool, optional
        Whether there is a constant term.

    Returns
    -------
    list of Normal
        With their root; the terms are 1 if there is a constant, the states and the inputs.
    """

    def terms(rows: Array) -> Array:
        return np.concatenate([np.ones((len(rows), 1)), rows], axis=1) if constant else rows

    X = Z if u is None else np.concatenate([Z, u], axis=1)
    return row_normals(terms, None, X, Y, exact=True)


def fit_affine(
    found: Normal,
    rank: int,
    *,
    alpha: float = 0.0,
    constant: bool = False,
    total: bool = False,
    band: Band | None = None,
) -> Affine:
    """The linear map from states and inputs to targets.

    Parameters
    ----------
    found : Normal
        Sum of what :func:`affine_normals` gives.
    rank : int
        How many of the terms are states.
    alpha : float, optional
        Ridge parameter, a pure number. The constant is not penalised.
    constant : bool, optional
        Whether there is a constant term.
    total : bool, optional
        Whether states are as noisy as targets; see :func:`total_least_squares`.
    band : Band, optional
        Where the eigenvalues of `A` are moved if they lie outside. `B` and the constant are then
        fitted to what is left.

    Returns
    -------
    Affine
    """
    assert found.root is not None
    rows = np.array(np.linalg.qr(found.root, mode="r"))
    mean = np.zeros(rows.shape[1])
    if constant:  # all columns' share of that of ones is in the first row, the rest in the others
        mean, rows[0] = rows[0] / rows[0, 0], 0.0
    edges = np.cumsum([int(constant), rank, rows.shape[1] - constant - rank - len(found.squares)])
    (_, z0, u0, y0), (_, Z, u, Y) = np.split(mean, edges), np.split(rows, edges, axis=1)
    if total:
        A = total_least_squares(Z, Y, u)
    else:
        A, B = np.split(ridge(np.concatenate([Z, u], axis=1), Y, alpha), [rank], axis=1)
    if band is not None:
        A = keep_growth(A, band)
    if total or band is not None:
        B = ridge(u, Y - Z @ A.T, alpha)
    c = y0 - A @ z0 - B @ u0 if constant else None
    return Affine(A, B if u.shape[1] else None, c)


def total_least_squares(Z: Array, Y: Array, exact: Array | None = None) -> Array:
    """Coefficients A of ``Y ≈ Z Aᵀ + exact Bᵀ`` where `Z` and `Y` are equally noisy.

    The smallest change of `Z` and `Y` together, in the Frobenius norm, after which the equation
    holds. Least squares changes `Y` only: noise in `Z` then makes A too small, however many rows
    there are.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
    Y : ndarray, shape (n_time, n_targets)
    exact : ndarray, shape (n_time, n_inputs), optional
        Terms without noise.

    Returns
    -------
    ndarray, shape (n_targets, rank)

    References
    ----------
    Van Huffel & Vandewalle (1991), "The total least squares problem", SIAM, section 3.6.3.

    Examples
    --------
    >>> Z = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [2.0, 1.0]])
    >>> total_least_squares(Z, Z @ np.array([[3.0], [-2.0]])).round(6)
    array([[ 3., -2.]])
    """
    both = np.concatenate([Z, Y], axis=1)
    if exact is not None and exact.shape[1]:
        both = both - exact @ lstsq(exact, both)[0]
    rank = Z.shape[1]
    leading = np.linalg.svd(np.linalg.qr(both)[1], full_matrices=False)[2][:rank]
    return np.asarray(lstsq(leading[:, :rank], leading[:, rank:])[0].T)


def check_growth(growth: Sequence[float] | None) -> tuple[float, float] | None:
    """Check a band of growth rates ``(low, high)``."""
    if growth is None:
        return None
    if len(growth) != 2 or not growth[0] <= growth[1] or growth[0] == np.inf:
        raise ValueError(
            "growth must be (low, high), the lowest and the highest growth rate allowed, such as "
            f"(-inf, 0), but it is {growth!r}."
        )
    return float(growth[0]), float(growth[1])


def keep_growth(A: Array, band: Band) -> Array:
    """Move the eigenvalues of `A` that grow or decay too fast to the edge of a band.

    Frequencies and eigenvectors stay as they are, so that nothing grows where several eigenvalues
    meet on an edge without growth.

    Parameters
    ----------
    A : ndarray, shape (rank, rank)
    band : Band

    Returns
    -------
    ndarray, shape (rank, rank)

    Raises
    ------
    ValueError
        If `A` is not square.

    Examples
    --------
    >>> keep_growth(np.diag([0.5, 1.2]), Band(-np.inf, 0.0, step=1.0)).round(9)
    array([[0.5, 0. ],
           [0. , 1. ]])
    """
    if A.shape[0] != A.shape[1]:
        raise ValueError(
            f"Growth rates need one target per latent coordinate, but there are {A.shape[0]} "
            f"targets for {A.shape[1]} coordinates."
        )
    values, vectors = eig(A)
    change = _into_band(values, band) - values
    out = np.flatnonzero(change)
    if not out.size:
        return A
    return A + np.real((vectors[:, out] * change[out]) @ np.linalg.inv(vectors)[out])


def _into_band(values: NDArray[np.complex128], band: Band) -> NDArray[np.complex128]:
    """The eigenvalues nearest to those given, at the same frequency."""
    if band.step is None:
        return np.clip(values.real, band.low, band.high) + 1j * values.imag
    modulus = np.abs(values)
    with np.errstate(over="ignore"):
        wanted = np.clip(modulus, np.exp(band.low * band.step), np.exp(band.high * band.step))
    return np.where(modulus > 0, values * (wanted / np.where(modulus > 0, modulus, 1.0)), wanted)


def affine_polynomial(affine: Affine) -> Polynomial:
    """The map as a polynomial in (z, u); the constant comes last."""
    A, B, c = affine
    coef = A if B is None else np.concatenate([A, B], axis=1)
    exponents = np.eye(coef.shape[1], dtype=np.int64)
    if c is None:
        return Polynomial(exponents, coef)
    zero = np.zeros((1, coef.shape[1]), dtype=np.int64)
    return Polynomial(np.concatenate([exponents, zero]), np.concatenate([coef, c[:, None]], axis=1))


def slowest_first(rates: NDArray[np.complex128]) -> NDArray[np.intp]:
    """Order of rates by growth, the largest first, then by frequency; +i before -i in pairs."""
    # Growth rates that differ by rounding only, as those of waves do, are no order.
    unit = 1e-9 * float(np.abs(rates).max(initial=0)) or 1.0
    return np.lexsort([-rates.imag, np.abs(rates.imag), -np.round(rates.real / unit)])
