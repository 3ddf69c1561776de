"""Out of range: where a state stands beside the set that the model was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom import checks

if TYPE_CHECKING:
    from scipy.spatial import ConvexHull

Array = NDArray[np.float64]
Kind = Literal["hull", "ellipsoid", "box"]

# The faces of a hull grow in number as (number of points) to the power of half the rank.
HULL_RANK = 4
# An ellipsoid needs this many states per coordinate; for fewer there is the box.
ROWS_PER_COORDINATE = 3
# A sample's hull falls short of the set that it was drawn from: states up to this part past it
# count as inside.
MARGIN = 0.1
# A direction in which the states do not move is given this part of the width of the widest.
FLAT, SMALLEST = 1e-6, 1e-150
# States that come around again may all be corners of their hull, and its faces, up to half the
# square of their number, fill the memory. The hull is then made of some of the states, at least so
# many: as many as have no more faces than about this.
FEWEST_STATES, MOST_FACES = 64, 8000
# Products of states and faces are made this many at a time: they stay in a processor's cache.
PART = 2**17


class Extent(NamedTuple):
    """A convex set around a centre, measured by how far out a state stands; see :func:`extent`."""

    kind: Kind
    centre: Array
    """(rank,)."""
    normals: Array
    """Of the faces, one over their distance from the centre long (n_faces, rank); of an ellipsoid
    the matrix (rank, rank) that makes it the unit ball."""

    def size(self, Z: ArrayLike) -> Array:
        """How many times the set must be stretched about its centre to reach each state.

        Parameters
        ----------
        Z : array_like, shape (n_time, rank)
            States; NaN gives NaN.

        Returns
        -------
        ndarray, shape (n_time,)
            At most 1 inside.
        """
        away = np.asarray(Z, dtype=np.float64) - self.centre
        if away.ndim != 2:
            raise ValueError(
                f"Z must be (n_time, {len(self.centre)}), but its shape is {away.shape}."
            )
        parts = _products(away, self.normals)
        if self.kind == "ellipsoid":
            return np.concatenate([np.linalg.norm(part, axis=1) for part in parts])
        return np.concatenate([part.max(axis=1) for part in parts])


def extent(Z: ArrayLike, kind: Literal["auto", "hull", "ellipsoid", "box"] = "auto") -> Extent:
    """The range of training states or parameters.

    Parameters
    ----------
    Z : array_like, shape (n_time, rank)
        Training states, or parameters or inputs, one row each.
    kind : {"auto", "hull", "ellipsoid", "box"}, default "auto"
        The convex hull [1]_, or, where that has many thousand faces, the hull of some of the
        states with each face moved out to hold all; the ellipsoid of their covariance through the
        outermost; or the interval of each coordinate, as is usual for parameters. "auto" is the
        hull up to rank 4, the ellipsoid above it, and the box where the states are fewer than three
        per coordinate, or have no hull since they lie in a plane.

    Returns
    -------
    Extent
        All of `Z` has size 1 or less.

    Raises
    ------
    ValueError
        If `Z` is not (n_time, rank), not finite, or has no hull and `kind` is "hull".

    References
    ----------
    .. [1] C. B. Barber, D. P. Dobkin, H. Huhdanpaa, "The Quickhull algorithm for convex hulls",
       ACM Transactions on Mathematical Software 22 (1996) 469-483.

    Examples
    --------
    >>> import numpy as np
    >>> square = extent([[0.0, 0.0], [2.0, 0.0], [0.0, 2.0], [2.0, 2.0]], "hull")
    >>> square.size([[1.0, 1.0], [2.0, 1.5], [4.0, 1.0]])
    array([0., 1., 3.])
    """
    states = np.asarray(Z, dtype=np.float64)
    if states.ndim != 2 or not states.size:
        raise ValueError(f"Z must be (n_time, rank), but its shape is {states.shape}.")
    checks.check_finite(states, "Z")
    makers = {"hull": _hull, "ellipsoid": _ellipsoid, "box": _box}
    if kind != "auto":
        return makers[kind](states)
    n, rank = states.shape
    if n < ROWS_PER_COORDINATE * rank:
        return _box(states)
    if rank > HULL_RANK:
        return _ellipsoid(states)
    try:
        return _hull(states)
    except ValueError:
        return _box(states)


def first_outside(size: ArrayLike, lead: ArrayLike, *, margin: float = MARGIN) -> float:
    """The first lead time at which a rollout stands outside the training range.

    Parameters
    ----------
    size : array_like, shape (n_lead,)
        Of the states, as :meth:`Extent.size` gives it; NaN, after the end of a rollout, is passed
        over.
    lead : array_like, shape (n_lead,)
        Lead times.
    margin : float, default 0.1
        How far past the range still counts as inside, as a part of it: the hull of a sample falls
        short of the set that it was drawn from.

    Returns
    -------
    float
        NaN if it never leaves.

    Examples
    --------
    >>> first_outside([0.2, 1.05, 1.2, 0.9], [0.0, 0.5, 1.0, 1.5])
    1.0
    """
    outside = np.flatnonzero(np.asarray(size) > 1 + margin)
    return float(np.asarray(lead)[outside[0]]) if outside.size else float("nan")


def _hull(Z: Array) -> Extent:
    """The convex hull: between two states for one coordinate, by Quickhull for more."""
    if Z.shape[1] == 1:
        return _box(Z)._replace(kind="hull")
    from scipy.spatial import QhullError

    try:
        hull = _of_few_faces(Z)
    except QhullError as error:
        raise ValueError(
            f"The {len(Z)} states of rank {Z.shape[1]} have no hull with an inside: "
            "give kind='box' or 'ellipsoid'."
        ) from error
    centre = hull.points[hull.vertices].mean(axis=0)
    normals = hull.equations[:, :-1]
    away = np.max([part.max(axis=0) for part in _products(Z - centre, normals)], axis=0)
    return Extent("hull", centre, normals / away[:, None])


def _of_few_faces(Z: Array) -> ConvexHull:
    """Of all states, or of some drawn from them where that of twice as many may have too many."""
    from scipy.spatial import ConvexHull, QhullError

    drawn, few = np.random.default_rng(0).permutation(len(Z)), FEWEST_STATES
    while few < len(Z):
        with suppress(QhullError):  # those drawn may lie in a plane
            hull = ConvexHull(Z[drawn[:few]])
            if len(hull.simplices) * 2 ** (Z.shape[1] // 2) > MOST_FACES:
                return hull
        few *= 2
    return ConvexHull(Z)


def _products(away: Array, normals: Array) -> Iterator[Array]:
    """Of states (n_time, rank) with all faces, some states at a time."""
    rows = max(1, PART // len(normals))
    return (away[i : i + rows] @ normals.T for i in range(0, max(1, len(away)), rows))


def _ellipsoid(Z: Array) -> Extent:
    """That of the covariance, stretched to hold every state."""
    centre = Z.mean(axis=0)
    away = Z - centre
    square, axes = np.linalg.eigh(away.T @ away)
    normals = axes.T / _not_flat(np.sqrt(np.maximum(square, 0)))[:, None]
    largest = np.linalg.norm(away @ normals.T, axis=1).max()
    return Extent("ellipsoid", centre, normals / (largest or 1.0))


def _box(Z: Array) -> Extent:
    """The interval of each coordinate."""
    low, high = Z.min(axis=0), Z.max(axis=0)
    inverse = np.diag(1 / _not_flat((high - low) / 2))
    return Extent("box", (low + high) / 2, np.concatenate([inverse, -inverse]))


def _not_flat(width: Array) -> Array:
    """The widths, none below a millionth of the largest, and none whose inverse overflows."""
    return np.maximum(width, max(FLAT * width.max(), SMALLEST))
