"""The convex problem of a polynomial with a trapping ball that fits data best."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import block_diag, null_space

from rom.dynamics.least_squares import scales
from rom.dynamics.lmi import ACCURACY, minimise
from rom.dynamics.normal import Normal
from rom.dynamics.trapping import Inequality

Array = NDArray[np.float64]

# What the certificate has to spare, so that the rounding of units and coefficients cannot undo it.
SPARE = 1e-6


def least_squares(found: Normal, alpha: float) -> tuple[Array, Array]:
    """H and b of ``c·H c / 2 - b·c``, half of what :func:`rom.dynamics.regression.ridge` minimises.

    `c` is ``coef.ravel()``, coef (n_targets, n_terms).
    """
    H = found.gram / found.n_rows + alpha * np.diag(scales(found) ** 2)
    full = np.kron(np.eye(len(found.squares)), H)
    return np.asarray(full, np.float64), (found.cross.T / found.n_rows).ravel()


def energy_preserving(exponents: NDArray[np.int64], H: Array, b: Array, norm: Array) -> Array:
    """Coefficients that minimise ``c·H c / 2 - b·c`` and whose quadratic terms keep the energy.

    The parameters are those of :func:`trapped`; the terms are of degree 1 and 2.
    """
    basis = _principal(Inequality(exponents, np.zeros(len(norm)), norm).odd, H)
    return np.asarray((basis @ (b @ basis)).reshape(len(norm), -1))


def trapped(
    exponents: NDArray[np.int64], H: Array, b: Array, centre: Array, norm: Array, reach: float
) -> tuple[Array, float, float] | None:
    """Coefficients that minimise ``c·H c / 2 - b·c`` and have a trapping ball.

    That is, among those for which the matrix of :class:`Inequality` has no eigenvalue below 1e-6.

    Parameters
    ----------
    exponents : ndarray, shape (n_terms, rank)
        Powers of the terms, of degree 1 to 3, in units in which states and rates are of order one.
    H, b : ndarray, shape (rank * n_terms, rank * n_terms) and (rank * n_terms,)
        Of ``c = coef.ravel()``, as :func:`least_squares` gives them.
    centre : ndarray, shape (rank,)
    norm : ndarray, shape (rank, rank)
        P: the ball is ``w·P w <= R²``, w = z - centre.
    reach : float
        Largest R.

    Returns
    -------
    tuple of ndarray, shape (rank, n_terms), and two floats, or None where there are none
        The coefficients, and the radius and the margin of a ball, not the smallest.
    """
    inequality = Inequality(exponents, centre, norm)
    basis = _principal(inequality.odd, H)
    # Unknowns are steps from the minimum, of which the loss is the square.
    best, n, n_extra = b @ basis, basis.shape[1], len(inequality.of_extra)
    bounds = np.zeros((n_extra, 2))  # margin > 0 and margin (reach² - R²) > 0
    bounds[:2] = (1.0, reach**2), (0.0, -1.0)
    of_steps = np.tensordot(basis.T, inequality.of_coef, 1)
    F = np.array(
        [block_diag(M, 0.0, 0.0) for M in of_steps]
        + [
            block_diag(M, *bound)
            for M, bound in zip(inequality.of_extra, bounds.tolist(), strict=True)
        ]
    )
    none, constant = np.zeros(len(F)), np.tensordot(best, F[:n], 1)
    curvature = np.diag(np.repeat([1.0, 0.0], [n, n_extra]))
    x = minimise(curvature, none, F, constant=constant, margin=SPARE)
    if x is None:
        return None
    # What the condition costs may be far below one: once more, in units of it.
    cost = max(float(x[:n] @ x[:n]), ACCURACY)
    finer = minimise(curvature / cost, none, F, constant=constant, margin=SPARE)
    x = x if finer is None else finer
    coef = (basis @ (best + x[:n])).reshape(len(centre), -1)
    return coef, float(np.sqrt(x[n + 1] / x[n])), float(x[n])


def _principal(odd: Array, H: Array) -> Array:
    """Columns that span the coefficients with ``odd @ c = 0``, in which `H` is the identity.

    That is those that keep energy exactly where it cannot be outweighed.
    """
    scale = np.diag(H).copy()
    scale = 1 / np.sqrt(np.where(scale > 0, scale, 1.0))  # coefficients of unit effect
    odd = odd * scale
    basis = scale[:, None] * (null_space(odd) if len(odd) else np.eye(len(scale)))
    values, axes = np.linalg.eigh(basis.T @ H @ basis)
    return np.asarray(basis @ axes / np.sqrt(np.maximum(values, len(H) * np.finfo(float).eps)))
