"""Linear matrix inequalities: a convex quadratic where a matrix of unknowns stays positive."""

from __future__ import annotations

import clarabel
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csc_matrix

Array = NDArray[np.float64]

# Of the gap between the minimum and its lower bound by duality; ten times what may be violated.
ACCURACY = 1e-8


def minimise(
    H: Array, b: Array, F: Array, *, constant: Array, margin: float = ACCURACY
) -> Array | None:
    """Minimise ``x·H x / 2 - b·x`` where ``constant + Σ_k x_k F_k - margin`` is not negative.

    By the interior-point method of Clarabel, to a duality gap of 1e-8 of the minimum, or of 1
    where the minimum is smaller than that; where rounding leaves more, to 5e-5.

    Parameters
    ----------
    H : ndarray, shape (n_unknowns, n_unknowns)
        Positive semidefinite.
    b : ndarray, shape (n_unknowns,)
    F : ndarray, shape (n_unknowns, n, n)
        Symmetric matrices, in units in which all is of order one.
    constant : ndarray, shape (n, n)
    margin : float, optional
        The least eigenvalue, so that it is positive in spite of what the solver may violate.

    Returns
    -------
    ndarray, shape (n_unknowns,), or None where there is none

    References
    ----------
    Boyd & Vandenberghe (2004), Convex Optimization. Goulart & Chen (2024), arXiv:2405.12762.

    Examples
    --------
    The least x with [[x, 1], [1, 2]] positive is 1/2.

    >>> F, constant = np.array([[[1.0, 0.0], [0.0, 0.0]]]), np.array([[0.0, 1.0], [1.0, 2.0]])
    >>> minimise(np.zeros((1, 1)), np.array([-1.0]), F, constant=constant).round(6)
    array([0.5])
    >>> minimise(np.zeros((1, 1)), np.array([-1.0]), F, constant=-constant) is None
    True
    """
    # Clarabel's cone: the upper triangle by columns, so scaled that lengths are kept.
    column, row = np.tril_indices(len(constant))
    length = np.where(row == column, 1.0, np.sqrt(2.0))
    inside = constant - margin * np.eye(len(constant))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = ACCURACY
    settings.tol_feas = ACCURACY / 10
    solution = clarabel.DefaultSolver(
        csc_matrix(np.triu(H)),
        -b,
        csc_matrix(-(length * F[:, row, column]).T),
        length * inside[row, column],
        [clarabel.PSDTriangleConeT(len(constant))],
        settings,
    ).solve()
    x = np.array(solution.x)
    found = solution.status in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved)
    return x if found and is_positive(constant + np.tensordot(x, F, 1)) else None


def positive(F: Array) -> Array | None:
    """The least `x` with ``Σ_k x_k F_k - 1`` not negative, or None where there is none.

    Parameters
    ----------
    F : ndarray, shape (n_unknowns, n, n)
        Symmetric matrices.

    Examples
    --------
    >>> positive(np.array([[[1.0, 0.0], [0.0, 0.5]]])).round(6)
    array([2.])
    >>> positive(np.array([[[1.0, 0.0], [0.0, -1.0]]])) is None
    True
    """
    n, k = F.shape[:2]
    return minimise(np.eye(n), np.zeros(n), F, constant=np.zeros((k, k)), margin=1.0)


def is_positive(M: Array) -> bool:
    """Whether a symmetric matrix is positive definite, by more than its eigenvalues' rounding."""
    scale = 1 / np.sqrt(np.maximum(np.diag(M), np.finfo(float).tiny))
    return bool(
        (np.diag(M) > 0).all()
        and np.linalg.eigvalsh(M * scale * scale[:, None])[0] > 64 * len(M) * np.finfo(float).eps
    )
