"""What `compress.py` measures: rom.POD, its peers, and the loops everybody writes by hand.

A contender is a function of the snapshots X (n_time, n_space) and the rank. It lays X out as its
library likes best (a view costs nothing) and returns two functions: `run`, which is timed, and
`read`, which takes singular values and modes (rank, n_space) out of what `run` returned. All
remove the mean inside `run`; those whose library does not do so itself subtract it first.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

Contender = Callable[[Any, int], tuple[Callable[[], Any], Callable[[Any], tuple]]]
ROWS = 100  # of a block of the incremental methods


def as_is(result: tuple) -> tuple:
    return result


def largest(K: np.ndarray, rank: int) -> tuple[np.ndarray, np.ndarray]:
    """The square roots of the largest eigenvalues of `K`, and their eigenvectors (columns)."""
    values, vectors = np.linalg.eigh(K)
    return np.sqrt(np.maximum(values[: -rank - 1 : -1], 0)), vectors[:, : -rank - 1 : -1]


def rom_pod(X: Any, rank: int, **options: Any) -> tuple:
    import rom

    pod = rom.POD(rank, **options)
    return lambda: pod.fit(X), lambda p: (p.singular_values_, p.components_)


def plain_gram(X: np.ndarray, rank: int) -> tuple:
    def run() -> tuple:
        centred = X - X.mean(axis=0)
        s, V = largest(centred @ centred.T, rank)
        return s, (V / s).T @ centred

    return run, as_is


def blocked_gram(X: np.ndarray, rank: int, columns: int = 4096) -> tuple:
    """The Gram matrix summed in float64, a few columns at a time."""

    def run() -> tuple:
        mean = X.mean(axis=0, dtype=np.float64)
        K = np.zeros((len(X), len(X)))
        parts = [slice(i, i + columns) for i in range(0, X.shape[1], columns)]
        for part in parts:
            block = X[:, part] - mean[part]
            K += block @ block.T
        s, V = largest(K, rank)
        modes = np.empty((rank, X.shape[1]), X.dtype)
        for part in parts:
            modes[:, part] = (V / s).T @ (X[:, part] - mean[part])
        return s, modes

    return run, as_is


def numpy_svd(X: np.ndarray, rank: int) -> tuple:
    def run() -> tuple:
        _, s, Vt = np.linalg.svd(X - X.mean(axis=0), full_matrices=False)
        return s[:rank], Vt[:rank].copy()

    return run, as_is


def sklearn_pca(X: np.ndarray, rank: int) -> tuple:
    from sklearn.decomposition import PCA

    pca = PCA(rank, svd_solver="randomized", random_state=0)
    return lambda: pca.fit(X), lambda p: (p.singular_values_, p.components_)


def sklearn_randomized(X: np.ndarray, rank: int) -> tuple:
    from sklearn.utils.extmath import randomized_svd

    def run() -> tuple:
        _, s, Vt = randomized_svd(X - X.mean(axis=0), rank, random_state=0)
        return s, Vt

    return run, as_is


def sklearn_incremental(X: Any, rank: int) -> tuple:
    from sklearn.decomposition import IncrementalPCA

    def run() -> IncrementalPCA:
        pca = IncrementalPCA(rank)
        for i in range(0, len(X), ROWS):
            pca.partial_fit(np.asarray(X[i : i + ROWS]))
        return pca

    return run, lambda p: (p.singular_values_, p.components_)


def merge_and_truncate(X: Any, rank: int) -> tuple:
    """Weighted modes and the next rows, stacked, decomposed by their Gram matrix and cut off.

    One more row, the shift between the two means, keeps the stack's scatter about its own mean.
    """

    def run() -> tuple:
        n, mean, basis = 0, np.zeros(X.shape[1]), np.empty((0, X.shape[1]), X.dtype)
        for i in range(0, len(X), ROWS):
            block = np.asarray(X[i : i + ROWS])
            m, new = len(block), block.mean(axis=0, dtype=np.float64)
            shift = np.sqrt(n * m / (n + m)) * (mean - new)
            stack = np.vstack([basis, block - new.astype(X.dtype), shift.astype(X.dtype)])
            s, V = largest(stack @ stack.T, rank + 20)
            basis = V.T @ stack
            mean += (new - mean) * m / (n + m)
            n += m
        return s[:rank], basis[:rank] / s[:rank, None]

    return run, as_is


def xeofs_eof(X: Any, rank: int) -> tuple:
    import xarray as xr
    from xeofs.single import EOF

    coords = {"time": np.arange(X.shape[0]), "cell": np.arange(X.shape[1])}
    field = xr.DataArray(X, coords, ("time", "cell"))
    eof = EOF(n_modes=rank, random_state=0)

    def read(fitted: EOF) -> tuple:
        modes = fitted.components().transpose("mode", "cell")
        return fitted.singular_values().values, modes.values

    return lambda: eof.fit(field, dim="time"), read


def pymor_pod(X: np.ndarray, rank: int) -> tuple:
    from pymor.algorithms.pod import pod
    from pymor.core.logger import set_log_levels
    from pymor.vectorarrays.numpy import NumpyVectorSpace

    set_log_levels({"pymor": "ERROR"})

    def run() -> tuple:
        return pod(NumpyVectorSpace.from_numpy((X - X.mean(axis=0)).T), modes=rank)

    return run, lambda result: (result[1], result[0].to_numpy().T)


def ezyrb_pod(X: np.ndarray, rank: int, method: str) -> tuple:
    from ezyrb import POD

    pod = POD(method=method, rank=rank)
    run = lambda: pod.fit((X - X.mean(axis=0)).T)  # noqa: E731
    return run, lambda p: (p.singular_values[:rank], p.modes.T)


def dask_compressed(X: Any, rank: int) -> tuple:
    import dask
    from dask.array.linalg import svd_compressed

    def run() -> tuple:
        _, s, Vt = svd_compressed(X - X.mean(axis=0), rank, seed=0)
        return dask.compute(s, Vt)

    return run, as_is


def read_once(X: Any, rank: int) -> tuple:
    return lambda: X.sum().compute(), lambda _: None


CONTENDERS: dict[str, Contender] = {
    "rom.POD": rom_pod,
    "rom.POD, tol=1e-4": partial(rom_pod, tol=1e-4),
    **{
        f"rom.POD, solver={name}": partial(rom_pod, solver=name)
        for name in ("qr", "gram", "krylov")
    },
    "rom.POD, max_memory=1.5GB": partial(rom_pod, max_memory="1.5GB"),
    "plain Gram": plain_gram,
    "Gram, float64 blocks": blocked_gram,
    "NumPy SVD": numpy_svd,
    "xeofs EOF": xeofs_eof,
    "sklearn PCA randomized": sklearn_pca,
    "sklearn randomized_svd": sklearn_randomized,
    "pyMOR pod": pymor_pod,
    "EZyRB POD": partial(ezyrb_pod, method="svd"),
    "EZyRB POD, correlation": partial(ezyrb_pod, method="correlation_matrix"),
    "sklearn IncrementalPCA": sklearn_incremental,
    "merge and truncate": merge_and_truncate,
    "dask svd_compressed": dask_compressed,
    "reading once": read_once,
}
IN_MEMORY = (
    "plain Gram",
    "xeofs EOF",
    "rom.POD",
    "rom.POD, tol=1e-4",
    "sklearn PCA randomized",
    "sklearn randomized_svd",
    "pyMOR pod",
)
IN_FLOAT32 = (
    "plain Gram",
    "Gram, float64 blocks",
    "rom.POD",
    "rom.POD, tol=1e-4",
    "sklearn randomized_svd",
    "pyMOR pod",
)
NUMPY = ("NumPy SVD",)
EZYRB = ("EZyRB POD", "EZyRB POD, correlation")
OUT_OF_CORE = (
    "reading once",
    "rom.POD, max_memory=1.5GB",
    "dask svd_compressed",
    "merge and truncate",
    "sklearn IncrementalPCA",
    "xeofs EOF",
)
