"""Histograms of long runs: reductions as in :mod:`rom.rollout.reduce`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]


class Histogram:
    """How often each coordinate lies in each of some bins of equal width.

    Parameters
    ----------
    low, high : array_like, shape (rank,)
        Ends of the bins of each coordinate.
    n_bins : int, optional

    Attributes
    ----------
    counts : ndarray of int, shape (rank, n_bins)
        A bin holds its lower edge.
    outside : ndarray of int, shape (rank, 2)
        How often a coordinate was below `low`, or at `high` or above.

    Examples
    --------
    >>> histogram = Histogram([0.0], [3.0], n_bins=3)
    >>> histogram.update(np.array([[[0.5], [1.0], [1.5], [7.0]]]))
    >>> histogram.counts, histogram.outside
    (array([[1, 2, 0]]), array([[0, 1]]))
    """

    def __init__(self, low: ArrayLike, high: ArrayLike, n_bins: int = 50) -> None:
        self.edges = _edges(low, high, n_bins)
        self._counts = np.zeros((len(self.edges), n_bins + 2), np.int64)

    def begin(self, rank: int, dt: float) -> Histogram:
        """Return a histogram of the same bins that is empty."""
        _check_rank(self.edges, rank)
        return Histogram(*_bins(self.edges))

    def update(self, z: Array) -> None:
        """Take in states (n_members, n_time, rank)."""
        for counts, places in zip(self._counts, _places(z, self.edges), strict=True):
            counts += np.bincount(places, minlength=len(counts))

    def merge(self, other: Histogram) -> None:
        """Take in the states of `other`, which has the same bins."""
        check_alike("low, high and n_bins", _bins(self.edges), _bins(other.edges))
        self._counts += other._counts

    @property
    def counts(self) -> NDArray[np.int64]:
        """(rank, n_bins)."""
        return self._counts[:, 1:-1]

    @property
    def outside(self) -> NDArray[np.int64]:
        """(rank, 2)."""
        return self._counts[:, [0, -1]]


class JointHistogram:
    """How often pairs of coordinates lie in each of some rectangles.

    Parameters
    ----------
    low, high : array_like, shape (rank,)
        Ends of the bins of each coordinate.
    n_bins : int, optional
        Of each coordinate.
    pairs : sequence of pairs of int, optional

    Attributes
    ----------
    edges : ndarray, shape (rank, n_bins + 1)

    Examples
    --------
    >>> histogram = JointHistogram([0.0, 0.0], [2.0, 2.0], n_bins=2)
    >>> histogram.update(np.array([[[0.5, 1.5], [0.5, 1.0], [1.5, 0.0]]]))
    >>> histogram.counts
    array([[[0, 2],
            [1, 0]]])
    """

    def __init__(
        self,
        low: ArrayLike,
        high: ArrayLike,
        n_bins: int = 30,
        *,
        pairs: Sequence[tuple[int, int]] = ((0, 1),),
    ) -> None:
        self.edges = _edges(low, high, n_bins)
        self.pairs = _pairs(pairs, len(self.edges))
        self._counts = np.zeros((len(self.pairs), n_bins + 2, n_bins + 2), np.int64)

    def begin(self, rank: int, dt: float) -> JointHistogram:
        """Return a histogram of the same bins and pairs that is empty."""
        _check_rank(self.edges, rank)
        return JointHistogram(*_bins(self.edges), pairs=self.pairs.tolist())

    def update(self, z: Array) -> None:
        """Take in states (n_members, n_time, rank)."""
        places, width = _places(z, self.edges), self._counts.shape[1]
        for counts, (i, j) in zip(self._counts, self.pairs, strict=True):
            flat = np.bincount(places[i] * width + places[j], minlength=width**2)
            counts += flat.reshape(width, width)

    def merge(self, other: JointHistogram) -> None:
        """Take in the states of `other`, which has the same bins and pairs."""
        check_alike("low, high and n_bins", _bins(self.edges), _bins(other.edges))
        check_alike("pairs", self.pairs.tolist(), other.pairs.tolist())
        self._counts += other._counts

    @property
    def counts(self) -> NDArray[np.int64]:
        """By pair, bin of its first and of its second coordinate (n_pairs, n_bins, n_bins)."""
        return self._counts[:, 1:-1, 1:-1]


def _edges(low: ArrayLike, high: ArrayLike, n_bins: int) -> Array:
    low, high = np.atleast_1d(np.asarray(low, float)), np.atleast_1d(np.asarray(high, float))
    fit = low.ndim == 1 and low.shape == high.shape and n_bins >= 1
    if not fit or not np.all((-np.inf < low) & (low < high) & (high < np.inf)):
        raise ValueError(
            "Bins need finite low < high for each coordinate and n_bins >= 1, but "
            f"low={low.tolist()}, high={high.tolist()}, n_bins={n_bins}."
        )
    return np.linspace(low, high, n_bins + 1, axis=1)


def _bins(edges: Array) -> tuple[list[float], list[float], int]:
    """What they were made of: `low`, `high` and `n_bins`."""
    return edges[:, 0].tolist(), edges[:, -1].tolist(), edges.shape[1] - 1


def _pairs(pairs: Sequence[tuple[int, int]], rank: int) -> NDArray[np.intp]:
    places = np.atleast_2d(pairs)
    if places.shape[1:] != (2,) or not np.isin(places, np.arange(rank)).all():
        raise ValueError(
            f"pairs must be pairs of coordinates from 0 to {rank - 1}, as low and high hold "
            f"{rank}, but pairs={pairs}."
        )
    return places.astype(np.intp)


def _check_rank(edges: Array, rank: int) -> None:
    if len(edges) != rank:
        raise ValueError(
            f"low and high must hold {rank} values each, one for each coordinate of the states, "
            f"but they hold {len(edges)}."
        )


def _places(z: Array, edges: Array) -> NDArray[np.intp]:
    """The bin of each coordinate (rank, n_states) from 1, with 0 below and n_bins + 1 above."""
    _check_rank(edges, z.shape[-1])
    columns, n_bins = finite_columns(z), edges.shape[1] - 1
    columns -= edges[:, :1]
    columns *= n_bins / (edges[:, -1:] - edges[:, :1])
    np.clip(np.floor(columns, out=columns), -1, n_bins, out=columns)
    return columns.astype(np.intp) + 1


def finite_columns(z: Array) -> Array:
    """Each coordinate of the states (rank, n_states), without members that have ended: a copy."""
    columns = z.reshape(-1, z.shape[-1]).T
    finite = np.isfinite(columns[0])
    return np.array(columns if finite.all() else columns[:, finite], order="C")


def check_alike(what: str, ours: object, theirs: object) -> None:
    """Refuse to add up sums that differ in something."""
    if ours != theirs:
        raise ValueError(f"Only sums of the same {what} add up, but there are {ours} and {theirs}.")
