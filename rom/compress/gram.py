"""Blocked linear algebra: snapshot matrices that are read some columns or rows at a time.

The snapshots may be a NumPy or a dask array; either way one block of them is held at a time,
centred in a buffer, and nothing makes a second copy of them. Sums run in float64.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg
from threadpoolctl import threadpool_limits

from rom import checks
from rom.compress.progress import byte_bar
from rom.threads import N_THREADS, in_threads, slices

BLOCK_BYTES = 32 * 2**20
# Of blocks that are not copied.
WIDE_BLOCK_BYTES = 4 * BLOCK_BYTES
# Of what a core works on at a time, so that it stays in its caches; and of what all add up.
TILE_BYTES = 8 * 2**20
STATE_BYTES = 256 * 2**20
# A vector that A shrinks to this part of the least wanted one betters no value by more than 1e-10.
NO_HELP = 1e-5
# Rows and columns that say how large means are, and the part of a variance that may be lost where
# they are taken out of sums of squares.
PROBE = 500
DIGITS_LEFT = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-4}


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
        """Whether means along columns of A may be taken out of products, with no digits lost."""
        return self.center and not self.transposed and self.mean_is_small

    def probe(self) -> NDArray[np.float64]:
        """Some rows and columns of the snapshots; none of lazy ones, which are read in order."""
        if checks.is_lazy(self.X):
            return np.empty((0, 0))
        rows, columns = (-(-length // PROBE) for length in self.X.shape)
        return np.asarray(self.X[::rows, ::columns], dtype=np.float64)

    @cached_property
    def mean_is_small(self) -> bool:
        """Whether squares of the means leave digits for those of the anomalies."""
        if checks.is_lazy(self.X):
            return False
        some = self.probe()
        mean, spread = np.mean(some.mean(axis=0) ** 2), np.mean(some.var(axis=0))
        return bool(float(np.finfo(self.dtype).eps) * mean <= DIGITS_LEFT[self.dtype] * spread)

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """All columns of A, once: ``(columns, block (p, width))`` in a buffer that is reused."""
        buffer = np.empty(0, self.dtype)
        for part, raw in self.raw_blocks():
            if buffer.size < raw.size:
                buffer = np.empty(raw.size, self.dtype)
            yield part, self._centred(part, raw.T if self.transposed else raw, buffer)
        self.knows_mean = True

    def fold(
        self,
        step: Callable[[Any, slice, NDArray[Any]], Any],
        *,
        centred: bool = True,
        state_bytes: int = 0,
    ) -> list[Any]:
        """Work on all columns of A once, some at a time on each core, while they are in its cache.

        Parameters
        ----------
        step : callable
            ``step(state, columns, block (p, width))`` returns the next state; the first is None.
        centred : bool
            Otherwise the blocks are of the snapshots as they are.
        state_bytes : int
            Size of a state, of which each core has one.

        Returns
        -------
        list
            The last state of each core that had work.
        """
        across = self.shape[0] * self.dtype.itemsize
        width = max(1, max(TILE_BYTES if centred else 2 * TILE_BYTES, state_bytes) // across)
        n = max(1, min(N_THREADS, STATE_BYTES // max(state_bytes, 1)))
        buffers = np.empty((n, width * self.shape[0] if centred else 0), self.dtype)
        states: list[Any] = [None] * n

        def work(core: int, some: slice, start: int, raw: NDArray[Any]) -> None:
            for a in range(some.start, some.stop, width):
                b = min(a + width, some.stop)
                block = raw[a:b].T if self.transposed else raw[:, a:b]
                columns = slice(start + a, start + b)
                if centred:
                    block = self._centred(columns, block, buffers[core])
                states[core] = step(states[core], columns, block)

        whole = None if checks.is_lazy(self.X) else self.X.nbytes
        with threadpool_limits(N_THREADS // n, "blas"), ThreadPoolExecutor(n) as pool:
            for part, raw in self.raw_blocks(whole):
                shares = slices(part.stop - part.start, n)
                list(pool.map(partial(work, start=part.start, raw=raw), range(n), shares))
        self.knows_mean = True
        return [state for state in states if state is not None]

    def _centred(self, columns: slice, raw: NDArray[Any], buffer: NDArray[Any]) -> NDArray[Any]:
        """Columns of A (p, width) in a buffer; their means are learnt where not known."""
        block = _like(raw, buffer)
        if self.transposed:
            self._subtract(raw, self.mean[:, None], block)
        elif self.knows_mean:
            self._subtract(raw, self.mean[columns], block)
        else:
            np.copyto(block, raw)
            share = np.full(len(raw), 1 / len(raw), self.dtype)
            mean = share @ block
            np.subtract(block, mean, out=block)
            self.mean[columns] = mean
            rest = share @ block  # what rounding of the sum left
            self.mean[columns] += rest
            if not self.mean_is_small:
                np.subtract(block, rest, out=block)
        return block

    def _subtract(self, raw: NDArray[Any], mean: NDArray[np.float64], block: NDArray[Any]) -> None:
        rounded = mean.astype(self.dtype)
        np.subtract(raw, rounded, out=block)
        if self.dtype != np.float64 and not self.mean_is_small:
            np.subtract(block, (mean - rounded).astype(self.dtype), out=block)

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


def _like(array: NDArray[Any], buffer: NDArray[Any]) -> NDArray[Any]:
    """A part of `buffer` with the shape of `array`, and its order of memory."""
    if array.strides[0] < array.strides[1]:
        return buffer[: array.size].reshape(array.shape[::-1]).T
    return buffer[: array.size].reshape(array.shape)


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
    p = A.shape[0]

    def add(K: NDArray[np.float64] | None, _: slice, block: NDArray[Any]) -> NDArray[np.float64]:
        return add_square(np.zeros((p, p)) if K is None else K, block)

    first, *others = A.fold(add, state_bytes=8 * p**2)
    for K in others:
        first += K
    return first


def add_square(K: NDArray[np.float64], block: NDArray[Any]) -> NDArray[np.float64]:
    """``K + block @ block.T``, in place."""
    K += block @ block.T  # NumPy finds the symmetry, and lets other threads run, as SciPy does not
    return K


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
    if len(values) < k:  # LAPACK may lose some of a cluster
        values, vectors = (each[..., -k:] for each in linalg.eigh(K, check_finite=False))
    return values[::-1], vectors[:, ::-1]


def ritz(
    A: Centred, left: NDArray[np.float64], rank: int, rows: NDArray[Any] | None = None
) -> tuple[Triplets, float]:
    """The best singular triplets of A with left vectors in the span of `left`, in one pass.

    Their values are wrong only to second order in the error of that span.

    Parameters
    ----------
    A : Centred
    left : ndarray, shape (p, l)
        Orthonormal columns.
    rank : int
        How many triplets are wanted. Further columns serve to better them; those that A takes to
        too little for that are left out.
    rows : ndarray, shape (m, q), optional
        ``left[:, :m].T @ A``, where that is known. Made longer in place, and overwritten.

    Returns
    -------
    triplets : Triplets
    energy : float
        Sum of all squares of A.
    """
    p, n = left.shape
    rows = np.empty((0, A.shape[1]), A.dtype) if rows is None else rows
    known = len(rows)
    rows.resize((n, A.shape[1]), refcheck=False)
    # One more row gives the means, which then come out of the products: no block is copied. In
    # single precision too little would be left.
    as_is = A.mean_can_wait and A.dtype == np.float64
    new = left[:, known:].T
    coefficients = np.vstack([new, np.full(p, 1 / p)]) if as_is else new
    coefficients = np.ascontiguousarray(coefficients, dtype=A.dtype)
    off = new.sum(axis=1, keepdims=True)

    def step(
        state: tuple[NDArray[np.float64], float] | None, columns: slice, block: NDArray[Any]
    ) -> tuple[NDArray[np.float64], float]:
        G, energy = state or (np.zeros((n, n)), 0.0)
        product = coefficients @ block
        energy += _squares(block)
        if as_is:
            A.mean[columns] = mean = product[-1]
            product = product[:-1] - off * mean
            energy -= p * float(mean @ mean)
        rows[known:, columns] = product
        product = rows[:, columns].astype(np.float64)
        return G + product @ product.T, energy

    states = A.fold(step, centred=not as_is)
    G = np.sum([state[0] for state in states], axis=0)
    energy = float(sum(state[1] for state in states))
    turn = np.eye(n)
    if n > rank:
        size = np.sqrt(np.diag(G)[:rank])
        rounding = 100 * float(np.finfo(A.dtype).eps) * p**0.5 * size.max()
        others = _independent(G[rank:, rank:], max(NO_HELP * size.min(), rounding))
        turn = linalg.block_diag(np.eye(rank), others)
    mixing, values, right = orthonormal(rows, turn.T @ G @ turn, turn)
    return Triplets(left @ turn @ (mixing / values), values, right), energy


def _independent(G: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Columns that turn rows with Gram matrix G into orthogonal ones, longer than `floor`."""
    squares, turn = linalg.eigh(G)
    return np.asarray(turn[:, squares > floor**2])


def _squares(block: NDArray[Any]) -> float:
    rows = block.T if block.flags.f_contiguous else block
    return float(np.vecdot(rows, rows).sum(dtype=np.float64))


def orthonormal(
    rows: NDArray[Any], G: NDArray[np.float64], turn: NDArray[np.float64] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[Any]]:
    """Singular values and right singular vectors of `rows`, which are overwritten.

    Parameters
    ----------
    rows : ndarray, shape (l, q)
        Linearly independent, after the turn.
    G : ndarray, shape (m, m)
        ``rows @ rows.T`` of the turned rows, summed in float64.
    turn : ndarray, shape (l, m), optional
        Take ``turn.T @ rows`` for the rows.

    Returns
    -------
    mixing : ndarray, shape (m, m)
        ``rows = mixing @ right``, of the turned rows as they came.
    values : ndarray, shape (m,)
        Singular values.
    right : ndarray, shape (m, q)
        Right singular vectors: the first `rows`, overwritten.
    """
    # Scaled to unit rows the Cholesky factor is exact to rounding also for weak ones.
    size = np.sqrt(np.diag(G))
    C = linalg.cholesky(G / np.outer(size, size), lower=True)
    triangle = C.T * size  # rows = triangleᵀ W, with W of orthonormal rows
    P, values, _ = linalg.svd(triangle)
    inverse = P.T @ linalg.solve_triangular(C, np.diag(1 / size), lower=True)
    multiply(inverse if turn is None else inverse @ turn.T, rows)
    return triangle.T @ P, values, rows[: len(G)]


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
    width = max(1, TILE_BYTES // (rows.itemsize * len(rows)))
    for start in range(0, rows.shape[1], width):
        part = slice(start, start + width)
        rows[: len(matrix), part] = matrix @ rows[:, part]


def fix_signs(components: NDArray) -> NDArray:
    """Signs (±1 per row) that make the entry of largest magnitude of each row positive.

    Of entries within a millionth of the largest the first one decides: in a symmetric mode
    rounding would otherwise choose between equals.
    """
    signs: NDArray = np.concatenate(
        in_threads(partial(_signs, components), slices(len(components)))
    )
    return signs


def _signs(components: NDArray, some: slice) -> NDArray:
    signs = []
    for row in components[some]:
        nearly = (1 - 1e-6) * max(row.max(), -row.min())
        signs.append(-1.0 if row[np.argmax((row >= nearly) | (row <= -nearly))] < 0 else 1.0)
    return np.array(signs)
