"""What the long-run statistics are made of, and the distance between two of each.

A statistic is a mean over blocks of rows of its features. That of a part of a record is the mean
over a part of its blocks, so that nothing is computed twice. All features come as (n_blocks, rank,
n) or, of pairs of coordinates, as (n_blocks, n_pairs, n).
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Bins over the range of the truth, whose ends stand in the middle of the outer ones: states that
# settle there would fall in other bins by rounding. Beside them stand two open ones.
BINS, JOINT_BINS = 30, 12
# Joint histograms are made of pairs among this many coordinates, those of largest variance.
LEADING = 4
# A coordinate that changes by this part of its size or less is constant, but for rounding.
ROUNDING = 1e-12


class Frame(NamedTuple):
    """What the truth sets for both records: scales, bins and the time step."""

    mean: Array
    std: Array
    low: Array
    high: Array
    dt: float

    @property
    def weight(self) -> Array:
        """Each coordinate's share of the variance, (rank,)."""
        return np.asarray(self.std**2 / np.sum(self.std**2))

    @property
    def pairs(self) -> NDArray[np.intp]:
        """Pairs among the coordinates of largest variance, which all change, (n_pairs, 2)."""
        n = min(LEADING, np.count_nonzero(self.std))
        leading = np.sort(np.argsort(-self.std, kind="stable")[:n])
        return np.array(list(combinations(leading.tolist(), 2)), dtype=np.intp).reshape(-1, 2)


class Statistic(NamedTuple):
    """One kind of statistic."""

    features: Callable[[Array, Frame], Array]
    """Of blocks (n_blocks, n_time, rank)."""
    distance: Callable[[Array, Array, Frame], Array]
    """Between two means of features, (..., rank, n) or (..., n_pairs, n)."""


def frame_of(blocks: Array, dt: float) -> Frame:
    """The frame that the blocks (n_blocks, n_time, rank) of the truth set."""
    axes = (0, 1)
    low, high = blocks.min(axes), blocks.max(axes)
    changes = high - low > ROUNDING * np.maximum(np.abs(low), np.abs(high))
    half = (high - low) / (2 * (BINS - 1))
    std = np.where(changes, blocks.std(axes), 0.0)
    return Frame(blocks.mean(axes), std, low - half, high + half, dt)


def moments(blocks: Array, frame: Frame) -> Array:
    """Means of the orthonormal Hermite polynomials of orders 1 to 4."""
    z = (blocks - frame.mean) / _or_one(frame.std)
    square = z * z
    orders = (
        z,
        (square - 1) / np.sqrt(2),
        z * (square - 3) / np.sqrt(6),
        (square * (square - 6) + 3) / np.sqrt(24),
    )
    return np.stack([order.mean(axis=1) for order in orders], axis=-1)


def histogram(blocks: Array, frame: Frame) -> Array:
    """Shares of the rows in each bin, the first and the last open."""
    return _shares(_bins(blocks, frame, BINS), BINS + 2)


def joint_histogram(blocks: Array, frame: Frame) -> Array:
    """Shares of the rows in each bin of two coordinates, for each pair."""
    first, second = frame.pairs.T
    bins, width = _bins(blocks, frame, JOINT_BINS), JOINT_BINS + 2
    return _shares(bins[..., first] * width + bins[..., second], width**2)


def spectrum(blocks: Array, frame: Frame) -> Array:
    """Periodograms under a Hann window, without the mean of the block."""
    from scipy.signal import periodogram

    power = periodogram(blocks, 1 / frame.dt, "hann", axis=1)[1]
    return np.asarray(np.moveaxis(power, 1, -1)[..., 1:])


def frequencies(n_time: int, dt: float) -> Array:
    """Of :func:`spectrum`."""
    return np.asarray(np.fft.rfftfreq(n_time, dt)[1:])


def autocovariance(blocks: Array, frame: Frame) -> Array:
    """Mean products with the state some rows later, up to a quarter of the block."""
    n = blocks.shape[1]
    z = np.fft.rfft(blocks - frame.mean, 2 * n, axis=1)
    n_lags = max(2, n // 4)
    sums = np.fft.irfft(np.abs(z) ** 2, axis=1)[:, :n_lags]
    return np.asarray(np.moveaxis(sums, 1, -1) / (n - np.arange(n_lags)))


def energy(blocks: Array, frame: Frame) -> Array:
    """Mean energy of each coordinate, and the mean size of its change from row to row."""
    held = (blocks - frame.mean) ** 2 / 2
    exchanged = np.abs(np.diff(held, axis=1))
    return np.stack([held.mean(axis=1), exchanged.mean(axis=1)], axis=-1)


def norm(a: Array, b: Array, frame: Frame) -> Array:
    """Euclidean, of the differences."""
    return np.asarray(np.linalg.norm(a - b, axis=-1) @ frame.weight)


def total_variation(a: Array, b: Array, frame: Frame) -> Array:
    """``½ Σ|a - b|``: the probability that is in other bins."""
    return np.asarray(np.abs(a - b).sum(axis=-1) / 2 @ frame.weight)


def total_variation_of_pairs(a: Array, b: Array, frame: Frame) -> Array:
    """The same, where a pair counts by the variance of both."""
    weight = frame.weight[frame.pairs].sum(axis=1)
    return np.asarray(np.abs(a - b).sum(axis=-1) / 2 @ (weight / weight.sum()))


def relative(a: Array, b: Array, frame: Frame) -> Array:
    """``Σ|a - b| / Σ(a + b)`` for each coordinate."""
    return np.asarray(_ratio(np.abs(a - b).sum(axis=-1), (a + b).sum(axis=-1)) @ frame.weight)


def relative_energy(a: Array, b: Array, frame: Frame) -> Array:
    """``Σ|a - b| / Σ(a + b)`` over all coordinates, mean of the energies and their changes."""
    return np.asarray(_ratio(np.abs(a - b).sum(axis=-2), (a + b).sum(axis=-2)).mean(axis=-1))


def correlation_distance(a: Array, b: Array, frame: Frame) -> Array:
    """Root mean square difference of two autocorrelations, over that of the two."""
    a, b = autocorrelation(a), autocorrelation(b)
    both = (np.sum(a**2, axis=-1) + np.sum(b**2, axis=-1)) / 2
    return np.asarray(np.sqrt(_ratio(np.sum((a - b) ** 2, axis=-1), both)) @ frame.weight)


def autocorrelation(covariance: Array) -> Array:
    """Autocovariances (..., n_lag) over the first; 0 where that is."""
    return _ratio(covariance, covariance[..., :1])


STATISTICS = {
    "moments": Statistic(moments, norm),
    "histogram": Statistic(histogram, total_variation),
    "joint_histogram": Statistic(joint_histogram, total_variation_of_pairs),
    "spectrum": Statistic(spectrum, relative),
    "autocorrelation": Statistic(autocovariance, correlation_distance),
    "energy": Statistic(energy, relative_energy),
}


def _bins(blocks: Array, frame: Frame, n: int) -> NDArray[np.intp]:
    """Numbers of the bins: 1 to `n` over the range of the truth, 0 below it and n + 1 above it."""
    place = (blocks - frame.low) / _or_one(frame.high - frame.low) * n
    return np.asarray(np.clip(np.floor(place), -1, n).astype(np.intp) + 1)


def _shares(bins: NDArray[np.intp], n: int) -> Array:
    """Shares (n_blocks, columns, n) of the rows (n_blocks, n_time, columns) in `n` bins."""
    n_blocks, n_time, columns = bins.shape
    cell = np.arange(n_blocks)[:, None, None] * columns + np.arange(columns)
    counts = np.bincount((cell * n + bins).ravel(), minlength=n_blocks * columns * n)
    return counts.reshape(n_blocks, columns, n) / n_time


def _or_one(scale: Array) -> Array:
    return np.where(scale > 0, scale, 1.0)


def _ratio(above: Array, below: Array) -> Array:
    """The ratio; 0 where there is nothing."""
    out = np.zeros(np.broadcast_shapes(above.shape, below.shape))
    return np.divide(above, below, out=out, where=below != 0)
