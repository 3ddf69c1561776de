"""Normal latents that remember: each follows a stationary AR(1) process in time.

``z_t = memory z_{t-1} + sqrt(1 - memory²) noise``, of unit variance, afresh where a run starts.
Their posterior given what each row says about them alone is that of a Kalman smoother, here from
the precision matrix of all times, which is block tridiagonal (the latents of Yu et al. 2009,
J. Neurophysiol. 102, with another covariance in time).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# Above it, what drifts away for good would pass for memory.
LARGEST_MEMORY = 0.99


class Posterior(NamedTuple):
    """Of the latents of all rows."""

    mean: NDArray[np.float64]
    """(n_time, rank)."""
    covariance: NDArray[np.float64]
    """Of the latents of each row: (n_time, rank, rank)."""
    lagged: NDArray[np.float64]
    """Second moment of each latent with itself one row before: (n_time, rank), zero at starts."""


def posterior(
    precision: NDArray[np.float64],
    right: NDArray[np.float64],
    memory: NDArray[np.float64],
    starts: NDArray[np.bool_],
) -> Posterior:
    """Posterior of the latents given, of each row, ``exp(right z - z precision z / 2)``.

    Parameters
    ----------
    precision : ndarray, shape (n_time, rank, rank)
        What each row says, without the prior.
    right : ndarray, shape (n_time, rank)
    memory : ndarray, shape (rank,)
        From 0 to less than 1.
    starts : ndarray of bool, shape (n_time,)
        Whether a row begins a run; the first one does.

    Examples
    --------
    One observation of variance one, and a row that saw nothing:

    >>> import numpy as np
    >>> seen, starts = np.array([1.0, 0.0]), np.array([True, False])
    >>> found = posterior(seen[:, None, None], 2 * seen[:, None], np.array([0.8]), starts)
    >>> found.mean.ravel(), found.covariance.ravel()
    (array([1. , 0.8]), array([0.5 , 0.68]))
    """
    n_time, rank = right.shape
    from_last = np.where(starts[:, None], 0.0, memory)
    innovation = 1 / (1 - from_last**2)
    off = -from_last * innovation
    diagonal = np.arange(rank)
    covariance, mean, lagged = precision.copy(), right.copy(), np.zeros((n_time, rank))
    covariance[:, diagonal, diagonal] += innovation
    covariance[:-1, diagonal, diagonal] += (from_last**2 * innovation)[1:]
    for t in range(n_time):
        if t:
            covariance[t] -= off[t][:, None] * covariance[t - 1] * off[t]
            mean[t] -= off[t] * mean[t - 1]
        covariance[t] = np.linalg.inv(covariance[t])
        mean[t] = covariance[t] @ mean[t]
    for t in range(n_time - 1, 0, -1):
        gain = -covariance[t - 1] * off[t]
        mean[t - 1] += gain @ mean[t]
        joint = gain @ covariance[t]
        covariance[t - 1] += joint @ gain.T
        if not starts[t]:
            lagged[t] = mean[t - 1] * mean[t] + joint.diagonal()
    return Posterior(mean, covariance, lagged)


def likelier_memory(found: Posterior, starts: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Memory of each latent from its moments one row apart: a step of expectation maximisation."""
    moment = found.mean**2 + found.covariance.diagonal(axis1=1, axis2=2)
    later = np.flatnonzero(~starts)
    either = (moment[later] + moment[later - 1]).sum(axis=0) / 2
    shared = found.lagged[later].sum(axis=0)
    return np.asarray(np.clip(shared / np.maximum(either, np.finfo(float).tiny), 0, LARGEST_MEMORY))
