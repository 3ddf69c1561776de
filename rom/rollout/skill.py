"""Scores of forecasts, and the simple forecasts they are measured against."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.data.trajectory import pairs


def skill_score(error: ArrayLike, baseline: ArrayLike) -> NDArray[np.float64]:
    """One minus the ratio of mean squared errors: 1 is perfect, 0 no better than the baseline.

    Parameters
    ----------
    error, baseline : array_like
        Mean squared errors of the forecast and of the baseline.

    Returns
    -------
    ndarray
        NaN where the baseline makes no error.

    References
    ----------
    Murphy (1988), Monthly Weather Review 116, 2417.

    Examples
    --------
    >>> skill_score([1.0, 2.0, 3.0, 0.0], [4.0, 2.0, 1.0, 0.0])
    array([ 0.75,  0.  , -2.  ,   nan])
    """
    error, baseline = np.asarray(error, np.float64), np.asarray(baseline, np.float64)
    ratio = np.full(np.broadcast_shapes(error.shape, baseline.shape), np.nan)
    np.divide(error, baseline, out=ratio, where=baseline > 0)
    return 1 - ratio


def anomaly_correlation(forecast: NDArray, truth: NDArray) -> NDArray[np.float64]:
    """Correlation over space of two fields of anomalies, by row.

    Parameters
    ----------
    forecast, truth : ndarray, shape (n_time, n_space)
        Deviations from the climatology.

    Returns
    -------
    ndarray, shape (n_time,)
        NaN where one of the fields is zero.

    References
    ----------
    Murphy & Epstein (1989), Monthly Weather Review 117, 572: the form whose means over space are
    not taken off.

    Examples
    --------
    >>> import numpy as np
    >>> anomaly_correlation(np.array([[3.0, 4.0], [0.0, 0.0]]), np.array([[6.0, 8.0], [1.0, 0.0]]))
    array([ 1., nan])
    """
    return np.asarray(np.sum(_unit(forecast) * _unit(truth), axis=1))


def _unit(rows: NDArray) -> NDArray[np.float64]:
    """Rows of length one, NaN where zero; first scaled, as squares of tiny numbers lose digits."""
    largest = np.abs(rows).max(axis=1, keepdims=True)
    scaled = rows / np.where(largest > 0, largest, np.nan)
    return np.asarray(scaled / np.linalg.norm(scaled, axis=1, keepdims=True))


def lag_one_autocorrelation(Z: NDArray, pieces: list[slice]) -> NDArray[np.float64]:
    """How much of each latent coordinate's anomaly is left a sampling step later, by regression.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
        Latent states.
    pieces : list of slice
        Stretches of continuous sampling; no pair reaches from one to the next.

    Returns
    -------
    ndarray, shape (rank,)
        Between 0 and 1: a negative one cannot be carried to fractions of a step and counts as 0.

    Examples
    --------
    >>> import numpy as np
    >>> Z = np.cos(0.5 * np.arange(400.0))[:, None]
    >>> lag_one_autocorrelation(Z, [slice(0, 400)]).round(2), np.cos(0.5).round(2)
    (array([0.88]), np.float64(0.88))
    """
    now, later = pairs(pieces)
    anomaly = Z - Z.mean(axis=0)
    product = np.sum(anomaly[now] * anomaly[later], axis=0)
    size = np.sum(anomaly[now] ** 2, axis=0)
    correlation = np.zeros(Z.shape[1])
    np.divide(product, size, out=correlation, where=size > 0)
    return np.clip(correlation, 0, 1)


def damped_persistence(
    z0: NDArray, lead: NDArray, mean: NDArray, autocorrelation: NDArray
) -> NDArray[np.float64]:
    """The forecast that each coordinate relaxes to its mean at its own rate.

    Parameters
    ----------
    z0 : ndarray, shape (rank,)
        State at the start.
    lead : ndarray, shape (n_lead,)
        Lead times in sampling steps of the autocorrelation.
    mean, autocorrelation : ndarray, shape (rank,)
        Of the training states; see :func:`lag_one_autocorrelation`.

    Returns
    -------
    ndarray, shape (n_lead, rank)

    Examples
    --------
    >>> import numpy as np
    >>> damped_persistence(np.array([9.0]), np.arange(4), np.array([1.0]), np.array([0.5])).T
    array([[9., 5., 3., 2.]])
    """
    return mean + autocorrelation ** lead[:, None] * (z0 - mean)
