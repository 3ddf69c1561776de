"""Open snapshots from NetCDF, Zarr, xarray or NumPy; refuse in one line what cannot be used."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from rom.data.netcdf3 import check_whole
from rom.data.times import check_increasing, shown, time_dim

Snapshots = xr.DataArray | xr.Dataset
# Scalar coordinates that say where a field was taken; others (a run, a member) may differ.
PLACES = ("level", "lev", "plev", "height", "depth", "lat", "lon", "latitude", "longitude")
ARRAY_DIMS = ("time", "feature")
BLOCK_BYTES = 32 * 2**20  # of lazy files; some are read side by side


def open_snapshots(
    source: Any,
    var: str | Sequence[str] | None = None,
    *,
    trajectories: bool = False,
    chunks: Mapping[str, int] | None = None,
) -> Any:
    """Open snapshots from files or arrays, checked, and lazily where they come from files.

    Parameters
    ----------
    source : path, DataArray, Dataset, ndarray, or a list of them
        Paths name NetCDF files or Zarr stores (a directory). Several sources are joined along
        time, in the order of their times, which may not overlap.
    var : str or list of str, optional
        One variable gives a DataArray, a list of them a Dataset. Not needed where a source has
        one variable with a time dimension.
    trajectories : bool, optional
        Each source is a trajectory of its own, of any length and at any times. The result carries
        its number in a coordinate ``trajectory`` along time.
    chunks : mapping of dimension to int, optional
        Sizes of the dask blocks. Files are by default cut along time only, into blocks of dask's
        usual size; arrays are left as they are.

    Returns
    -------
    DataArray, Dataset or ndarray
        A single ndarray is returned as it is.

    Raises
    ------
    FileNotFoundError, OSError
        A file is not there, is truncated, or is neither NetCDF nor Zarr.
    ValueError, TypeError
        A variable is missing or not numeric, there are no times or no cells, times repeat or run
        backwards, or sources do not fit together. The message names the place.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> wave = xr.DataArray(np.ones((3, 4)), dims=("time", "x"), coords={"time": [0.0, 1.0, 2.0]})
    >>> X = open_snapshots([wave, wave[:2]], trajectories=True)
    >>> X.trajectory.values
    array([0, 0, 0, 1, 1])
    """
    sources = list(source) if isinstance(source, list | tuple) else [source]
    if not sources:
        raise ValueError("The list of sources is empty.")
    if len(sources) == 1 and not trajectories and isinstance(sources[0], np.ndarray):
        return _checked_array(sources[0])
    parts = []
    for position, item in enumerate(sources):
        name = str(item) if isinstance(item, str | Path) else f"source {position}"
        try:
            parts.append(_open_one(item, var, chunks))
        except (ValueError, TypeError) as error:
            raise type(error)(f"{name}: {error}") from error
    if trajectories:
        return join_trajectories(parts)
    return parts[0] if len(parts) == 1 else _join_times(parts)


def _open_one(item: Any, var: str | Sequence[str] | None, chunks: Any) -> Snapshots:
    if isinstance(item, np.ndarray):
        item = xr.DataArray(_checked_array(item), dims=ARRAY_DIMS)
    is_file = isinstance(item, str | Path)
    X = select(read_file(Path(item)) if is_file else item, var)
    check_snapshots(X)
    if chunks is not None:
        return X.chunk(chunks)
    return cut_as_stored(X) if is_file else X


def cut_as_stored(X: Any) -> Any:
    """`X` in dask blocks of about BLOCK_BYTES, of whole chunks as they are stored.

    Blocks hold whole states, or all times where that is how the chunks are.
    """
    dim = time_dim(X)
    fields = [X] if isinstance(X, xr.DataArray) else list(X.data_vars.values())
    stored: dict[Any, int] = {}
    for field in fields:
        for d, size in field.encoding.get("preferred_chunks", {}).items():
            stored[d] = max(stored.get(d, 1), size if isinstance(size, int) else max(size))
    cut: set[Any] = {dim}
    if stored.get(dim, 0) >= X.sizes[dim]:
        cells = {d for field in fields for d in [d for d in field.dims if d != dim][:1]}
        cut = {d for d in cells if stored.get(d, X.sizes[d]) < X.sizes[d]} or cut
    return X.chunk({d: _step(X, d, stored.get(d, 1)) if d in cut else -1 for d in X.dims})


def _step(X: Any, d: Any, stored: int) -> int:
    """Length along `d` of blocks of about BLOCK_BYTES: a multiple of the stored chunks' length."""
    wanted = max(1, BLOCK_BYTES * X.sizes[d] // max(1, X.nbytes))
    if stored > 16 * wanted:  # chunks that memory may not hold are read in parts
        return int(wanted)
    return int(stored * max(1, wanted // stored))


def read_file(path: Path) -> xr.Dataset:
    """Open a NetCDF file or a Zarr store lazily.

    Raises
    ------
    FileNotFoundError, OSError
        With a one-line message that names the file.
    """
    if not path.exists():
        raise FileNotFoundError(f"No such file: {path}")
    zarr = path.is_dir() or path.suffix == ".zarr"
    engine, kind = ("zarr", "Zarr store") if zarr else ("netcdf4", "NetCDF file")
    try:
        if not zarr:
            check_whole(path)
        return xr.open_dataset(path, engine=engine, decode_timedelta=False)
    except (OSError, ValueError, TypeError, LookupError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise OSError(f"{path} cannot be read as a {kind}, or is truncated: {reason}") from error


def select(X: Snapshots, var: str | Sequence[str] | None) -> Snapshots:
    """The variable `var` as a DataArray, or several as a Dataset."""
    if isinstance(X, xr.DataArray):
        if var is not None and var != X.name:
            raise ValueError(f"Expected the variable {var!r}, but the DataArray is {X.name!r}.")
        return X
    if not isinstance(X, xr.Dataset):
        raise TypeError(
            f"Expected a path, DataArray, Dataset or ndarray, but came {type(X).__name__}."
        )
    if var is None:
        return X[_only_candidate(X)]
    missing = [v for v in ([var] if isinstance(var, str) else var) if v not in X.data_vars]
    if missing:
        raise ValueError(f"No variable {missing[0]!r}; there are {_listed(X.data_vars)}.")
    return X[var] if isinstance(var, str) else X[list(var)]


def _only_candidate(X: xr.Dataset) -> str:
    dim = time_dim(X)
    found = [str(v) for v in X.data_vars if dim in X[v].dims and v not in _bounds(X)]
    found = [v for v in found if X[v].dtype.kind in "fiu"] or found
    if len(found) != 1:
        raise ValueError(
            f"Name the variable: there are {_listed(found)} along {dim!r}."
            if found
            else f"No variable has the time dimension {dim!r}; there are {_listed(X.data_vars)}."
        )
    return found[0]


def _bounds(X: xr.Dataset) -> set[Any]:
    """Names of the CF bounds of other variables, which are no data."""
    return {v.attrs.get("bounds", v.encoding.get("bounds")) for v in X.variables.values()}


def _listed(names: Any) -> str:
    return ", ".join(map(str, names)) or "none"


def check_snapshots(X: Snapshots) -> None:
    """Refuse labelled arrays that cannot be snapshots.

    Raises
    ------
    TypeError
        A variable is not numeric.
    ValueError
        There is no time dimension, a variable does not have it, there are no times or no cells,
        or times repeat or run backwards inside a trajectory.
    """
    dim = time_dim(X)
    for name, v in X.data_vars.items() if isinstance(X, xr.Dataset) else [(X.name, X)]:
        if v.dtype.kind not in "fiu":
            raise TypeError(f"Variable {name!r} must be numeric, but its dtype is {v.dtype}.")
        if dim not in v.dims:
            raise ValueError(f"Variable {name!r} has no dimension {dim!r}, only {v.dims}.")
        if v.size == 0:
            raise ValueError(f"The selection is empty: {name!r} has the sizes {dict(v.sizes)}.")
    if isinstance(X, xr.Dataset):
        _check_names(X)
    for d in X.dims:
        if d in X.indexes and X.indexes[d].nlevels > 1:
            raise ValueError(f"Dimension {d!r} has a MultiIndex: reset_index it, or unstack it.")
    if "trajectory" in X.dims:
        raise ValueError(
            "'trajectory' is a dimension: give the runs as a list, "
            "open_snapshots([...], trajectories=True), which joins them along time."
        )
    check_increasing(X)


def _check_names(X: xr.Dataset) -> None:
    if not X.data_vars:
        raise ValueError("The selection is empty: the Dataset has no variables.")
    for name in X.data_vars:
        if "/" in str(name):
            raise ValueError(f"Variable {name!r} has a '/' in its name, which NetCDF cannot hold.")
        if name in _bounds(X):
            raise ValueError(f"Variable {name!r} holds the bounds of a coordinate: leave it out.")


def _checked_array(X: np.ndarray) -> np.ndarray:
    if X.dtype.kind not in "fiu":
        raise TypeError(f"Snapshots must be numeric, but the array's dtype is {X.dtype}.")
    if X.ndim != 2 or X.size == 0:
        raise ValueError(f"Expected an array (n_time, n_space), but its shape is {X.shape}.")
    return X


def join_trajectories(parts: Sequence[Snapshots], labels: Sequence[Any] | None = None) -> Snapshots:
    """Join trajectories along time and label their rows with a coordinate ``trajectory``.

    Parameters
    ----------
    parts : sequence of DataArray, or of Dataset
        The trajectories: any lengths and times, but the same variables, units and space
        coordinates. Coordinates without a dimension that differ (a parameter, a member) are
        kept, one value per row.
    labels : sequence, optional
        One label per trajectory; 0, 1, … where not given.

    Returns
    -------
    DataArray or Dataset

    Examples
    --------
    >>> import xarray as xr
    >>> run = xr.DataArray([[1.0], [2.0]], dims=("time", "x"))
    >>> join_trajectories([run, run[:1]], labels=["a", "b"]).trajectory.values
    array(['a', 'a', 'b'], dtype='<U1')
    """
    names = list(range(len(parts))) if labels is None else list(labels)
    if len(names) != len(parts) or len(set(names)) != len(names):
        raise ValueError(f"Expected {len(parts)} different labels, but came {names}.")
    dim = time_dim(parts[0])
    return _concat(
        [
            part.assign_coords(trajectory=(dim, np.full(part.sizes.get(dim, 0), label)))
            for part, label in zip(parts, names, strict=True)
        ],
        dim,
    )


def _join_times(parts: Sequence[Snapshots]) -> Snapshots:
    dim = time_dim(parts[0])
    for position, part in enumerate(parts):
        if dim not in part.coords:
            raise ValueError(
                f"Source {position} has no times along {dim!r} to be ordered by; pass "
                "trajectories=True if each source is a trajectory of its own."
            )
    kinds = [type(part[dim].values.flat[0]).__name__ for part in parts]
    if len(set(kinds)) > 1:
        raise TypeError(f"The sources have times of different kinds: {', '.join(kinds)}.")
    parts = sorted(parts, key=lambda part: part[dim].values[0])
    for before, after in pairwise(parts):
        last, first = before[dim].values[-1], after[dim].values[0]
        if first <= last:
            raise ValueError(
                f"The times of two sources overlap: one ends at {shown(last)}, the next begins at "
                f"{shown(first)}; pass trajectories=True if each source is a trajectory of its own."
            )
    return _concat(parts, dim)


def _concat(parts: Sequence[Any], dim: str) -> Snapshots:
    first = as_dataset(parts[0])
    for position, part in enumerate(parts[1:], start=1):
        if type(part) is not type(parts[0]) or (dim in part.coords) != (dim in parts[0].coords):
            raise ValueError(
                f"Source {position} is not of the kind of source 0, or lacks its times."
            )
        try:
            check_alike(first, as_dataset(part), dim)
        except ValueError as error:
            raise ValueError(f"Source {position} does not fit source 0: {error}") from error
    return xr.concat(
        parts,
        dim,
        data_vars="all",
        coords="different",
        compat="equals",
        join="override",
        combine_attrs="drop_conflicts",
    )


def as_dataset(X: Snapshots, name: str = "state") -> xr.Dataset:
    """`X` as a Dataset; `name` is for a DataArray without one."""
    return X.to_dataset(name=X.name or name) if isinstance(X, xr.DataArray) else X


def check_alike(expected: xr.Dataset, X: xr.Dataset, dim: str) -> None:
    """Refuse `X` unless it has the variables, units and space coordinates of `expected`.

    Raises
    ------
    ValueError
        Names the variable or coordinate, and says how it differs. Units are compared where both
        give them; coordinates may differ by rounding.
    """
    for name, field in expected.data_vars.items():
        if name not in X.data_vars:
            raise ValueError(f"No variable {name!r}; there are {_listed(X.data_vars)}.")
        dims, came = ({str(d) for d in v.dims} - {dim} for v in (field, X[name]))
        if dims != came:
            raise ValueError(
                f"{name!r} has the space dimensions {sorted(came)}, expected {sorted(dims)}."
            )
        units, given = field.attrs.get("units"), X[name].attrs.get("units")
        if units is not None and given is not None and units != given:
            raise ValueError(f"{name!r} has units {given!r}, expected {units!r}.")
        for d in sorted(dims):
            if field.sizes[d] != X[name].sizes[d]:
                raise ValueError(
                    f"{name!r} has {X[name].sizes[d]} points along {d!r}, "
                    f"expected {field.sizes[d]}."
                )
    for name, coord in expected.coords.items():
        if dim not in coord.dims and (coord.ndim or (name in PLACES and name in X.coords)):
            _check_same_coordinate(str(name), coord, X)


def _check_same_coordinate(name: str, coord: xr.DataArray, X: xr.Dataset) -> None:
    if name not in X.coords:
        raise ValueError(f"The coordinate {name!r} is missing.")
    came = X.coords[name]
    if set(came.dims) != set(coord.dims):
        raise ValueError(f"Coordinate {name!r} has dimensions {came.dims}, expected {coord.dims}.")
    units, given = coord.attrs.get("units"), came.attrs.get("units")
    if units is not None and given is not None and units != given:
        raise ValueError(f"Coordinate {name!r} has units {given!r}, expected {units!r}.")
    a, b = coord.values, came.transpose(*coord.dims).values
    if a.dtype.kind in "fiu" and b.dtype.kind in "fiu":
        spacing = np.abs(np.diff(a * 1.0)).min(initial=np.inf) if a.ndim == 1 else np.inf
        rounding = min(1e-6 * np.abs(a).max(initial=0), 0.01 * spacing)
        differs = ~np.isclose(a, b, rtol=0, atol=rounding, equal_nan=True)
    else:
        differs = np.asarray(a != b)
    if differs.any():
        place = tuple(np.argwhere(differs)[0].tolist())
        raise ValueError(
            f"Coordinate {name!r} has changed at {differs.sum()} of {a.size} points, the first at "
            f"position {place}: {b[place]}, expected {a[place]}."
        )
