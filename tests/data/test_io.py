from __future__ import annotations

import shutil

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from rom.data import Flatten, Scale, TimeAxis, open_snapshots, phase
from rom.data.io import join_trajectories


def field(n_time=12, start="2000-01-01", seed=0, **attrs):
    rng = np.random.default_rng(seed)
    return xr.DataArray(
        rng.normal(size=(n_time, 3, 4)),
        dims=("time", "lat", "lon"),
        coords={
            "time": xr.date_range(start, periods=n_time, freq="D"),
            "lat": ("lat", [-10.0, 0.0, 10.0], {"units": "degrees_north"}),
            "lon": [0.0, 90.0, 180.0, 270.0],
        },
        name="sst",
        attrs={"units": "degC"} | attrs,
    )


def archive():
    """A file as archives serve them: the field, another one, and what is none."""
    X = field()
    return xr.Dataset(
        {
            "sst": X.where(X.lat < 5),
            "slp": X + 1e5,
            "time_bnds": (("time", "nv"), np.zeros((12, 2))),
            "area": (("lat", "lon"), np.ones((3, 4))),
            "label": ("time", np.full(12, "a")),
        }
    ).assign_coords(time=("time", np.arange(12.0), {"bounds": "time_bnds", "units": "s"}))


CLASSIC = ["NETCDF3_CLASSIC", "NETCDF3_64BIT"]
FORMATS = ["NETCDF4", *CLASSIC, "zarr2", "zarr3"]


def write(X, path, kind):
    if kind.startswith("zarr"):
        X.to_zarr(path, zarr_format=int(kind[-1]), consolidated=kind == "zarr2")
    else:
        X.to_netcdf(path, format=kind)
    return path


@pytest.mark.filterwarnings("ignore:Failed to open Zarr store with consolidated:RuntimeWarning")
@pytest.mark.parametrize("kind", FORMATS)
def test_files_open_lazily_and_whole(tmp_path, kind):
    X = archive()[["sst"]].assign_attrs(title="a test")
    lazy = open_snapshots(write(X, tmp_path / "file", kind))
    assert isinstance(lazy.data, da.Array)
    xr.testing.assert_identical(lazy.compute().astype(float), X.sst)


def test_files_go_through_the_whole_house(tmp_path):
    write(archive().assign_coords(time=field().time), tmp_path / "sst.nc", "NETCDF4")
    X = open_snapshots(str(tmp_path / "sst.nc"), "sst", chunks={"time": 5})
    assert X.chunks[0] == (5, 5, 2)
    flatten, axis, phases = Flatten().fit(X), TimeAxis.of(X), phase(X.time, "month")
    rows = flatten.transform(X)
    scale = Scale(area_weights=True, climatology="month")
    scale.fit(rows, latitude=flatten.latitude_, phase=phases)
    scaled = scale.transform(rows, phase=phases)
    assert isinstance(scaled, da.Array)
    times = axis.to_times(axis.to_numbers(X.time))
    back = flatten.inverse_transform(scale.inverse_transform(scaled, phase=phases), time=times)
    xr.testing.assert_allclose(back, X, rtol=1e-12, atol=1e-12)
    xr.testing.assert_identical(back * 0, X.compute() * 0)


def test_which_variables():
    X = archive()
    xr.testing.assert_identical(open_snapshots(X, "slp"), X.slp)
    xr.testing.assert_identical(open_snapshots(X, ["slp", "sst"]), X[["slp", "sst"]])
    xr.testing.assert_identical(open_snapshots(X.drop_vars("slp")), X.sst)
    xr.testing.assert_identical(open_snapshots(X.sst, "sst"), X.sst)


def test_arrays_pass_unchanged():
    array = np.ones((3, 4))
    assert open_snapshots(array) is array


def test_several_files_are_ordered_in_time(tmp_path):
    X = field(30)
    parts = [X[10:20], X[:10], X[20:]]
    paths = [write(part, tmp_path / f"{k}.nc", "NETCDF4") for k, part in enumerate(parts)]
    joined = open_snapshots(paths)
    assert isinstance(joined.data, da.Array)
    xr.testing.assert_identical(joined.compute(), X)
    xr.testing.assert_identical(open_snapshots(parts), X)


@pytest.mark.parametrize("make", [field, lambda n: field(n).to_dataset()])
def test_trajectories_of_unequal_length_and_the_same_times(make):
    parts = [make(5), make(3), make(4)]
    joined = open_snapshots(parts, ["sst"] if make is not field else None, trajectories=True)
    np.testing.assert_array_equal(joined.trajectory, np.repeat([0, 1, 2], [5, 3, 4]))
    assert joined.trajectory.dims == ("time",)
    for k, part in enumerate(parts):
        one = joined.isel(time=joined.trajectory.values == k).drop_vars("trajectory")
        xr.testing.assert_identical(one, part)


def test_trajectories_of_arrays_and_of_one():
    joined = open_snapshots([np.zeros((2, 4)), np.ones((3, 4))], trajectories=True)
    assert dict(joined.sizes) == {"time": 5, "feature": 4}
    assert "time" not in joined.coords
    assert open_snapshots(field(3), trajectories=True).trajectory.values.tolist() == [0, 0, 0]


def test_parameters_that_differ_become_one_value_per_row():
    parts = [field(2).assign_coords(Re=100.0), field(3).assign_coords(Re=200.0)]
    joined = join_trajectories(parts, labels=["slow", "fast"])
    assert joined.Re.dims == ("time",)
    np.testing.assert_array_equal(joined.Re, [100, 100, 200, 200, 200])
    np.testing.assert_array_equal(joined.trajectory, ["slow"] * 2 + ["fast"] * 3)


def test_labels_must_differ():
    with pytest.raises(ValueError, match=r"2 different labels, but came \[1, 1\]"):
        join_trajectories([field(), field()], labels=[1, 1])


X = field()


@pytest.mark.parametrize(
    ("source", "var", "error", "message"),
    [
        (archive(), None, ValueError, "Name the variable: there are sst, slp along 'time'"),
        (archive(), "tos", ValueError, "No variable 'tos'; there are sst, slp, "),
        (archive(), ["sst", "tos"], ValueError, "No variable 'tos'"),
        (archive(), "label", TypeError, "'label' must be numeric, but its dtype is <U1"),
        (archive(), "area", ValueError, "time dimension"),
        (archive(), ["sst", "area"], ValueError, "'area' has no dimension 'time'"),
        (archive(), [], ValueError, "time dimension"),
        (archive()[["area"]], None, ValueError, "time dimension"),
        (X, "slp", ValueError, "Expected the variable 'slp', but the DataArray is 'sst'"),
        (X.astype(complex), None, TypeError, "must be numeric, but its dtype is complex128"),
        (X[:0], None, ValueError, "The selection is empty: 'sst'.*'time': 0"),
        (X.sel(lat=slice(50, 60)), None, ValueError, "The selection is empty.*'lat': 0"),
        (X[::-1], None, ValueError, "runs backwards at position 1 .2000-01-12 then 2000-01-11"),
        (X[[0, 1, 1, 2]], None, ValueError, "repeats at position 2 .2000-01-02 then 2000-01-02"),
        (X[0, 0], None, ValueError, r"found none among the dimensions \['lon'\]"),
        (np.array([["a"]]), None, TypeError, "must be numeric, but the array's dtype is <U1"),
        (np.ones(3), None, ValueError, r"Expected an array \(n_time, n_space\).*\(3,\)"),
        (np.ones((0, 3)), None, ValueError, r"its shape is \(0, 3\)"),
        (None, None, TypeError, "Expected a path.*, but came NoneType"),
        ([], None, ValueError, "list of sources is empty"),
        ([X[:5], X[4:]], None, ValueError, "overlap: one ends at 2000-01-05, the next begins"),
        ([X[:5], X[5:, :2]], None, ValueError, "does not fit source 0: 'sst' has 2 points"),
        ([X[:5], X[5:].assign_coords(lon=X.lon + 1)], None, ValueError, "'lon' has changed"),
        ([X[:5], X[5:].assign_attrs(units="K")], None, ValueError, "units 'K', expected 'degC'"),
        ([X[:5], X[5:].rename("slp")], None, ValueError, "Source 1 .*No variable 'sst'"),
        ([X[:5], X[5:].to_dataset().assign(a=X)], ["sst"], ValueError, "DataArray"),
        ([X[:5], X[5:].drop_vars("time")], None, ValueError, "Source 1 has no times"),
        ([np.ones((2, 2)), np.ones((2, 2))], None, ValueError, "no times along 'time'"),
    ],
)
def test_what_cannot_be_used_is_refused(source, var, error, message):
    with pytest.raises(error, match=message) as caught:
        open_snapshots(source, var)
    assert "\n" not in str(caught.value)


def test_a_file_is_named_in_its_error(tmp_path):
    write(archive(), tmp_path / "a.nc", "NETCDF4")
    with pytest.raises(ValueError, match=r"a\.nc: No variable 'tos'"):
        open_snapshots(tmp_path / "a.nc", "tos")


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"No such file: .*nowhere\.nc"):
        open_snapshots(tmp_path / "nowhere.nc")


@pytest.mark.parametrize("kind", ["NETCDF4", *CLASSIC])
@pytest.mark.parametrize("unlimited", [(), ("time",)])
@pytest.mark.parametrize("lost", [4, 200, 0.5, 0.99])
def test_a_truncated_file(tmp_path, kind, unlimited, lost):
    field(40).to_netcdf(tmp_path / "whole.nc", format=kind, unlimited_dims=unlimited)
    content = (tmp_path / "whole.nc").read_bytes()
    lost = int(lost * len(content)) if lost < 1 else lost
    (tmp_path / "cut.nc").write_bytes(content[:-lost])
    assert open_snapshots(tmp_path / "whole.nc").compute().equals(field(40))
    with pytest.raises(OSError, match=r"cut\.nc cannot be read as a NetCDF file, or is trunc") as e:
        open_snapshots(tmp_path / "cut.nc")
    assert "\n" not in str(e.value)


@pytest.mark.parametrize("content", [b"", b"hello", b"CDF\x01", b"\x89HDF\r\n\x1a\n"])
def test_not_a_netcdf_file(tmp_path, content):
    (tmp_path / "x.nc").write_bytes(content)
    with pytest.raises(OSError, match=r"x\.nc cannot be read as a NetCDF file"):
        open_snapshots(tmp_path / "x.nc")


def test_not_a_zarr_store(tmp_path):
    with pytest.raises(OSError, match="cannot be read as a Zarr store"):
        open_snapshots(tmp_path)


def test_a_zarr_store_that_lost_a_block(tmp_path):
    write(field().chunk(time=4), tmp_path / "x.zarr", "zarr2")
    (tmp_path / "x.zarr" / "sst" / "1.0.0").unlink()
    with pytest.raises(ValueError, match=r"48 values that are NaN.*time=2000-01-05, lat=-10.0"):
        Flatten().fit(open_snapshots(tmp_path / "x.zarr"))
    shutil.rmtree(tmp_path / "x.zarr" / "time")
    with pytest.raises((OSError, ValueError)):
        open_snapshots(tmp_path / "x.zarr").compute()


@pytest.mark.parametrize("calendar", ["noleap", "360_day"])
def test_other_calendars(tmp_path, calendar):
    times = xr.date_range("2000-02-25", periods=12, freq="D", calendar=calendar, use_cftime=True)
    expected = field().assign_coords(time=times)
    opened = open_snapshots(write(expected, tmp_path / "x.nc", "NETCDF4"))
    assert TimeAxis.of(opened).calendar == calendar
    xr.testing.assert_identical(opened.compute(), expected)


def test_times_with_units_of_seconds_stay_numbers(tmp_path):
    numbers = field().assign_coords(time=("time", np.arange(12.0) / 2, {"units": "seconds"}))
    opened = open_snapshots(write(numbers, tmp_path / "x.nc", "NETCDF4"))
    np.testing.assert_array_equal(opened.time, np.arange(12.0) / 2)
    assert TimeAxis.of(opened).unit == "seconds"


@pytest.mark.parametrize(
    ("stored", "blocks"),
    [((10, 4, 6), ((20, 20, 20), (8,), (6,))), ((60, 2, 6), ((60,), (2, 2, 2, 2), (6,)))],
)
def test_blocks_of_a_file_are_whole_chunks_as_stored(tmp_path, monkeypatch, stored, blocks):
    monkeypatch.setattr("rom.data.io.BLOCK_BYTES", 60 * 8 * 6 * 8 // 3)
    field = xr.DataArray(np.zeros((60, 8, 6)), dims=("time", "y", "x"), name="h")
    field = field.assign_coords(time=np.arange(60.0))
    if stored[0] == 60:
        monkeypatch.setattr("rom.data.io.BLOCK_BYTES", 60 * 8 * 6 * 8 // 4)
    for name, write in (("h.nc", field.to_netcdf), ("h.zarr", field.to_zarr)):
        key, version = ("chunksizes", {}) if name == "h.nc" else ("chunks", {"zarr_format": 2})
        write(tmp_path / name, encoding={"h": {key: stored}}, **version)
        assert open_snapshots(tmp_path / name).chunks == blocks
