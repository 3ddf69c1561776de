import hashlib
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import xarray as xr

from rom import datasets
from rom.fom import CylinderWake


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A catalogue of one public data set, served from this machine: (its entry, the folder)."""
    served = tmp_path / "served"
    served.mkdir()
    xr.Dataset({"sst": ("time", [1.0, 2.0])}).to_netcdf(served / "far.nc", engine="netcdf4")
    sha256 = hashlib.sha256((served / "far.nc").read_bytes()).hexdigest()
    handler = partial(SimpleHTTPRequestHandler, directory=served)
    handler.func.log_message = lambda *args: None
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/far.nc"
    entry = f'[far]\nurl = "{url}"\nnames = ["near.nc", "far.nc"]\nsha256 = "{sha256}"\n'
    (tmp_path / "catalogue.toml").write_text(entry)
    monkeypatch.setattr(datasets, "_folder", lambda: tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("ROM_DATA", raising=False)
    yield served
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def wake():
    return datasets.load("cylinder_wake")["vorticity"]


def test_every_entry_says_what_it_is_and_where_it_comes_from():
    for name, entry in datasets.catalogue().items():
        assert {"description", "variables", "source", "licence", "sha256"} <= set(entry), name
        assert len(entry["sha256"]) == 64
        assert all(isinstance(unit, str) for unit in entry["variables"].values())
        if "url" in entry:
            assert entry["url"].startswith("https://")
            assert entry["names"]
        else:
            assert (datasets._folder() / entry["recipe"]).is_file()


def test_an_unknown_name_is_answered_with_the_known_ones():
    with pytest.raises(KeyError, match="no data set 'wake'; there are cylinder_wake, ersst_v5"):
        datasets.path("wake")


def test_a_public_file_is_downloaded_once(archive):
    assert datasets.load("far")["sst"].to_numpy().tolist() == [1.0, 2.0]
    (archive / "far.nc").unlink()
    assert datasets.load("far")["sst"].to_numpy().tolist() == [1.0, 2.0]


def test_what_is_local_is_known_without_the_network(archive, tmp_path, monkeypatch):
    assert not datasets.is_local("far")
    assert not (tmp_path / "cache").exists()
    datasets.path("far")
    assert datasets.is_local("far")  # in pooch's cache
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    assert not datasets.is_local("far")
    monkeypatch.setenv("ROM_DATA", str(archive))
    assert datasets.is_local("far")
    with pytest.raises(KeyError, match="no data set 'wake'"):
        datasets.is_local("wake")


@pytest.mark.parametrize("name", ["near.nc", "far.nc"])
def test_a_file_in_rom_data_is_taken_instead_of_a_download(archive, tmp_path, monkeypatch, name):
    folder = tmp_path / "mine"
    folder.mkdir()
    (archive / "far.nc").rename(folder / name)
    monkeypatch.setenv("ROM_DATA", str(folder))
    assert datasets.path("far") == folder / name


def test_a_folder_without_the_file_leads_to_the_download(archive, tmp_path, monkeypatch):
    monkeypatch.setenv("ROM_DATA", str(tmp_path))
    assert (tmp_path / "cache") in datasets.path("far").parents


def test_files_other_than_the_catalogues_are_refused(archive, tmp_path, monkeypatch):
    (archive / "far.nc").write_bytes(b"something else")
    with pytest.raises(ValueError, match="SHA256 hash"):
        datasets.path("far")
    monkeypatch.setenv("ROM_DATA", str(archive))
    with pytest.raises(ValueError, match=r"far\.nc should have SHA-256 .* but it has"):
        datasets.path("far")
    monkeypatch.setenv("ROM_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(FileNotFoundError, match="ROM_DATA must name a folder"):
        datasets.path("far")


def test_without_pooch_the_way_out_is_named(archive, monkeypatch):
    monkeypatch.setattr(datasets, "find_spec", lambda name: None)
    with pytest.raises(ModuleNotFoundError, match=r"rom-sysid\[datasets\].*near\.nc.*ROM_DATA"):
        datasets.path("far")


def test_the_wake_is_sampled_evenly_and_says_what_it_is(wake):
    assert wake.dims == ("time", "r", "theta")
    assert wake.dtype == np.float32
    assert np.isfinite(wake).all()
    np.testing.assert_allclose(np.diff(wake.time), 0.25)
    assert wake.attrs["units"] == datasets.catalogue()["cylinder_wake"]["variables"]["vorticity"]
    whole = xr.open_dataset(datasets.path("cylinder_wake"), engine="netcdf4")
    assert {"license", "reynolds", "strouhal", "history"} <= set(whole.attrs)
    whole.close()


def test_the_wake_grows_from_nearly_symmetric_to_a_steady_amplitude(wake):
    lift = abs(CylinderWake().forces(wake[::2]).lift)
    early, settled, late = (
        float(lift.sel(time=slice(*span)).max()) for span in ((0, 6), (100, 130), (210, 240))
    )
    assert early < 0.02 * late
    np.testing.assert_allclose(settled, late, rtol=0.01)
    np.testing.assert_allclose(late, 0.33, atol=0.02)  # literature: 0.32 to 0.34


def test_the_wake_sheds_at_the_strouhal_number_of_experiments(wake):
    """Williamson (1989): 0.1643 for an unbounded stream at Re 100; over twenty periods."""
    late = wake.sel(time=slice(100, None))
    lift, t = CylinderWake().forces(late).lift.to_numpy(), late.time.to_numpy()
    i = np.flatnonzero((lift[:-1] < 0) & (lift[1:] >= 0))
    crossings = t[i] - lift[i] * 0.25 / (lift[i + 1] - lift[i])
    assert len(crossings) > 20
    np.testing.assert_allclose(1 / np.diff(crossings).mean(), 0.1643, rtol=0.03)


def test_a_state_of_the_wake_restarts_the_model(wake):
    model = CylinderWake()
    run = model.simulate(wake[600], wake.time[600:605])
    assert (
        run.drop_vars("time")
        .coords.to_dataset()
        .identical(wake.drop_vars("time").coords.to_dataset())
    )
    scale = float(wake[600:].std())
    np.testing.assert_allclose(run[:, 1:], wake[600:605, 1:], atol=0.01 * scale)
