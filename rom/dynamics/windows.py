"""Test functions of compact support: their width, and sums that integrate against them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.fft import rfft
from scipy.sparse import csr_array
from scipy.special import eval_gegenbauer, factorial, poch

from rom.threads import slices

Array = NDArray[np.float64]

# Test functions (1 - s²)^DEGREE: so flat at their ends that sums over even samples are integrals
# to rounding, from about 32 samples a function on.
DEGREE = 16
FEWEST_STEPS = 32
# The width at which the transform of a test function has fallen to half at a frequency f is
# PASS / f: it is near a Gaussian with a standard deviation of width / (2 sqrt(2 DEGREE + 3)).
PASS = np.sqrt(2 * np.log(2)) * np.sqrt(2 * DEGREE + 3) / np.pi
# By default so many test functions start within the width of one.
OVERLAP = 24
# Above the median of the highest quarter of frequencies, by this factor, a spectrum is signal.
CLEAR = 100.0
# Rows whose spectrum is looked at first; and spectra of so many bytes of coordinates at a time.
GLIMPSE, SPECTRA_BYTES = 2**13, 2**22
# Points of the polynomials by which uneven samples are integrated.
STENCIL = 4


def spectrum_corner(Z: Array, t: Array) -> float:
    """The highest frequency, in cycles per unit of time, at which the signal clears the noise.

    The noise is the median power in the highest quarter of the spectrum (Hann window); power a
    hundred times that is signal. Over the coordinates the median is taken. Uneven samples are
    interpolated. Constant states have corner 0.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
        One stretch of continuous sampling.
    t : ndarray, shape (n_time,)

    Returns
    -------
    float

    Examples
    --------
    >>> t = np.arange(0, 100, 0.1)
    >>> noise = 0.01 * np.random.default_rng(0).normal(size=1000)
    >>> round(spectrum_corner((np.sin(2 * np.pi * 0.5 * t) + noise)[:, None], t), 1)
    0.5
    """
    groups = slices(Z.shape[1], -(-8 * Z.size // SPECTRA_BYTES))
    return float(np.median(np.concatenate([_corners(Z[:, some], t) for some in groups])))


def _corners(Z: Array, t: Array) -> Array:
    """Those of each coordinate (rank,)."""
    n = len(t)
    even, values = np.linspace(t[0], t[-1], n), np.ascontiguousarray(Z.T)
    if not is_even(t):
        values = np.stack([np.interp(even, t, z) for z in values])
    values = values - values.mean(axis=1, keepdims=True)
    values *= np.hanning(n)
    spectrum = rfft(values)
    power = spectrum.real**2 + spectrum.imag**2
    noise = np.median(power[:, -max(1, power.shape[1] // 4) :], axis=1)
    signal = power > CLEAR * noise[:, None]
    frequency = np.fft.rfftfreq(n, even[1] - even[0])
    return np.asarray((signal * frequency).max(axis=1))


def support_width(Z: Array, t: Array, pieces: list[slice]) -> float:
    """Width of test functions that keep the signal and average the noise.

    At the corner of the spectrum (see :func:`spectrum_corner`; the highest of the longest
    pieces') the transform of the test function has fallen to half. No test function has fewer
    than 32 median steps, or is wider than the longest piece. Where the first rows ask for so few
    already, the others are not looked at.

    Parameters
    ----------
    Z : ndarray, shape (n_time, rank)
    t : ndarray, shape (n_time,)
    pieces : list of slice
        Stretches of continuous sampling, one of two rows or more among them.

    Returns
    -------
    float
        In units of `t`.
    """
    spans = np.array([t[piece.stop - 1] - t[piece.start] for piece in pieces])
    steps = np.concatenate([np.diff(t[piece]) for piece in pieces])
    even = np.ptp(steps) <= 1e-9 * steps[0]  # whose median takes longer than the rest
    narrowest = FEWEST_STEPS * float(steps[0] if even else np.median(steps))
    long = [pieces[i] for i in np.flatnonzero(spans >= 0.5 * spans.max())]

    def wide(parts: list[slice]) -> float:
        corner = max(spectrum_corner(Z[part], t[part]) for part in parts)
        return float(np.clip(PASS / corner if corner > 0 else np.inf, narrowest, None))

    start, stop = long[0].start, long[0].stop
    glimpse = slice(start, start + GLIMPSE)
    if stop - start > 2 * GLIMPSE and wide([glimpse]) == narrowest:
        return float(narrowest)
    return float(min(wide(long), spans.max()))


def is_even(t: Array) -> bool:
    """Whether all steps between times are one, up to rounding."""
    step = np.diff(t)
    return bool(np.ptp(step) <= 1e-9 * step[0])


def quadrature(t: Array) -> Array:
    """Weights (n_time,) of the samples in an integral that vanishes, flat, at both ends.

    On even times they are the step. On uneven ones, those of cubic polynomials through the
    nearest four samples of each interval.

    Examples
    --------
    >>> t = np.array([0.0, 0.1, 0.3, 0.6, 0.7, 1.0])
    >>> round(float(quadrature(t) @ t**3), 12)
    0.25
    """
    step = np.diff(t)
    if is_even(t):
        return np.append(step, step[-1])
    n = min(STENCIL, len(t))
    first = np.clip(np.arange(len(step)) - n // 2 + 1, 0, len(t) - n)
    stencil = first[:, None] + np.arange(n)
    nodes = (t[stencil] - t[:-1, None]) / step[:, None]
    powers = nodes[:, None, :] ** np.arange(n)[:, None]
    integrals = np.broadcast_to(1.0 / np.arange(1, n + 1), nodes.shape)[..., None]
    weights = np.linalg.solve(powers, integrals)[..., 0] * step[:, None]
    return np.bincount(stencil.ravel(), weights.ravel(), len(t)).astype(np.float64, copy=False)


def bump(s: Array) -> tuple[Array, Array]:
    """The test function ``(1 - s²)^16`` and minus its slope, both 0 outside of -1 … 1."""
    rest = np.maximum(1 - s * s, 0.0)
    square = rest * rest
    fourth = square * square
    flat = fourth * fourth * fourth * square * rest  # to the 15th
    return rest * flat, 2 * DEGREE * s * flat


def bump_derivative(s: Array, order: int) -> Array:
    """The derivative of this order of ``(1 - s²)^16`` at `s` in -1 … 1, by Rodrigues' formula.

    Examples
    --------
    >>> bump_derivative(np.array([0.0, 0.5]), 0).tolist() == [1.0, 0.75**16]
    True
    >>> bump_derivative(np.array([0.0]), 2)
    array([-32.])
    """
    index = DEGREE - order + 0.5
    scale = (-2.0) ** order * factorial(order) * poch(index + 0.5, order) / poch(2 * index, order)
    return np.asarray(scale * (1 - s * s) ** (DEGREE - order) * eval_gegenbauer(order, index, s))


def test_functions(t: Array, centres: Array, width: float) -> tuple[csr_array, csr_array]:
    """Matrices (n_windows, n_time) that integrate samples times φ, and times -dφ/dt.

    φ is ``(1 - s²)^16`` where ``s = 2 (t - centre) / width`` is in -1 … 1. Each row is divided by
    the norm of its weights in the second matrix: the standard deviation that white noise in the
    states brings into the row.

    Parameters
    ----------
    t : ndarray, shape (n_time,)
    centres : ndarray, shape (n_windows,)
        Half a width or more inside the times.
    width : float

    Returns
    -------
    value, slope : csr_array
    """
    half = width / 2
    first = np.searchsorted(t, centres - half, side="right")
    count = np.searchsorted(t, centres + half, side="left") - first
    ends = np.concatenate([[0], np.cumsum(count)])
    rows = np.arange(ends[-1]) + np.repeat(first - ends[:-1], count)
    value, slope = bump((t[rows] - np.repeat(centres, count)) / half)
    weight = quadrature(t)[rows]
    value *= weight
    slope *= weight / half
    windows = np.repeat(np.arange(len(centres)), count)
    deviation = np.sqrt(np.bincount(windows, slope**2, len(centres)))[windows]
    shape = (len(centres), len(t))
    return (
        csr_array((value / deviation, rows, ends), shape),
        csr_array((slope / deviation, rows, ends), shape),
    )


test_functions.__test__ = False  # type: ignore[attr-defined]
