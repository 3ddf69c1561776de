"""What every compressor does: drops into a ROM, is saved whole, keeps labels and dtypes."""

import numpy as np
import pytest
import xarray as xr
from sklearn.base import clone
from sklearn.utils import get_tags

import rom
from rom import compress

COMPRESSORS = {
    "POD": rom.POD(4),
    "Identity": rom.Identity(),
    "Autoencoder": rom.Autoencoder(3, hidden=(8,), max_iter=20, random_state=0),
    "CotangentLift": rom.CotangentLift(4),
    "FamilyPOD": rom.FamilyPOD(4),
    "GappyPOD": rom.GappyPOD(3, random_state=0),
    "GrassmannPOD": rom.GrassmannPOD(3),
    "HyperReduction": rom.HyperReduction(4, oversampling=2),
    "QuadraticManifold": rom.QuadraticManifold(3),
    "ShiftedPOD": rom.ShiftedPOD(4),
}
KEEPS = rom.Scale(center=False, scale=False)


def pairs(n_time=60, dtype=np.float64):
    """Two variables of equal size on one line, so that they can be canonical pairs."""
    t, x = np.arange(n_time) * 0.1, np.arange(24) / 24
    phase = 2 * np.pi * (x - 0.2 * t[:, None])
    rng = np.random.default_rng(0)
    fields = [np.sin(phase) + 0.3 * np.cos(2 * phase), np.cos(phase) - 0.2 * np.sin(3 * phase)]
    fields = [(f + 0.01 * rng.normal(size=f.shape)).astype(dtype) for f in fields]
    return xr.Dataset(
        {name: (("time", "x"), f) for name, f in zip("qp", fields, strict=True)},
        coords={"time": t, "x": x},
    )


def test_every_compressor_is_here():
    assert set(COMPRESSORS) == set(compress.__all__)
    assert set(compress.__all__) <= set(rom.__all__)


@pytest.fixture(params=COMPRESSORS)
def compressor(request):
    return clone(COMPRESSORS[request.param])


def test_saved_model_comes_back_whole(compressor, tmp_path):
    data = pairs()
    model = rom.ROM(compressor, rom.DMD(ridge=1e-6), preprocess=KEEPS).fit(data)
    model.save(tmp_path / "model.nc")
    loaded = rom.load(tmp_path / "model.nc")
    xr.testing.assert_identical(loaded.encode(data), model.encode(data))
    forecast = [
        m.rollout(data.isel(time=-1), np.arange(8) * 0.1, throw=False) for m in (model, loaded)
    ]
    xr.testing.assert_identical(*forecast)
    assert set(forecast[0].data_vars) == {"q", "p", "latent"}
    for name, value in vars(model.compressor_).items():
        if isinstance(value, np.ndarray):
            np.testing.assert_array_equal(getattr(loaded.compressor_, name), value)


def test_arrays_over_cells_are_maps_in_the_file(compressor, tmp_path):
    model = rom.ROM(compressor, preprocess=KEEPS).fit(pairs())
    model.save(tmp_path / "model.nc")
    over_cells = [name for name in compressor._over_cells if hasattr(model.compressor_, name)]
    for name in over_cells:
        maps = xr.open_dataset(tmp_path / "model.nc", group=f"compressor_/{name}")
        assert set(maps.data_vars) == {"q", "p"}
        assert "x" in maps.dims


def test_decoded_training_data_are_near(compressor):
    data = pairs()
    model = rom.ROM(compressor, preprocess=KEEPS).fit(data)
    off = model.decode(model.encode(data)) - data
    size = np.sqrt((data**2).sum().to_array().sum())
    assert float(np.sqrt((off**2).sum().to_array().sum()) / size) < 0.75


def test_single_precision_and_the_data_are_left_as_they_are(compressor):
    X = np.hstack([f.values for f in pairs(dtype=np.float32).values()])
    before = X.copy()
    Z = compressor.fit_transform(X)
    assert Z.shape == (60, compressor.rank_)
    np.testing.assert_array_equal(X, before)
    if "float32" in get_tags(compressor).transformer_tags.preserves_dtype:
        assert Z.dtype == compressor.transform(X).dtype == np.float32
        assert compressor.inverse_transform(Z).dtype == np.float32


def test_refit_gives_the_same_bits(compressor):
    X = np.hstack([f.values for f in pairs().values()])
    first, second = (clone(compressor).fit(X).transform(X) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_lazy_rows_are_read(compressor):
    lazy = pairs().chunk({"time": 20})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rom.data.labels.LAZY_BYTES", 0)
        model = rom.ROM(compressor, rom.DMD(ridge=1e-6), preprocess=KEEPS).fit(lazy)
    assert model.latent_.shape == (60, model.compressor_.rank_)
    assert np.isfinite(model.latent_).all()


def test_gaps_go_through_a_model():
    data = pairs()
    whole = data.copy(deep=True)
    hidden = np.random.default_rng(1).random((60, 24)) < 0.2
    data["q"] = data.q.where(~hidden)
    with pytest.raises(ValueError, match="'q' holds"):
        rom.ROM(rom.POD(3)).fit(data)
    model = rom.ROM(rom.GappyPOD(4, random_state=0), rom.DMD(), preprocess=rom.Scale()).fit(data)
    filled = model.decode(model.encode(data))
    off = (filled.q - whole.q).values[hidden]
    assert np.sqrt(np.mean(off**2)) < 0.1 * float(whole.q.std())
    assert np.isfinite(model.score(data))


def test_large_and_lazy_gaps_are_filled_in_memory(monkeypatch):
    monkeypatch.setattr("rom.data.labels.LAZY_BYTES", 0)
    data = pairs()
    data["q"] = data.q.where(np.random.default_rng(1).random((60, 24)) > 0.2)
    gappy = rom.ROM(rom.GappyPOD(4, random_state=0))
    whole = clone(gappy).fit(data)
    lazy = clone(gappy).fit(data.chunk({"time": 20}))
    np.testing.assert_array_equal(lazy.latent_, whole.latent_)
    monkeypatch.setattr("rom.data.labels.LARGEST_BYTES", 100)
    with pytest.raises(ValueError, match="filled in memory"):
        clone(gappy).fit(data.chunk({"time": 20}))


def test_families_get_their_parameters_through_a_model():
    runs = [pairs(20).assign_coords(mu=mu) * mu for mu in (1.0, 2.0, 3.0)]
    data = rom.open_snapshots(runs, var=["q", "p"], trajectories=True)
    family = rom.ROM(rom.FamilyPOD(3), preprocess=KEEPS).fit(data)
    assert len(family.compressor_.run_errors_) == 3
    grassmann = rom.ROM(rom.GrassmannPOD(3, at=2.0), preprocess=KEEPS).fit(data, data.mu.values)
    np.testing.assert_array_equal(grassmann.compressor_.parameters_.ravel(), [1.0, 2.0, 3.0])
