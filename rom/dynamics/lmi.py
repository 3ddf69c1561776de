"""Linear matrix inequalities: a convex quadratic where a matrix of unknowns stays positive."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# The barrier's weight falls by this factor, until its effect on the minimum is below the accuracy
# asked, relative to the minimum; but not below the last weight, relative to the first.
FALL, ACCURACY, LAST = 0.1, 1e-8, 1e-16
NEWTON_STEPS = 50
# A Newton decrement, relative to the barrier's weight, at which the next weight is taken.
CENTRED = 1e-3
SHORTEST = 1e-10


def positive(F: Array, start: Array, *, constant: Array) -> Array | None:
    """An `x` with ``constant + Σ_k x_k F_k`` positive definite, or None where none was found.

    Parameters
    ----------
    F : ndarray, shape (n_unknowns, n, n)
        Symmetric matrices.
    start : ndarray, shape (n_unknowns,)
        Where to begin.
    constant : ndarray, shape (n, n)

    Examples
    --------
    >>> F = np.array([[[1.0, 0.0], [0.0, -1.0]]])
    >>> x = positive(F, np.zeros(1), constant=np.diag([-1.0, 2.0]))
    >>> bool(1 < x[0] < 2)
    True
    >>> positive(F, np.zeros(1), constant=np.diag([-2.0, 1.0])) is None
    True
    """
    n, k = len(F), len(constant)
    size = max(1.0, float(np.abs(constant + np.tensordot(start, F, 1)).max()))
    # With a slack s: constant + F(x) + s > 0 and s > -size, the least s. It may go below zero.
    slack = np.zeros((n + 1, k + 1, k + 1))
    slack[:n, :k, :k], slack[n] = F, np.eye(k + 1)
    offset = np.zeros((k + 1, k + 1))
    offset[:k, :k], offset[k, k] = constant, size
    lowest = np.linalg.eigvalsh(constant + np.tensordot(start, F, 1))[0]
    x = np.append(start, max(0.0, -lowest) + size)
    curvature = np.diag(np.append(np.full(n, 1e-9), 0.0))
    down = np.append(np.zeros(n), -1.0)
    for weight in size * FALL ** np.arange(9):
        x = _centre(curvature, down, slack, offset, x, weight)
        if x[n] < 0 and is_positive(constant + np.tensordot(x[:n], F, 1)):
            return x[:n]
    return None


def minimise(H: Array, b: Array, F: Array, start: Array, *, constant: Array) -> Array:
    """Minimise ``x·H x / 2 - b·x`` where ``constant + Σ_k x_k F_k`` is positive definite.

    A barrier method: Newton's method on the sum of that and ``-weight * log det``, for weights
    that fall. It stays strictly inside.

    Parameters
    ----------
    H : ndarray, shape (n_unknowns, n_unknowns)
        Positive semidefinite.
    b : ndarray, shape (n_unknowns,)
    F : ndarray, shape (n_unknowns, n, n)
        Symmetric matrices.
    start : ndarray, shape (n_unknowns,)
        Strictly inside, as :func:`positive` finds it.
    constant : ndarray, shape (n, n)

    Returns
    -------
    ndarray, shape (n_unknowns,)

    References
    ----------
    Boyd & Vandenberghe (2004), Convex Optimization, chapter 11.

    Examples
    --------
    The least x with [[x, 1], [1, 2]] positive is 1/2.

    >>> F, constant = np.array([[[1.0, 0.0], [0.0, 0.0]]]), np.array([[0.0, 1.0], [1.0, 2.0]])
    >>> minimise(np.zeros((1, 1)), np.array([-1.0]), F, np.array([9.0]), constant=constant).round(6)
    array([0.5])
    """
    x = start
    first = weight = max(float(abs(0.5 * x @ H @ x - b @ x)), np.finfo(float).tiny)
    while weight > LAST * first:
        x = _centre(H, b, F, constant, x, weight)
        if weight * len(constant) < ACCURACY * abs(0.5 * x @ H @ x - b @ x):
            break
        weight *= FALL
    return x


def is_positive(M: Array) -> bool:
    """Whether a symmetric matrix is positive definite, by more than its eigenvalues' rounding."""
    scale = 1 / np.sqrt(np.maximum(np.diag(M), np.finfo(float).tiny))
    return bool(
        (np.diag(M) > 0).all()
        and np.linalg.eigvalsh(M * scale * scale[:, None])[0] > 64 * len(M) * np.finfo(float).eps
    )


def _centre(H: Array, b: Array, F: Array, constant: Array, x: Array, weight: float) -> Array:
    """Newton's method on the objective with a barrier of this weight."""

    def value(x: Array) -> float:
        try:
            L = np.linalg.cholesky(constant + np.tensordot(x, F, 1))
        except np.linalg.LinAlgError:
            return np.inf
        return float(0.5 * x @ H @ x - b @ x - 2 * weight * np.log(np.diag(L)).sum())

    here = value(x)
    for _ in range(NEWTON_STEPS):
        inverse = np.linalg.inv(np.linalg.cholesky(constant + np.tensordot(x, F, 1)))
        B = inverse @ F @ inverse.T
        gradient = H @ x - b - weight * np.trace(B, axis1=1, axis2=2)
        flat = B.reshape(len(B), -1)
        curvature = H + weight * flat @ flat.T
        scale = 1 / np.sqrt(np.maximum(np.diag(curvature), np.finfo(float).tiny))
        scaled = curvature * scale * scale[:, None] + 1e-13 * np.eye(len(x))
        step = -scale * np.linalg.solve(scaled, scale * gradient)
        fall, length = -gradient @ step, 1.0
        if fall < CENTRED * weight:
            break
        while (there := value(x + length * step)) > here - 1e-4 * length * fall:
            length /= 2
            if length < SHORTEST:
                return x
        x, here = x + length * step, there
    return x
