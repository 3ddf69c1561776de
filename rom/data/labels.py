"""What labelled snapshots carry beside their numbers, and what results may be called."""

from __future__ import annotations

from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike, NDArray

from rom.data.times import DATETIME64, TimeAxis, time_dim

# Larger snapshots are read through dask, block by block, so that scaling them makes no second copy.
LAZY_BYTES = 256 * 2**20
BLOCK_BYTES = 64 * 2**20
LARGEST_BYTES = 2**31  # of lazy snapshots that are loaded to fill their gaps


def is_labelled(X: Any) -> bool:
    """Whether `X` is an xarray object."""
    return isinstance(X, xr.DataArray | xr.Dataset)


def check_free_names(X: Any) -> None:
    """Refuse names that results use for the latent coordinates."""
    if not is_labelled(X):
        return
    names = {*X.dims, *X.coords, *(X.data_vars if isinstance(X, xr.Dataset) else [X.name])}
    for name in ("mode", "latent"):
        if name in names:
            raise ValueError(f"The name {name!r} is taken by the latent coordinates: rename it.")
    if isinstance(X, xr.DataArray) and X.name in {*X.dims, *X.coords}:
        raise ValueError(f"The DataArray is named like its coordinate {X.name!r}: rename it.")


def lazy_if_large(X: Any) -> Any:
    """Small snapshots in memory, so that they are read once; large ones in lazy blocks."""
    large, lazy = getattr(X, "nbytes", 0) > LAZY_BYTES, bool(getattr(X, "chunks", None))
    if large == lazy:
        return X
    if lazy:
        return X.compute()
    n_blocks = max(2, X.nbytes // BLOCK_BYTES)
    if is_labelled(X):
        return _cut_along_cells(X, n_blocks)
    import dask.array as da

    n_time, n_space = X.shape
    if n_time > n_space:
        return da.from_array(X, chunks=(-(-n_time // n_blocks), -1))
    return da.from_array(X, chunks=(-1, -(-n_space // n_blocks)))


def in_memory(X: Any) -> Any:
    """Snapshots with gaps, which are filled in memory.

    Raises
    ------
    ValueError
        If they are lazy and larger than LARGEST_BYTES.
    """
    if not getattr(X, "chunks", None):
        return X
    if X.nbytes > LARGEST_BYTES:
        raise ValueError(
            f"Gaps are filled in memory, for which lazy snapshots may have {LARGEST_BYTES:.3g} "
            f"bytes, but these have {X.nbytes:.3g}: take fewer cells or times, or load them."
        )
    return X.compute()


def _cut_along_cells(X: Any, n_blocks: int) -> Any:
    """Bands along the first space dimension of each variable, which hold all times."""
    dim = time_dim(X)
    fields = X.data_vars.values() if isinstance(X, xr.Dataset) else [X]
    first = {d for field in fields for d in [d for d in field.dims if d != dim][:1]}
    return X.chunk({d: -(-n // n_blocks) if d in first else -1 for d, n in X.sizes.items()})


def times_of(X: Any, axis: TimeAxis | None) -> Any:
    """Times (n_time,) of labelled data, with what else is labelled by them; None without."""
    if axis is None or not is_labelled(X) or axis.dim not in X.coords:
        return None
    times = X[axis.dim]
    return times if times.ndim else times.expand_dims(axis.dim)


def output_times(
    t: ArrayLike, now: xr.DataArray | None, axis: TimeAxis | None
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Times of a rollout, as numbers for the integrator and as labels for its result.

    Parameters
    ----------
    t : array_like, shape (n_time,)
        Numbers in the unit of `axis`, of which only differences count where `now` is known, as it
        must be for dates; or calendar times.
    now : DataArray, shape (1,), or None
        Time of the start.
    axis : TimeAxis or None
        None for plain arrays: then the labels are the numbers.
    """
    given = np.asarray(t)
    if given.ndim != 1 or not given.size:
        raise ValueError(f"t must be 1-D with at least one time, but its shape is {given.shape}.")
    if axis is None:
        return given.astype(np.float64), given
    start = None if now is None else float(axis.to_numbers(now)[0])
    if given.dtype.kind in "fiu":
        if start is None and axis.calendar is not None:
            raise ValueError(
                f"x0 must carry its time along {axis.dim!r}, or t be dates, as the model was "
                "fitted on dates; but x0 has none and t are numbers."
            )
        numbers = given.astype(np.float64)
        numbers = numbers if start is None else start + (numbers - numbers[0])
        return numbers, axis.to_times(numbers)
    if given.dtype.kind == "U" and axis.calendar == DATETIME64:
        given = given.astype("datetime64[ns]")
    numbers = axis.to_numbers(given)
    if start is not None and not np.isclose(numbers[0], start):
        raise ValueError(
            f"t[0] must be the time of x0, {axis.to_times(start)}, but it is {given[0]}."
        )
    return numbers, given


def as_dataset(fields: Any, times: Any) -> xr.Dataset:
    """Decoded states as a Dataset, whatever kind they are."""
    if isinstance(fields, xr.Dataset):
        return fields
    if isinstance(fields, xr.DataArray):
        return fields.to_dataset(name=fields.name or "x")
    return xr.Dataset({"x": (("time", "feature"), fields)}, coords={"time": times})
