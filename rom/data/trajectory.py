"""Split rows into stretches of continuous sampling, and pair rows inside them.

Nothing here ever reaches across the end of a trajectory or a gap in time.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# Steps that agree to this fraction count as one even step: times stored in single precision or
# rounded to a few digits jitter about that much.
EVEN_RTOL = 1e-3
# A step this many times longer than its neighbours stands out. On even sampling that is a gap; on
# uneven sampling, where steps of all lengths are normal, only a far longer one is.
EVEN_GAP = 1.5
UNEVEN_GAP = 20.0
NEIGHBOURS = 3  # on each side


def segments(t: NDArray[np.float64] | None, trajectory: NDArray[np.intp]) -> list[slice]:
    """Stretches of rows that belong to one trajectory and have no gap in time.

    Parameters
    ----------
    t : ndarray, shape (n_time,), or None
        Sample times, increasing inside each trajectory; None where unknown (no gap is seen).
    trajectory : ndarray of int, shape (n_time,)
        Trajectory codes.

    Returns
    -------
    list of slice
        In order, together all rows. On even sampling a step is a gap if it is 1.5 times longer
        than those around it; on uneven sampling, if it is 20 times longer than both those and the
        median step.

    Examples
    --------
    >>> import numpy as np
    >>> segments(np.array([0.0, 1.0, 2.0, 5.0, 6.0]), np.zeros(5, int))
    [slice(0, 3, None), slice(3, 5, None)]
    """
    starts = np.flatnonzero(np.r_[True, np.diff(trajectory) != 0])
    runs = [slice(int(a), int(b)) for a, b in pairwise([*starts, len(trajectory)])]
    if t is None:
        return runs
    return [piece for run in runs for piece in _without_gaps(t, run)]


def _without_gaps(t: NDArray[np.float64], run: slice) -> list[slice]:
    step = np.diff(t[run])
    if len(step) < 2 or step.max() <= EVEN_GAP * step.min():
        return [run]
    usual = _neighbourly(step)
    regular = step[step <= EVEN_GAP * usual]
    even = np.ptp(regular) <= EVEN_RTOL * np.median(regular)
    longest = EVEN_GAP * usual if even else UNEVEN_GAP * np.maximum(usual, np.median(step))
    gaps = np.flatnonzero(step > longest)
    edges = [run.start, *(run.start + 1 + gaps).tolist(), run.stop]
    return [slice(a, b) for a, b in pairwise(edges)]


def _neighbourly(step: NDArray[np.float64]) -> NDArray[np.float64]:
    """Median of the steps around each step, itself left out."""
    padded = np.pad(step, NEIGHBOURS, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * NEIGHBOURS + 1)
    return np.asarray(np.nanmedian(np.delete(around, NEIGHBOURS, axis=1), axis=1))


def even_step(
    t: NDArray[np.float64],
    pieces: list[slice],
    *,
    needed_by: str,
    otherwise: str = ", or use a continuous-time model",
) -> float:
    """The one step that all `pieces` share; `otherwise` ends the advice to interpolate.

    Raises
    ------
    ValueError
        If the steps differ: an uneven series is never treated as an even one.
    """
    steps = np.concatenate([np.diff(t[piece]) for piece in pieces])
    if not steps.size:
        raise ValueError(f"{needed_by} needs two rows one step apart, but every row stands alone.")
    median = float(np.median(steps))
    off = np.abs(steps - median)
    if off.max() > EVEN_RTOL * median:
        rows = np.concatenate([np.arange(piece.start, piece.stop - 1) for piece in pieces])
        row = rows[off.argmax()]
        raise ValueError(
            f"{needed_by} needs evenly sampled times, but the steps range from {steps.min():g} to "
            f"{steps.max():g} (median {median:g}); the furthest off is from row {row} to "
            f"{row + 1}. Interpolate to an even step{otherwise}."
        )
    return median


def pairs(pieces: list[slice]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Row numbers ``(now, next)`` of all neighbours inside the pieces.

    Examples
    --------
    >>> now, later = pairs([slice(0, 3), slice(3, 5)])
    >>> list(zip(now.tolist(), later.tolist()))
    [(0, 1), (1, 2), (3, 4)]
    """
    now = np.concatenate([np.arange(piece.start, piece.stop - 1) for piece in pieces])
    return now, now + 1


def windows(pieces: list[slice], length: int, *, stride: int = 1) -> NDArray[np.intp]:
    """Row numbers ``(n_windows, length)`` of all stretches of `length` rows inside the pieces.

    Examples
    --------
    >>> windows([slice(0, 4), slice(4, 6)], 3)
    array([[0, 1, 2],
           [1, 2, 3]])
    """
    starts = [np.arange(piece.start, piece.stop - length + 1, stride) for piece in pieces]
    return np.concatenate(starts)[:, None] + np.arange(length)
