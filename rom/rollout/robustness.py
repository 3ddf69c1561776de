"""By how much small changes of the start can grow: the worst that a search finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.base import Dynamics
from rom.rollout.ensemble import ensemble
from rom.rollout.reduce import Moments
from rom.rollout.result import Status
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# Lead times that the search aims at, and how often a perturbation found is improved.
AIMS, ROUNDS = 5, 3
# Starts drawn inside and around the training states: up to so many times as far from their mean.
AROUND = 2.0


class Growth(NamedTuple):
    """What a search for the worst perturbation of a start found."""

    growth: Array
    """(n_time,): the largest found |change of the state| over |change of the start|; infinite
    where a changed rollout had ended though the unchanged one had not, NaN where that had."""
    worst: Array
    """(rank,): the perturbation, of the size asked for, that grew most by the last time."""


def worst_growth(
    dynamics: Dynamics,
    z0: ArrayLike,
    t: ArrayLike,
    *,
    size: float,
    u: ArrayLike | None = None,
    bound: float | None = None,
) -> Growth:
    """Search for perturbations of one size of a start that grow most, by each lead time.

    For a few lead times, a perturbation d is moved to ``Mᵀ M d``, scaled to the size, where M is
    how the state then changes with the start about ``z0 + d``, by differences of rollouts. From
    the leading direction at d = 0 this is a power iteration that sees how the model is curved.
    Both signs are tried, as are the coordinates.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    z0 : array_like, shape (rank,)
        The start.
    t : array_like, shape (n_time,)
        Output times, ``t[0]`` that of the start.
    size : float
        Euclidean norm of the perturbations: 1 % of that of a typical state, for example.
    u, bound
        As in :func:`rom.rollout`.

    Returns
    -------
    Growth
        A lower bound of the worst: what was found.

    Raises
    ------
    ValueError
        If `size` is not positive, or the start, times or inputs do not fit the model.

    References
    ----------
    Lorenz (1965), Tellus 17, 321 (singular vectors). Mu, Duan & Wang (2003), Nonlin. Processes
    Geophys. 10, 493 (perturbations of a given size that grow most).

    Examples
    --------
    A linear model's worst growth is the norm of its propagator.

    >>> import rom
    >>> shear = rom.OperatorInference.from_operators(A=[[0.0, 2.0], [0.0, 0.0]])
    >>> found = worst_growth(shear, [0.0, 0.0], [0.0, 1.0], size=0.01)
    >>> found.growth.round(4), round(np.linalg.norm([[1, 2], [0, 1]], 2), 4)
    (array([1.    , 2.4142]), np.float64(2.4142))
    """
    if not 0 < size < np.inf:
        raise ValueError(f"size must be a positive number, but it is {size}.")
    start = np.asarray(z0, dtype=np.float64)

    def run(changes: Array) -> Array:
        """Rollouts (n, n_time, rank) from the changed starts."""
        return np.array(
            [rollout(dynamics, start + d, t, u=u, bound=bound, throw=False).z for d in changes]
        )

    rank = len(start)
    base = run(np.zeros((1, rank)))[0]
    reached = np.isfinite(base).all(axis=1)
    aims = np.unique(np.linspace(0, int(reached.sum()) - 1, AIMS + 1).round().astype(int))[1:]
    tried, moved = [np.concatenate([size * np.eye(rank), -size * np.eye(rank)])], []
    moved.append(run(tried[0]))
    for aim in aims:
        for sign in (1.0, -1.0):
            d = sign * _leading((moved[0][:rank, aim] - moved[0][rank:, aim]) / (2 * size), size)
            for _ in range(ROUNDS):
                nearby = run(np.concatenate([d[None], d + 0.01 * size * np.eye(rank)]))
                tried.append(d[None])
                moved.append(nearby[:1])
                slopes = (nearby[1:, aim] - nearby[0, aim]) / (0.01 * size)
                onward = slopes @ (nearby[0, aim] - base[aim])
                length = float(np.linalg.norm(onward))
                if not 0 < length < np.inf:
                    break
                d = onward * (size / length)
    changes, states = np.concatenate(tried), np.concatenate(moved)
    grown = np.linalg.norm(states - base, axis=2) / size
    grown = np.where(np.isfinite(grown), grown, np.inf)
    growth = np.where(reached, grown.max(axis=0), np.nan)
    last = int(reached.sum()) - 1
    return Growth(growth, changes[int(grown[:, last].argmax())])


def stays_from_around(
    dynamics: Dynamics,
    Z: ArrayLike,
    t: Array,
    *,
    u: ArrayLike | None = None,
    n_starts: int = 200,
    bound: float | None = None,
) -> NDArray[np.bool_]:
    """Whether rollouts from starts drawn inside and around some states stay bounded.

    Parameters
    ----------
    dynamics : Dynamics
        A fitted latent model.
    Z : array_like, shape (n_states, rank)
        Of the training, usually. A start is one of them, with its distance from their mean
        multiplied by a number drawn evenly from 0 to :data:`AROUND`.
    t : ndarray, shape (n_time,)
        Times of the rollouts.
    u : array_like, shape (n_time, n_inputs), optional
        Inputs then, the same for all.
    n_starts : int, default 200
    bound : float, optional
        As in :func:`rom.rollout`.

    Returns
    -------
    ndarray of bool, shape (n_starts,)

    Examples
    --------
    From beyond 1, dz/dt = z² - z grows for ever.

    >>> import rom
    >>> model = rom.OperatorInference.from_operators(A=[[-1.0]], H=[[1.0]], bound=100.0)
    >>> stays = stays_from_around(model, [[-0.9], [0.9]], np.linspace(0, 10, 11))
    >>> bool(0.6 < stays.mean() < 0.9)
    True
    """
    states, rng = np.asarray(Z, dtype=np.float64), np.random.default_rng(0)
    mean = states.mean(axis=0)
    away = states[rng.integers(len(states), size=n_starts)] - mean
    starts = mean + AROUND * rng.random((n_starts, 1)) * away
    runs = ensemble(dynamics, starts, t, u=u, bound=bound, reduce=[Moments()])
    return np.array([status is Status.COMPLETED for status in runs.status])


def _leading(rows: Array, size: float) -> Array:
    """The direction in which a change of the start changes the state most; row j by start j."""
    if not np.isfinite(rows).all():
        return size * np.eye(len(rows))[0]
    return np.asarray(size * np.linalg.svd(rows)[0][:, 0])
