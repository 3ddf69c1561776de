"""The equation integrated over windows: rows of a regression without derivatives, and their sums.

Windows are taken in groups, so that the terms of few samples are held at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.polynomial.chebyshev import chebvander
from numpy.typing import NDArray

from rom.dynamics.normal import Normal, normal
from rom.dynamics.windows import OVERLAP, STENCIL, bump, is_even, test_functions
from rom.threads import slices

Array = NDArray[np.float64]

# So much is held of terms, and of weights of samples in windows, at a time: it stays in a core's
# cache. But of no fewer samples than so many windows are wide.
GROUP_BYTES, WIDTHS = 2**22, 16
# Of even samples, so many windows are integrated over at a time.
TOGETHER = 8
# On so many parts of its width a test function is, to rounding, a polynomial through so many
# Chebyshev points. That pays where samples are so many times more, for so many windows at a time.
PARTS, POINTS = 10, 16
CHEBYSHEV = -np.cos((np.arange(POINTS) + 0.5) * np.pi / POINTS)
FEWER, GATHERED_TOGETHER = 32, 64


class Windows(NamedTuple):
    """Windows over one stretch of continuous sampling, in the order of time."""

    first: NDArray[np.intp]
    """(n_windows,): the first sample that each needs."""
    last: NDArray[np.intp]
    """(n_windows,): the one after its last."""
    together: int
    """So many are integrated over at a time."""
    integrate: Callable[[slice, Array, Array], tuple[Array, Array]]
    """Of some windows, and of the terms and states from the first sample of these on."""

    def groups(self, n_rows: int) -> Iterator[slice]:
        """The windows in groups: those that begin within so many samples."""
        starts = self.first[:: self.together]
        edges = np.searchsorted(starts, range(0, starts[-1] + 1, n_rows)) * self.together
        for start, stop in pairwise([*edges.tolist(), len(self.first)]):
            if start < stop:
                yield slice(start, stop)


def weak_sums(
    terms: Callable[[slice], Array],
    Z: Array,
    t: Array,
    pieces: list[slice],
    *,
    width: float,
    n_windows: int | None = None,
    n_blocks: int = 1,
) -> list[Normal]:
    """Sums over the rows of :func:`weak_rows`, which are held for one group of windows at a time.

    Parameters
    ----------
    terms, Z, t, pieces, width, n_windows
        As for :func:`weak_rows`.
    n_blocks : int, optional
        Sum so many blocks of about as many windows apart.

    Returns
    -------
    list of Normal
        With their root; as many as blocks, or as windows where these are fewer.
    """
    blocks = slices(int(count_windows(t, pieces, width, n_windows).sum()), n_blocks)
    sums: dict[int, Normal] = {}
    done = 0
    for A, Y in weak_rows(terms, Z, t, pieces, width=width, n_windows=n_windows):
        for i, block in enumerate(blocks):
            part = slice(max(block.start - done, 0), max(block.stop - done, 0))
            if len(A[part]):
                more = normal(A[part], Y[part], exact=True)
                sums[i] = sums[i] + more if i in sums else more
        done += len(A)
    return list(sums.values())


def count_windows(
    t: Array, pieces: list[slice], width: float, n_windows: int | None = None
) -> NDArray[np.intp]:
    """Number of windows (n_pieces,) in each piece, 0 where none fits: see :func:`weak_rows`."""
    room = np.array([t[piece.stop - 1] - t[piece.start] - width for piece in pieces])
    fits = room >= -1e-9 * width
    room = np.maximum(room, 0.0)
    share = OVERLAP / width if n_windows is None else n_windows / (room.sum() or 1.0)
    return np.where(fits, np.maximum(np.rint(room * share), 1), 0).astype(np.intp)


def weak_rows(
    terms: Callable[[slice], Array],
    Z: Array,
    t: Array,
    pieces: list[slice],
    *,
    width: float,
    n_windows: int | None = None,
) -> Iterator[tuple[Array, Array]]:
    """The equation ``dz/dt = C θ(z, u)`` integrated against test functions.

    Integration by parts moves the derivative from the states to the test function:
    ``∫ φ θ dt Cᵀ = -∫ φ' z dt``, exactly, as φ vanishes at both ends of its window.

    Parameters
    ----------
    terms : callable
        Gives the values (n_rows, n_terms) of the terms θ in a slice of rows.
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

    Yields
    ------
    A : ndarray, shape (n, n_terms)
    Y : ndarray, shape (n, rank)
        Rows of some windows after the other, which carry white noise in the states with equal
        variance.
    """
    n_terms = terms(slice(0, 1)).shape[1]
    held: list[tuple[Array, Array]] = []
    n_held = 0
    for piece, n in zip(pieces, count_windows(t, pieces, width, n_windows).tolist(), strict=True):
        if not n:
            continue
        times = t[piece]
        windows = (even_windows if is_even(times) else uneven_windows)(times, width, n)
        first, last = windows.first, windows.last
        inside = last - first
        n_held_each = n_terms + int(inside.sum()) // len(times)
        n_rows = max(GROUP_BYTES // (8 * n_held_each), WIDTHS * int(inside.max()))
        for some in windows.groups(n_rows):
            rows = slice(piece.start + first[some.start], piece.start + last[some.stop - 1])
            held.append(windows.integrate(some, terms(rows), Z[rows]))
            n_held += rows.stop - rows.start
            if n_held >= n_rows:
                A, Y = map(np.concatenate, zip(*held, strict=True))
                held, n_held = [], 0
                yield A, Y
    if held:
        A, Y = map(np.concatenate, zip(*held, strict=True))
        yield A, Y


def even_windows(t: Array, width: float, n: int) -> Windows:
    """Windows that begin at samples, at even times: the test function is the same for all.

    Windows that overlap are taken some at a time, so that their samples are read once for all;
    those that do not overlap much are copied.
    """
    inside = int(np.searchsorted(t, t[0] + width * (1 + 1e-9), side="right"))
    first = np.rint(np.linspace(0, len(t) - inside, n)).astype(np.intp)
    side = inside // PARTS
    if side >= FEWER * POINTS and n * side > len(t):  # several begin within a part of the first
        half = width / 2 * (len(t) - 1) / (t[-1] - t[0])
        return Windows(first, first + inside, 1, partial(_gathered, first, inside, half, width))
    stride = (len(t) - inside) // max(n - 1, 1)
    together = min(max(inside // max(stride, 1), 1), TOGETHER, n)
    place = np.arange(n) % together
    first = first[np.arange(n) - place] + place * stride
    shifted = np.zeros((2, together, inside + (together - 1) * stride))
    centre = np.array([(t[0] + t[inside - 1]) / 2])
    for out, matrix in zip(shifted, test_functions(t[:inside], centre, width), strict=True):
        (weights,) = matrix.toarray()
        for i in range(together):
            out[i, i * stride : i * stride + inside] = weights

    def integrate(windows: slice, *samples: Array) -> tuple[Array, Array]:
        starts = first[windows] - first[windows.start]
        A, Y = map(partial(_overlapping, starts), shifted, samples)
        return A, Y

    return Windows(first, first + inside, together, integrate)


def _overlapping(starts: NDArray[np.intp], shifted: Array, samples: Array) -> Array:
    """Sums (n_windows, n) of samples times a test function that is `shifted` for some windows."""
    together, width = shifted.shape
    if together == 1:
        copies = sliding_window_view(samples, width, axis=0)[starts]
        return np.asarray(copies @ shifted[0])
    out = np.empty((len(starts), samples.shape[1]))
    for i in range(0, len(starts), together):
        some, span = out[i : i + together], samples[starts[i] : starts[i] + width]
        np.matmul(shifted[: len(some), : len(span)], span, out=some)
    return out


def _gathered(
    first: NDArray[np.intp],
    inside: int,
    half: float,
    width: float,
    windows: slice,
    terms: Array,
    Z: Array,
) -> tuple[Array, Array]:
    """Integrals over windows of long test functions (see `gather`).

    They hold `inside` samples from each of `first` on; half a width has `half` steps.
    """
    centre, side = (inside - 1) / 2, inside // PARTS
    deviation = np.linalg.norm(bump((np.arange(float(inside)) - centre) / half)[1])
    first = first[windows] - first[windows.start]
    block, offset = np.divmod(first, side)
    place = (side * (np.arange(PARTS + 2)[:, None] + (1 + CHEBYSHEV) / 2) - 0.5).ravel()
    A, Y = np.empty((len(first), terms.shape[1])), np.empty((len(first), Z.shape[1]))
    views = [
        sliding_window_view(points, (len(place), points.shape[1]))[:, 0]
        for points in gather(side, terms, Z)
    ]
    for start in range(0, len(first), GATHERED_TOGETHER):
        some = slice(start, start + GATHERED_TOGETHER)
        weights = bump((place - offset[some, None] - centre) / half)
        for out, view, weight in zip((A, Y), views, weights, strict=True):
            out[some] = (weight[:, None] @ view[POINTS * block[some]])[:, 0] / deviation
    return A * (width / 2), Y


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
        n_time, n = samples.shape
        whole, rest = divmod(n_time, side)
        points = np.zeros((whole + 2, POINTS, n))
        blocks = samples[: n_time - rest].reshape(whole, side, n)
        np.matmul(basis.T, blocks, out=points[:whole])
        points[whole] = basis[:rest].T @ samples[n_time - rest :]
        gathered.append(points.reshape(-1, n))
    return gathered


def uneven_windows(t: Array, width: float, n: int) -> Windows:
    """Windows at even distances."""
    room = max(t[-1] - t[0] - width, 0.0)
    start = t[0] + width / 2
    centres = start + room * (np.linspace(0, 1, n) if n > 1 else np.array([0.5]))
    # Weights of the samples outside of a window have a part in those of the first inside.
    first = np.searchsorted(t, centres - width / 2, side="right") - STENCIL
    last = np.searchsorted(t, centres + width / 2, side="left") + STENCIL
    first, last = np.maximum(first, 0), np.minimum(last, len(t))

    def integrate(windows: slice, terms: Array, Z: Array) -> tuple[Array, Array]:
        times = t[first[windows.start] : last[windows.stop - 1]]
        value, slope = test_functions(times, centres[windows], width)
        return value @ terms, slope @ Z

    return Windows(first, last, 1, integrate)
