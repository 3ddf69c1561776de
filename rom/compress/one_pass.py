"""Scaling and decomposition of lazy rows, read once.

Offsets (means, climatologies) are linear maps along time and factors (scales, weights) along the
cells, so that both can be applied to the factors of the raw rows once all of them have been seen.
"""

from __future__ import annotations

import warnings
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from rom.compress import gram
from rom.compress.incremental import N_SKETCH, Factor, Keep, keep_for, left_vectors, lost
from rom.compress.lazy import READ_BYTES, Plan, read_once
from rom.compress.solvers import EPS, Decomposition, Wanted, choose_rank, resolved
from rom.data.scale import Moments, Scale
from rom.threads import N_THREADS


class Scaling(NamedTuple):
    """How rows are scaled before they are decomposed."""

    scale: Scale
    """Fitted on the way."""
    variable: NDArray[Any] | None
    """Label of each column (n_space,)."""
    latitude: NDArray[np.float64] | None
    """Of each column (n_space,)."""
    phase: NDArray[np.intp] | None
    """Entry of the climatology that each row (n_time,) needs; None without one."""


def unscaled() -> Scaling:
    """Rows as they are."""
    return Scaling(Scale(center=False, scale=False), None, None, None)


def decompose(X: Any, wanted: Wanted, scaling: Scaling | None = None) -> Decomposition:
    """Decompose lazy rows (n_time, n_space), scaled, in one pass.

    Parameters
    ----------
    X : ndarray or dask array, shape (n_time, n_space)
        Raw rows.
    wanted : Wanted
        What is asked for.
    scaling : Scaling, optional
        Its `scale` is fitted in place. Rows are decomposed as they are where not given.
    """
    if not hasattr(X, "dask"):
        import dask.array as da

        X = da.from_array(X, chunks=(max(1, READ_BYTES // (X.dtype.itemsize * X.shape[1])), -1))
    scaling = scaling or unscaled()
    phase = np.zeros(X.shape[0], np.intp) if scaling.phase is None else scaling.phase
    n_phases = int(phase.max()) + 1 if scaling.scale.center or wanted.center else 0
    _sizes(X.shape, wanted, X.dtype, max(X.chunks[0]))  # refuses before anything is read
    factor, plan = read_once(X, phase, partial(_plan, X.shape, wanted, scaling, n_phases))
    moments = _moments(factor, plan, X.shape[0])
    scale = scaling.scale.fit_moments(
        moments, X.dtype, variable=scaling.variable, latitude=scaling.latitude
    )
    ratio = scale.factor_ if plan.factor is None else scale.factor_ / plan.factor
    return _finish(factor, phase, moments, ratio, scaling, wanted)


def _plan(
    shape: tuple[int, int], wanted: Wanted, scaling: Scaling, n_phases: int, head: NDArray[Any]
) -> Plan:
    """How to read the rows, from the first of them."""
    dtype = np.result_type(head.dtype, np.float32)
    mean = head.mean(axis=0, dtype=np.float64)
    keep, room = _sizes(shape, wanted, dtype, len(head))
    return Plan(
        shift=(mean if n_phases else np.zeros(shape[1])).astype(dtype),
        factor=_provisional_factor(head, mean, scaling, dtype),
        keep=keep,
        room=room,
        n_phases=n_phases,
        spread=scaling.scale.scale,
    )


def _moments(factor: Factor, plan: Plan, n_time: int) -> Moments:
    """Moments of the raw rows, from those of the shifted and scaled ones."""
    inverse = 1.0 if plan.factor is None else 1.0 / plan.factor.astype(np.float64)
    phases = {
        int(p): (int(factor.counts[p]), plan.shift + factor.means[p] * inverse)
        for p in np.flatnonzero(factor.counts)
    }
    if not phases:
        phases = {0: (n_time, np.zeros(len(plan.shift)))}
    spread = factor.spread if len(factor.spread) else np.zeros(len(plan.shift))
    return Moments(phases, spread * inverse**2)


def _provisional_factor(
    head: NDArray[Any], mean: NDArray[np.float64], scaling: Scaling, dtype: Any
) -> NDArray[Any] | None:
    """Weights, and scales of variables as the first rows have them: truncation goes by these."""
    scale, n_space = scaling.scale, head.shape[1]
    factor = scale.weights(scaling.latitude, n_space)
    if scale.scale and scaling.variable is not None:
        for name in np.unique(scaling.variable):
            columns = scaling.variable == name
            spread = float(np.std(head[:, columns] - mean[columns]))
            factor[columns] /= spread or 1.0
    return None if (factor == 1).all() else factor.astype(dtype)


def _sizes(shape: tuple[int, int], wanted: Wanted, dtype: Any, n_head: int) -> tuple[Keep, int]:
    """What truncations keep and how many rows come between them, within the memory allowed."""
    row = np.dtype(dtype).itemsize * shape[1]
    chunk = max((N_THREADS + 1) * n_head * row, READ_BYTES)  # one more is being decoded
    rows = int((wanted.max_memory - chunk - (N_SKETCH + 6) * row) // row)
    keep = keep_for(wanted.n_components, min(shape))
    # Twice, when the modes are copied out, and as many new rows.
    keep = keep._replace(most=min(keep.most, rows // 3))
    least = max(1, wanted.number)
    if keep.most < least:
        raise ValueError(
            f"max_memory={wanted.max_memory:.3g} bytes is too little: {least} modes of "
            f"{shape[1]} cells, as much again while they are found, and chunks of {n_head} rows "
            f"need {chunk + (3 * least + N_SKETCH + 6) * row:.3g}."
        )
    room = max(1, min(rows - 2 * keep.most, max(keep.most, N_SKETCH), shape[0]))
    return keep, room


def _finish(
    factor: Factor,
    phase: NDArray[np.intp],
    moments: Moments,
    ratio: NDArray[Any],
    scaling: Scaling,
    wanted: Wanted,
) -> Decomposition:
    """Modes and coefficients of the scaled rows, from the factor of the shifted ones."""
    rows, dtype = factor.rows, factor.rows.dtype
    for values in (rows, factor.sketch):
        values *= ratio.astype(dtype)
    left = left_vectors(factor, phase)
    G = gram.row_gram(rows)
    # Low-rank data leave rows that are empty, or full of rounding.
    real = np.diag(G) > 4 * np.finfo(dtype).eps * max(np.trace(G), 1e-300)
    if not real.all():
        rows, G, left = rows[real], G[np.ix_(real, real)], left[:, real]
    if not len(rows):
        raise ValueError("All snapshots are equal: constant data have no modes.")
    mixing, values, right = gram.orthonormal(rows, G)
    strongest = float(np.max(ratio)) ** 2
    energy = float(values @ values) + strongest * factor.discarded
    floor = resolved("incremental", len(values), dtype)
    rank = choose_rank(values, energy, wanted.n_components, floor)
    components, kept = right[:rank].copy(), values[:rank]
    _warn_if_cut_short(float(kept @ kept) / energy, rank, wanted)
    spare = right[rank:] * values[rank:, None].astype(dtype)
    eps = float(np.finfo(dtype).eps)
    error = np.sqrt(kept**2 + lost(factor.sketch, components)) - kept + 2 * eps * kept
    error += EPS * len(left) ** 0.5 * values[0]
    _warn_if_inaccurate(error / kept, wanted.tol)
    signs = gram.fix_signs(components)
    components *= signs[:, None].astype(dtype)
    return Decomposition(
        components=components,
        values=kept,
        error=error,
        coefficients=((left @ mixing[:, :rank]) * signs).astype(dtype),
        mean=remaining_mean(moments, scaling, wanted),
        energy=energy,
        solver="incremental",
        n_passes=1,
        spare=spare,
        discarded=strongest * factor.bound,
    )


def remaining_mean(moments: Moments, scaling: Scaling, wanted: Wanted) -> NDArray[np.float64]:
    """What is left of the mean after scaling (n_space,)."""
    scale = scaling.scale
    if scale.center or not wanted.center:
        return np.zeros(len(moments.spread))
    ((_, mean),) = moments.phases.values()
    return mean * scale.factor_


def _warn_if_cut_short(share: float, rank: int, wanted: Wanted) -> None:
    if not wanted.number and wanted.n_components is not None and share < wanted.n_components:
        warnings.warn(
            f"The {rank} modes that max_memory={wanted.max_memory:.3g} bytes holds have "
            f"{share:.2%} of the energy, less than the {wanted.n_components:.2%} asked for.",
            ConvergenceWarning,
            stacklevel=7,
        )


def _warn_if_inaccurate(relative: NDArray[np.float64], tol: float) -> None:
    worst = int(np.argmax(relative))
    if relative[worst] > tol:
        warnings.warn(
            f"Singular value {worst + 1} is known to {relative[worst]:.1e} only, as the snapshots "
            f"were read once and truncated on the way; tol is {tol:.1e}. Ask for more modes and "
            "use the first ones (POD.truncated), or store the data in chunks that span all times.",
            ConvergenceWarning,
            stacklevel=7,
        )
