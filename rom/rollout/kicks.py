"""Noise for many members, each with the same noise wherever and beside whomever it runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

Array = NDArray[np.float64]

# Members that share a stream of random numbers: their numbers do not depend on how members are
# shared out among threads and machines, as long as that is by multiples of this.
STREAM = 32

Streams = Sequence[tuple[np.random.Generator, int]]


def seed_of(random_state: Any) -> int:
    """A seed drawn from `random_state`."""
    return int(check_random_state(random_state).randint(2**31 - 1))


def streams(seed: int, members: range) -> Streams:
    """Generators for some members, each with how many of them it serves.

    Examples
    --------
    >>> [width for _, width in streams(0, range(32, 100))]
    [32, 32, 4]
    """
    starts = range(members.start, members.stop, STREAM)
    return [
        (
            np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(start,))),
            min(STREAM, members.stop - start),
        )
        for start in starts
    ]


def draw(generators: Streams, root: Array, steps: Array) -> Array:
    """What noise adds to each member from each time to the next.

    Parameters
    ----------
    generators : sequence
        See :func:`streams`.
    root : ndarray, broadcasting to (n_steps, rank, rank)
        Of the covariance per unit of time.
    steps : ndarray, shape (n_steps,)
        The times between.

    Returns
    -------
    ndarray, shape (n_steps, rank, n_members)
    """
    shape = (len(steps), root.shape[-1])
    normal = [rng.standard_normal((*shape, width)) for rng, width in generators]
    kicks = np.matmul(root, np.concatenate(normal, axis=2))
    return np.asarray(kicks * np.sqrt(steps)[:, None, None])
