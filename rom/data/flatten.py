"""Flatten: labelled snapshots (time, *space) <-> rows of numbers (n_time, n_space)."""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from rom.checks import check_rows, is_lazy
from rom.data.io import as_dataset, check_alike, check_snapshots
from rom.data.times import shown, time_dim

DEGREES_NORTH = {"degrees_north", "degree_north", "degrees_N", "degree_N", "degreesN", "degreeN"}


class Flatten(TransformerMixin, BaseEstimator):
    """Turns labelled snapshots into rows of numbers, and rows back into labelled snapshots.

    Cells that are NaN at all times (land, say) are left out of the rows and are NaN again on the
    way back. Columns run through the variables in order, and through each one's valid cells in C
    order; what later snapshots hold in masked cells is left out too. dask-backed snapshots become
    dask rows, in chunks of times, or of cells where each chunk holds all times; only the mask is
    computed in `fit`, and `fit_transform` takes it from the first chunk and checks it while the
    rows are read. Rows may share memory with the snapshots: they are to be read, not written.

    Parameters
    ----------
    allow_gaps : bool, default=False
        Keep NaN in cells that are valid at other times, for compressors that fill them, instead
        of refusing them.

    Attributes
    ----------
    kind_ : {"array", "DataArray", "Dataset"}
        What `fit` was given. A 2-D ndarray passes through unchanged.
    template_ : Dataset or None
        One state: per variable a boolean mask over its space dimensions, True where a cell is
        valid, with the variable's attrs, all space coordinates, and the first time.
    variables_ : list of str
        Names of the variables; ``["x"]`` for arrays.
    variable_ : ndarray of int, shape (n_space,)
        Position in `variables_` of each column.
    latitude_ : ndarray, shape (n_space,), or None
        Latitude of each column in degrees, where every variable has one by CF conventions.
    time_dim_ : str
        Name of the time dimension.
    name_ : str or None
        Name of the DataArray.
    n_features_in_ : int
        Number of columns, n_space.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> sst = xr.DataArray([[1.0, np.nan, 3.0], [4.0, np.nan, 6.0]], dims=("time", "x"), name="sst")
    >>> flatten = Flatten().fit(sst)
    >>> rows = flatten.transform(sst)
    >>> rows
    array([[1., 3.],
           [4., 6.]])
    >>> flatten.inverse_transform(rows).identical(sst)
    True
    """

    def __init__(self, allow_gaps: bool = False) -> None:
        self.allow_gaps = allow_gaps

    def fit(self, X: Any, y: None = None) -> Self:
        """Learn the mask and the labels.

        Parameters
        ----------
        X : DataArray or Dataset (time, *space), or array_like (n_time, n_space)
            Variables of a Dataset may have different space dimensions, or none.
        y : None
            Ignored; there for scikit-learn.

        Raises
        ------
        ValueError, TypeError
            `X` cannot be snapshots (see :func:`rom.open_snapshots`), a variable has no valid
            cell, or a value is NaN or inf in a cell that is valid at other times.
        """
        return self._learn(X, head_only=False)

    def fit_transform(self, X: Any, y: None = None) -> Any:
        """Rows of `X`, with the mask and the labels learned: lazy snapshots are not read for it.

        Raises
        ------
        ValueError, TypeError
            As by :meth:`fit`; where the mask changes in time, when the rows are read.
        """
        lazy = isinstance(X, xr.DataArray | xr.Dataset) and bool(X.chunks)
        self._learn(X, head_only=lazy and not self.allow_gaps)
        return self._transform(X, strict=lazy)

    def _learn(self, X: Any, *, head_only: bool) -> Self:
        if not isinstance(X, xr.DataArray | xr.Dataset):
            return self._fit_array(X)
        check_snapshots(X)
        self.kind_ = type(X).__name__
        self.name_ = None if isinstance(X, xr.Dataset) or X.name is None else str(X.name)
        self.time_dim_ = time_dim(X)
        data = as_dataset(X)
        if head_only:
            data = data.isel({self.time_dim_: slice(0, 1)})
        self.template_: Any = _template(data, self.time_dim_, self.allow_gaps)
        self.variables_ = [str(name) for name in self.template_.data_vars]
        sizes = [int(mask.sum()) for mask in self.template_.values()]
        self.variable_ = np.repeat(np.arange(len(sizes)), sizes)
        self.latitude_ = _latitude(self.template_)
        self.n_features_in_ = len(self.variable_)
        return self

    def _fit_array(self, X: Any) -> Self:
        X = check_rows(
            self, X, reset=True, dtype=[np.float64, np.float32], allow_nan=self.allow_gaps
        )
        self.kind_, self.name_, self.time_dim_ = "array", None, "time"
        self.template_ = self.latitude_ = None
        self.variables_, self.variable_ = ["x"], np.zeros(X.shape[1], dtype=np.intp)
        return self

    def transform(self, X: Any) -> Any:
        """Rows (n_time, n_space) of snapshots like those given to `fit`.

        A state without the time dimension gives one row.

        Raises
        ------
        ValueError, TypeError
            `X` is of another kind, lacks a variable, has other dimensions, units or space
            coordinates, or holds NaN or inf in a valid cell (dask-backed: when it is read).
        """
        check_is_fitted(self)
        return self._transform(X, strict=False)

    def _transform(self, X: Any, *, strict: bool) -> Any:
        if self.kind_ == "array":
            if isinstance(X, xr.DataArray | xr.Dataset):
                raise TypeError(f"Expected an array as in fit, but came a {type(X).__name__}.")
            dtypes = [np.float64, np.float32]
            return check_rows(self, X, reset=False, dtype=dtypes, allow_nan=self.allow_gaps)
        if type(X).__name__ != self.kind_:
            raise TypeError(f"Expected a {self.kind_} as in fit, but came {type(X).__name__}.")
        data = as_dataset(X, name=self.variables_[0])
        if self.time_dim_ not in data.dims:
            data = data.expand_dims(self.time_dim_)
        check_alike(self.template_, data, self.time_dim_)
        rows: list[Any] = [
            _rows(data[name], mask, self.time_dim_, _Rule(self.allow_gaps, strict))
            for name, mask in self.template_.items()
        ]
        return rows[0] if len(rows) == 1 else np.concatenate(rows, axis=1)

    def inverse_transform(self, rows: Any, time: Any = None, dim: str | None = None) -> Any:
        """Labelled fields (dim, *space) of rows (n_rows, n_space).

        Parameters
        ----------
        rows : ndarray or dask array, shape (n_rows, n_space)
            States, or anything else that has one number per cell, like modes.
        time : DataArray or array_like, shape (n_rows,), optional
            Coordinate of the leading dimension. Plain times get the attrs of those of `fit`; a
            DataArray brings its own, and what else it carries along time (``trajectory``, say).
        dim : str, optional
            Name of the leading dimension, if not the time dimension of `fit`.

        Returns
        -------
        DataArray, Dataset or ndarray
            Of the kind given to `fit`; masked cells are NaN.
        """
        check_is_fitted(self)
        rows = rows if is_lazy(rows) else np.asarray(rows)
        if rows.ndim != 2 or rows.shape[1] != self.n_features_in_:
            raise ValueError(
                f"Expected rows of shape (n_rows, {self.n_features_in_}), but came {rows.shape}."
            )
        if self.kind_ == "array":
            return rows
        dim = dim or self.time_dim_
        edges = np.searchsorted(self.variable_, np.arange(len(self.variables_) + 1))
        fields = {
            name: ((dim, *mask.dims), _fields(rows[:, start:stop], mask.values), mask.attrs)
            for (name, mask), start, stop in zip(
                self.template_.items(), edges[:-1], edges[1:], strict=True
            )
        }
        space = self.template_.drop_vars(self.time_dim_, errors="ignore").coords
        out = xr.Dataset(fields, coords=space, attrs=self.template_.attrs)
        if isinstance(time, xr.DataArray):
            along = {name: c for name, c in time.coords.items() if c.dims == (dim,)}
            out = out.assign_coords(along or {dim: time.values})
        elif time is not None:
            first = self.template_.coords.get(dim)
            attrs = {} if first is None else first.attrs
            out = out.assign_coords({dim: (dim, np.asarray(time), attrs)})
        return out if self.kind_ == "Dataset" else out[self.variables_[0]].rename(self.name_)


class _Rule(NamedTuple):
    """What rows may hold."""

    gaps: bool
    """NaN in valid cells."""
    strict: bool
    """Nothing but NaN in masked cells: the mask was taken from the first snapshot."""


def _template(data: xr.Dataset, dim: str, gaps: bool) -> xr.Dataset:
    """Masks of the valid cells, from one pass over the data."""
    import dask

    complete, present = dask.compute(data.map(np.isfinite).all(dim), data.notnull().any(dim))
    for name, valid in present.items():
        if not valid.any():
            raise ValueError(f"{name!r} is NaN everywhere.")
        if not gaps and (valid & ~complete[name]).any():
            _refuse(data[name].transpose(dim, *valid.dims), valid)
        valid.attrs = dict(data[name].attrs)
        present[name] = valid
    present.attrs = dict(data.attrs)
    if dim in data.coords:
        present = present.assign_coords({dim: data.coords[dim][0].variable})
    return present.drop_encoding()


def _refuse(field: xr.DataArray, valid: xr.DataArray) -> None:
    """Name the values of `field` (time, *space) that are not finite in valid cells."""
    finite: Any = np.isfinite(field)
    bad = (~finite & valid).transpose(*field.dims)
    counts = bad.sum(valid.dims).values
    row = int(np.argmax(counts > 0))
    cell = np.argwhere(bad[row].values)[0]
    place = {field.dims[0]: row, **dict(zip(valid.dims, cell.tolist(), strict=True))}
    where = ", ".join(f"{d}={shown(field[d].values[i])}" for d, i in place.items())
    raise ValueError(
        f"{field.name!r} holds {counts.sum()} values that are NaN or inf in cells that are valid "
        f"at other times, the first ({field[place].values}) at {where}. Fill them, or make the "
        "cell NaN at all times."
    )


def _latitude(template: xr.Dataset) -> NDArray[np.float64] | None:
    columns = []
    for mask in template.values():
        found = [c for name, c in mask.coords.items() if _is_latitude(str(name), c)]
        if not found:
            return None
        latitude = found[0].broadcast_like(mask).transpose(*mask.dims)
        columns.append(latitude.values[mask.values].astype(np.float64))
    return np.concatenate(columns)


def _is_latitude(name: str, coord: xr.DataArray) -> bool:
    return (
        coord.attrs.get("standard_name") == "latitude"
        or coord.attrs.get("units") in DEGREES_NORTH
        or name.lower() in ("lat", "latitude")
    )


def _rows(field: xr.DataArray, mask: xr.DataArray, dim: str, rule: _Rule) -> Any:
    """Rows (n_time, n_valid) of one variable, checked to be finite."""
    if field.dtype.kind not in "fiu":
        raise TypeError(f"Variable {field.name!r} must be numeric, but its dtype is {field.dtype}.")
    mask = mask.drop_vars(dim, errors="ignore")
    field = field.transpose(dim, *mask.dims)
    dtype = np.float32 if field.dtype == np.float32 else np.float64
    values = field.data.astype(dtype, copy=False)
    if not is_lazy(values):
        return _read(values, mask, field[dim], rule)
    all_times = values.numblocks[0] == 1 and field.ndim > 1
    whole = range(2 if all_times else 1, field.ndim)  # axes along which a block is not cut
    blocks = values.rechunk(dict.fromkeys(whole, -1))
    bands = [int(b.sum()) for b in _bands(mask.values, blocks.chunks[1])] if all_times else None
    return blocks.map_blocks(
        _read,
        mask=mask,
        times=field[dim],
        rule=rule,
        drop_axis=list(range(2, field.ndim)) if all_times else list(range(1, field.ndim)),
        new_axis=None if all_times else 1,
        chunks=(blocks.chunks[0], bands or (int(mask.sum()),)),
        meta=np.empty((0, 0), dtype),
    )


def _bands(mask: NDArray[np.bool_], sizes: tuple[int, ...]) -> list[NDArray[np.bool_]]:
    return np.split(mask, np.cumsum(sizes)[:-1])


def _read(
    values: NDArray[Any],
    mask: xr.DataArray,
    times: xr.DataArray,
    rule: _Rule,
    block_info: Any = None,
) -> NDArray[Any]:
    """Rows of `values` (n_time, *space), which may be one block: some times, or a band of cells."""
    if block_info:
        first_time, *first_cell = (a for a, _ in block_info[0]["array-location"])
        times = times[first_time : first_time + len(values)]
        if first_cell:
            mask = mask[first_cell[0] : first_cell[0] + values.shape[1]]
    cells = values.reshape(len(values), -1)
    valid = mask.values.ravel()
    rows = cells if valid.all() else cells[:, valid]
    if not (np.isfinite(rows).all() or (rule.gaps and not np.isinf(rows).any())):
        _refuse(_labelled(values, mask, times), mask)
    if rule.strict and not rule.gaps and not np.isnan(cells[:, ~valid]).all():
        _refuse(_labelled(values, mask, times), mask | ~np.isnan(values).all(axis=0))
    return rows


def _labelled(values: NDArray[Any], mask: xr.DataArray, times: xr.DataArray) -> xr.DataArray:
    coords = {times.name: times.values, **mask.coords}
    return xr.DataArray(values, coords, (times.name, *mask.dims), mask.name)


def _fields(rows: Any, valid: NDArray[np.bool_]) -> Any:
    """Fields (n_rows, *space) of rows (n_rows, n_valid), NaN where not valid."""
    if is_lazy(rows):
        shape = valid.shape
        return rows.rechunk({1: -1}).map_blocks(
            _fields,
            valid,
            dtype=rows.dtype,
            chunks=(rows.chunks[0], *((n,) for n in shape)),
            drop_axis=1,
            new_axis=list(range(1, 1 + len(shape))),
            meta=np.empty((0,) * (1 + len(shape)), rows.dtype),
        )
    if valid.all():
        return rows.reshape(len(rows), *valid.shape)
    out = np.full((len(rows), *valid.shape), np.nan, dtype=np.result_type(rows.dtype, np.float32))
    out[:, valid] = rows
    return out
