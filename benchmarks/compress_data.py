"""The snapshots that `compress.py` compresses, and their exact singular values.

FACTORS random factors whose singular values fall as exp(-k / DECAY), under a mean of ten standard
deviations, and white noise whose singular values reach NOISE times the first. They are made once,
CHUNK times by CHUNK times, and kept in a folder: ``.npy``, or a Zarr as xarray writes it, and the
singular values of the centred snapshots from a Gram matrix summed in float64.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

FACTORS, DECAY, NOISE, CHUNK = 80, 12.0, 2e-3, 20


@dataclass(frozen=True)
class Case:
    """Snapshots (n_time, n_space), and how many modes of them are asked for."""

    n_time: int
    n_space: int
    dtype: str = "float64"
    rank: int = 50
    lazy: bool = False

    @property
    def name(self) -> str:
        """Of its files."""
        return f"{self.n_time}x{self.n_space}-{self.dtype}"

    @property
    def nbytes(self) -> int:
        """Of the snapshots."""
        return self.n_time * self.n_space * np.dtype(self.dtype).itemsize

    def smaller(self) -> Case:
        """A twentieth of it, to try the script."""
        return replace(self, n_time=self.n_time // 2, n_space=self.n_space // 10)


def rows_of_snapshots(case: Case) -> Iterator[tuple[slice, np.ndarray]]:
    rng = np.random.default_rng(0)
    size = np.exp(-np.arange(FACTORS) / DECAY)
    size *= np.sqrt(case.n_time) / np.linalg.norm(size)  # snapshots of unit variance
    in_time = np.linalg.qr(rng.standard_normal((case.n_time, FACTORS)))[0] * size
    in_space = rng.standard_normal((FACTORS, case.n_space), dtype=np.dtype(case.dtype))
    mean = rng.uniform(5, 15, case.n_space).astype(case.dtype)
    noise = NOISE * size[0] / (1 + np.sqrt(case.n_time / case.n_space))
    for start in range(0, case.n_time, CHUNK):
        rows = slice(start, min(start + CHUNK, case.n_time))
        block = rng.standard_normal((rows.stop - start, case.n_space), dtype=np.dtype(case.dtype))
        block *= np.asarray(noise, case.dtype)
        block += in_time[rows].astype(case.dtype) @ in_space + mean
        yield rows, block


def write_reference(X: np.ndarray, path: Path) -> None:
    K, mean = np.zeros((len(X), len(X))), np.empty(X.shape[1])
    for start in range(0, X.shape[1], 8192):
        part = slice(start, start + 8192)
        block = X[:, part].astype(np.float64)
        mean[part] = block.mean(axis=0)
        block -= mean[part]
        K += block @ block.T
    singular_values = np.sqrt(np.maximum(np.linalg.eigvalsh(K)[::-1], 0))
    np.savez(path, singular_values=singular_values, mean=mean)


def prepare(case: Case, cache: Path) -> None:
    """Write the snapshots of `case` and, last, their singular values, unless they are there."""
    import dask.array as da
    import xarray as xr

    if (cache / f"{case.name}.npz").exists():
        return
    cache.mkdir(parents=True, exist_ok=True)
    raw = cache / f"{case.name}.npy"
    shape = (case.n_time, case.n_space)
    grid, dims = (-1, case.n_space // 1440, 1440), ("time", "lat", "lon")
    store = cache / f"{case.name}.zarr"
    if case.lazy:
        empty = da.zeros((case.n_time, *grid[1:]), chunks=(CHUNK, *grid[1:]), dtype=case.dtype)
        xr.Dataset({"field": (dims, empty)}).to_zarr(store, compute=False, mode="w")
    X = np.lib.format.open_memmap(raw, "w+", dtype=case.dtype, shape=shape)
    for rows, block in rows_of_snapshots(case):
        X[rows] = block
        if case.lazy:
            snapshots = xr.Dataset({"field": (dims, block.reshape(grid))})
            snapshots.to_zarr(store, region={"time": rows})
    write_reference(X, cache / f"{case.name}.npz")
    if case.lazy:
        raw.unlink()


def load(case: Case, cache: Path) -> Any:
    if not case.lazy:
        return np.load(cache / f"{case.name}.npy")
    import xarray as xr

    field = xr.open_zarr(cache / f"{case.name}.zarr")["field"]
    return field.data.reshape(case.n_time, case.n_space)
