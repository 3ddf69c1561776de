import json
import os

import netCDF4
import numpy as np
import pytest
import xarray as xr

import rom
from rom.base import Dynamics
from rom.store import SCHEMA


def field(n_time=120):
    """Two variables on a masked map, monthly."""
    rng = np.random.default_rng(0)
    time = xr.date_range("1990-01-01", periods=n_time, freq="MS", use_cftime=False)
    lat, lon = np.linspace(-60, 60, 5), np.arange(0.0, 360, 60)
    waves = np.cos(0.4 * np.arange(n_time)[:, None] + np.array([0, 1.0, 2, 3]))
    maps = rng.normal(size=(2, 4, 5, 6))
    sst = np.einsum("tk,kyx->tyx", waves, maps[0]) + 0.1 * rng.normal(size=(n_time, 5, 6))
    sst[:, 2, 3] = np.nan
    coords = {
        "time": time,
        "lat": ("lat", lat, {"units": "degrees_north", "standard_name": "latitude"}),
        "lon": ("lon", lon, {"units": "degrees_east"}),
    }
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {
            "sst": (dims, sst, {"units": "degC"}),
            "slp": (dims, 1e5 + np.einsum("tk,kyx->tyx", waves, maps[1]), {"units": "Pa"}),
        },
        coords=coords,
    )


MODELS = {
    "dmd": rom.DMD(),
    "opinf": rom.OperatorInference("cAH", ridge=1e-2),
    "sindy": rom.SINDy(
        rom.PolynomialLibrary(1) + rom.FourierLibrary(1), threshold=0.01, names=["a", "b", "c"]
    ),
    "discrete sindy": rom.DiscreteSINDy(rom.PolynomialLibrary(1), threshold=0.0),
    "ensemble": rom.SINDy(rom.PolynomialLibrary(1), threshold=0.0, n_models=4, random_state=0),
    "ridge by operator": rom.OperatorInference("cAH", ridge={"A": 1e-4, "H": 1e-2}),
    "midpoint": rom.MidpointSINDy(rom.PolynomialLibrary(1), threshold=0.0),
    "optimised dmd": rom.OptimisedDMD(),
    "nvar": rom.NVAR(n_delays=1),
    "echo state": rom.EchoState(20, random_state=0),
    "neural": rom.NeuralODE(hidden=(8,), max_iter=3, random_state=0),
    "contractive": rom.ContractiveODE(8, max_iter=3, random_state=0),
    "dissipative": rom.DissipativeODE((8,), max_iter=3, random_state=0),
    "invariant": rom.InvariantODE(hidden=(8,), max_iter=3, random_state=0),
    "local": rom.LocalModel(rom.NVAR(), halo=1),
    "low rank": rom.LowRankODE((8,), max_iter=3, random_state=0),
    "sparse": rom.SparseODE((8,), max_iter=3, random_state=0),
    "kernel": rom.KernelModel(1),
    "recurrent": rom.RecurrentModel(4, 1, max_iter=3, random_state=0),
}


@pytest.mark.parametrize("kind", MODELS)
def test_loaded_model_gives_bit_equal_rollouts(kind, tmp_path):
    data = field(48)
    scale = rom.Scale(climatology="month", area_weights=True)
    model = rom.ROM(rom.POD(3), MODELS[kind], preprocess=scale).fit(data)
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    t = np.arange(30.0)
    xr.testing.assert_identical(
        loaded.rollout(data.isel(time=-1), t, throw=False),
        model.rollout(data.isel(time=-1), t, throw=False),
    )
    assert str(loaded.get_params()) == str(model.get_params())
    xr.testing.assert_identical(loaded.predict(data), model.predict(data))
    assert loaded.score(data) == model.score(data)


def test_model_of_plain_arrays_comes_back(tmp_path):
    X = np.random.default_rng(0).normal(size=(50, 6))
    model = rom.ROM(rom.Identity(), rom.DMD(ridge=0.1)).fit(X)
    model.save(tmp_path / "model.nc")
    np.testing.assert_array_equal(rom.load(tmp_path / "model.nc").predict(X), model.predict(X))


def test_saving_a_loaded_model_changes_nothing(tmp_path):
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "a.nc")
    rom.load(tmp_path / "a.nc").save(tmp_path / "b.nc")
    xr.testing.assert_identical(
        xr.open_datatree(tmp_path / "a.nc"), xr.open_datatree(tmp_path / "b.nc")
    )


def test_xarray_opens_the_modes_on_their_map(tmp_path):
    data = field()
    model = rom.ROM(rom.POD(3)).fit(data)
    model.save(tmp_path / "model.nc")
    modes = xr.open_dataset(tmp_path / "model.nc", group="compressor_/components_")
    assert modes["sst"].dims == ("mode", "lat", "lon")
    np.testing.assert_array_equal(modes.lat, data.lat)
    assert modes["sst"].isnull().sum() == 3
    flat = np.concatenate([modes[v].values.reshape(3, -1) for v in ("sst", "slp")], axis=1)
    np.testing.assert_array_equal(flat[:, ~np.isnan(flat[0])], model.compressor_.components_)


def test_file_says_what_it_is(tmp_path):
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "model.nc")
    with xr.open_dataset(tmp_path / "model.nc") as header:
        assert header.attrs["format"] == "rom-model"
        assert header.attrs["rom_version"] == rom.__version__
        assert json.loads(header.attrs["training_range"]) == [0.0, 119.0]
        parameters = json.loads(header.attrs["estimator"])["parameters"]
    assert parameters["compressor"]["parameters"]["n_components"] == 3


def test_nothing_half_written_stands_under_the_final_name(tmp_path, monkeypatch):
    model = rom.ROM(rom.POD(3)).fit(field())
    target = tmp_path / "model.nc"
    model.save(target)
    before = target.read_bytes()

    def broken(self, path, **kwargs):
        with open(path, "wb") as file:
            file.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(xr.DataTree, "to_netcdf", broken)
    with pytest.raises(OSError, match="disk full"):
        model.save(target)
    assert target.read_bytes() == before
    assert os.listdir(tmp_path) == ["model.nc"]


def test_truncated_file_is_refused(tmp_path):
    target = tmp_path / "model.nc"
    rom.ROM(rom.POD(3)).fit(field()).save(target)
    whole = target.read_bytes()
    for share in (0.0, 0.1, 0.5, 0.9, 0.99):
        target.write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValueError, match="truncated or not"):
            rom.load(target)


def test_foreign_newer_and_missing_files_are_refused(tmp_path):
    field().to_netcdf(tmp_path / "data.nc")
    with pytest.raises(ValueError, match="not a rom model"):
        rom.load(tmp_path / "data.nc")
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "model.nc")
    with netCDF4.Dataset(tmp_path / "model.nc", "a") as file:
        file.schema = SCHEMA + 1
    with pytest.raises(ValueError, match=rf"schema {SCHEMA + 1}.*Upgrade"):
        rom.load(tmp_path / "model.nc")
    with pytest.raises(FileNotFoundError, match="nowhere"):
        rom.load(tmp_path / "nowhere.nc")


def test_file_cannot_name_a_class_outside_rom(tmp_path):
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "model.nc")
    with netCDF4.Dataset(tmp_path / "model.nc", "a") as file:
        group = file["compressor_"]
        group.estimator = group.estimator.replace('"POD"', '"Popen"')
    with pytest.raises(ValueError, match="'Popen', which rom does not have"):
        rom.load(tmp_path / "model.nc")


def test_attributes_that_netcdf_lacks_do_not_lose_the_model(tmp_path):
    data = field()
    data["sst"].attrs |= {"flag": True, "none": None, "grid": {"dx": 1.0}}
    model = rom.ROM(rom.POD(3)).fit(data)
    model.save(tmp_path / "model.nc")
    assert rom.load(tmp_path / "model.nc").flatten_.template_["sst"].attrs["grid"] == '{"dx": 1.0}'
    assert data["sst"].attrs["grid"] == {"dx": 1.0}


@pytest.mark.parametrize(
    ("attribute", "value"),
    [("estimator", "{"), ("estimator", "[1]"), ("schema", "two"), ("time_axis", '{"class": "X"}')],
)
def test_damaged_headers_are_refused_with_the_name_of_the_file(attribute, value, tmp_path):
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "model.nc")
    with netCDF4.Dataset(tmp_path / "model.nc", "a") as file:
        file.setncattr(attribute, value)
    with pytest.raises(ValueError, match=r"model.nc is damaged"):
        rom.load(tmp_path / "model.nc")


def test_a_file_sets_fitted_attributes_and_nothing_else(tmp_path):
    rom.ROM(rom.POD(3)).fit(field()).save(tmp_path / "model.nc")
    with netCDF4.Dataset(tmp_path / "model.nc", "a") as file:
        file["dynamics_"].state = '{"predict": 1}'
    with pytest.raises(ValueError, match="'predict' is not a fitted attribute"):
        rom.load(tmp_path / "model.nc")


class Foreign(rom.DMD):
    """A user's own model."""


def test_foreign_parts_are_refused_before_anything_is_written(tmp_path):
    assert issubclass(Foreign, Dynamics)
    model = rom.ROM(rom.POD(3), Foreign()).fit(field())
    with pytest.raises(TypeError, match="Foreign is not a class of rom"):
        model.save(tmp_path / "model.nc")
    assert not list(tmp_path.iterdir())
