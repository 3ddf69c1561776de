from __future__ import annotations

import cftime
import dask.array as da
import numpy as np
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.utils.estimator_checks import parametrize_with_checks

from rom.data.flatten import Flatten


@parametrize_with_checks([Flatten()])
def test_sklearn(estimator, check):
    check(estimator)


def ocean(n_time=6, dtype=np.float32):
    """A field with land, labels and attrs, dims (lat, time, lon)."""
    rng = np.random.default_rng(0)
    X = xr.DataArray(
        rng.normal(size=(4, n_time, 5)).astype(dtype),
        dims=("lat", "time", "lon"),
        coords={
            "lat": ("lat", [-60.0, -20.0, 20.0, 60.0], {"units": "degrees_north"}),
            "lon": ("lon", [0.0, 2.0, 4.0, 6.0, 8.0], {"units": "degrees_east"}),
            "time": (
                "time",
                np.arange(n_time) * np.timedelta64(1, "D") + np.datetime64("2001-01-01", "ns"),
                {"axis": "T"},
            ),
            "depth": 5.0,
            "region": (("lat", "lon"), np.full((4, 5), "sea")),
            "season": ("time", np.arange(n_time) % 4),
        },
        name="sst",
        attrs={"units": "degC", "long_name": "sea surface temperature"},
    )
    return X.where(~((X.lat == 20) & (X.lon > 5)))


def climate():
    """Variables of different dimensions: a field, a profile and an index."""
    field = ocean()
    profile = field.mean("lon").rename("zonal").astype(np.float64)
    index = field.mean(("lat", "lon")).rename("index").assign_attrs(units="1")
    return xr.merge([field, profile, index], compat="override").assign_attrs(title="a test")


@pytest.mark.parametrize("chunks", [None, {"time": 2}, {"time": 4, "lat": 3, "lon": 2}])
@pytest.mark.parametrize("make", [ocean, climate])
def test_there_and_back_is_the_identity(make, chunks):
    X = make()
    original = X.copy(deep=True)
    given_X = X if chunks is None else X.chunk(chunks)
    flatten = Flatten().fit(given_X)
    rows = flatten.transform(given_X)
    back = flatten.inverse_transform(rows, time=X.time)
    assert isinstance(rows, np.ndarray if chunks is None else da.Array)
    assert rows.shape == (6, flatten.n_features_in_)
    assert flatten.n_features_in_ == (18 if make is ocean else 18 + 4 + 1)
    fields = back if isinstance(back, xr.Dataset) else back.to_dataset()
    assert all((v.chunks is not None) == (chunks is not None) for v in fields.data_vars.values())
    xr.testing.assert_identical(
        back.compute().astype(np.float64), X.transpose("time", ...).astype(np.float64)
    )
    xr.testing.assert_identical(X, original)


def test_columns_are_the_valid_cells_variable_by_variable():
    X = climate()
    flatten = Flatten().fit(X)
    rows = flatten.transform(X)
    assert flatten.variables_ == ["sst", "zonal", "index"]
    np.testing.assert_array_equal(flatten.variable_, np.repeat([0, 1, 2], [18, 4, 1]))
    stacked = X.sst.stack(cell=("lat", "lon")).transpose("time", "cell").dropna("cell")
    np.testing.assert_array_equal(rows[:, :18], stacked)
    np.testing.assert_array_equal(rows[:, 22], X["index"])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.float16])
def test_only_single_precision_stays(dtype):
    X = xr.DataArray(np.ones((2, 3), dtype=dtype), dims=("time", "x"))
    expected = np.float32 if dtype == np.float32 else np.float64
    assert Flatten().fit_transform(X).dtype == expected
    assert Flatten().fit_transform(X.chunk(time=1)).dtype == expected


def test_rows_of_an_unmasked_field_are_not_copied():
    X = xr.DataArray(np.zeros((5, 3, 4)), dims=("time", "y", "x"))
    assert np.shares_memory(Flatten().fit_transform(X), X.values)


def test_latitude():
    flatten = Flatten().fit(ocean())
    expected = ocean().lat.broadcast_like(ocean()[:, 0]).transpose("lat", "lon").values
    valid = flatten.template_.sst.values
    np.testing.assert_array_equal(flatten.latitude_, expected[valid])
    assert Flatten().fit(climate()).latitude_ is None  # an index has none
    curvilinear = xr.DataArray(
        np.ones((2, 2, 3)),
        dims=("time", "j", "i"),
        coords={"phi": (("j", "i"), np.arange(6.0).reshape(2, 3), {"standard_name": "latitude"})},
    )
    np.testing.assert_array_equal(Flatten().fit(curvilinear).latitude_, np.arange(6.0))


def test_one_state_is_one_row():
    X = ocean()
    flatten = Flatten().fit(X)
    rows = flatten.transform(X)
    np.testing.assert_array_equal(flatten.transform(X.isel(time=2)), rows[2:3])
    np.testing.assert_array_equal(flatten.transform(X.isel(time=2, drop=True)), rows[2:3])


def test_other_leading_dimensions_for_modes():
    X = ocean()
    flatten = Flatten().fit(X)
    modes = flatten.inverse_transform(np.eye(18)[:3], time=[1, 2, 3], dim="mode")
    assert modes.dims == ("mode", "lat", "lon")
    assert "time" not in modes.coords
    np.testing.assert_array_equal(modes.mode, [1, 2, 3])
    np.testing.assert_array_equal(modes.sum(), 3)


def test_plain_times_get_the_attrs_of_training():
    X = ocean()
    flatten = Flatten().fit(X)
    back = flatten.inverse_transform(
        flatten.transform(X), time=X.time.values + np.timedelta64(9, "D")
    )
    assert back.time.attrs == {"axis": "T"}
    assert back.time.values[0] == np.datetime64("2001-01-10")
    assert "time" not in flatten.inverse_transform(flatten.transform(X)).coords


@pytest.mark.parametrize("name", [None, "x", "state"])
def test_names_that_clash_with_coordinates(name):
    X = xr.DataArray(np.eye(3), dims=("time", "x"), coords={"x": [0.0, 1.0, 2.0]})
    X = X.rename(x="y") if name == "x" else X
    X.name = name
    flatten = Flatten().fit(X)
    xr.testing.assert_identical(flatten.inverse_transform(flatten.transform(X)), X)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("chunks", [None, {"time": 2, "lat": 1}])
def test_isolated_bad_values_are_named(bad, chunks):
    X = ocean()
    broken = X.copy(deep=True)
    broken[1, 3, 2] = broken[1, 4, 0] = bad
    X, broken = (v if chunks is None else v.chunk(chunks) for v in (X, broken))
    message = rf"'sst' holds 2 values.*\({bad}\) at time=2001-01-04, lat=-20.0, lon=4.0"
    with pytest.raises(ValueError, match=message):
        Flatten().fit(broken)
    one_by_one = message if chunks is None else message.replace("2 values", "1 values")
    with pytest.raises(ValueError, match=one_by_one if chunks is None else "'sst' holds"):
        np.asarray(Flatten().fit(X).transform(broken))


def test_a_block_names_its_own_place():
    X = ocean().chunk(time=2)
    flatten = Flatten().fit(X)
    broken = X.compute()
    broken[3, 5, 4] = np.nan
    with pytest.raises(ValueError, match=r"1 values.*time=2001-01-06, lat=60.0, lon=8.0"):
        flatten.transform(broken.chunk(time=2)).compute()


def test_a_cell_that_is_infinite_at_all_times_is_no_mask():
    X = xr.DataArray([[1.0, np.inf], [2.0, np.inf]], dims=("time", "x"))
    with pytest.raises(ValueError, match=r"2 values that are NaN or inf.*x=1"):
        Flatten().fit(X)


def test_a_variable_without_cells_is_refused():
    with pytest.raises(ValueError, match="'sst' is NaN everywhere"):
        Flatten().fit(ocean() * np.nan)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            lambda X: X.assign_coords(lat=X.lat + 0.5),
            ValueError,
            "'lat' has changed at 4 of 4.*: -59.5, expected -60.0",
        ),
        (lambda X: X.isel(lat=slice(None, None, -1)), ValueError, "'lat' has changed at 4 of 4"),
        (lambda X: X.isel(lat=slice(3)), ValueError, "3 points along 'lat', expected 4"),
        (lambda X: X.drop_vars("lon"), ValueError, "coordinate 'lon' is missing"),
        (
            lambda X: X.assign_coords(region=X.region.where(X.lon > 1, "land")),
            ValueError,
            "'region' has changed at 4 of 20",
        ),
        (
            lambda X: X.rename(lat="y"),
            ValueError,
            r"space dimensions \['lon', 'y'\], expected \['lat', 'lon'\]",
        ),
        (lambda X: X.assign_attrs(units="K"), ValueError, "units 'K', expected 'degC'"),
        (lambda X: X.rename("slp"), ValueError, "No variable 'sst'; there are slp"),
        (lambda X: X.to_dataset(), TypeError, "Expected a DataArray as in fit, but came Dataset"),
        (lambda X: X.values, TypeError, "came ndarray"),
    ],
)
def test_what_does_not_fit_is_refused(change, error, message):
    flatten = Flatten().fit(ocean())
    with pytest.raises(error, match=message):
        flatten.transform(change(ocean()))


def test_what_does_fit_is_accepted():
    X = ocean()
    flatten = Flatten().fit(X)
    rows = flatten.transform(X)
    same = X.rename(None).drop_attrs().transpose("lon", "time", "lat")
    same = same.assign_coords(lat=X.lat.astype(np.float32) + np.float32(1e-6))
    np.testing.assert_array_equal(flatten.transform(same), rows)


def test_rows_of_another_width_are_refused():
    with pytest.raises(
        ValueError, match=r"Expected rows of shape \(n_rows, 18\), but came \(2, 3\)"
    ):
        Flatten().fit(ocean()).inverse_transform(np.zeros((2, 3)))


def test_labelled_data_is_refused_after_an_array():
    with pytest.raises(TypeError, match="Expected an array as in fit"):
        Flatten().fit(np.eye(3)).transform(ocean())


def test_cftime_survives():
    times = [cftime.DatetimeNoLeap(2000, 2, 28), cftime.DatetimeNoLeap(2000, 3, 1)]
    X = xr.DataArray(np.eye(2), dims=("time", "x"), coords={"time": times}, name="v")
    flatten = Flatten().fit(X)
    xr.testing.assert_identical(flatten.inverse_transform(flatten.transform(X), time=X.time), X)


@settings(max_examples=40, deadline=None)
@given(
    hnp.array_shapes(min_dims=2, max_dims=4, max_side=4).flatmap(
        lambda shape: st.tuples(
            hnp.arrays(np.float64, shape, elements=st.floats(-1e300, 1e300)),
            hnp.arrays(np.bool_, shape[1:]),
        )
    )
)
def test_any_mask_and_shape_round_trips(case):
    values, valid = case
    X = (
        xr.DataArray(values)
        .rename(dim_0="time")
        .where(xr.DataArray(valid, dims=[f"dim_{i}" for i in range(1, values.ndim)]))
    )
    if not valid.any():
        with pytest.raises(ValueError, match="NaN everywhere"):
            Flatten().fit(X)
        return
    flatten = Flatten().fit(X)
    rows = flatten.transform(X)
    np.testing.assert_array_equal(rows, values[:, valid])
    xr.testing.assert_identical(flatten.inverse_transform(rows), X)


def test_whole_numbers_along_space_are_places_too():
    X = xr.DataArray(
        np.random.default_rng(0).normal(size=(30, 8)),
        dims=("time", "x"),
        coords={"time": np.arange(30.0), "x": np.arange(8)},
    )
    flatten = Flatten().fit(X)
    assert flatten.transform(X).shape == (30, 8)
