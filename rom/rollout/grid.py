"""Output times: an array of them, or even ones described by start, step and length."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rom.base import Dynamics
from rom.data.trajectory import EVEN_RTOL
from rom.rollout.run import _check_output_times

Array = NDArray[np.float64]

# Output times: NumPy cannot count the bytes of more.
MOST = 10**18


@dataclass(frozen=True)
class Grid:
    """Output times."""

    described: Any
    """As they were given."""
    ends: Array
    """The first and the last (2,)."""
    times: Array | None
    """All of them; None where they are described."""
    step: float
    """Between them; NaN where it varies."""
    n: int

    def __len__(self) -> int:
        return self.n

    def stretch(self, rows: range) -> tuple[float, Array]:
        """A time, and those of some rows from it on.

        Even times are counted from the first of them, so that far from zero steps are not rounded.
        """
        if self.times is not None:
            return 0.0, self.times[rows.start : rows.stop]
        begin = float(self.ends[0] + self.step * rows.start)
        return begin, np.arange(len(rows)) * np.float64(self.step)


def grid_of(dynamics: Dynamics, t: Any) -> Grid:
    """The output times of a model, checked.

    Parameters
    ----------
    dynamics : Dynamics
    t : array_like, shape (n_time,), or what has a start, a step and a length

    Raises
    ------
    ValueError, TypeError
        If there are none, they do not increase, or are not those of a discrete model; or where
        what describes them has no length, or too large a one.
    """
    if not (hasattr(t, "start") and hasattr(t, "step")):
        t = _check_output_times(dynamics, t)
        steps = np.diff(t)
        step = steps.mean() if steps.size else np.nan
        even = np.allclose(steps, step, rtol=EVEN_RTOL, atol=0)
        return Grid(t, t[[0, -1]], t, float(step) if even else np.nan, len(t))
    n = _length(t)
    start, step = float(t.start), float(t.step)
    if n < 1 or not (np.isfinite(start) and 0 < step < np.inf):
        raise ValueError(
            f"Even times need a positive step and at least one time, but start={start:g}, "
            f"step={step:g} and there are {n}."
        )
    _check_output_times(dynamics, [0.0, step])
    return Grid(t, np.array([start, start + step * (n - 1)]), None, step, n)


def _length(t: Any) -> int:
    try:
        n = len(range(t.size) if hasattr(t, "size") else t)
    except TypeError:
        raise TypeError(
            f"Even times need a start, a step and a length, as range(10) has them, but t={t!r}."
        ) from None
    except OverflowError:
        n = sys.maxsize
    if n > MOST:
        raise ValueError(f"There can be {MOST:.0e} output times at most, but t={t!r}.")
    return n
