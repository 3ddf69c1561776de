"""Sparse identification in weak form: the equation integrated against test functions."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import ArrayLike, NDArray
from scipy.fft import rfft
from scipy.sparse import csr_array
from sklearn.utils._param_validation import Interval

from rom.base import Series
from rom.data.trajectory import segments
from rom.dynamics.library import Library
from rom.dynamics.normal import normal
from rom.dynamics.sparse import Criterion, Solver
from rom.dynamics.terms import N_BLOCKS, TermDynamics
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
# Of even samples, so many windows are integrated over at a time.
TOGETHER = 8
# On so many parts of its width a test function is, to rounding, a polynomial through so many
# Chebyshev points. That pays where samples are so many times more, for so many windows at a time.
PARTS, POINTS = 10, 16
CHEBYSHEV = -np.cos((np.arange(POINTS) + 0.5) * np.pi / POINTS)
FEWER, GATHERED_TOGETHER = 32, 64
# Rows whose spectrum is looked at first.
GLIMPSE = 2**13
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
    return float(np.median((signal * frequency).max(axis=1)))


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
    narrowest = FEWEST_STEPS * np.median(np.concatenate([np.diff(t[piece]) for piece in pieces]))
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


def weak_rows(
    terms: Callable[[slice], Array],
    Z: Array,
    t: Array,
    pieces: list[slice],
    *,
    width: float,
    n_windows: int | None = None,
) -> tuple[Array, Array]:
    """The equation ``dz/dt = C θ(z, u)`` integrated against test functions.

    Integration by parts moves the derivative from the states to the test function:
    ``∫ φ θ dt Cᵀ = -∫ φ' z dt``, exactly, as φ vanishes at both ends of its window.

    Parameters
    ----------
    terms : callable
        Gives the values (n_rows, n_terms) of the terms θ in a piece, which are held for one piece
        at a time.
    Z : ndarray, shape (n_time, rank)
        States.
    t : ndarray, shape (n_time,)
        Times, increasing inside each piece; steps of any length.
    pieces : list of slice
        Stretches of continuous sampling, one of `width` or more among them; shorter ones have no
        window.
    width : float
        Width of the windows, in units of `t`.
    n_windows : int, optional
        Number of windows in all, at even distances in each piece; by default so many that 24
        begin in a width.

    Returns
    -------
    A : ndarray, shape (n_windows, n_terms)
    Y : ndarray, shape (n_windows, rank)
        Their rows carry white noise in the states with equal variance.
    """
    room = np.array([t[piece.stop - 1] - t[piece.start] - width for piece in pieces])
    fits = np.flatnonzero(room >= -1e-9 * width)
    room = np.maximum(room, 0.0)
    total = room[fits].sum() or 1.0
    A, Y = [], []
    for i in fits:
        share = OVERLAP / width if n_windows is None else n_windows / total
        n = max(1, round(room[i] * share))
        rows = _even_rows if is_even(t[pieces[i]]) else _uneven_rows
        theta, slope_z = rows(terms(pieces[i]), Z[pieces[i]], t[pieces[i]], width, n)
        A.append(theta)
        Y.append(slope_z)
    return np.concatenate(A), np.concatenate(Y)


def _even_rows(terms: Array, Z: Array, t: Array, width: float, n: int) -> tuple[Array, Array]:
    """Integrals over windows that begin at samples: the test function is the same for all.

    Windows that overlap are taken some at a time, so that their samples are read once for all;
    those that do not overlap much are copied.
    """
    inside = int(np.searchsorted(t, t[0] + width * (1 + 1e-9), side="right"))
    first = np.rint(np.linspace(0, len(t) - inside, n)).astype(int)
    side = inside // PARTS
    if side >= FEWER * POINTS and n * side > len(t):  # several begin within a part of the first
        A, Y = _gathered_rows(terms, Z, first, inside, width / 2 * (len(t) - 1) / (t[-1] - t[0]))
        return A * (width / 2), Y
    centre = np.array([(t[0] + t[inside - 1]) / 2])
    stride = (len(t) - inside) // max(n - 1, 1)
    together = min(max(inside // max(stride, 1), 1), TOGETHER, n)
    A, Y = np.empty((n, terms.shape[1])), np.empty((n, Z.shape[1]))
    for matrix, samples, out in zip(
        test_functions(t[:inside], centre, width), (terms, Z), (A, Y), strict=True
    ):
        if together == 1:
            np.matmul(sliding_window_view(samples, inside, axis=0)[first], matrix.toarray()[0], out)
            continue
        shifted = np.zeros((together, inside + (together - 1) * stride))
        for i in range(together):
            shifted[i, i * stride : i * stride + inside] = matrix.toarray()[0]
        for start in range(0, n, together):
            some = out[start : start + together]
            span = inside + (len(some) - 1) * stride
            some[:] = shifted[: len(some), :span] @ samples[first[start] : first[start] + span]
    return A, Y


def _gathered_rows(
    terms: Array, Z: Array, first: NDArray[np.intp], inside: int, half: float
) -> tuple[Array, Array]:
    """Integrals, in units of half a width, over windows of long test functions (see `gather`).

    They hold `inside` samples from each of `first` on; half a width has `half` steps.
    """
    centre, side = (inside - 1) / 2, inside // PARTS
    deviation = np.linalg.norm(bump((np.arange(float(inside)) - centre) / half)[1])
    block, offset = np.divmod(first, side)
    place = (side * (np.arange(PARTS + 2)[:, None] + (1 + CHEBYSHEV) / 2) - 0.5).ravel()
    A, Y = np.empty((len(first), terms.shape[1])), np.empty((len(first), Z.shape[1]))
    views = [sliding_window_view(points, len(place), axis=0) for points in gather(side, terms, Z)]
    for start in range(0, len(first), GATHERED_TOGETHER):
        some = slice(start, start + GATHERED_TOGETHER)
        weights = bump((place - offset[some, None] - centre) / half)
        for out, view, weight in zip((A, Y), views, weights, strict=True):
            out[some] = (view[POINTS * block[some]] @ weight[:, :, None])[..., 0] / deviation
    return A, Y


def gather(side: int, *arrays: Array) -> list[Array]:
    """Few weighted points for many even samples, with the same integrals against what is smooth.

    On each `side` samples a test function is its polynomial through Chebyshev points. So the sum
    of samples times test function is one over points: of the function there, times the sum of
    samples times the point's Lagrange polynomial (Dutt, Gu & Rokhlin 1996, SIAM J. Numer. Anal.
    33, 1689).

    Parameters
    ----------
    side : int
        Samples to each 16 points.
    *arrays : ndarray, shape (n_time, n)
        Samples.

    Returns
    -------
    list of ndarray, shape (16 (n_time // side + 2), n)
        Points of one block of samples after the other, and zeros.

    Examples
    --------
    >>> bool(np.isclose(gather(20, np.ones((100, 1)))[0].sum(), 100))
    True
    """
    x = (2 * np.arange(side) + 1) / side - 1
    basis = chebvander(x, POINTS - 1) @ np.linalg.inv(chebvander(CHEBYSHEV, POINTS - 1))
    gathered = []
    for samples in arrays:
        columns = np.ascontiguousarray(samples.T)
        n, n_time = columns.shape
        whole, rest = divmod(n_time, side)
        points = np.zeros((n, whole + 2, POINTS))
        blocks = columns[:, : n_time - rest].reshape(n, whole, side)
        np.matmul(blocks, basis, out=points[:, :whole])
        points[:, whole] = columns[:, n_time - rest :] @ basis[:rest]
        gathered.append(points.reshape(n, -1).T)
    return gathered


def _uneven_rows(terms: Array, Z: Array, t: Array, width: float, n: int) -> tuple[Array, Array]:
    """Integrals over windows at even distances."""
    room = max(t[-1] - t[0] - width, 0.0)
    start = t[0] + width / 2
    centres = start + room * (np.linspace(0, 1, n) if n > 1 else np.array([0.5]))
    value, slope = test_functions(t, centres, width)
    return value @ terms, slope @ Z


class WeakSINDy(TermDynamics):
    """Sparse identification in weak form: for noisy states.

    No derivative is taken of the data. The equation is integrated against smooth test functions
    of compact support, and the derivative is moved onto them by parts.

    Parameters
    ----------
    library : Library, optional
        Candidate terms; polynomials up to degree 2 by default. Inputs are further variables.
    solver : {"stlsq", "sr3", "forward", "subset", "linbreg"}, optional
        How terms are chosen: see :func:`rom.dynamics.sparse.fit_sparse`.
    threshold : float or {"aic", "aicc", "bic"}, optional
        Terms whose coefficient is smaller in modulus are dropped; or the criterion that chooses
        how many stay.
    relative_threshold : bool, optional
        Take `threshold` as a fraction: drop terms whose root mean square over the rows is less
        than this share of the target's. A pure number.
    width : float, optional
        Width of the test functions, in units of time. By default so wide that at the corner of
        the states' spectrum, where noise begins, their transform has fallen to half, and at least
        32 steps.
    n_windows : int, optional
        Number of test functions; by default 24 begin in each width.
    alpha : float, optional
        Ridge parameter, a pure number, for STLSQ.
    constraint : tuple of array_like, optional
        Equations that the coefficients meet exactly, as for :class:`rom.SINDy`.
    n_models : int, optional
        Models of an ensemble; each sees rows drawn again, in blocks as for :class:`rom.SINDy`,
        but no shorter than a test function.
    n_dropped : int, optional
        Terms of the library, drawn at random, that are left out of each model of an ensemble.
    names : sequence of str, optional
        Names of the latent coordinates, and of the inputs, for :meth:`equations`.
    random_state : int, RandomState or None, optional
        Seed of the ensemble.

    Attributes
    ----------
    coef_ : ndarray, shape (n_targets, n_terms)
        Coefficients, in the library's order of terms; the median of an ensemble's.
    inclusion_probability_, coef_std_, coef_interval_ : ndarray, or None
        Of an ensemble, as for :class:`rom.SINDy`.
    normal_ : list of ndarray
        Sums over the rows, which :meth:`merge` adds to, and :meth:`refit` and :meth:`path` ask.
    width_ : float
        Width of the test functions; absent where derivatives were given.

    Raises
    ------
    ValueError
        By a fit: as :class:`rom.SINDy`, or if no stretch of continuous sampling is as long as
        `width`.

    Warns
    -----
    UserWarning
        If some rows are in stretches shorter than `width` and cannot be used, or if `threshold`
        dropped every term of an equation.

    Notes
    -----
    Test functions are ``(1 - s²)^16``, whose full width at half maximum is a fifth of `width`.
    Integrals of even samples are exact to rounding; of uneven ones, of fourth order in the step.
    Rows are divided by the standard deviation that white noise brings into them. Terms are of
    noisy states still: the square of a state is biased by the variance of its noise. Inputs are
    taken to be as smooth as the states: where they jump, the error is of first order in the step.
    The terms are in memory for one stretch of continuous sampling at a time. For trajectories that
    it cannot hold together fit each, with one `width`, and :meth:`merge`.

    References
    ----------
    Schaeffer & McCalla (2017), Phys. Rev. E 96, 023302; Messenger & Bortz (2021), Multiscale
    Model. Simul. 19, 1474.

    Examples
    --------
    >>> from rom.dynamics import PolynomialLibrary
    >>> t = np.arange(0, 20, 0.02)
    >>> Z = np.exp(-0.1 * t)[:, None] * np.stack([np.cos(2 * t), -np.sin(2 * t)], axis=1)
    >>> Z += 0.02 * np.random.default_rng(0).normal(size=Z.shape)
    >>> model = WeakSINDy(PolynomialLibrary(2), threshold=0.05, names=["x", "y"]).fit(Z, t=t)
    >>> model.equations(precision=1)
    ['dx/dt = -0.09 x + 2 y', 'dy/dt = -2 x - 0.1 y']
    """

    width_: float

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **TermDynamics._parameter_constraints,
        "width": [Interval(Real, 0, None, closed="neither"), None],
        "n_windows": [Interval(Integral, 1, None, closed="left"), None],
    }

    def __init__(
        self,
        library: Library | None = None,
        *,
        solver: Solver = "stlsq",
        threshold: float | Criterion = 0.1,
        relative_threshold: bool = False,
        width: float | None = None,
        n_windows: int | None = None,
        alpha: float = 0.0,
        constraint: tuple[ArrayLike, ArrayLike] | None = None,
        n_models: int = 1,
        n_dropped: int = 0,
        names: Sequence[str] | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> None:
        self.library = library
        self.solver = solver
        self.threshold = threshold
        self.relative_threshold = relative_threshold
        self.width = width
        self.n_windows = n_windows
        self.alpha = alpha
        self.constraint = constraint
        self.n_models = n_models
        self.n_dropped = n_dropped
        self.names = names
        self.random_state = random_state

    def _fit_trajectories(self, series: Series) -> None:
        Z, t = series.Z, series.t
        assert t is not None  # Dynamics.fit has checked
        pieces = [p for p in segments(t, series.trajectory) if p.stop - p.start > 1]
        spans = np.array([t[p.stop - 1] - t[p.start] for p in pieces])
        if self.width is None and pieces:
            self.width_ = support_width(Z, t, pieces)
        else:
            self.width_ = float(self.width or 0.0)
        usable = [p for p, s in zip(pieces, spans, strict=True) if s >= self.width_ * (1 - 1e-9)]
        if not usable:
            raise ValueError(
                f"The test functions are {self.width_:g} wide, but the longest of the "
                f"{len(pieces)} stretches of continuous sampling lasts "
                f"{spans.max(initial=0.0):g}. Set a smaller width."
            )
        left_out = len(Z) - sum(p.stop - p.start for p in usable)
        if left_out:
            warnings.warn(
                f"{left_out} of {len(Z)} rows are in stretches shorter than the test functions, "
                f"which are {self.width_:g} wide, and cannot be used.",
                stacklevel=4,
            )

        def terms(piece: slice) -> Array:
            return self._terms(Z[piece], None if series.u is None else series.u[piece])

        A, Y = weak_rows(terms, Z, t, usable, width=self.width_, n_windows=self.n_windows)
        # Test functions that overlap bring the same errors: a block is as long as one of them.
        n_blocks = int(np.clip(spans.sum() / self.width_, 2, N_BLOCKS))
        blocks = slices(len(A), 1 if self.n_models == 1 else n_blocks)
        self._fit_sums([normal(A[rows], Y[rows], exact=True) for rows in blocks])
