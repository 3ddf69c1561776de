"""dz/dt along each stretch of continuous sampling, on even and uneven times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Rows whose polynomials are found at a time: those of all would need many times their memory.
TOGETHER = 2**12


def derivative(
    Z: NDArray[np.float64],
    t: NDArray[np.float64],
    pieces: list[slice] | None = None,
    *,
    width: int = 7,
    degree: int | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Time derivative of sampled states, by polynomials through neighbouring rows.

    Each row takes the derivative of a polynomial through the `width` rows of its piece nearest to
    it, which are as many on both sides as the piece's ends allow. A polynomial of that degree or
    less is differentiated exactly, so the error is of order ``width - 1`` in the step, at the
    ends too, whether or not the steps are even.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
        States.
    t : ndarray, shape (n_time,)
        Times, increasing inside each piece.
    pieces : list of slice, optional
        Stretches of continuous sampling, as :func:`rom.data.trajectory.segments` gives them; one
        piece by default. A piece shorter than `width` uses all its rows; one of a single row has
        no derivative, and its row is left out.
    width : int, optional
        Rows per polynomial.
    degree : int, optional
        Degree of the polynomial, ``width - 1`` by default: interpolation. For noisy states take
        more rows and a low degree: a least-squares fit, which on even times is the filter of
        Savitzky & Golay (1964), Anal. Chem. 36, 1627.

    Returns
    -------
    rows : ndarray of int, shape (n_rows,)
        The rows that have a derivative.
    dZ : ndarray, shape (n_rows, rank)
        Their derivatives, in units of `Z` per unit of `t`.

    Examples
    --------
    >>> t = np.array([0.0, 0.1, 0.25, 0.3, 0.5])
    >>> rows, dZ = derivative(t[:, None] ** 2, t)
    >>> np.allclose(dZ[:, 0], 2 * t)
    True
    """
    degree = width - 1 if degree is None else degree
    if not 1 <= degree < width:
        raise ValueError(f"degree must be in 1 … width - 1 = {width - 1}, but it is {degree}.")
    pieces = [slice(0, len(Z))] if pieces is None else pieces
    long = [piece for piece in pieces if piece.stop - piece.start > 1]
    rows = [np.arange(piece.start, piece.stop) for piece in long]
    dZ = [_differentiate(Z[piece], t[piece], width, degree) for piece in long]
    return np.concatenate([np.empty(0, np.intp), *rows]), np.vstack([Z[:0], *dZ])


def _differentiate(
    Z: NDArray[np.float64], t: NDArray[np.float64], width: int, degree: int
) -> NDArray[np.float64]:
    n = len(t)
    width = min(width, n)
    first = np.clip(np.arange(n) - width // 2, 0, n - width)
    slopes = np.empty_like(Z)
    for start in range(0, n, TOGETHER):
        rows = slice(start, start + TOGETHER)
        stencil = first[rows, None] + np.arange(width)
        offset = t[stencil] - t[rows, None]
        span = offset[:, -1] - offset[:, 0]
        weights = _slope_weights(offset / span[:, None], min(degree, width - 1)) / span[:, None]
        slopes[rows] = np.einsum("nw,nwr->nr", weights, Z[stencil])
    return slopes


def _slope_weights(x: NDArray[np.float64], degree: int) -> NDArray[np.float64]:
    """Weights that turn values at `x` into the slope at 0 of their least-squares polynomial.

    With V = QR the matrix of powers of x, the fit's coefficients are R⁻¹Qᵀ times the values: the
    slope's row of it is the solution w of Rᵀs = e₁, w = Qs.
    """
    Q, R = np.linalg.qr(x[..., None] ** np.arange(degree + 1))
    slope = np.zeros((degree + 1, 1))
    slope[1] = 1.0
    return (Q @ np.linalg.solve(np.swapaxes(R, -1, -2), slope))[..., 0]
