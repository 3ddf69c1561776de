"""Conformal prediction bands: wide enough, with a stated probability, for a whole rollout at once.

The score of a rollout is the largest of its errors over all lead times and coordinates, each in
units of what is usual there. The band is as wide as the quantile, at the level asked for, of the
scores of other rollouts. Nothing is assumed about the model or the distribution of its errors, only
that the rollouts, or blocks of them, could have come in any other order.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.rollout.coverage import Coverage, check_blocks, check_level, coverage

Array = NDArray[np.float64]

# The usual size of errors is the root of their mean to this power. Any is valid; one above 2 gives
# more room to lead times with heavy tails, whose largest errors would widen the band everywhere.
POWER = 4


class Band(NamedTuple):
    """A band about a forecast, the same for every start."""

    radius: Array
    """Half-width (n_lead, n_coordinates); infinite where no finite one can be vouched for."""
    scale: Array
    """What `radius` is a multiple of (n_lead, n_coordinates): the usual size of the errors."""
    threshold: float
    """That multiple."""
    score: Array
    """(n_start,) largest error in units of the scale of the other blocks."""
    level: float
    n_blocks: int


class CalibratedBand(NamedTuple):
    """A band, and its coverage of rollouts that it was not made from."""

    band: Band
    coverage: Coverage
    n_calibration: int


def conformal_band(error: ArrayLike, *, level: float = 0.9, block: ArrayLike | None = None) -> Band:
    """The band that holds a new rollout, at all lead times and in all coordinates together.

    Parameters
    ----------
    error : array_like, shape (n_start, n_lead, n_coordinates)
        Truth minus forecast of rollouts that the model was not fitted to. One that is not finite
        somewhere, as of a rollout that ended early, counts as larger than any.
    level : float, default 0.9
        Probability with which the band holds the rollout.
    block : array_like, shape (n_start,), optional
        Label of the block of each start: rollouts whose errors are alike, such as those through
        the same month or trajectory. By default each is a block of its own.

    Returns
    -------
    Band

    Raises
    ------
    ValueError
        If `level` is not between 0 and 1, or the arrays do not fit together.

    Notes
    -----
    With e the error and A_k the mean of e⁴ over block k of K, the score of a rollout of block k is
    ``max |e| / (Σ_{j≠k} A_j)^¼``; the radius is the quantile of the scores times ``(Σ_j A_j)^¼``. A
    block has the weight 1 / (K + 1), shared by its rollouts, and a last weight of 1 / (K + 1)
    stands at infinity, so that a finite band needs K ≥ level / (1 - level).

    If the blocks and that of the new rollout are exchangeable, the band holds the new rollout
    with probability `level` or more. For were the errors of the new block known, they would join
    the sums of all others, symmetrically in the blocks [1]_, and only lower their scores; the new
    score itself is without them. No rollouts are set apart to find the scale. The band is wider
    than it need be by about one part in 4 K. Successive blocks of a stationary series are
    exchangeable as far as they are independent: take them longer than a rollout and its memory.

    References
    ----------
    .. [1] Y. Lee, R. F. Barber, R. Willett, "Distribution-free inference with hierarchical data",
       arXiv:2306.06342 (2023).
    .. [2] J. Diquigiovanni, M. Fontana, S. Vantini, "Conformal prediction bands for multivariate
       functional data", Journal of Multivariate Analysis 189 (2022) 104879.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> walks = rng.normal(size=(1000, 10, 2)).cumsum(axis=1)
    >>> band = conformal_band(walks[:500])
    >>> (band.radius[[0, 3, 8], 0] / band.radius[0, 0]).round()
    array([1., 2., 3.])
    >>> bool(abs(np.mean(in_band(walks[500:], band.radius)) - 0.9) < 0.03)
    True
    """
    errors = _check_errors(error)
    check_level(level)
    labels, codes = np.unique(check_blocks(block, len(errors)), return_inverse=True)
    blocks = [np.flatnonzero(codes == k) for k in range(len(labels))]
    unit = np.max(errors, axis=0, where=np.isfinite(errors), initial=0.0)
    unit = np.where(unit > 0, unit, 1.0)  # powers of errors in this unit cannot overflow
    power = np.stack([_power(errors[rows] / unit) for rows in blocks])
    total, score = power.sum(axis=0), np.empty(len(errors))
    for rows, own in zip(blocks, power, strict=True):
        others = unit * np.maximum(total - own, 0) ** (1 / POWER)
        score[rows] = simultaneous_score(errors[rows], others)
    weight = 1 / ((len(blocks) + 1) * np.bincount(codes)[codes])
    threshold = _quantile(score, weight, level)
    scale = unit * total ** (1 / POWER)
    radius = threshold * scale if np.isfinite(threshold) else np.full_like(scale, np.inf)
    return Band(radius, scale, threshold, score, float(level), len(blocks))


def calibrated_band(
    error: ArrayLike, *, level: float = 0.9, block: ArrayLike | None = None
) -> CalibratedBand:
    """The band from the first half of some rollouts, and its coverage of the others.

    Parameters
    ----------
    error, level, block
        As in :func:`conformal_band`; the starts in the order of their times, if they have an order.
        Blocks are not divided.

    Returns
    -------
    CalibratedBand

    Raises
    ------
    ValueError
        As :func:`conformal_band`, and if there are fewer than two blocks.

    Examples
    --------
    >>> walks = np.random.default_rng(0).normal(size=(400, 10, 2)).cumsum(axis=1)
    >>> found = calibrated_band(walks)
    >>> found.n_calibration, found.coverage.n, found.coverage.low < 0.9 < found.coverage.high
    (200, 200, True)
    """
    errors = _check_errors(error)
    block = check_blocks(block, len(errors))
    labels, first = np.unique(block, return_index=True)
    if len(labels) < 2:
        raise ValueError("A band and its coverage need two blocks of rollouts, but there is one.")
    ordered = labels[np.argsort(first)]
    early = np.isin(block, ordered[: (len(ordered) + 1) // 2])
    band = conformal_band(errors[early], level=level, block=block[early])
    inside = in_band(errors[~early], band.radius)
    return CalibratedBand(band, coverage(inside, block=block[~early]), int(early.sum()))


def simultaneous_score(error: ArrayLike, scale: ArrayLike) -> Array:
    """The largest error of each rollout in units of `scale`.

    Parameters
    ----------
    error : array_like, shape (n_start, n_lead, n_coordinates)
    scale : array_like, shape (n_lead, n_coordinates)

    Returns
    -------
    ndarray, shape (n_start,)
        Infinite where an error is not finite, or the scale is zero and the error is not.

    Examples
    --------
    >>> simultaneous_score([[[1.0], [4.0]], [[0.0], [np.nan]]], [[0.0], [2.0]])
    array([inf, inf])
    >>> simultaneous_score([[[0.0], [4.0]]], [[0.0], [2.0]])
    array([2.])
    """
    errors = _check_errors(error)
    ratio = np.where(errors > 0, np.inf, 0.0)
    scale = np.broadcast_to(np.asarray(scale, np.float64), errors.shape)
    np.divide(errors, scale, out=ratio, where=(scale > 0) & np.isfinite(errors))
    return np.asarray(ratio.max(axis=(1, 2)))


def in_band(error: ArrayLike, radius: ArrayLike) -> NDArray[np.bool_]:
    """Whether each rollout is within `radius` at all lead times, in all coordinates.

    Parameters
    ----------
    error : array_like, shape (n_start, n_lead, n_coordinates)
        Truth minus forecast. What is NaN is outside.
    radius : array_like, shape (n_lead, n_coordinates)
        Half-width of the band.

    Returns
    -------
    ndarray of bool, shape (n_start,)

    Examples
    --------
    >>> in_band([[[1.0], [4.0]], [[1.0], [np.nan]]], [[1.0], [5.0]])
    array([ True, False])
    """
    return np.asarray(np.all(_check_errors(error) <= np.asarray(radius), axis=(1, 2)))


def _quantile(score: Array, weight: Array, level: float) -> float:
    """The least score with so much weight up to it; the weight lacking to one is at infinity."""
    order = np.argsort(score)
    reached = np.cumsum(weight[order]) >= level * (1 - 1e-12)
    return float(score[order][reached.argmax()]) if reached.any() else np.inf


def _power(errors: Array) -> Array:
    """Mean power over rollouts of those errors that are finite, the others as none."""
    return np.asarray(np.mean(np.where(np.isfinite(errors), errors, 0.0) ** POWER, axis=0))


def _check_errors(error: ArrayLike) -> Array:
    errors = np.abs(np.asarray(error, dtype=np.float64))
    if errors.ndim != 3 or not errors.size:
        raise ValueError(
            f"error must be (n_start, n_lead, n_coordinates), but its shape is {errors.shape}."
        )
    errors[np.isnan(errors)] = np.inf
    return errors
