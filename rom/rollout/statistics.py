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

from rom.rollout.features import (
    BINS,
    JOINT_BINS,
    STATISTICS,
    Frame,
    autocorrelation,
    frame_of,
    frequencies,
)
from rom.rollout.sampling_error import (
    GROUPS,
    LEVEL,
    between,
    blocks_of,
    enlarged,
    grouped,
    halves_of,
    mean_of,
)

Array = NDArray[np.float64]

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
    ours, theirs, ended = blocks_of(truth, model)
    with np.errstate(over="ignore", invalid="ignore"):
        frame = frame_of(ours, dt)
    if not frame.std.any():
        raise ValueError("The truth never changes: it has no statistics to compare with.")
    if not np.isfinite(frame.std).all():
        raise ValueError(f"The truth's variance must be finite, but it is {frame.std**2}.")
    made = {k: s for k, s in STATISTICS.items() if k != "joint_histogram" or len(frame.pairs)}
    halves = halves_of(min(len(ours), GROUPS), random_state)
    level = 1 - (1 - LEVEL) / len(made)
    lengths = np.sqrt(1 + len(ours) / len(theirs)) / 2
    mean, distance, error = {}, [], []
    with np.errstate(over="ignore", invalid="ignore"):  # states of a bad model may overflow
        for name, statistic in made.items():
            groups, sizes = grouped(statistic, ours, frame)
            true = np.average(groups, axis=0, weights=sizes)
            of_model = np.full_like(true, np.nan) if ended else mean_of(statistic, theirs, frame)
            mean[name] = of_model, true
            distance.append(float(statistic.distance(*mean[name], frame)))
            chance = np.quantile(between(statistic, groups, halves, frame), level, method="higher")
            error.append(float(lengths * enlarged(groups, level) * chance))
        return _statistics(mean, distance, error, tolerance, frame, ours.shape[1])


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
