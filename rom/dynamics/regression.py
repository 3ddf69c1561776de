"""Linear regression on rows of terms: ridge, and ridge thresholded until it is sparse.

Columns are brought to unit root mean square first. So the ridge parameter is a pure number, and
whether latent states are of size 1e-3 or 1e3 changes no model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import lstsq


def rms(A: NDArray[np.float64]) -> NDArray[np.float64]:
    """Root mean square of each column; 1 for a column of zeros, so that it divides."""
    size = np.sqrt(np.mean(A**2, axis=0))
    return np.where(size > 0, size, 1.0)


def ridge(
    A: NDArray[np.float64], Y: NDArray[np.float64], alpha: float = 0.0
) -> NDArray[np.float64]:
    """Coefficients of least squares with a penalty.

    Minimises ``mean((Y - A Cᵀ)²) + alpha Σ_k (rms(A_k) C_k)²`` for each target. Where columns
    depend on each other and `alpha` is 0, the coefficients of least norm are taken.

    Parameters
    ----------
    A : ndarray, shape (n_time, n_terms)
    Y : ndarray, shape (n_time, n_targets)
    alpha : float, optional
        Ridge parameter, a pure number.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    Examples
    --------
    >>> A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> ridge(A, A @ np.array([[3.0], [-2.0]])).round(6)
    array([[ 3., -2.]])
    """
    scale = rms(A)
    return _solve(*_reduce(A / scale, Y), alpha * len(A)).T / scale


def stlsq(
    A: NDArray[np.float64],
    Y: NDArray[np.float64],
    threshold: float,
    *,
    alpha: float = 0.0,
    relative: bool = False,
    penalty: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Sequentially thresholded least squares: drop small terms, fit the others again, repeat.

    A term dropped never comes back, so that it ends after at most as many rounds as terms.

    Parameters
    ----------
    A : ndarray, shape (n_time, n_terms)
    Y : ndarray, shape (n_time, n_targets)
    threshold : float
        Coefficients of smaller modulus are set to zero.
    alpha : float, optional
        Ridge parameter of every fit, as in :func:`ridge`.
    relative : bool, optional
        Compare with `threshold` not the coefficient, but the term's root mean square as a
        fraction of the target's: a pure number.
    penalty : ndarray, shape (n_rows, n_targets * n_terms), optional
        ``|penalty @ C.ravel()|²`` is added to what is minimised. It may couple the targets.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    References
    ----------
    Brunton, Proctor & Kutz (2016), PNAS 113, 3932.
    """
    n_time, n_targets = Y.shape
    scale = rms(A)
    R, QtY = _reduce(A / scale, Y)
    unit = rms(Y)[:, None] / scale if relative else np.ones((n_targets, len(scale)))

    def sparse(R: NDArray, b: NDArray, scale: NDArray, smallest: NDArray) -> NDArray:
        return _sparse(R, b, scale, smallest, alpha * n_time)

    if penalty is None:
        rows = [sparse(R, QtY[:, i], scale, threshold * unit[i]) for i in range(n_targets)]
        return np.stack(rows)
    scales = np.tile(scale, n_targets)
    coupled = np.concatenate([np.kron(np.eye(n_targets), R), np.sqrt(n_time) * penalty / scales])
    b = np.concatenate([QtY.T.ravel(), np.zeros(len(penalty))])
    return sparse(coupled, b, scales, threshold * unit.ravel()).reshape(n_targets, -1)


def _sparse(
    R: NDArray[np.float64],
    b: NDArray[np.float64],
    scale: NDArray[np.float64],
    smallest: NDArray[np.float64],
    ridge: float,
) -> NDArray[np.float64]:
    """Coefficients, of columns ``R * scale``, that are 0 or at least `smallest` in modulus."""
    kept = np.ones(R.shape[1], bool)
    while True:
        coef = np.zeros(len(kept))
        coef[kept] = _solve(R[:, kept], b, ridge) / scale[kept]
        small = kept & (np.abs(coef) < smallest)
        if not small.any():
            return coef
        kept &= ~small


def _reduce(
    A: NDArray[np.float64], Y: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The least-squares problem with as many rows as columns: R and QᵀY, where A = QR."""
    Q, R = np.linalg.qr(A)
    return R, Q.T @ Y


def _solve(R: NDArray[np.float64], Y: NDArray[np.float64], penalty: float) -> NDArray[np.float64]:
    n = R.shape[1]
    if n == 0:
        return np.zeros((0, *Y.shape[1:]))
    if penalty > 0:
        R = np.concatenate([R, np.sqrt(penalty) * np.eye(n)])
        Y = np.concatenate([Y, np.zeros((n, *Y.shape[1:]))])
    return lstsq(R, Y, cond=np.finfo(float).eps * max(R.shape))[0]
