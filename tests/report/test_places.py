from __future__ import annotations

import numpy as np
import pytest
import xarray as xr

from rom.report.places import curved_places, upright

X, Y = np.meshgrid(np.arange(4.0), np.arange(3.0))
NORTH, EAST = {"units": "degrees_north"}, {"units": "degrees_east"}


def field(own=(), **coords):
    """A field (j, i) with these coordinates (j, i), and those of its dimensions in `own`."""
    two = {name: (("j", "i"), *c) for name, c in coords.items()}
    one = {dim: np.arange({"j": 3, "i": 4}[dim]) for dim in own}
    return xr.DataArray(X + Y, dims=("j", "i"), coords=two | one)


@pytest.mark.parametrize(
    "names",
    [
        ("lat", "lon"),
        ("LATITUDE", "Longitude"),
        ("nav_lat", "nav_lon"),
        ("XLAT", "XLONG"),
        ("TLAT", "TLONG"),
        ("lat_rho", "lon_rho"),
        ("geolat", "geolon"),
        ("y", "x"),
        ("yc", "xc"),
        ("y_rho", "x_rho"),
    ],
)
def test_names_say_what_is_x_and_y(names):
    north, east = names
    for coords in ({north: (Y,), east: (X,)}, {east: (X,), north: (Y,)}):
        x, y = curved_places(field(own="ji", depth=(X * Y,), **coords), ("j", "i"))
        assert np.array_equal(x, X)
        assert np.array_equal(y, Y)


@pytest.mark.parametrize(
    ("north", "east"),
    [
        ({"standard_name": "latitude"}, {"standard_name": "longitude"}),
        (NORTH, EAST),
        ({"units": "degreesN"}, {"units": "degreesE"}),
        ({"axis": "Y"}, {"axis": "X"}),
        (
            {"standard_name": "projection_y_coordinate"},
            {"standard_name": "projection_x_coordinate"},
        ),
    ],
)
def test_attributes_say_what_is_x_and_y(north, east):
    known = field(own="ji", a=(X * Y,), b=(Y, north), c=(X, east))
    x, y = curved_places(known, ("j", "i"))
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_what_is_not_known_as_x_and_y_is_not_taken_on_a_straight_grid():
    assert curved_places(field(own="ji", area=(X,), depth=(Y,)), ("j", "i")) is None
    assert curved_places(field(own="j", area=(X,), depth=(Y,)), ("j", "i")) is None
    assert curved_places(field(own="ji", lat=(Y,), relative=(X,)), ("j", "i")) is None
    assert curved_places(field(area=(X,), depth=(Y,), volume=(X,)), ("j", "i")) is None
    assert curved_places(field(), ("j", "i")) is None


def test_two_unknown_coordinates_are_x_and_y_where_there_is_nothing_else():
    unknown = field(first=(X,), second=(Y,), names=(np.full(X.shape, "cell"),))
    x, y = curved_places(unknown, ("j", "i"))
    assert np.array_equal(x, X)
    assert np.array_equal(y, Y)


def test_a_pair_is_of_one_kind_and_lies_as_the_field_does():
    both = field(y=(Y + 7,), lat=(Y,), x=(X + 7,), lon=(X,))
    assert np.array_equal(curved_places(both, ("j", "i"))[0], X)
    turned = field().assign_coords(lat=(("i", "j"), Y.T), lon=(("i", "j"), X.T))
    assert np.array_equal(curved_places(turned, ("j", "i"))[1], Y)


def test_places_that_are_missing_are_none():
    holes = np.where(X > 2, np.nan, X)
    assert curved_places(field(lat=(Y,), lon=(holes,)), ("j", "i")) is None


def test_fields_in_one_dimension_have_no_such_places():
    line = field(lat=(Y,), lon=(X,))[0]
    assert curved_places(line, line.dims) is None


@pytest.mark.parametrize("dims", [("lon", "lat"), ("x", "y")])
def test_a_field_is_turned_only_where_x_is_known_to_come_first(dims):
    turned = xr.DataArray(np.zeros((2, 3, 4)), dims=("time", *dims))
    assert upright(turned).dims == ("time", *dims[::-1])
    assert upright(upright(turned)).dims == ("time", *dims[::-1])
    other = turned.rename({dims[0]: "r", dims[1]: "theta"})
    assert upright(other).dims == other.dims
