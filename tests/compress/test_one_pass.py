"""Lazy snapshots through a whole ROM: what rides along in the one pass, and on a cluster."""

import dask
import dask.array as da
import numpy as np
import pytest
import xarray as xr

import rom


def climate(n_time=180, offset=280.0, seed=0):
    """Two monthly variables on a masked map, with a seasonal cycle, of very different sizes."""
    rng = np.random.default_rng(seed)
    time = xr.date_range("1990-01-01", periods=n_time, freq="MS", use_cftime=False)
    month = np.arange(n_time) % 12
    waves = np.cos(0.3 * np.arange(n_time)[:, None] * np.array([1, 1.7, 2.3]) + [0, 1, 2])
    maps = rng.normal(size=(2, 3, 9, 12))
    cycle = rng.normal(size=(2, 12, 9, 12))[:, month]
    fields = np.einsum("tk,vkyx->vtyx", waves, maps) + 3 * cycle
    fields += 0.01 * rng.normal(size=fields.shape)
    fields[0, :, 3:5, 2:6] = np.nan
    lat = ("lat", np.linspace(-80, 80, 9), {"units": "degrees_north"})
    dims = ("time", "lat", "lon")
    return xr.Dataset(
        {"sst": (dims, fields[0] + offset), "slp": (dims, 1e5 + 500 * fields[1])},
        coords={"time": time, "lat": lat, "lon": np.arange(0.0, 360, 30)},
    )


def model(**pod):
    scale = rom.Scale(climatology="month", area_weights=True)
    return rom.ROM(rom.POD(3, **pod), preprocess=scale)


@pytest.fixture
def always_lazy(monkeypatch):
    monkeypatch.setattr("rom.data.labels.LAZY_BYTES", 0)


def count_reads(data, chunks):
    """The data in lazy chunks that note when they are read."""
    reads = []

    def noted(block, variable=None, block_info=None):
        reads.append((variable, *block_info[0]["chunk-location"]))
        return block

    lazy = data.chunk(chunks)
    for name in lazy.data_vars:
        field = lazy[name].data
        lazy[name] = (
            lazy[name].dims,
            field.map_blocks(noted, variable=name, dtype=field.dtype, meta=field._meta),
        )
    return lazy, reads


@pytest.mark.parametrize(
    "chunks", [{"time": 17}, {"time": 50, "lat": 4}, {"lat": 3}, {"lat": 4, "lon": 5}]
)
def test_lazy_model_is_the_eager_one(chunks, always_lazy):
    data = climate()
    lazy = model().fit(data.chunk(chunks))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("rom.data.labels.LAZY_BYTES", 2**30)
        eager = model().fit(data)
    assert eager.compressor_.solver_ == "svd"
    in_time = "time" in chunks
    assert lazy.compressor_.solver_ == ("incremental" if in_time else "gram")
    assert lazy.compressor_.n_passes_ == (1 if in_time else 2)
    for name, rtol in (("offset_", 1e-9), ("factor_", 1e-9), ("scale_", 1e-9)):
        np.testing.assert_allclose(
            getattr(lazy.preprocess_, name), getattr(eager.preprocess_, name), rtol=rtol
        )
    np.testing.assert_allclose(
        lazy.compressor_.singular_values_, eager.compressor_.singular_values_, rtol=1e-6
    )
    np.testing.assert_allclose(
        lazy.compressor_.components_, eager.compressor_.components_, atol=1e-4
    )
    np.testing.assert_allclose(lazy.latent_, eager.latent_, atol=5e-3)
    np.testing.assert_allclose(lazy.encode(data), lazy.latent_, atol=5e-3)


def test_one_pass_holds_mask_scales_weights_climatology_and_modes(always_lazy):
    lazy, reads = count_reads(climate(), {"time": 15})
    fitted = model().fit(lazy)
    assert fitted.compressor_.n_passes_ == 1
    wanted = {(name, i, 0, 0) for name in ("sst", "slp") for i in range(12)}
    assert set(reads) == wanted
    # Looked at before: the first chunk, for the mask and for where the means and scales lie.
    again = sorted(read for read in wanted for _ in range(reads.count(read) - 1))
    assert {read[1] for read in again} == {0}
    assert len(again) <= 4


def test_mask_that_changes_is_refused_with_its_place(always_lazy):
    for time, lat, lon, value in ((100, 3, 2, 281.0), (100, 0, 0, np.nan)):
        data = climate()
        data["sst"][time, lat, lon] = value
        with pytest.raises(ValueError, match=r"'sst' holds .* at time=1998-0[56]-01, lat="):
            model().fit(data.chunk({"time": 20}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_offsets_cost_no_digits(dtype, always_lazy):
    near = model().fit(climate(offset=0.0).astype(dtype).chunk({"time": 30}))
    far = model().fit(climate(offset=280.0).astype(dtype).chunk({"time": 30}))
    rtol = 1e-4 if dtype is np.float32 else 1e-9
    np.testing.assert_allclose(
        far.compressor_.singular_values_, near.compressor_.singular_values_, rtol=rtol
    )


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    with (
        dask.config.set({"distributed.worker.daemon": True}),
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address="127.0.0.1:0", memory_limit=0
        ) as made,
    ):
        yield made


def wide(chunks):
    """Five modes and noise, (400, 20000)."""
    n_time, n_space = 400, 20_000
    noise = da.random.default_rng(0).normal(size=(n_time, n_space), chunks=chunks)
    rng = np.random.default_rng(1)
    U = da.from_array(rng.normal(size=(n_time, 5)), chunks=(chunks[0], -1))
    V = da.from_array(rng.normal(size=(5, n_space)), chunks=(-1, chunks[1]))
    return (U * 3.0 ** -np.arange(5)) @ V + 1e-3 * noise


CHUNKS = pytest.mark.parametrize("chunks", [(10, -1), (-1, 500)])


@CHUNKS
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_cluster_gives_the_same_and_moves_only_factors(cluster, chunks):
    from distributed import Client

    X = wide(chunks)
    alone = rom.POD(5).fit(X)
    with Client(cluster) as client:
        before = sum(moved_bytes(client).values())
        together = rom.POD(5).fit(X)
        moved = sum(moved_bytes(client).values()) - before
    np.testing.assert_allclose(together.singular_values_, alone.singular_values_, rtol=1e-8)
    np.testing.assert_allclose(together.components_, alone.components_, atol=1e-6)
    assert together.solver_ == ("gram" if chunks[0] == -1 else "incremental")
    rows, gram = 8 * X.shape[1] * (2 * 5 + 10 + 8 + 3), 8 * X.shape[0] ** 2
    result = 8 * X.shape[1] * 5
    assert result <= moved <= 4 * max(rows, gram) < 0.35 * X.nbytes


def moved_bytes(client):
    """Bytes that each worker sent to others and to the client."""
    return client.run(lambda dask_worker: dask_worker.transfer_outgoing_bytes_total)


@CHUNKS
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_cluster_survives_the_loss_of_a_worker(cluster, tmp_path, chunks):
    from distributed import Client

    mark = tmp_path / "killed"

    def die_once(block, block_info=None):
        if block_info and sum(block_info[0]["chunk-location"]) == 25 and not mark.exists():
            mark.touch()
            import os

            os._exit(1)
        return block

    X = wide(chunks)
    with Client(cluster):
        survived = rom.POD(5).fit(X.map_blocks(die_once, dtype=X.dtype, meta=X._meta))
    assert mark.exists()
    np.testing.assert_allclose(survived.singular_values_, rom.POD(5).fit(X).singular_values_)


@CHUNKS
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_cluster_takes_arrays_that_live_on_it(cluster, chunks):
    from distributed import Client

    X = wide(chunks)
    alone = rom.POD(5).fit(X)
    with Client(cluster):
        kept = X.persist()
        for held in kept, 2 * kept:
            scale = 1 if held is kept else 2
            fitted = rom.POD(5).fit(held)
            np.testing.assert_allclose(
                fitted.singular_values_, scale * alone.singular_values_, rtol=1e-6
            )
