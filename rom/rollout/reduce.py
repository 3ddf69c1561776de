"""What long runs leave behind when their states are not kept: sums that can be added up.

A reduction begins empty, is given the states of some members stretch by stretch by ``update``,
and takes in another of its kind by ``merge``, so that runs of any length, on any number of
machines, end in one small object.
"""

from __future__ import annotations

from typing import Protocol, Self, runtime_checkable

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from scipy.fft import rfft, rfftfreq
from scipy.signal import get_window

from rom.data.trajectory import EVEN_RTOL
from rom.rollout.histograms import Histogram, JointHistogram, check_alike, finite_columns

Array = NDArray[np.float64]

__all__ = ["Histogram", "JointHistogram", "Moments", "Reduction", "Spectrum"]


@runtime_checkable
class Reduction(Protocol):
    """A small object that sums up states; :func:`rom.rollout.ensemble.ensemble` works on copies."""

    def begin(self, rank: int, dt: float) -> Self:
        """Return an empty one of its kind for new members, or refuse their states.

        They have `rank` coordinates and are `dt` apart in time, or NaN where that varies.
        """

    def update(self, z: Array) -> None:
        """Take in the next states (n_members, n_time, rank) of the same members.

        Members that have ended are NaN. The next states overwrite these: keep copies.
        """

    def merge(self, other: Self) -> None:
        """Take in all that `other`, of other members, has taken in; either may be empty."""


class Moments:
    """Mean, covariance, skewness and kurtosis of the states.

    Attributes
    ----------
    n : int
        Number of states.

    References
    ----------
    P. Pébay, "Formulas for robust, one-pass parallel computation of covariances and
    arbitrary-order statistical moments", Sandia report SAND2008-6212 (2008).

    Examples
    --------
    >>> moments = Moments()
    >>> moments.update(np.array([[[1.0], [2.0]]]))
    >>> moments.update(np.array([[[6.0]]]))
    >>> moments.n, moments.mean, moments.covariance
    (3, array([3.]), array([[7.]]))
    """

    def __init__(self) -> None:
        self.n = 0
        self._mean: Array = np.zeros(0)
        self._second: Array = np.zeros(0)
        self._third: Array = np.zeros(0)
        self._fourth: Array = np.zeros(0)

    def begin(self, rank: int, dt: float) -> Moments:
        """Return empty moments, for as many coordinates as these have if they hold states."""
        if self.n:
            check_alike("rank", len(self._mean), rank)
        return Moments()

    def update(self, z: Array) -> None:
        """Take in states (n_members, n_time, rank)."""
        columns, new = finite_columns(z), Moments()
        if not columns.shape[1]:
            return
        new.n, new._mean = columns.shape[1], columns.mean(axis=1)
        columns -= new._mean[:, None]
        squares = columns * columns
        new._second = columns @ columns.T
        new._third = np.einsum("ij,ij->i", squares, columns)
        new._fourth = np.einsum("ij,ij->i", squares, squares)
        self.merge(new)

    def merge(self, other: Moments) -> None:
        """Take in the states of `other`."""
        if not self.n or not other.n:
            if other.n:
                self.__dict__.update(other.__dict__)
            return
        check_alike("rank", len(self._mean), len(other._mean))
        n, a, b = self.n + other.n, self.n, other.n
        d, ab = other._mean - self._mean, a * b / n
        ours, theirs = np.diag(self._second), np.diag(other._second)
        self._fourth = (
            self._fourth
            + other._fourth
            + d**4 * ab * (a * a - a * b + b * b) / n**2
            + 6 * d**2 * (a * a * theirs + b * b * ours) / n**2
            + 4 * d * (a * other._third - b * self._third) / n
        )
        self._third = (
            self._third
            + other._third
            + d**3 * ab * (a - b) / n
            + 3 * d * (a * theirs - b * ours) / n
        )
        self._second = self._second + other._second + np.outer(d, d) * ab
        self._mean = self._mean + d * (b / n)
        self.n = n

    def _check(self, fewest: int) -> None:
        if self.n < fewest:
            raise ValueError(
                f"The mean needs one state and the other moments two, but there have been {self.n}."
            )

    @property
    def mean(self) -> Array:
        """Of each coordinate (rank,)."""
        self._check(1)
        return self._mean

    @property
    def covariance(self) -> Array:
        """Of the coordinates (rank, rank), unbiased for independent states."""
        self._check(2)
        return self._second / (self.n - 1)

    @property
    def skewness(self) -> Array:
        """Of each coordinate (rank,); 0 for a normal distribution."""
        self._check(2)
        return self._third * np.sqrt(self.n) / np.diag(self._second) ** 1.5

    @property
    def kurtosis(self) -> Array:
        """Of each coordinate (rank,); 3 for a normal distribution."""
        self._check(2)
        return self._fourth * self.n / np.diag(self._second) ** 2


class Spectrum:
    """Power spectra by Welch's method: segments that overlap by half, Hann window, mean removed.

    Parameters
    ----------
    n_segment : int
        Even number of states per segment.
    dt : float
        Time between states.

    Attributes
    ----------
    n : int
        Number of segments; members that end inside one leave it out.

    References
    ----------
    P. D. Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE
    Transactions on Audio and Electroacoustics 15 (1967) 70-73.

    Examples
    --------
    >>> spectrum = Spectrum(64, dt=0.1)
    >>> spectrum.update(np.sin(2 * np.pi * 1.25 * 0.1 * np.arange(640.0))[None, :, None])
    >>> float(spectrum.frequency[spectrum.power[0].argmax()]), spectrum.n
    (1.25, 19)
    """

    def __init__(self, n_segment: int, dt: float) -> None:
        if n_segment < 2 or n_segment % 2 or not dt > 0:
            raise ValueError(
                "A spectrum needs an even number of states per segment and a positive time "
                f"between them, but n_segment={n_segment} and dt={dt}."
            )
        self.n_segment, self.dt, self.n = int(n_segment), float(dt), 0
        self._sum: Array = np.zeros(0)
        self._rest: Array | None = None

    def begin(self, rank: int, dt: float) -> Spectrum:
        """Return a spectrum of segments as long that is empty, if `dt` is that of this one."""
        if not abs(dt - self.dt) <= EVEN_RTOL * self.dt:
            raise ValueError(
                f"A spectrum with dt={self.dt:g} needs output times that far apart, but "
                + (f"their step is {dt:g}." if dt > 0 else "they have no even step.")
            )
        if self.n:
            check_alike("rank", len(self._sum), rank)
        return Spectrum(self.n_segment, self.dt)

    def update(self, z: Array) -> None:
        """Take in the next states (n_members, n_time, rank) of the same members."""
        rows = z.swapaxes(1, 2)
        if self._rest is not None:
            rows = np.concatenate([self._rest, rows], axis=2)
        hop = self.n_segment // 2
        n_done = max(0, (rows.shape[2] - self.n_segment) // hop + 1)
        self._rest = rows[:, :, n_done * hop :].copy()
        if not n_done:
            return
        window = get_window("hann", self.n_segment)
        segments = sliding_window_view(rows, self.n_segment, axis=2)[:, :, ::hop]
        segments = segments - segments.mean(axis=-1, keepdims=True)
        segments *= window
        power = np.abs(rfft(segments, axis=-1, overwrite_x=True)) ** 2
        power[..., 1:-1] *= 2
        whole = np.isfinite(power[..., 0]).all(axis=1)
        total = np.sum(power, axis=(0, 2), where=whole[:, None, :, None])
        total *= self.dt / np.sum(window**2)
        self._sum = total if not self.n else self._sum + total
        self.n += int(np.count_nonzero(whole))

    def merge(self, other: Spectrum) -> None:
        """Take in the segments of `other`, which are as long."""
        check_alike("n_segment and dt", (self.n_segment, self.dt), (other.n_segment, other.dt))
        if self.n and other.n:
            check_alike("rank", len(self._sum), len(other._sum))
        if other.n:
            self._sum = other._sum if not self.n else self._sum + other._sum
            self.n += other.n

    @property
    def frequency(self) -> Array:
        """In cycles per unit of time (n_segment / 2 + 1,)."""
        return np.asarray(rfftfreq(self.n_segment, self.dt))

    @property
    def power(self) -> Array:
        """Power by unit of frequency (rank, n_segment / 2 + 1): it integrates to the variance."""
        if not self.n:
            raise ValueError(
                f"A spectrum needs a whole segment, {self.n_segment} states of one member, but "
                "there has been none."
            )
        return self._sum / self.n
