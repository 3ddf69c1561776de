"""By how much small changes of the start can grow: the worst that a search finds."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.base import Dynamics
from rom.rollout.run import rollout

Array = NDArray[np.float64]

# Lead times that the search aims at, and how often a perturbation found is improved.
AIMS, ROUNDS = 5, 3


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


def _leading(rows: Array, size: float) -> Array:
    """The direction in which a change of the start changes the state most; row j by start j."""
    if not np.isfinite(rows).all():
        return size * np.eye(len(rows))[0]
    return np.asarray(size * np.linalg.svd(rows)[0][:, 0])
