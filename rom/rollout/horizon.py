"""How long a forecast is worth having."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def valid_time(
    error: ArrayLike, lead: ArrayLike, tolerance: float
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """The first lead time at which the error of a forecast exceeds a tolerance.

    Parameters
    ----------
    error : array_like, shape (..., n_lead)
        Errors by lead time; one that is not a number exceeds every tolerance.
    lead : array_like, shape (n_lead,) or (..., n_lead)
        Lead times, increasing.
    tolerance : float
        In the unit of the error.

    Returns
    -------
    time : ndarray, shape (...)
        The first lead time past the tolerance, or the last of all where it is never passed.
    exceeded : ndarray of bool, shape (...)
        Whether it is passed.

    Examples
    --------
    >>> valid_time([[0.0, 0.1, 0.5, 0.2], [0.0, 0.1, 0.2, 0.3]], [0, 10, 20, 30], 0.4)
    (array([20., 30.]), array([ True, False]))
    """
    error = np.asarray(error, dtype=np.float64)
    lead = np.broadcast_to(np.asarray(lead, dtype=np.float64), error.shape)
    beyond = ~(error <= tolerance)
    exceeded = np.asarray(beyond.any(axis=-1))
    last = np.where(exceeded, beyond.argmax(axis=-1), error.shape[-1] - 1)
    return np.take_along_axis(lead, last[..., None], axis=-1)[..., 0], exceeded


def skilful_span(skill: ArrayLike, lead: ArrayLike) -> tuple[float, float] | None:
    """The first and the last lead time at which a forecast beats every baseline.

    In between it need not: on periodic data persistence is hard to beat after a whole period.

    Parameters
    ----------
    skill : array_like, shape (n_baseline, n_lead)
        Skill scores, positive where the forecast is better.
    lead : array_like, shape (n_lead,)
        Lead times, increasing.

    Returns
    -------
    tuple of float, or None
        None if there is no such lead time.

    Examples
    --------
    >>> skilful_span([[-0.2, 0.5, 0.3, 0.0], [0.9, 0.8, 0.1, -0.1]], [1, 2, 3, 4])
    (2.0, 3.0)
    """
    better = np.flatnonzero((np.asarray(skill) > 0).all(axis=0))
    if not better.size:
        return None
    lead = np.asarray(lead, dtype=np.float64)
    return float(lead[better[0]]), float(lead[better[-1]])
