"""Linear regression from normal equations: ridge, and ridge thresholded until it is sparse.

Columns are brought to unit root mean square first. So the ridge parameter is a pure number, and
whether latent states are of size 1e-3 or 1e3 changes no model.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import linalg

from rom.dynamics.least_squares import EPS, Constraint, Problem, coupled, scaled, scales, solve
from rom.dynamics.normal import Normal, normal

Array = NDArray[np.float64]

# Derivatives smaller than this fraction of the largest are little but rounding and noise.
SMALLEST = 1e-3


def ridge(A: Array, Y: Array, alpha: float | Array = 0.0) -> Array:
    """Coefficients of least squares with a penalty.

    Minimises ``mean((Y - A Cᵀ)²) + Σ_k alpha_k mean(A_k²) C_k²`` for each target. Where columns
    depend on each other and `alpha` is 0, the coefficients of least norm are taken.

    Parameters
    ----------
    A : ndarray, shape (n_time, n_terms)
    Y : ndarray, shape (n_time, n_targets)
    alpha : float or ndarray, shape (n_terms,), optional
        Ridge parameter, a pure number; or one for each term.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    Examples
    --------
    >>> A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> ridge(A, A @ np.array([[3.0], [-2.0]])).round(6)
    array([[ 3., -2.]])
    """
    return fit_ridge(normal(A, Y, exact=True), alpha)


def fit_ridge(
    found: Normal, alpha: float | Array = 0.0, *, constraint: Constraint | None = None
) -> Array:
    """:func:`ridge` from normal equations.

    Parameters
    ----------
    found : Normal
    alpha : float or ndarray, shape (n_terms,), optional
        Ridge parameter, or one for each term.
    constraint : Constraint, optional
        Equations to meet exactly.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    Raises
    ------
    ValueError
        If no coefficients meet the constraint.
    """
    n_targets, n_terms = len(found.squares), len(found.gram)
    if constraint is None:
        problem = scaled(found)
        return (solve(problem, np.ones(n_terms, bool), alpha).T) / problem.scale
    problem = coupled(found, constraint=constraint)
    penalties = np.tile(np.broadcast_to(alpha, n_terms), n_targets)
    coef = solve(problem, np.ones(n_targets * n_terms, bool), penalties)[:, 0]
    return (coef / problem.scale).reshape(n_targets, n_terms)


def ridge_path(found: Normal, alphas: ArrayLike) -> Array:
    """Coefficients for many ridge parameters, from one decomposition.

    Returns
    -------
    ndarray, shape (n_alphas, n_targets, n_terms)

    Examples
    --------
    >>> A = np.array([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0]])
    >>> ridge_path(normal(A, A @ np.array([[3.0], [-2.0]])), [0.0, 1.0])[:, 0].round(3)
    array([[ 3.   , -2.   ],
           [ 0.647, -0.294]])
    """
    problem = scaled(found)
    n = len(problem.scale)
    if problem.root is None:
        values, vectors = linalg.eigh(problem.gram)
        along = vectors.T @ problem.cross
    else:
        left, roots, right = linalg.svd(problem.root[:, :n], full_matrices=False)
        values, vectors = roots**2, right.T
        along = roots[:, None] * (left.T @ problem.root[:, n:])
    smallest = (n * EPS) ** (1 if problem.root is None else 2) * values.max(initial=0.0)
    paths = []
    for alpha in np.atleast_1d(np.asarray(alphas, dtype=np.float64)):
        divisor = values + alpha
        factor = np.divide(1.0, divisor, out=np.zeros_like(divisor), where=divisor > smallest)
        paths.append((vectors @ (factor[:, None] * along)).T / problem.scale)
    return np.stack(paths)


def fit_stlsq(
    found: Normal,
    threshold: float,
    *,
    alpha: float = 0.0,
    relative: bool = False,
    penalty: Array | None = None,
    constraint: Constraint | None = None,
    offered: NDArray[np.bool_] | None = None,
) -> Array:
    """Sequentially thresholded least squares: drop small terms, fit the others again, repeat.

    A term dropped never comes back, so that it ends after at most as many rounds as terms.

    Parameters
    ----------
    found : Normal
        Normal equations.
    threshold : float
        Coefficients of smaller modulus are set to zero.
    alpha : float, optional
        Ridge parameter of every fit, as in :func:`ridge`.
    relative : bool, optional
        Compare with `threshold` not the coefficient, but the term's root mean square as a
        fraction of the target's: a pure number.
    penalty : ndarray, shape (n_equations, n_targets * n_terms), optional
        ``|penalty @ C.ravel()|²`` is added to what is minimised. It may couple the targets.
    constraint : Constraint, optional
        Equations to meet exactly, whichever terms are dropped. They may couple the targets.
    offered : ndarray of bool, shape (n_terms,), optional
        Terms to start from; all by default.

    Returns
    -------
    ndarray, shape (n_targets, n_terms)

    Raises
    ------
    ValueError
        If no coefficients of the terms that are left meet the constraint.

    References
    ----------
    Brunton, Proctor & Kutz (2016), PNAS 113, 3932. Constraints: Loiseau & Brunton (2018),
    J. Fluid Mech. 838, 42.
    """
    smallest = threshold * units(found, relative)
    kept = (
        np.ones(smallest.shape, bool) if offered is None else np.tile(offered, (len(smallest), 1))
    )
    if penalty is None and constraint is None:
        problem = scaled(found)
        first = solve(problem, kept[0], alpha)
        rows = zip(kept, smallest, first.T, strict=True)
        return np.stack(
            [keep_large(problem, i, k, s, alpha, f) for i, (k, s, f) in enumerate(rows)]
        )
    problem = coupled(found, penalty, constraint)
    kept, smallest = kept.ravel(), smallest.ravel()
    first = solve(problem, kept, alpha)[:, 0]
    return keep_large(problem, 0, kept, smallest, alpha, first).reshape(len(found.squares), -1)


def keep_large(
    problem: Problem,
    target: int,
    kept: NDArray[np.bool_],
    smallest: Array,
    alpha: float = 0.0,
    fitted: Array | None = None,
) -> Array:
    """Coefficients that are 0 or at least `smallest` in modulus, from a first fit to the kept."""
    if fitted is None:
        fitted = solve(problem, kept, alpha, slice(target, target + 1))[:, 0]
    while True:
        coef = np.zeros(len(kept))
        coef[kept] = fitted / problem.scale[kept]
        small = kept & (np.abs(coef) < smallest)
        if not small.any():
            return coef
        kept = kept & ~small
        fitted = solve(problem, kept, alpha, slice(target, target + 1))[:, 0]


def units(found: Normal, relative: bool) -> Array:
    """The unit of each coefficient's threshold (n_targets, n_terms): 1 unless it is relative."""
    if not relative:
        return np.ones((len(found.squares), len(found.gram)))
    target = np.sqrt(found.squares / found.n_rows)
    return np.where(target > 0, target, 1.0)[:, None] / scales(found)


def relative_weights(y: NDArray[np.float64]) -> NDArray[np.float64]:
    """Weights (n_time,) of squared errors, so that the error of each row is relative to its size.

    Parameters
    ----------
    y : ndarray, shape (n_time, n_targets)
        Rows smaller than a thousandth of the largest count as that large.

    Examples
    --------
    >>> relative_weights(np.array([[4.0], [2.0]]))
    array([1., 4.])
    """
    size = np.sqrt((y**2).sum(axis=1))
    largest = size.max()
    if largest == 0:
        return np.ones_like(size)
    return np.asarray((largest / np.maximum(size, SMALLEST * largest)) ** 2)
