"""The continuous ranked probability score: the error of an ensemble in the variable's own unit."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


def crps(ensemble: ArrayLike, truth: ArrayLike, *, fair: bool = True) -> Array:
    """Score of an ensemble, number by number: ``E|x - y| - E|x - x'| / 2`` for members x, truth y.

    It is the integral of the squared difference of the two distribution functions, and for one
    member the absolute error.

    Parameters
    ----------
    ensemble : array_like, shape (n_members, ...)
    truth : array_like, shape (...)
    fair : bool, default True
        Whether pairs x, x' are of different members, which makes the expected score that of an
        ensemble without end, drawn from the same distribution; ensembles of different size can
        then be compared. Otherwise the score is that of the ensemble itself as the forecast.

    Returns
    -------
    ndarray, shape (...)
        NaN where a member or the truth is not finite.

    Raises
    ------
    ValueError
        If the shapes do not fit together, or the fair score is asked of one member.

    References
    ----------
    T. Gneiting, A. E. Raftery, "Strictly proper scoring rules, prediction, and estimation", Journal
    of the American Statistical Association 102 (2007) 359-378. Fair: C. A. T. Ferro, "Fair scores
    for ensemble forecasts", Quarterly Journal of the Royal Meteorological Society 140 (2014)
    1917-1923.

    Examples
    --------
    >>> float(crps([1.0, 3.0], 2.0)), float(crps([1.0, 3.0], 2.0, fair=False))
    (0.0, 0.5)
    """
    members, y = np.asarray(ensemble, np.float64), np.asarray(truth, np.float64)
    if members.shape[1:] != y.shape or not members.ndim:
        raise ValueError(
            f"ensemble must be (n_members, ...) over truth {y.shape}, but it is {members.shape}."
        )
    _check_members(len(members), fair)
    members = np.where(np.isfinite(members).all(axis=0) & np.isfinite(y), members, np.nan)
    return np.asarray(np.abs(members - y).mean(axis=0) - _spread(np.sort(members, axis=0), fair))


def sample_crps(sample: ArrayLike, truth: ArrayLike, *, fair: bool = True) -> Array:
    """Score of one and the same sample, such as the climatology, as the forecast of many truths.

    As :func:`crps` with the sample as the ensemble of each, but by sorting it once.

    Parameters
    ----------
    sample : array_like, shape (n_sample, n_coordinates)
    truth : array_like, shape (..., n_coordinates)
    fair : bool, default True

    Returns
    -------
    ndarray, shape (..., n_coordinates)
        NaN where the truth, or the coordinate's sample somewhere, is not finite.

    Raises
    ------
    ValueError
        As :func:`crps`.

    Examples
    --------
    >>> sample_crps([[1.0], [3.0]], [[[2.0]], [[5.0]]]).ravel()
    array([0., 2.])
    """
    members, y = np.asarray(sample, np.float64), np.asarray(truth, np.float64)
    if members.ndim != 2 or y.shape[-1:] != members.shape[1:]:
        raise ValueError(
            f"sample must be (n_sample, n_coordinates) and truth (..., n_coordinates), but their "
            f"shapes are {members.shape} and {y.shape}."
        )
    n = len(members)
    _check_members(n, fair)
    members = np.sort(np.where(np.isfinite(members).all(axis=0), members, np.nan), axis=0)
    below = np.concatenate([np.zeros((1, members.shape[1])), np.cumsum(members, axis=0)])
    score = np.where(np.isfinite(y), y, np.nan)
    for j, x in enumerate(members.T):
        rank = np.searchsorted(x, y[..., j])
        absolute = score[..., j] * (2 * rank - n) + below[n, j] - 2 * below[rank, j]
        score[..., j] = absolute / n
    return np.asarray(score - _spread(members, fair))


def _spread(ordered: Array, fair: bool) -> Array:
    """Half of the mean distance of two members, which are sorted along the first axis."""
    n = len(ordered)
    weight = 2 * np.arange(1, n + 1) - n - 1.0
    return np.asarray(np.tensordot(weight, ordered, axes=1) / (n * (n - 1 if fair else n)))


def _check_members(n: int, fair: bool) -> None:
    if n < 1 + fair:
        kind = "fair score needs two members" if fair else "score needs a member"
        raise ValueError(f"The {kind}, but the ensemble has {n}.")
