"""How long a forecast is worth having."""

from __future__ import annotations

from bisect import bisect

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Skill counts from here: less is rounding, or the luck of the sample.
MARGIN = 0.01
# Of the lead times in a skilful span, at least this share is skilful.
SHARE = 0.9


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


def holding_time(error: ArrayLike, lead: ArrayLike, tolerance: float) -> NDArray[np.float64]:
    """The last lead time to which the error of a forecast stays within a tolerance.

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
    ndarray, shape (...)
        The lead time before the first past the tolerance; the first of all where that is past it.

    Examples
    --------
    >>> holding_time([[0.0, 0.1, 0.5, 0.2], [0.0, 0.1, 0.2, 0.3]], [0, 10, 20, 30], 0.4)
    array([10., 30.])
    """
    error = np.asarray(error, dtype=np.float64)
    lead = np.broadcast_to(np.asarray(lead, dtype=np.float64), error.shape)
    held = np.asarray(np.logical_and.accumulate(error <= tolerance, axis=-1).sum(axis=-1))
    return np.take_along_axis(lead, np.maximum(held - 1, 0)[..., None], axis=-1)[..., 0]


def reliable_time(times: ArrayLike, level: float, n_apart: int | None = None) -> float:
    """The lead time up to which a new forecast is valid with a given probability.

    Of n starts and one more, drawn alike, each is as likely as any other to hold for the k-th
    shortest time or a shorter one; so that the new one holds for the k-th shortest of the others
    with probability ``1 - k / (n + 1)`` or more (split conformal prediction, one-sided), whatever
    their distribution. Where only some of the starts are independent, k is that of as many: the
    k-th shortest time of all is no longer than that of those.

    Parameters
    ----------
    times : array_like, shape (n_starts,)
        To which forecasts held, as by :func:`holding_time`.
    level : float
        The probability, between 0 and 1.
    n_apart : int, optional
        How many of the starts are independent, as by :func:`blocks`; by default all.

    Returns
    -------
    float
        NaN where these are too few: nine are needed for 0.9, see :func:`fewest_apart`.

    References
    ----------
    V. Vovk, A. Gammerman and G. Shafer (2005), Algorithmic Learning in a Random World, Springer.

    Examples
    --------
    >>> reliable_time([5.0, 3.0, 4.0, 6.0], level=0.8), reliable_time([5.0, 3.0], level=0.8)
    (3.0, nan)
    """
    ordered = np.sort(np.asarray(times, dtype=np.float64))
    n = len(ordered) if n_apart is None else n_apart
    k = min(n, int(np.floor((1 - level) * (n + 1) + 1e-9)))
    return float(ordered[k - 1]) if k else np.nan


def fewest_apart(level: float) -> int:
    """Independent starts without which nothing is valid with a given probability.

    Parameters
    ----------
    level : float
        The probability, between 0 and 1.

    Returns
    -------
    int
        The least n with ``1 / (n + 1) <= 1 - level``.

    Examples
    --------
    >>> fewest_apart(0.9), fewest_apart(0.95)
    (9, 19)
    """
    return max(1, int(np.ceil(level / (1 - level) - 1e-9)))


def blocks(starts: ArrayLike, stretches: ArrayLike, span: float) -> NDArray[np.intp]:
    """Which starts go together, as their rollouts overlap; from block to block they do not.

    Parameters
    ----------
    starts : array_like, shape (n_starts,)
        Times, in increasing order within a stretch.
    stretches : array_like, shape (n_starts,)
        A label of the stretch of the truth that each lies in: those of different ones are apart.
    span : float
        How long the rollouts are.

    Returns
    -------
    ndarray of int, shape (n_starts,)
        The number of the block: the first start of each is `span` or more after the first of the
        last.

    Examples
    --------
    >>> blocks([0.0, 4.0, 9.0, 10.0, 0.0], [0, 0, 0, 0, 1], span=10.0)
    array([0, 0, 0, 1, 2])
    """
    times, labels = np.asarray(starts, dtype=np.float64), np.asarray(stretches)
    block, first = np.zeros(len(times), dtype=np.intp), 0
    for i in range(1, len(times)):
        new = labels[i] != labels[first] or times[i] - times[first] >= span * (1 - 1e-9)
        first = i if new else first
        block[i] = block[i - 1] + new
    return block


def longest_apart(starts: ArrayLike, stretches: ArrayLike, n: int) -> float:
    """How long rollouts can be so that `n` of them, of starts as in :func:`blocks`, are apart.

    Parameters
    ----------
    starts, stretches : array_like, shape (n_starts,)
        Times, and labels of the stretches of the truth.
    n : int
        How many must be apart.

    Returns
    -------
    float
        Infinite where any length will do; NaN where even the shortest is too long.

    Examples
    --------
    >>> longest_apart([0.0, 1.0, 2.0, 3.0, 4.0], [0] * 5, 3)
    2.0
    >>> longest_apart([0.0, 1.0], [0, 1], 2), longest_apart([0.0, 1.0], [0, 0], 3)
    (inf, nan)
    """
    times = np.asarray(starts, dtype=np.float64)
    spans = np.append(np.unique(np.abs(times[:, None] - times)), np.inf)
    too_long = bisect(spans, 0, key=lambda span: int(blocks(times, stretches, span)[-1]) + 1 < n)
    return float(spans[too_long - 1]) if too_long else np.nan


def skilful_span(skill: ArrayLike, lead: ArrayLike) -> tuple[float, float] | None:
    """The lead times from which and to which a forecast beats every baseline.

    It begins at the first such lead time, and ends at the last one that at least nine tenths of
    those in between lead up to. A few may fail, since on periodic data persistence is hard to beat
    after a whole period; but a forecast that has died away to the climatology, and beats it half
    of the time by chance, has come to its end.

    Parameters
    ----------
    skill : array_like, shape (n_baseline, n_lead)
        Skill scores; above 0.01 the forecast counts as better.
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
    better: NDArray[np.bool_] = np.all(np.asarray(skill) > MARGIN, axis=0)
    if not better.any():
        return None
    first = int(better.argmax())
    share = np.cumsum(better[first:]) / np.arange(1, len(better) - first + 1)
    last = first + int(np.flatnonzero(better[first:] & (share >= SHARE))[-1])
    lead = np.asarray(lead, dtype=np.float64)
    return float(lead[first]), float(lead[last])
