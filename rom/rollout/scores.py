"""How far a forecast is from the truth, as a whole and regardless of the order in time."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def relative_error(forecast: ArrayLike, truth: ArrayLike) -> float:
    """Spectral norm of the error of a forecast over that of the truth.

    Parameters
    ----------
    forecast, truth : array_like, shape (n_time, rank)
        States at the same times.

    Returns
    -------
    float
        0 for no error, 1 for a forecast of zeros, infinite where the forecast ended.

    Raises
    ------
    ValueError
        If the shapes differ, or the truth is not finite or zero.

    References
    ----------
    .. [1] P. M. Wyder et al., "Common Task Framework for a Critical Evaluation of Scientific
       Machine Learning Algorithms", arXiv:2510.23166 (2025): 100 times one minus this is the
       score of its short forecasts and reconstructions.

    Examples
    --------
    >>> relative_error([[3.0], [3.0]], [[4.0], [4.0]])
    0.25
    """
    forecast, truth = _states(forecast, truth)
    if len(forecast) != len(truth):
        raise ValueError(
            f"The forecast must have a row for each of the truth's {len(truth)}, but it has "
            f"{len(forecast)}."
        )
    size = np.linalg.norm(truth, 2)
    if size == 0:
        raise ValueError("The truth is zero: no error is relative to it.")
    if not np.isfinite(forecast).all():
        return np.inf
    return float(np.linalg.norm(forecast - truth, 2) / size)


def histogram_distance(forecast: ArrayLike, truth: ArrayLike, n_bins: int) -> Array:
    """Total variation ``½ Σ|p - q|`` of the histograms of each coordinate, over bins of both.

    Parameters
    ----------
    forecast, truth : array_like, shape (n_time, rank)
        States, at any times.
    n_bins : int
        Of equal width, from the smallest to the largest value of the two.

    Returns
    -------
    ndarray, shape (rank,)
        From 0, for equal histograms, to 1 where they have nothing in common; infinite where the
        forecast ended.

    Raises
    ------
    ValueError
        If the ranks differ, the truth is not finite, or there is no bin.

    References
    ----------
    .. [1] P. M. Wyder et al., "Common Task Framework for a Critical Evaluation of Scientific
       Machine Learning Algorithms", arXiv:2510.23166 (2025): 100 times one minus twice the mean
       of this is the score of its long forecasts of ordinary differential equations.

    Examples
    --------
    >>> histogram_distance([[0.0, 0.0], [1.0, 0.0]], [[1.0, 1.0], [1.0, 1.0]], 4)
    array([0.5, 1. ])
    """
    forecast, truth = _states(forecast, truth)
    if n_bins < 1:
        raise ValueError(f"n_bins must be at least 1, but it is {n_bins}.")
    if not np.isfinite(forecast).all():
        return np.full(truth.shape[1], np.inf)
    both = np.concatenate([forecast, truth])
    distances = [
        np.abs(np.subtract(*(_shares(z, n_bins, low, high) for z in pair))).sum() / 2
        for *pair, low, high in zip(
            forecast.T, truth.T, both.min(axis=0), both.max(axis=0), strict=True
        )
    ]
    return np.array(distances)


def _shares(z: Array, n_bins: int, low: float, high: float) -> Array:
    narrowest = n_bins * np.spacing(max(abs(low), abs(high)))  # that rounding can split
    high = max(high, low + narrowest)
    return np.histogram(z, n_bins, (low, high))[0] / len(z)


def _states(forecast: ArrayLike, truth: ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(forecast, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not a.size or not b.size:
        raise ValueError(
            f"forecast and truth must be (n_time, rank), but their shapes are {a.shape} and "
            f"{b.shape}."
        )
    if not np.isfinite(b).all():
        raise ValueError("The truth must be finite.")
    return a, b
