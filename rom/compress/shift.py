"""Shifts along a periodic axis by discrete Fourier transforms, and how far fields have moved.

Rows are fields flattened in C order, whose last axis is the periodic one, of `n` cells; the rest
is called rings. Displacements are in cells, forward.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from rom import checks
from rom.compress import gram

# Wavenumbers with less than this of the energy do not decide the period.
NEGLIGIBLE = 1e-6
# Wavenumbers that the search for a speed looks at.
MOST_WAVENUMBERS = 128


def spectrum(rows: NDArray, n: int) -> NDArray:
    """Discrete Fourier transform along the periodic axis: (n_rows, n_rings, n // 2 + 1)."""
    transformed: NDArray = np.fft.rfft(rows.reshape(len(rows), rows.shape[1] // n, n), axis=-1)
    return transformed


def angles(n: int) -> NDArray[np.float64]:
    """Phase in radians that a displacement of one cell gives to each wavenumber."""
    return 2 * np.pi * np.arange(n // 2 + 1) / n


def weights(n: int) -> NDArray[np.float64]:
    """Weights that make sums over the spectrum sums over the cells."""
    doubled = np.full(n // 2 + 1, 2.0 / n)
    doubled[0] = 1.0 / n
    if n % 2 == 0:
        doubled[-1] = 1.0 / n
    return doubled


def power(rows: NDArray, n: int) -> NDArray[np.float64]:
    """Energy of each row by wavenumber: (n_rows, n // 2 + 1)."""
    energy: NDArray[np.float64] = np.sum(np.abs(spectrum(rows, n)) ** 2, axis=1) * weights(n)
    return energy


def wrap(d: NDArray, period: float) -> NDArray[np.float64]:
    """Displacements less whole periods: between minus and plus half a period."""
    wrapped: NDArray[np.float64] = (d + period / 2) % period - period / 2
    return wrapped


def shift(rows: NDArray, d: NDArray, n: int) -> NDArray[np.float64]:
    """Every row moved by its `d`, or a single row moved by every `d`."""
    moved = spectrum(rows, n) * np.exp(-1j * d[:, None] * angles(n))[:, None, :]
    shifted: NDArray[np.float64] = np.fft.irfft(moved, n, axis=-1).reshape(len(d), -1)
    return shifted


def moved_back(X: Any, d: NDArray, n: int) -> Any:
    """Snapshots displaced by minus `d`; lazy where they were."""
    if not checks.is_lazy(X):
        moved = np.empty_like(X)
        for rows, block in gram.row_blocks(X):
            moved[rows] = shift(block, -d[rows], n)
        return moved
    import dask.array as da

    rings = max(1, gram.BLOCK_BYTES // (8 * n * max(X.chunks[0])))
    X = X.rechunk({1: min(n * rings, X.shape[1])})
    return da.map_blocks(
        lambda block, by: shift(block, -by[:, 0], n).astype(block.dtype),
        X,
        da.from_array(d[:, None], chunks=(X.chunks[0], 1)),
        dtype=X.dtype,
    )


def superpose(
    a: NDArray, d: NDArray, components: NDArray, frame: NDArray, n: int
) -> NDArray[np.float64]:
    """Snapshots of amplitudes (n_time, n_modes) and displacements (n_frames, n_time)."""
    X = np.zeros((len(a), components.shape[1]))
    for f, displacement in enumerate(d):
        X += shift(a[:, frame == f] @ components[frame == f], displacement, n)
    return X


def find(X: Any, template: NDArray, n: int) -> NDArray[np.float64]:
    """Displacement at which the template, without its mean, correlates best with each row."""
    target = np.conj(spectrum(template[None], n)[0])
    d = np.empty(X.shape[0])
    for rows, block in gram.row_blocks(X):
        cross = np.einsum("tlk,lk->tk", spectrum(block, n), target) * weights(n)
        cross[:, 0] = 0.0
        d[rows] = _peak(cross, n)
    return wrap(d, n)


def place(rows: NDArray, templates: NDArray, order: tuple[int, ...], n: int) -> NDArray[np.float64]:
    """Displacements of several templates in each row, (n_rows, n_templates), by greedy search.

    Each in turn goes where it correlates best with what the others leave of the row; later rounds
    place each anew among all the others.
    """
    fields = spectrum(templates, n)
    cross = np.einsum("tlk,flk->ftk", spectrum(rows, n), np.conj(fields), optimize=True)
    joint = np.einsum("glk,flk->fgk", fields, np.conj(fields))
    joint[order, order] = 0.0
    relevant = weights(n) * (np.arange(n // 2 + 1) > 0)
    d, turns = np.zeros((len(rows), len(templates))), np.zeros_like(cross)
    for _ in range(4):
        for f in order:
            left = cross[f] - np.einsum("gk,gtk->tk", joint[f], turns)
            d[:, f] = _peak(left * relevant, n)
            turns[f] = np.exp(-1j * d[:, f, None] * angles(n))
    return d


def _peak(cross: NDArray, n: int) -> NDArray[np.float64]:
    """Where the trigonometric polynomials ``Re Σ_k cross_k exp(2πi k d / n)`` are largest."""
    d = np.argmax(np.fft.ifft(cross, 2 * n, axis=-1).real, axis=-1) / 2
    angle = angles(n)
    for _ in range(10):  # Newton's method from within a quarter of a cell
        turned = cross * np.exp(1j * d[:, None] * angle)
        slope, curvature = -(turned.imag @ angle), -(turned.real @ angle**2)
        step = np.divide(-slope, curvature, out=np.zeros_like(d), where=curvature < 0)
        d = d + np.clip(step, -0.25, 0.25)
        if np.all(np.abs(step) < 1e-13 * n):
            break
    return d


def mean_shape(sample: NDArray, n: int) -> NDArray[np.float64]:
    """The mean of rows, each moved to where it correlates best with that mean."""
    template: NDArray[np.float64] = sample[np.argmax(power(sample, n)[:, 1:].sum(axis=1))]
    size = 0.0
    for _ in range(50):
        template = shift(sample, -find(sample, template, n), n).mean(axis=0)
        before, size = size, float(np.linalg.norm(template))
        if size <= before * (1 + 1e-10):
            break
    return template


def period(template: NDArray, n: int) -> float:
    """Displacement after which the template is itself again."""
    energy = power(template[None], n)[0]
    energy[0] = 0.0
    order = np.argsort(energy)
    relevant = order[np.cumsum(energy[order]) > NEGLIGIBLE * energy.sum()]
    return n / int(np.gcd.reduce(relevant))


def strongest_speed(rows: NDArray, n: int, k: NDArray, found: list[float]) -> float:
    """Speed, in cells per row, of the frame whose mean field at wavenumbers `k` has most energy.

    Speeds close to those `found` before are passed over.
    """
    Y = spectrum(rows, n)[..., k]
    padded = 4 * len(Y)
    step = n / (k[-1] * padded)
    speeds = np.arange(math.ceil(-n / 2 / step), math.floor(n / 2 / step) + 1) * step
    by_frequency = np.sum(np.abs(np.fft.fft(Y, padded, axis=0)) ** 2, axis=1)
    energy = np.zeros(len(speeds))
    for j, wavenumber in enumerate(k):
        frequency = np.rint(-wavenumber * speeds * padded / n).astype(np.intp) % padded
        energy += by_frequency[frequency, j]
    for speed in found:
        energy[np.abs(speeds - speed) < 4 * step] = 0.0
    best = float(speeds[np.argmax(energy)])

    def missed(speed: float) -> float:
        turn = np.exp(2j * np.pi * np.outer(np.arange(len(Y)), k) * speed / n)
        return -float(np.sum(np.abs(np.einsum("tlk,tk->lk", Y, turn)) ** 2))

    inside = (best - 2 * step, best + 2 * step)
    options = {"xatol": 1e-4 * step}
    return float(minimize_scalar(missed, bounds=inside, method="bounded", options=options).x)


def decisive(rows: NDArray, n: int) -> NDArray[np.intp]:
    """The wavenumbers up to where most of the energy of what varies along the axis lies."""
    held = np.cumsum(power(rows, n).sum(axis=0)[1 : (n + 1) // 2])
    last = min(int(np.searchsorted(held, 0.95 * held[-1])) + 1, MOST_WAVENUMBERS)
    return np.arange(1, last + 1)
