"""The white noise that drives a stochastic model."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from rom.base import Dynamics, HasNoise

Array = NDArray[np.float64]


def noise_root(dynamics: Dynamics, u: Array | None = None) -> Array | None:
    """A matrix R for which the noise of a model is R dW, with independent Wiener processes W.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    u : ndarray, shape (n_time, n_inputs), optional
        Inputs at the times that are asked for.

    Returns
    -------
    ndarray, broadcasting to (n_time, rank, rank), or None
        See :class:`rom.base.HasNoise`; None for a model without noise.

    Examples
    --------
    >>> import rom
    >>> noise_root(rom.OperatorInference("A").fit([[1.0], [2.0]], [[-1.0], [-2.0]])) is None
    True
    """
    return dynamics.noise_root(u) if isinstance(dynamics, HasNoise) else None


def draw_kicks(
    root: Array, t: Array, random_state: int | np.random.RandomState | None = None
) -> Array:
    """What the noise adds between neighbouring times, one draw.

    Parameters
    ----------
    root : ndarray, shape (rank, rank)
        As of :func:`noise_root`.
    t : ndarray, shape (n_time,)
        Increasing times.
    random_state : int, RandomState or None, optional
        Seed of the draw.

    Returns
    -------
    ndarray, shape (n_time - 1, rank)

    Examples
    --------
    Over a time of 4 the standard deviation of unit noise is 2.

    >>> import numpy as np
    >>> kicks = draw_kicks(np.eye(1), 4.0 * np.arange(100_001), random_state=0)
    >>> bool(abs(kicks.std() - 2) < 0.02)
    True
    """
    draws = check_random_state(random_state).normal(size=(len(t) - 1, root.shape[1]))
    return np.sqrt(np.diff(t))[:, None] * (draws @ root.T)
