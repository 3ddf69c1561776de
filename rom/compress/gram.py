"""Blocked linear algebra: snapshot matrices that are read some columns or rows at a time.

The snapshots may be a NumPy or a dask array; either way one block of them is held at a time,
centred in a buffer, and nothing makes a second copy of them. Sums run in float64.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import joblib
import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from scipy.linalg import blas

from rom import checks
from rom.compress.progress import byte_bar

BLOCK_BYTES = 32 * 2**20
# Of blocks that are not copied.
WIDE_BLOCK_BYTES = 4 * BLOCK_BYTES
# As many threads as BLAS is given, which is asked for by this variable where not all are wanted.
N_THREADS = int((os.environ.get("OMP_NUM_THREADS") or str(joblib.cpu_count())).split(",")[0])


class Triplets(NamedTuple):
    """Singular triplets ``A ≈ left @ diag(values) @ right``."""

    left: NDArray[np.float64]
    """(p, l), orthonormal columns."""
    values: NDArray[np.float64]
    """(l,), the largest first."""
    right: NDArray[Any]
    """(l, q), orthonormal rows, in the dtype of the snapshots."""


def row_blocks(X: Any) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """All rows of `X` (n_time, n_space), some at a time: ``(rows, float64 block)``."""
    for part in _parts(X, 0, BLOCK_BYTES):
        yield part, np.asarray(X[part], dtype=np.float64)


def column_means(X: Any) -> NDArray[np.float64]:
    """Mean of every column of `X` (n_time, n_space): (n_space,)."""
    if not checks.is_lazy(X):
        return np.asarray(X.mean(axis=0, dtype=np.float64))
    total = sum(block.sum(axis=0) for _, block in row_blocks(X))
    return np.asarray(total / X.shape[0])


def _parts(X: Any, axis: int, n_bytes: int) -> list[slice]:
    """Slices of an axis of about `n_bytes` each; of a dask array, of whole chunks."""
    length, across = X.shape[axis], X.shape[1 - axis]
    width = max(1, n_bytes // (X.dtype.itemsize * across))
    edges = [0]
    for stop in np.cumsum(X.chunks[axis] if checks.is_lazy(X) else [width] * -(-length // width)):
        if len(edges) > 1 and stop - edges[-2] <= width:
            edges.pop()
        edges.append(min(int(stop), length))
    return [slice(a, b) for a, b in pairwise(edges)]


class Centred:
    """Centred snapshots, the shorter side first: ``A`` (p, q) with p ≤ q.

    ``A`` is ``X - mean``, or its transpose where there are more times than cells. Its columns are
    read some at a time.

    Parameters
    ----------
    X : ndarray or dask array, shape (n_time, n_space)
        Snapshots.
    center : bool
        Remove the mean over time.
    """

    def __init__(self, X: Any, center: bool) -> None:
        self.X = X
        self.transposed = X.shape[0] > X.shape[1]
        self.shape: tuple[int, int] = X.shape[::-1] if self.transposed else X.shape
        self.dtype = X.dtype
        self.n_passes = 0
        self.center = center
        self.mean = np.zeros(X.shape[1])
        self.knows_mean = not center or self.transposed
        if center and self.transposed:  # otherwise each block of columns gives its own means
            self.mean = column_means(X)
            self.n_passes += 1

    @property
    def mean_can_wait(self) -> bool:
        """Whether the mean is constant along columns of A, and can be taken out of products."""
        return self.center and not self.transposed

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """All columns of A, once: ``(columns, block (p, width))`` in a buffer that is reused."""
        first = not self.knows_mean
        buffer = np.empty(0, self.dtype)
        for part, raw in self.raw_blocks():
            if buffer.size < raw.size:
                buffer = np.empty(raw.size, self.dtype)
            block = buffer[: raw.size].reshape(raw.shape)
            if first:
                self.mean[part] = _column_means(raw)
            mean = (self.mean if self.transposed else self.mean[part]).astype(self.dtype)
            in_threads(partial(_centre, raw, mean, block), len(raw))
            yield part, block.T if self.transposed else block
        self.knows_mean = True

    def raw_blocks(self, n_bytes: int | None = None) -> Iterator[tuple[slice, NDArray[Any]]]:
        """The snapshots as they are, once: ``(columns of A, part of X)``."""
        self.n_passes += 1
        with byte_bar(self.X, "reading snapshots") as bar:
            for part in _parts(self.X, 0 if self.transposed else 1, n_bytes or BLOCK_BYTES):
                raw = np.asarray(self.X[part] if self.transposed else self.X[:, part])
                if checks.is_lazy(self.X):
                    _check_finite(raw, part, self.transposed)
                yield part, raw
                bar.update(raw.nbytes)


def _centre(raw: NDArray[Any], mean: NDArray[Any], out: NDArray[Any], rows: slice) -> None:
    np.subtract(raw[rows], mean, out=out[rows])


def _column_means(raw: NDArray[Any]) -> NDArray[np.float64]:
    return np.concatenate(in_threads(partial(_some_means, raw), raw.shape[1]))


def _some_means(raw: NDArray[Any], columns: slice) -> NDArray[np.float64]:
    return np.asarray(raw[:, columns].mean(axis=0, dtype=np.float64))


def in_threads(work: Callable[[slice], Any], length: int) -> list[Any]:
    """``work`` on slices of ``range(length)``, side by side: NumPy computes on one core only."""
    edges = np.linspace(0, length, min(length, N_THREADS) + 1).astype(int).tolist()
    parts = [slice(a, b) for a, b in pairwise(edges)]
    if len(parts) == 1:
        return [work(parts[0])]
    with ThreadPoolExecutor(len(parts)) as pool:  # a lasting one would hang in a forked process
        return list(pool.map(work, parts))


def _check_finite(block: NDArray[Any], part: slice, transposed: bool) -> None:
    if not np.isfinite(block).all():
        raise ValueError(
            f"X holds values that are not finite in {'rows' if transposed else 'columns'} "
            f"{part.start} to {part.stop - 1}."
        )


def gram(A: Centred) -> NDArray[np.float64]:
    """``A Aᵀ`` (p, p), its lower triangle only, in one pass.

    Products are taken in the precision of the snapshots, block by block; the blocks are summed in
    float64.
    """
    K = np.zeros((A.shape[0], A.shape[0]), order="F")
    for _, block in A.blocks():
        K = add_square(K, block)
    return K


def add_square(K: NDArray[np.float64], block: NDArray[Any]) -> NDArray[np.float64]:
    """``K + block @ block.T``, the lower triangle, in place; `K` is in Fortran order."""
    columns, trans = (block, 0) if block.flags.f_contiguous else (block.T, 1)
    if block.dtype != np.float64:
        K += blas.ssyrk(1.0, columns, trans=trans, lower=1)
        return K
    return blas.dsyrk(1.0, columns, beta=1.0, c=K, trans=trans, lower=1, overwrite_c=1)


def triangle(A: Centred) -> NDArray[np.float64]:
    """The triangular factor R (p, p) of ``Aᵀ = Q R``, in one pass.

    It has the singular values of A to rounding, without squaring them.
    """
    R = np.zeros((0, A.shape[0]))
    for _, block in A.blocks():
        (R,) = linalg.qr(np.vstack([R, block.T]), mode="r", overwrite_a=True, check_finite=False)
        R = R[: A.shape[0]]
    return R


def largest_eigh(K: NDArray[np.float64], k: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The `k` largest eigenvalues of a symmetric `K` (lower triangle) and their vectors."""
    p = len(K)
    values, vectors = linalg.eigh(K, subset_by_index=(p - k, p - 1), check_finite=False)
    return values[::-1], vectors[:, ::-1]


def ritz(A: Centred, left: NDArray[np.float64]) -> tuple[Triplets, float]:
    """The best singular triplets of A with left vectors in the span of `left`, in one pass.

    Their values are wrong only to second order in the error of that span.

    Parameters
    ----------
    A : Centred
    left : ndarray, shape (p, l)
        Orthonormal columns.

    Returns
    -------
    triplets : Triplets
    energy : float
        Sum of all squares of A.
    """
    rows = np.empty((left.shape[1], A.shape[1]), A.dtype)
    G, energy = np.zeros((left.shape[1],) * 2), 0.0
    for part, product, squares in _products(A, left):
        rows[:, part] = product
        product = product.astype(np.float64, copy=False)
        G += product @ product.T
        energy += squares
    mixing, values, right = orthonormal(rows, G)
    return Triplets(left @ (mixing / values), values, right), energy


def _products(A: Centred, left: NDArray[np.float64]) -> Iterator[tuple[slice, NDArray[Any], float]]:
    """``leftᵀ A``, some columns at a time, and the sum of squares of these columns."""
    if not A.mean_can_wait or A.dtype != np.float64:
        coefficients = np.ascontiguousarray(left.T, dtype=A.dtype)
        for part, block in A.blocks():
            yield part, coefficients @ block, _squares(block)
        return
    # One more row gives the means, which then come out of the products: no block is copied.
    n = A.shape[0]
    coefficients = np.vstack([left.T, np.full(n, 1 / n)])
    off = coefficients[:-1].sum(axis=1, keepdims=True)
    for part, raw in A.raw_blocks(WIDE_BLOCK_BYTES):
        product = coefficients @ raw
        A.mean[part] = mean = product[-1]
        yield part, product[:-1] - off * mean, _squares(raw) - n * float(mean @ mean)


def _squares(block: NDArray[Any]) -> float:
    rows = block.T if block.flags.f_contiguous else block
    return sum(
        in_threads(lambda r: float(np.vecdot(rows[r], rows[r]).sum(dtype=np.float64)), len(rows))
    )


def orthonormal(
    rows: NDArray[Any], G: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Singular values and right singular vectors of `rows`, which are overwritten.

    Parameters
    ----------
    rows : ndarray, shape (l, q)
        Linearly independent.
    G : ndarray, shape (l, l)
        ``rows @ rows.T``, summed in float64.

    Returns
    -------
    mixing : ndarray, shape (l, l)
        ``rows = mixing @ right``, of the rows as they came.
    values : ndarray, shape (l,)
        Singular values.
    right : ndarray, shape (l, q)
        Right singular vectors: `rows`, overwritten.
    """
    # Scaled to unit rows the Cholesky factor is exact to rounding also for weak ones.
    size = np.sqrt(np.diag(G))
    C = linalg.cholesky(G / np.outer(size, size), lower=True)
    triangle = C.T * size  # rows = triangleᵀ W, with W of orthonormal rows
    P, values, _ = linalg.svd(triangle)
    multiply(P.T @ linalg.solve_triangular(C, np.diag(1 / size), lower=True), rows)
    return triangle.T @ P, values, rows


def row_gram(rows: NDArray[Any]) -> NDArray[np.float64]:
    """``rows @ rows.T``: block products in the precision of the rows, summed in float64."""
    G = np.zeros((len(rows), len(rows)))
    width = max(1, BLOCK_BYTES // (rows.itemsize * len(rows)))
    for start in range(0, rows.shape[1], width):
        block = rows[:, start : start + width]
        G += block @ block.T
    return G


def multiply(matrix: NDArray[np.float64], rows: NDArray[Any]) -> None:
    """``rows[:m] = matrix @ rows`` for `matrix` (m, l), in place, some columns at a time."""
    matrix = np.ascontiguousarray(matrix, dtype=rows.dtype)
    width = max(1, BLOCK_BYTES // (2 * rows.itemsize * len(rows)))
    for start in range(0, rows.shape[1], width):
        part = slice(start, start + width)
        rows[: len(matrix), part] = matrix @ rows[:, part]


def fix_signs(components: NDArray) -> NDArray:
    """Signs (±1 per row) that make the entry of largest magnitude of each row positive.

    Of entries within a millionth of the largest the first one decides: in a symmetric mode
    rounding would otherwise choose between equals.
    """
    signs: NDArray = np.concatenate(in_threads(partial(_signs, components), len(components)))
    return signs


def _signs(components: NDArray, some: slice) -> NDArray:
    signs = []
    for row in components[some]:
        nearly = (1 - 1e-6) * max(row.max(), -row.min())
        signs.append(-1.0 if row[np.argmax((row >= nearly) | (row <= -nearly))] < 0 else 1.0)
    return np.array(signs)
