"""What a network is trained on: slopes, test functions and short runs, and their scales."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.base import Series
from rom.data.derivative import derivative
from rom.data.trajectory import windows
from rom.dynamics.windows import OVERLAP, support_width, test_functions

Array = NDArray[np.float64]
Data = tuple[NDArray, ...]

# Coordinates that spread less than this fraction of the widest determine nothing.
NEGLIGIBLE = 1e-6


class Matching(NamedTuple):
    """Slopes, or the equation integrated against test functions, in training and held out."""

    name: str
    slopes: Array
    """Slopes (n, rank) as large as those of the states, for their scales."""
    train: Data
    held_out: Data
    is_weak: bool

    def data(self, x: Array, scale: Array) -> tuple[Data, Data]:
        """What the loss takes of states and inputs `x`, for slopes in units of `scale`.

        Rows and their slopes; or all rows, integrals, and the sparse matrix of test functions.
        """
        return self._part(x, scale, self.train), self._part(x, scale, self.held_out)

    def _part(self, x: Array, scale: Array, part: Data) -> Data:
        if not self.is_weak:
            rows, slope = part
            return x[rows], slope / scale
        target, index, value = part
        size = np.sqrt(((target / scale) ** 2).mean()) or 1.0
        return x, target / scale / size, index, value / size


def slope_matching(
    series: Series, pieces: list[slice], fraction: float, window: int, name: str
) -> Matching:
    """Matching of time derivatives, or of the targets given; windows are held out."""
    rows, values = slopes(series, pieces, name)
    near = [np.isin(rows, row_numbers(part)) for part in hold_out(pieces, fraction, window)]
    train, held = ((rows[here], values[here]) for here in near)
    return Matching("slopes", values, train, held, is_weak=False)


def weak_matching(series: Series, pieces: list[slice], fraction: float) -> Matching:
    """Matching of integrals; what is held out is a little longer than a test function is wide."""
    Z, t = series.Z, series.t
    assert t is not None  # Dynamics.fit has checked
    pieces = [piece for piece in pieces if piece.stop - piece.start > 1]
    width = support_width(Z, t, pieces)
    step = np.median(np.concatenate([np.diff(t[piece]) for piece in pieces]))
    parts = hold_out(pieces, fraction, max(1, round(1.25 * width / step)))
    train, held = (_weak(Z, t, part, width) for part in parts)
    if not len(train[0]) or not len(held[0]):
        train = held = _weak(Z, t, pieces, width)
    target, (row, _), value = train
    size = np.sqrt((np.bincount(row, value) ** 2).mean())
    name = f"test functions {width:.3g} wide"
    return Matching(name, target / size, train, held, is_weak=True)


def slopes(series: Series, pieces: list[slice], name: str) -> tuple[NDArray[np.intp], Array]:
    """The rows that have a time derivative, and their derivatives."""
    if series.y is not None:
        return np.arange(len(series.Z)), series.y
    assert series.t is not None  # Dynamics.fit has checked
    rows, values = derivative(series.Z, series.t, pieces)
    if not len(rows):
        raise ValueError(
            f"{name} needs two rows of one trajectory without a gap in time between them, "
            f"but each of the {len(series.Z)} rows stands alone."
        )
    return rows, values


def fastest_rate(Z: Array, slopes: Array) -> float:
    """The largest rate of a coordinate, per unit of time: what its slopes are to its spread.

    A coordinate that hardly spreads, and so may be nothing but rounding, is measured by the widest.
    """
    deviation = Z.std(axis=0)
    widest = deviation.max() or 1.0
    spread = np.where(deviation > NEGLIGIBLE * widest, deviation, widest)
    return float((np.sqrt((slopes**2).mean(axis=0)) / spread).max())


def input_scale(u: Array) -> Array:
    """Standard deviations of columns (n_inputs,); 1 where one is no more than rounding makes it."""
    deviation = u.std(axis=0)
    rounding = len(u) * np.finfo(np.float64).eps * np.abs(u).max(axis=0)
    return np.where(deviation > rounding, deviation, 1.0)


def hold_out(pieces: list[slice], fraction: float, window: int) -> tuple[list[slice], list[slice]]:
    """Split `pieces` into what is trained on and windows, evenly spread over them, held out.

    A held-out window starts with a row of training, from which its run starts. Where there are
    too few windows to spare one, the training rows stand in for them.
    """
    starts = windows(pieces, window + 1, stride=window)[:, 0]
    every = round(1 / fraction) if fraction else 2 * len(starts) + 2
    held = [slice(start, start + window + 1) for start in starts[every // 2 :: every].tolist()]
    train = []
    for piece in pieces:
        begin = piece.start
        for block in held:
            if piece.start <= block.start < piece.stop:
                train.append(slice(begin, block.start + 1))
                begin = block.stop
        train.append(slice(begin, piece.stop))
    return [piece for piece in train if piece.start < piece.stop], held or train


def row_numbers(pieces: list[slice]) -> NDArray[np.intp]:
    """All rows of the pieces."""
    return np.concatenate([np.arange(piece.start, piece.stop) for piece in pieces])


def longest(pieces: list[slice]) -> int:
    """Sampling steps in the longest piece."""
    return max(piece.stop - piece.start for piece in pieces) - 1


def runs(
    x: Array, t: Array, pieces: list[slice], rank: int, window: int
) -> tuple[Array, Array, Array]:
    """States, inputs and steps of runs over `window` sampling steps, each half over the last."""
    steps = min(window, longest(pieces))
    rows = windows(pieces, steps + 1, stride=max(1, steps // 2))
    return x[rows, :rank], x[rows, rank:], np.diff(t[rows], axis=1)


def _weak(
    Z: Array, t: Array, pieces: list[slice], width: float
) -> tuple[Array, NDArray[np.int64], Array]:
    """Integrals of dz/dt against test functions, and the matrix that integrates slopes.

    The matrix (n_functions, n_time) comes as indices (2, n_entries) and entries. `OVERLAP`
    functions begin within the width of one.
    """
    targets, indices, entries, first = [Z[:0]], [np.zeros((2, 0), np.int64)], [Z[:0, 0]], 0
    for piece in pieces:
        start, room = t[piece.start] + width / 2, t[piece.stop - 1] - t[piece.start] - width
        if room < -1e-9 * width:
            continue
        n = max(1, round(max(room, 0.0) * OVERLAP / width))
        centres = np.linspace(start, start + max(room, 0.0), n)
        value, slope = test_functions(t[piece], centres, width)
        matrix = value.tocoo()
        targets.append(slope @ Z[piece])
        indices.append(np.stack([matrix.row + first, matrix.col + piece.start]).astype(np.int64))
        entries.append(matrix.data)
        first += n
    return np.concatenate(targets), np.concatenate(indices, axis=1), np.concatenate(entries)
