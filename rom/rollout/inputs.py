"""Inputs of models: from labelled arrays to rows of numbers, and past the end of what is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from rom.data.labels import is_labelled
from rom.data.times import TimeAxis, time_dim
from rom.data.trajectory import EVEN_RTOL

Array = NDArray[np.float64]

# Inputs repeat where they differ by no more than this part of their range from those of a period
# before, in all of two periods or more.
SAME = 1e-6


class Onward(NamedTuple):
    """Inputs from the end of a rollout on; see :func:`onward`."""

    t: Array
    """Times (n_time,), the first that of the end."""
    u: Array
    """(n_time, n_inputs)."""
    repeated: bool
    """Whether they are periodic, and were repeated."""


def input_names(u: Any) -> list[str] | None:
    """Names of the inputs in a Dataset, or in a DataArray along time alone; else None."""
    if isinstance(u, xr.Dataset):
        return [str(name) for name in u.data_vars]
    if isinstance(u, xr.DataArray) and u.ndim == 1 and u.name is not None:
        return [str(u.name)]
    return None


def input_rows(
    u: Any,
    t: Array | None = None,
    axis: TimeAxis | None = None,
    names: Sequence[str] | None = None,
) -> Any:
    """Inputs as rows of numbers, those of labelled arrays at the times asked for.

    Parameters
    ----------
    u : Dataset, DataArray, array_like or None
        A Dataset of variables along time alone, one for each input; a DataArray (time,) or (time,
        input); or plain numbers, which are left as they are.
    t : ndarray, shape (n_time,), optional
        Times in the unit of `axis`; where they or those of `u` are not known, rows count.
    axis : TimeAxis, optional
        Of the model.
    names : sequence of str, optional
        Of the inputs that the model was fitted with: variables of a Dataset, in that order.

    Returns
    -------
    ndarray, shape (n_time, n_inputs), or what came

    Raises
    ------
    ValueError
        If an input is missing, has other dimensions than time, or no value at one of the times.

    Examples
    --------
    >>> import xarray as xr
    >>> wind = xr.DataArray([1.0, 2.0, 4.0], {"time": [0.0, 0.5, 1.0]}, ["time"], name="wind")
    >>> input_rows(wind, np.array([0.5, 1.0]), TimeAxis.of(wind))
    array([[2.],
           [4.]])
    """
    if not is_labelled(u):
        return u
    dim = time_dim(u) if axis is None else axis.dim
    if isinstance(u, xr.Dataset):
        rows = np.stack([_along(u, name, dim) for name in names or u.data_vars], axis=1)
    else:
        if dim not in u.dims or u.ndim > 2:
            raise ValueError(
                f"Inputs must be along {dim!r}, with one more dimension at most, but their "
                f"dimensions are {u.dims}."
            )
        rows = u.transpose(dim, ...).values.reshape(u.sizes[dim], -1)
    if t is None or axis is None or dim not in u.coords:
        return rows
    return rows[_places(axis.to_numbers(u[dim]), t, axis)]


def _along(u: xr.Dataset, name: Any, dim: str) -> NDArray[Any]:
    if name not in u.data_vars:
        known = ", ".join(map(str, u.data_vars)) or "none"
        raise ValueError(f"No input {name!r}; there are {known}.")
    if u[name].dims != (dim,):
        raise ValueError(
            f"The input {name!r} must be along {dim!r} alone, but its dimensions are "
            f"{u[name].dims}."
        )
    return np.asarray(u[name].values)


def _places(known: Array, t: Array, axis: TimeAxis) -> NDArray[np.intp]:
    """Where the times `t` stand among the known ones."""
    step = float(np.median(np.abs(np.diff(known)))) if len(known) > 1 else 1.0
    if known.shape == t.shape and np.all(np.abs(known - t) <= EVEN_RTOL * step):
        return np.arange(len(t))  # of several trajectories too, whose times may repeat
    if not np.all(np.diff(known) > 0):
        raise ValueError("The times of the inputs must increase, or be those of the snapshots.")
    nearest = np.rint(np.interp(t, known, np.arange(len(known)))).astype(np.intp)
    missing = np.abs(known[nearest] - t) > EVEN_RTOL * step
    if missing.any():
        first, low, high = axis.to_times(np.array([t[missing.argmax()], known[0], known[-1]]))
        raise ValueError(
            f"The inputs have no value at {first}, one of {missing.sum()} of the times asked for: "
            f"they run from {low} to {high}. For times in between, interpolate them first."
        )
    return nearest


def onward(t: Array, u: Array, n: int, most: int) -> Onward:
    """Inputs from the end of a rollout on: repeated if they are periodic, else those known.

    Parameters
    ----------
    t : ndarray, shape (n_time,)
        Times at which inputs are known.
    u : ndarray, shape (n_time, n_inputs)
    n : int
        How many of these come up to the end of the rollout.
    most : int
        Further steps wanted.

    Returns
    -------
    Onward

    Examples
    --------
    >>> t = np.arange(6.0)
    >>> onward(t, np.array([[0.0], [1.0]] * 3), 6, 3).u[:, 0]
    array([1., 0., 1., 0.])
    >>> onward(t, t[:, None], 4, 9).t
    array([3., 4., 5.])
    """
    steps = np.diff(t)
    period = _period(u) if len(steps) and np.ptp(steps) <= EVEN_RTOL * np.median(steps) else None
    if period is None:
        last = min(len(t), n + most)
        return Onward(t[n - 1 : last], u[n - 1 : last], repeated=False)
    rows = n - 1 + np.arange(most + 1)
    return Onward(t[0] + np.median(steps) * rows, u[rows % period], repeated=True)


def _period(u: Array) -> int | None:
    """Rows after which inputs repeat, in two periods or more; None if they do not."""
    slack = SAME * np.ptp(u, axis=0)
    half = len(u) // 2
    for p in 1 + np.flatnonzero(np.all(np.abs(u[1 : half + 1] - u[0]) <= slack, axis=1)):
        if np.all(np.abs(u[p:] - u[:-p]) <= slack):
            return int(p)
    return None
