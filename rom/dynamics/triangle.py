"""Least squares from a triangle: all that rows of terms and targets say, in few numbers.

The triangle R of the QR factorisation of ``[terms, targets]`` holds as much as their products
(the normal equations), and every digit of it, where products lose half: columns of polynomial
terms on modes of very unequal size depend on each other almost. Other ridge values, and the terms
and targets of fewer coordinates, are then solved for without the rows.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq

from rom.dynamics.library import monomials

# Rows of terms held at a time, at least; and numbers in them.
BLOCK_ROWS, BLOCK_SIZE = 256, 2_000_000


def polynomial_triangle(
    exponents: NDArray[np.int64], X: NDArray[np.float64], Y: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Triangle of monomials and targets, in blocks of rows: all rows of terms are never held.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, n_variables)
    X : ndarray, shape (n_time, n_variables)
    Y : ndarray, shape (n_time, n_targets)

    Returns
    -------
    ndarray, shape (at most n_terms + n_targets, n_terms + n_targets)
        R with ``RᵀR = [terms, Y]ᵀ[terms, Y] / n_time``.

    Examples
    --------
    >>> X = np.array([[1.0], [2.0], [3.0]])
    >>> R = polynomial_triangle(np.array([[0], [1]]), X, X**2)
    >>> np.round(R.T @ R * 3, 9)
    array([[ 3.,  6., 14.],
           [ 6., 14., 36.],
           [14., 36., 98.]])
    """
    n = len(exponents) + Y.shape[1]
    R = np.zeros((0, n))
    for rows in _blocks(len(X), max(BLOCK_ROWS, BLOCK_SIZE // n, 2 * n)):
        block = np.concatenate([monomials(X[rows], exponents), Y[rows]], axis=1)
        R = np.asarray(np.linalg.qr(np.concatenate([R, block / np.sqrt(len(X))]), mode="r"))
    return R


def solve(
    R: NDArray[np.float64], n_targets: int, penalties: NDArray[np.float64] | float = 0.0
) -> NDArray[np.float64]:
    """Coefficients (n_targets, n_terms) of the ridge regression that a triangle stands for.

    Minimises ``mean((Y - A Cᵀ)²) + Σ_k penalties_k (rms(A_k) C_k)²`` for each target, as
    :func:`rom.dynamics.regression.ridge`; where that leaves C open, it is that of least norm.

    Parameters
    ----------
    R : ndarray
        As :func:`polynomial_triangle` gives it; its last columns are the targets.
    n_targets : int
    penalties : ndarray, shape (n_terms,), or float, optional
        Ridge parameters, pure numbers.
    """
    A, Y = np.split(R, [R.shape[1] - n_targets], axis=1)
    size = np.sqrt((A**2).sum(axis=0))
    size = np.where(size > 0, size, 1.0)
    roots = np.sqrt(np.broadcast_to(penalties, size.shape))
    A = np.concatenate([A / size, np.diag(roots)[roots > 0]])
    Y = np.concatenate([Y, np.zeros((len(A) - len(Y), n_targets))])
    coef = lstsq(A, Y, cond=np.finfo(float).eps * max(A.shape))[0]
    return np.asarray(coef.T / size)


def _blocks(n: int, length: int) -> Iterator[slice]:
    return (slice(start, min(start + length, n)) for start in range(0, n, length))
