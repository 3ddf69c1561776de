"""A gridded field integrated over windows: rows of a regression without derivatives, summed.

A few times are held at a time, with those of before that windows still need.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from math import prod
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from scipy.sparse import csr_array

from rom import checks
from rom.dynamics.normal import Normal, normal, sum_normals
from rom.dynamics.windows import PASS, bump_derivative, spectrum_corner

Array = NDArray[np.float64]

# Of a test function along each axis; and how many begin within its width.
FEWEST_STEPS, OVERLAP = 24, 8
# Terms with high derivatives carry the noise of short waves: the transform of a test function is
# to have fallen to a sixteenth at the corner of the spectrum.
WIDER = 2.0
# Lines of the field along an axis whose spectra are looked at.
N_LINES = 64
# So much of the field is read at a time, but of no fewer times than a window is wide.
SLAB_BYTES = 2**22


def default_widths(field: Any, steps: Sequence[float]) -> Array:
    """Widths (n_axes,) of test functions that keep the signal and average the noise.

    Along each axis that of the spectra of 64 lines, evenly spread over the field, of which no more
    is held. The chunks of a dask array are computed once for all axes.
    """
    u = xr.DataArray(field)
    found = xr.Dataset({axis: _lines(u, axis) for axis in range(u.ndim)}).compute()
    return np.array([_width(found[axis].to_numpy(), step) for axis, step in enumerate(steps)])


def _lines(u: xr.DataArray, axis: int) -> xr.DataArray:
    """Some lines (n, n_lines) of the field along one axis."""
    dim, lines = u.dims[axis], f"lines_{axis}"
    sizes = {other: size for other, size in u.sizes.items() if other != dim}
    n_lines = prod(sizes.values())
    some = np.linspace(0, n_lines - 1, min(n_lines, N_LINES)).astype(int)
    places = np.unravel_index(some, tuple(sizes.values()))
    chosen = {other: (lines, place) for other, place in zip(sizes, places, strict=True)}
    return u.isel(chosen).transpose(dim, lines)


def _width(lines: NDArray[Any], step: float) -> float:
    """The width for lines of the field (n, n_lines) along one axis."""
    n = len(lines)
    values = lines.astype(np.float64, copy=False)
    corner = spectrum_corner(values, np.linspace(0.0, (n - 1) * step, n))
    width = WIDER * PASS / corner if corner > 0 else np.inf
    least = min(FEWEST_STEPS, n - 1) * step
    return float(max(least, min(width, 0.5 * (n - 1) * step)))


def window_steps(step: float, width: float) -> tuple[int, int]:
    """Steps in half a window, and from the begin of one window to that of the next."""
    half = max(1, int(width / (2 * step) + 1e-9))
    return half, max(1, 2 * half // OVERLAP)


def window_matrices(n: int, step: float, width: float, orders: Sequence[int]) -> list[csr_array]:
    """For each order k a matrix (n_windows, n) that integrates even samples times (-1)^k dᵏφ/dxᵏ.

    That is what integration by parts leaves of the integral of φ times the k-th derivative of
    what was sampled.

    Parameters
    ----------
    n : int
        Number of samples.
    step : float
        Their distance.
    width : float
        Width of the test functions; at most ``(n - 1) step``.
    orders : sequence of int

    Returns
    -------
    list of csr_array
    """
    half, stride = window_steps(step, width)
    first = np.arange(0, n - 2 * half, stride)
    s = np.arange(-half, half + 1) / half
    columns = (first[:, None] + np.arange(len(s))).ravel()
    ends = np.arange(len(first) + 1) * len(s)
    matrices = []
    for order in orders:
        weights = step * (-1.0 / (half * step)) ** order * bump_derivative(s, order)
        matrices.append(csr_array((np.tile(weights, len(first)), columns, ends), (len(first), n)))
    return matrices


def along(matrix: csr_array, field: Array, axis: int) -> Array:
    """The product of a matrix (m, n) with the lines of a field along an axis."""
    lines = np.moveaxis(field, axis, 0)
    product = matrix @ np.ascontiguousarray(lines.reshape(len(lines), -1))
    return np.moveaxis(product.reshape(-1, *lines.shape[1:]), 0, axis)


def field_sums(
    field: Any, steps: Sequence[float], widths: Sequence[float], degree: int, order: int
) -> Normal:
    """Sums over all windows of the integrals of ∂u/∂t and of the terms.

    The terms are 1, and for each power ``u^p`` itself and its derivatives along each axis of
    space; of first derivatives the share ``u^(p-1) ∂u/∂x``.

    Parameters
    ----------
    field : ndarray or dask array, shape (n_time, *space)
    steps, widths : sequence of float
        Sampling steps, and widths of the windows, along each axis.
    degree, order : int
        Highest power, and highest derivative.

    Returns
    -------
    Normal
        With its root.

    Raises
    ------
    ValueError
        If the field is not finite.
    """
    in_time, in_space = (range(2), range(order + 1))
    space = [
        window_matrices(n, step, width, in_space)
        for n, step, width in zip(field.shape[1:], steps[1:], widths[1:], strict=True)
    ]

    def rows(slab: Array) -> Normal:
        time = window_matrices(len(slab), steps[0], widths[0], in_time)

        def integral(values: Array, axis: int = 0, k: int = 0) -> Array:
            for i, matrices in enumerate(space, start=1):
                values = along(matrices[k if i == axis else 0], values, i)
            return values.ravel()

        columns = [integral(along(time[0], np.ones_like(slab), 0))]
        for p in range(1, degree + 1):
            power = along(time[0], slab**p, 0)
            columns.append(integral(power))
            for axis in range(1, slab.ndim):
                for k in range(1, order + 1):
                    columns.append(integral(power, axis, k) / (p if k == 1 else 1))
        slope = integral(along(time[1], slab, 0))
        return normal(np.stack(columns, axis=1), slope[:, None], exact=True)

    return sum_normals(map(rows, slabs(field, *window_steps(steps[0], widths[0]))))


def slabs(field: Any, half: int, stride: int) -> Iterator[Array]:
    """The field, some times at a time, each time read once: by whole chunks of a dask array.

    A slab begins where the first window begins that the slab before did not hold.

    Parameters
    ----------
    field : ndarray or dask array, shape (n_time, *space)
    half, stride : int
        As :func:`window_steps` gives them.

    Yields
    ------
    ndarray, shape (n, *space)
    """
    n_time, window = len(field), 2 * half + 1
    least = max(window, SLAB_BYTES // (8 * prod(field.shape[1:])))
    edges = [0]
    for stop in np.cumsum(field.chunks[0]) if checks.is_lazy(field) else range(1, n_time + 1):
        if stop - edges[-1] >= least or stop == n_time:
            edges.append(int(stop))
    held = np.empty((0, *field.shape[1:]))
    for start, stop in pairwise(edges):
        new = np.asarray(field[start:stop], np.float64)
        if not np.isfinite(new).all():
            place = np.argwhere(~np.isfinite(new))
            raise ValueError(
                f"u must be finite, but at times {start} to {stop - 1} {len(place)} values are not "
                f"finite, the first of them in cell {tuple(place[0, 1:].tolist())} at time "
                f"{start + place[0, 0]}."
            )
        held = np.concatenate([held, new])
        if len(held) >= window:
            yield held
            held = held[((len(held) - window) // stride + 1) * stride :]
