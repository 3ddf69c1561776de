"""Long-run statistics of a model beside the truth's: how far apart, and how far by chance.

A chaotic rollout parts from the truth, and may still be right in the long run: its distributions,
spectra and energies may be those of the truth. Each is compared here by a distance, and each
distance stands beside its sampling error: how far apart two records of the truth itself come out
when they are as long as those compared.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from rom.rollout.features import (
    BINS,
    JOINT_BINS,
    STATISTICS,
    Frame,
    Statistic,
    autocorrelation,
    frame_of,
    frequencies,
)

Array = NDArray[np.float64]

# The truth is cut into this many blocks, or more where its stretches are short, of this many rows
# at least.
BLOCKS, SHORTEST = 20, 8
# More blocks than this are put together in groups, which are divided in halves this many times.
GROUPS, HALVINGS = 40, 400
# Numbers of the features of halves that are held at a time.
AT_A_TIME = 2**20
# The probability that all statistics of a model that is as the truth are within sampling error.
LEVEL = 0.95
# The correlation of neighbouring blocks beyond which nothing can be said of their mean.
MOST_SHARED = 0.9
# A statistic counts as kept up to this distance, or up to what comes by chance.
TOLERANCE = 0.1
# Two records of the truth that come out this far apart are too short to tell.
UNKNOWN = 0.5


class Statistics(NamedTuple):
    """How far the statistics of a model are from the truth's; see :func:`compare_statistics`."""

    names: tuple[str, ...]
    """moments, histogram, joint_histogram (where two coordinates change), spectrum,
    autocorrelation, energy."""
    distance: Array
    """Of the model to the truth (n_statistics,); infinite where a run of the model ended."""
    sampling_error: Array
    """Distances (n_statistics,) that chance alone makes at least one of the statistics exceed in
    5 % of cases."""
    kept: NDArray[np.bool_]
    """Whether the distance is within the sampling error or the tolerance (n_statistics,)."""
    known: NDArray[np.bool_]
    """Whether the records are long enough to tell: the sampling error is below 0.5."""
    frequency: Array
    """In cycles per unit of time (n_frequency,)."""
    spectrum_model: Array
    """Power by unit of frequency (rank, n_frequency); NaN where a run of the model ended."""
    spectrum_truth: Array
    edges: Array
    """Of the bins (rank, n_bins + 1)."""
    histogram_model: Array
    """Probability densities (rank, n_bins); what lies outside the edges is left out."""
    histogram_truth: Array
    pairs: NDArray[np.intp]
    """Coordinates that joint histograms are of (n_pairs, 2); none where but one changes."""
    joint_model: Array
    """Shares of the rows (n_pairs, n_bins, n_bins) in bins over the same ranges; what lies outside
    is left out."""
    joint_truth: Array
    lag: Array
    """In units of time (n_lag,)."""
    autocorrelation_model: Array
    """By coordinate (rank, n_lag)."""
    autocorrelation_truth: Array


def compare_statistics(
    model: Sequence[ArrayLike],
    truth: Sequence[ArrayLike],
    dt: float,
    *,
    tolerance: float = TOLERANCE,
    random_state: int | np.random.RandomState | None = 0,
) -> Statistics:
    """Compare the long-run statistics of a model with the truth's.

    Every distance is 0 for equal statistics. Coordinates count by their share of the truth's
    variance.

    - ``moments`` of orders 1 to 4: the Euclidean distance of the means of orthonormal Hermite
      polynomials of the standardised coordinate. A mean that is off by a tenth of a standard
      deviation is 0.1 away.
    - ``histogram`` and, for pairs of the leading four coordinates, ``joint_histogram``: the total
      variation ``½ Σ|p - q|``, from 0 to 1.
    - ``spectrum``: ``Σ|S - T| / Σ(S + T)`` of the power spectra [1]_, from 0 to 1.
    - ``autocorrelation``: the root mean square difference over that of the two.
    - ``energy``: ``Σ|a - b| / Σ(a + b)`` of the mean energies ``½ (z - mean)²`` that the
      coordinates hold, and of the mean sizes of the changes in which they exchange it; the mean of
      both.

    The sampling error is the same distance between two halves of the blocks of the truth, drawn
    at random many times [2]_: the quantile that makes the statement hold for all statistics at
    once (Bonferroni), reduced to the lengths of the two records. It is enlarged as Student's
    quantiles are, since the blocks are few, and as far as neighbouring blocks are correlated. A
    truth of fewer than about twenty correlation times is too short for it to hold.

    Parameters
    ----------
    model, truth : sequence of array_like, each (n_time, rank)
        Stretches of states, `dt` apart inside each, that do not overlap: a long run, or many. A
        state of the model that is not finite says that the run ended.
    dt : float
        Time from row to row.
    tolerance : float, default 0.1
        Up to this distance a statistic counts as kept, even where chance does not explain it.
    random_state : int, RandomState or None, default 0
        Draws the halves.

    Returns
    -------
    Statistics

    Raises
    ------
    ValueError
        If a stretch is not (n_time, rank); if the truth is not finite, does not change, or has no
        20 blocks of 8 rows; or if no stretch of the model is as long as a block.

    References
    ----------
    .. [1] P. D. Welch, "The use of fast Fourier transform for the estimation of power spectra",
       IEEE Transactions on Audio and Electroacoustics 15 (1967) 70-73.
    .. [2] D. N. Politis, J. P. Romano, M. Wolf, "Subsampling", Springer 1999.

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> truth, same, wide = (size * rng.normal(size=(4000, 2)) for size in (1, 1, 1.5))
    >>> compare_statistics([same], [truth], dt=0.1).kept.all()
    np.True_
    >>> found = compare_statistics([wide], [truth], dt=0.1)
    >>> for name, kept in zip(found.names, found.kept.tolist()):
    ...     print(name, kept)
    moments False
    histogram False
    joint_histogram False
    spectrum False
    autocorrelation True
    energy False
    """
    if not 0 < dt < np.inf or not tolerance >= 0:
        raise ValueError(
            f"dt must be positive and tolerance not negative, but they are {dt} and {tolerance}."
        )
    ours, theirs, ended = _blocks(truth, model)
    with np.errstate(over="ignore", invalid="ignore"):
        frame = frame_of(ours, dt)
    if not frame.std.any():
        raise ValueError("The truth never changes: it has no statistics to compare with.")
    if not np.isfinite(frame.std).all():
        raise ValueError(f"The truth's variance must be finite, but it is {frame.std**2}.")
    made = {k: s for k, s in STATISTICS.items() if k != "joint_histogram" or len(frame.pairs)}
    halves = _halves(min(len(ours), GROUPS), random_state)
    level = 1 - (1 - LEVEL) / len(made)
    lengths = np.sqrt(1 + len(ours) / len(theirs)) / 2
    mean, distance, error = {}, [], []
    with np.errstate(over="ignore", invalid="ignore"):  # states of a bad model may overflow
        for name, statistic in made.items():
            groups, sizes = _grouped(statistic, ours, frame)
            true = np.average(groups, axis=0, weights=sizes)
            of_model = np.full_like(true, np.nan) if ended else _mean(statistic, theirs, frame)
            mean[name] = of_model, true
            distance.append(float(statistic.distance(*mean[name], frame)))
            chance = np.quantile(_between(statistic, groups, halves, frame), level, method="higher")
            error.append(float(lengths * _enlarged(groups, level) * chance))
        return _statistics(mean, distance, error, tolerance, frame, ours.shape[1])


def invariant_drift(values: ArrayLike) -> Array:
    """The largest change of invariants along rollouts, by lead time.

    Parameters
    ----------
    values : array_like, shape (n_start, n_lead, n_invariant)
        What should not change along the lead times; NaN after the end of a rollout.

    Returns
    -------
    ndarray, shape (n_invariant, n_lead)
        Over the largest size of each invariant at the starts, or as it is where that is 0. The
        largest of the rollouts that still run; NaN where none does.

    Raises
    ------
    ValueError
        If `values` is not (n_start, n_lead, n_invariant), or not finite at the starts.

    Examples
    --------
    >>> invariant_drift([[[2.0], [2.5], [2.0]], [[1.0], [0.0], [float("nan")]]])
    array([[0. , 0.5, 0. ]])
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 3 or not values.size:
        raise ValueError(
            f"values must be (n_start, n_lead, n_invariant), but its shape is {values.shape}."
        )
    first = values[:, :1]
    if not np.isfinite(first).all():
        raise ValueError(f"The invariants must be finite at the starts, but they are {first}.")
    size = np.abs(first).max(axis=(0, 1))
    change = np.fmax.reduce(np.abs(values - first), axis=0)
    return np.asarray((change / np.where(size > 0, size, 1.0)).T)


def _blocks(truth: Sequence[ArrayLike], model: Sequence[ArrayLike]) -> tuple[Array, Array, bool]:
    """Both as blocks (n_blocks, n_time, rank) of equally many rows, and whether the model ended."""
    ours, theirs = (
        [np.asarray(each, dtype=np.float64) for each in stretches] for stretches in (truth, model)
    )
    shapes = [each.shape for each in (*ours, *theirs)]
    if not ours or not theirs or {(len(s), *s[1:]) for s in shapes} != {(2, shapes[0][-1])}:
        raise ValueError(
            f"truth and model must be stretches of states, each (n_time, rank), but of the truth "
            f"came shapes {shapes[: len(ours)]} and of the model {shapes[len(ours) :]}."
        )
    if not all(np.isfinite(each).all() for each in ours):
        raise ValueError("The truth must be finite.")
    lengths = [len(each) for each in ours]
    length = int(min(np.median(lengths), sum(lengths) // BLOCKS))
    if length < SHORTEST:
        raise ValueError(
            f"Statistics take {BLOCKS} blocks of {SHORTEST} rows or more of the truth, but it has "
            f"{sum(lengths)} rows, {np.median(lengths):g} in the median stretch."
        )
    if max(len(each) for each in theirs) < length:
        raise ValueError(
            f"The model's stretches must have {length} rows or more, as the truth's blocks, but "
            f"the longest has {max(len(each) for each in theirs)}."
        )
    ended = not all(np.isfinite(each).all() for each in theirs)
    return _cut(ours, length), _cut(theirs, length), ended


def _cut(stretches: list[Array], length: int) -> Array:
    """Blocks of `length` rows, none across the end of a stretch."""
    whole = [each[: len(each) // length * length] for each in stretches]
    return np.concatenate([each.reshape(-1, length, each.shape[1]) for each in whole])


def _halves(n: int, random_state: int | np.random.RandomState | None) -> NDArray[np.bool_]:
    """Which of `n` are in the first half, many times (HALVINGS, n)."""
    rng = check_random_state(random_state)
    return np.array([rng.permutation(n) < n // 2 for _ in range(HALVINGS)])


def _between(statistic: Statistic, groups: Array, halves: NDArray[np.bool_], frame: Frame) -> Array:
    """The distance of each half of the groups to the other."""
    flat, shape = groups.reshape(len(groups), -1), (-1, *groups.shape[1:])

    def means(parts: NDArray[np.bool_]) -> Array:
        return np.asarray(parts / parts.sum(axis=1, keepdims=True) @ flat).reshape(shape)

    n = max(1, AT_A_TIME // flat.shape[1])
    some = [halves[i : i + n] for i in range(0, len(halves), n)]
    return np.concatenate([statistic.distance(means(h), means(~h), frame) for h in some])


def _enlarged(groups: Array, level: float) -> float:
    """How much the few blocks, and what neighbours share, hide of the spread of a mean.

    Of blocks that are an autoregression of order one with correlation r, the variance of the mean
    is (1 + r) / (1 - r) times what it is for blocks that share nothing.
    """
    from scipy.stats import norm, t

    n = len(groups)
    few = t.isf((1 - level) / 2, n - 1) / norm.isf((1 - level) / 2)
    away = (groups - groups.mean(axis=0)).reshape(n, -1)
    away /= np.abs(away).max() or 1.0  # their squares may overflow
    size = np.sum(away**2)
    shared = np.sum(away[1:] * away[:-1]) / size + 1 / n if size > 0 else 0.0
    r = min(max(float(shared), 0.0), MOST_SHARED)
    return float(few * np.sqrt((1 + r) / (1 - r)))


def _grouped(statistic: Statistic, blocks: Array, frame: Frame) -> tuple[Array, list[int]]:
    """Mean features of groups of neighbouring blocks, and how many blocks each has."""
    parts = np.array_split(blocks, min(len(blocks), GROUPS))
    return (
        np.stack([statistic.features(part, frame).mean(axis=0) for part in parts]),
        [len(part) for part in parts],
    )


def _mean(statistic: Statistic, blocks: Array, frame: Frame) -> Array:
    groups, sizes = _grouped(statistic, blocks, frame)
    return np.asarray(np.average(groups, axis=0, weights=sizes))


def _statistics(
    mean: dict[str, tuple[Array, Array]],
    distance: list[float],
    error: list[float],
    tolerance: float,
    frame: Frame,
    length: int,
) -> Statistics:
    far = np.where(np.isfinite(distance), distance, np.inf)
    width = (frame.high - frame.low) / BINS
    density = 1 / np.where(width > 0, width, 1.0)[:, None]
    bins = [each[:, 1:-1] * density for each in mean["histogram"]]
    joint = [_inside(each) for each in mean.get("joint_histogram", np.empty((2, 0)))]
    correlations = [autocorrelation(each) for each in mean["autocorrelation"]]
    return Statistics(
        names=tuple(mean),
        distance=far,
        sampling_error=np.array(error),
        kept=far <= np.maximum(error, tolerance),
        known=np.array(error) < UNKNOWN,
        frequency=frequencies(length, frame.dt),
        spectrum_model=mean["spectrum"][0],
        spectrum_truth=mean["spectrum"][1],
        edges=np.linspace(frame.low, frame.high, BINS + 1, axis=1),
        histogram_model=bins[0],
        histogram_truth=bins[1],
        pairs=frame.pairs,
        joint_model=joint[0],
        joint_truth=joint[1],
        lag=np.arange(correlations[0].shape[1]) * np.float64(frame.dt),
        autocorrelation_model=correlations[0],
        autocorrelation_truth=correlations[1],
    )


def _inside(shares: Array) -> Array:
    """Joint histograms (n_pairs, n) without the open bins, as tables."""
    width = JOINT_BINS + 2
    return shares.reshape(-1, width, width)[:, 1:-1, 1:-1]
