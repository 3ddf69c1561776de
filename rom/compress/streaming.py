"""A POD that goes on: with more snapshots, or from factors computed elsewhere."""

from __future__ import annotations

from numbers import Integral
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rom.compress import incremental
from rom.compress.gram import fix_signs
from rom.compress.incremental import Factor
from rom.compress.solvers import EPS, Decomposition, resolved

if TYPE_CHECKING:
    from rom.compress.pod import POD


def update(pod: POD, X: NDArray) -> None:
    """Bring a POD up to date with new rows `X` (n_new, n_space)."""
    n_old, n_new = pod.n_samples_seen_, len(X)
    dtype = pod.components_.dtype
    held = np.vstack([pod.components_ * pod.singular_values_[:, None].astype(dtype), pod.spare_])
    factor = incremental.empty(X.shape[1], dtype, n_phases=int(pod.center), seed=n_old)
    if len(held):
        factor.stack = [len(held)]
        factor.kept = float(np.vecdot(held, held).sum(dtype=np.float64))
    before = factor.kept
    # Of a fit that kept no spare rows, the next singular value is gone.
    lost = max(pod.energy_ - before, 0.0) if pod.solver_ != "incremental" else 0.0
    lost = min(lost, pod.singular_values_[-1] ** 2) if lost > EPS * pod.energy_ else 0.0
    keep = incremental.keep_for(pod.n_components, min(n_old + n_new, X.shape[1]))
    anomalies = np.subtract(X, pod.mean_).astype(dtype, copy=False)
    work = np.vstack([held, anomalies, np.empty((int(pod.center), X.shape[1]), dtype)])
    if pod.center:  # rows and means are counted from the mean so far
        factor.counts[:] = n_old
    new = slice(len(held), len(held) + n_new)
    incremental.absorb(factor, work, new, [np.zeros(n_new, np.intp)], keep)
    whole_mean = pod.mean_ + (factor.means[0] if pod.center else 0.0)
    energy = factor.kept + factor.discarded + pod.energy_ - before
    found = _modes(pod, factor, whole_mean, energy, pod.discarded_ + factor.bound + lost)
    pod._keep(found, n_old + n_new)


def _modes(
    pod: POD, factor: Factor, mean: NDArray, energy: float, discarded: float
) -> Decomposition:
    size = np.sqrt(np.vecdot(factor.rows, factor.rows).astype(np.float64))
    real = (
        size > resolved("incremental", len(size), factor.rows.dtype) * size[0]
        if size[0]
        else size > 0
    )
    rows, values = factor.rows[real], size[real]
    n, share = pod.n_components, np.cumsum(values**2) / (energy or 1.0)
    rank = len(values)
    if n is not None:
        rank = min(rank, int(n if isinstance(n, Integral) else np.searchsorted(share, n) + 1))
    components = rows[:rank] / values[:rank, None].astype(rows.dtype)
    components *= fix_signs(components)[:, None].astype(rows.dtype)
    values = values[:rank]
    return Decomposition(
        components=components,
        values=values,
        error=np.sqrt(values**2 + discarded) - values + EPS * values,
        coefficients=np.empty((0, rank), rows.dtype),
        mean=mean,
        energy=energy,
        solver="incremental",
        n_passes=1,
        spare=rows[rank:].copy(),
        discarded=discarded,
    )


def nothing(n_space: int, dtype: np.dtype) -> Decomposition:
    """The decomposition of no snapshots at all: where a stream starts."""
    return Decomposition(
        components=np.empty((0, n_space), dtype),
        values=np.empty(0),
        error=np.empty(0),
        coefficients=np.empty((0, 0), dtype),
        mean=np.zeros(n_space),
        energy=0.0,
        solver="incremental",
        n_passes=0,
        spare=np.empty((0, n_space), dtype),
        discarded=0.0,
    )


def from_factors(
    components: ArrayLike, singular_values: ArrayLike, mean: ArrayLike | None, energy: float | None
) -> Decomposition:
    """A decomposition computed elsewhere, checked."""
    rows = np.array(components)
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64)
    values = np.array(singular_values, dtype=np.float64)
    if rows.ndim != 2 or values.shape != (len(rows),) or len(rows) > rows.shape[1]:
        raise ValueError(
            "Expected components (rank, n_space), rank <= n_space, and as many singular values, "
            f"but their shapes are {rows.shape} and {values.shape}."
        )
    centre = np.zeros(rows.shape[1]) if mean is None else np.array(mean, dtype=np.float64)
    if centre.shape != (rows.shape[1],):
        raise ValueError(f"mean must be ({rows.shape[1]},), but its shape is {centre.shape}.")
    off = float(np.abs(rows @ rows.T - np.eye(len(rows))).max())
    if not off < 100 * np.finfo(rows.dtype).eps * rows.shape[1] ** 0.5:
        raise ValueError(f"components must be orthonormal rows, but are off by {off:.1e}.")
    if not (np.diff(values) <= 0).all() or not (values > 0).all():
        raise ValueError(f"singular_values must be positive and decrease, but are {values}.")
    rows *= fix_signs(rows)[:, None].astype(rows.dtype)
    given = float(values @ values)
    return nothing(rows.shape[1], rows.dtype)._replace(
        components=rows,
        values=values,
        error=np.finfo(rows.dtype).eps * values,
        mean=centre,
        energy=given if energy is None else float(energy),
        solver="given",
    )
