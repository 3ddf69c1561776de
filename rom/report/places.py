"""Which coordinates of a field are the x and y of its picture."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.data.flatten import DEGREES_NORTH

if TYPE_CHECKING:
    import xarray as xr


class _Axis(NamedTuple):
    """What says that a coordinate runs to the right, or up: one of these is enough."""

    letter: str
    standard_names: tuple[str, ...]
    units: tuple[str, ...]
    names: str


# Pairs of x and y, those on the globe first: a projected grid may have both.
_PAIRS = (
    (
        _Axis(
            "X",
            ("longitude",),
            tuple(unit.replace("north", "east").replace("N", "E") for unit in DEGREES_NORTH),
            r"(nav_|geo|[xtuvq])?lon(g|gitude|_\w+)?",
        ),
        _Axis(
            "Y",
            ("latitude",),
            tuple(DEGREES_NORTH),
            r"(nav_|geo|[xtuvq])?lat(itude|_\w+)?",
        ),
    ),
    (
        _Axis("X", ("projection_x_coordinate", "grid_longitude"), (), r"x(c|_\w+)?"),
        _Axis("Y", ("projection_y_coordinate", "grid_latitude"), (), r"y(c|_\w+)?"),
    ),
)


def curved_places(
    field: xr.DataArray, dims: tuple[Hashable, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Where the cells lie, x and y (n_rows, n_columns), or None for a straight grid.

    By two-dimensional coordinates along `dims` that are known as x and y by CF attributes or by
    name; by unknown ones only where they are two and `dims` have no coordinates of their own.
    """
    if len(dims) != 2:
        return None
    found = [
        c.transpose(*dims)
        for c in field.coords.values()
        if set(c.dims) == set(dims) and c.dtype.kind in "fiu" and np.isfinite(c.values).all()
    ]
    for pair in _PAIRS:
        x, y = ([c for c in found if _is(axis, c)] for axis in pair)
        if x and y:
            return _numbers(x[0]), _numbers(y[0])
    if len(found) == 2 and not any(dim in field.coords for dim in dims):
        return _numbers(found[0]), _numbers(found[1])
    return None


def upright(field: xr.DataArray) -> xr.DataArray:
    """The field with y before x, if its last two dimensions are known as x and y."""
    *others, first, second = field.dims
    for x, y in _PAIRS:
        if _is(x, field[first]) and _is(y, field[second]):
            return field.transpose(*others, second, first)
    return field


def _is(axis: _Axis, coord: xr.DataArray) -> bool:
    return (
        coord.attrs.get("axis") == axis.letter
        or coord.attrs.get("standard_name") in axis.standard_names
        or coord.attrs.get("units") in axis.units
        or re.fullmatch(axis.names, str(coord.name).lower()) is not None
    )


def _numbers(coord: xr.DataArray) -> NDArray[np.float64]:
    return np.asarray(coord.values, dtype=np.float64)
