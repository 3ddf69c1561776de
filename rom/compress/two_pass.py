"""Scaling and decomposition of lazy snapshots whose chunks hold all times, of some cells each.

The first pass takes the means out of each chunk and sums Gram matrices, one per variable because
the scale of a variable is known at its end. The second computes the modes. What moves between the
machines of a cluster are the sums, the left singular vectors and the modes.
"""

from __future__ import annotations

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom import checks
from rom.compress import gram
from rom.compress.gram import Triplets
from rom.compress.lazy import reduce_columns
from rom.compress.one_pass import Scaling, remaining_mean, unscaled
from rom.compress.solvers import (
    Decomposition,
    Wanted,
    decomposition,
    left_of_gram,
    rounding,
    warn_unresolved,
)
from rom.data.scale import Moments, side_by_side


class _Task(NamedTuple):
    """What each chunk needs to be scaled by itself."""

    phase: NDArray[np.intp]
    """Of each row (n_time,)."""
    center: bool
    dtype: Any
    code: NDArray[np.intp]
    """Variable of each column (n_space,)."""
    factor: NDArray[np.float64]
    """Of each column (n_space,)."""


class _Sums(NamedTuple):
    squares: dict[int, NDArray[np.float64]]
    """Gram matrix (n_time, n_time) of each variable, lower triangle."""
    moments: list[Moments]
    """Of chunks, in their order."""


class _Modes(NamedTuple):
    rows: list[NDArray[Any]]
    """``leftᵀ A`` of chunks, in their order."""
    square: NDArray[np.float64]
    """Their rows times their transpose, summed."""


def holds_all_times(X: Any) -> bool:
    """Whether `X` (n_time, n_space) is lazy, in chunks of cells, with fewer times than cells."""
    return checks.is_lazy(X) and X.numblocks[0] == 1 and X.shape[0] <= X.shape[1]


def decompose(X: Any, wanted: Wanted, scaling: Scaling | None = None) -> Decomposition:
    """Decompose lazy rows (n_time, n_space), scaled, in two passes.

    Parameters
    ----------
    X : dask array, shape (n_time, n_space)
        Raw rows, in chunks that hold all times.
    wanted : Wanted
        What is asked for.
    scaling : Scaling, optional
        Its `scale` is fitted in place. Rows are decomposed as they are where not given.
    """
    scaling = scaling or unscaled()
    n_time, n_space = X.shape
    scale = scaling.scale
    task = _Task(
        phase=np.zeros(n_time, np.intp) if scaling.phase is None else scaling.phase,
        center=scale.center or wanted.center,
        dtype=np.result_type(X.dtype, np.float32),
        code=_codes(scaling, n_space),
        factor=scale.weights(scaling.latitude, n_space),
    )
    n_variables = len(np.unique(task.code))
    _check_memory(X, wanted, n_variables, wanted.number)
    sums = reduce_columns(X, partial(_sums, task), _add)
    moments = side_by_side(sums.moments)
    scale.fit_moments(moments, X.dtype, variable=scaling.variable, latitude=scaling.latitude)
    size = {int(c): float(scale.scale_[i]) for i, c in enumerate(_in_order(task.code))}
    K = sum(square / size[c] ** 2 for c, square in sums.squares.items())
    energy = float(np.trace(K))
    found = left_of_gram(np.asarray(K), task.dtype, wanted)
    if found.rank < wanted.number:
        found = warn_unresolved(wanted, found, "gram", task.dtype)
    _check_memory(X, wanted, n_variables, found.vectors.shape[1])
    task = task._replace(factor=scale.factor_.astype(np.float64))
    modes = reduce_columns(X, partial(_modes, task, found.vectors), _join)
    mixing, values, right = gram.orthonormal(np.hstack(modes.rows), modes.square)
    triplets = Triplets(found.vectors @ (mixing / values), values, right)
    error = found.error[: found.rank] * values[: found.rank]
    error += rounding(triplets, task.dtype)[: found.rank]
    mean = remaining_mean(moments, scaling, wanted)
    return decomposition(X, triplets, found.rank, error, mean, energy, "gram", 2)


def _codes(scaling: Scaling, n_space: int) -> NDArray[np.intp]:
    if scaling.variable is None:
        return np.zeros(n_space, np.intp)
    return np.unique(scaling.variable, return_inverse=True)[1]


def _in_order(code: NDArray[np.intp]) -> NDArray[np.intp]:
    """The codes in the order in which they come, which is that of `Scale.scale_`."""
    codes, first = np.unique(code, return_index=True)
    return codes[np.argsort(first)]


def _check_memory(X: Any, wanted: Wanted, n_variables: int, rank: int) -> None:
    n_time, n_space = X.shape
    chunk = n_time * max(X.chunks[1]) * X.dtype.itemsize
    need = 8 * n_time**2 * (n_variables + 2) + 3 * chunk + rank * n_space * X.dtype.itemsize
    if need > wanted.max_memory:
        raise ValueError(
            f"max_memory={wanted.max_memory:.3g} bytes is too little: {rank} modes of {n_space} "
            f"cells, a Gram matrix of {n_time} times for each variable and chunks of {chunk:.3g} "
            f"bytes need {need:.3g}."
        )


def _sums(task: _Task, raw: NDArray[Any], columns: slice) -> _Sums:
    """Gram matrices and moments of one chunk."""
    rows, moments = _centred(task, raw)
    rows *= task.factor[columns].astype(rows.dtype)
    squares = {}
    code = task.code[columns]
    for c in np.unique(code):
        K = np.zeros((len(raw), len(raw)))
        squares[int(c)] = gram.add_square(K, np.ascontiguousarray(rows[:, code == c]))
    return _Sums(squares, [moments])


def _add(a: _Sums, b: _Sums) -> _Sums:
    squares = dict(a.squares)
    for c, square in b.squares.items():
        squares[c] = squares[c] + square if c in squares else square
    return _Sums(squares, a.moments + b.moments)


def _modes(task: _Task, left: NDArray[np.float64], raw: NDArray[Any], columns: slice) -> _Modes:
    """Modes of one chunk, not yet orthonormal."""
    rows, _ = _centred(task, raw)
    rows *= task.factor[columns].astype(rows.dtype)
    product = left.T.astype(rows.dtype) @ rows
    return _Modes([product], gram.row_gram(product))


def _join(a: _Modes, b: _Modes) -> _Modes:
    return _Modes(a.rows + b.rows, a.square + b.square)


def _centred(task: _Task, raw: NDArray[Any]) -> tuple[NDArray[Any], Moments]:
    """A copy without the means of each phase, and its moments."""
    rows = raw.astype(task.dtype)
    phases = {}
    for p in np.unique(task.phase):
        chosen = task.phase == p
        mean = np.zeros(raw.shape[1])
        if task.center:
            mean = raw[chosen].mean(axis=0, dtype=np.float64)
            rows[chosen] -= mean.astype(task.dtype)
        phases[int(p)] = (int(chosen.sum()), mean)
    return rows, Moments(phases, np.vecdot(rows.T, rows.T).astype(np.float64))
