"""Block Krylov iteration for the leading singular vectors, stopped by a measured error.

Musco and Musco (2015), Randomized block Krylov methods for stronger and faster approximate
singular value decomposition, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.compress.gram import WIDE_BLOCK_BYTES, Centred, multiply
from rom.threads import in_threads, slices

# Columns in a block, per singular vector wanted: enough of them that the first block already holds
# all that is wanted, and a sweep more takes most of the error.
BLOCK_PER_COMPONENT = 1.36
# Columns of the sketch that starts it, per column of a block; and columns of A in each, at least.
SKETCH_PER_COLUMN, MIN_GROUP = 32, 8
MIN_BLOCK = 8
# A block ends where squared values have fallen by this: of more that are as large as the last one
# wanted than a block has columns, Krylov iteration finds only as many.
CROWDED = 1.5
SKETCH_SWEEPS = 2
# Rows that a core's cache holds of them.
ROWS_AT_A_TIME = 32
# An estimate of errors that is exact in the limit only is taken this many times, and the values
# that are not known yet as this much larger than what was seen of them.
SAFETY, UNSEEN = 2.0, 1.3
# A sweep that leaves this much of an error near rounding has come to it.
STALLED = 0.9


class Leading(NamedTuple):
    """Orthonormal vectors whose span holds the leading left singular vectors of a matrix."""

    vectors: NDArray[np.float64]
    """(p, l), l >= k."""
    values: NDArray[np.float64]
    """Singular values (k,), as far as they are known."""
    error: NDArray[np.float64]
    """Estimated relative error (k,) of those that the span gives."""
    rows: NDArray[Any] | None = None
    """``vectors[:, :k].T @ A`` (k, q), from the sweeps, where they were kept."""


def leading_left(A: Centred, k: int, tol: float, most: int = 0, keep: int = 0) -> Leading:
    """The `k` leading left singular vectors of A, as good as singular values to `tol` need.

    Each sweep reads A once and multiplies ``A Aᵀ`` with one more block. It ends when the estimate
    of all `k` errors is below `tol`, when rounding keeps it from falling, or when the basis is
    the whole space; and one sweep before, where the next block, not multiplied yet, is enough to
    get there.

    Parameters
    ----------
    A : Centred
        The matrix (p, q).
    k : int
        At most p.
    tol : float
        Relative error wanted of the singular values.
    most : int, optional
        Give up before the basis is larger; never where it is 0.
    keep : int, optional
        How many rows of q numbers may be kept of the sweeps.
    """
    p, q = A.shape
    new = _sketched_range(A, k)
    given_up = Leading(np.empty((p, 0)), np.ones(k), np.full(k, np.inf))
    if 0 < most < new.shape[1]:
        return given_up
    rows = _longer(np.empty((0, q), A.dtype), new.shape[1], keep)
    found = _Ritz.of(A, np.empty((p, 0)), np.empty((p, 0)), new, k, rows)
    if new.shape[1] < p and CROWDED * found.rest > found.values[k - 1]:
        if most:
            return given_up
        rows = _longer(rows, p, keep)
        found = _Ritz.of(A, np.empty((p, 0)), np.empty((p, 0)), np.eye(p), k, rows)
    before = np.inf
    while True:
        worst, width = found.error.max(), found.width
        rounding = 10 * np.finfo(A.dtype).eps * found.values[0] / max(found.values[k - 1], 1e-300)
        size = found.basis.shape[1]
        full = size == p or size + width > most > 0
        if worst <= tol or STALLED * before < worst < rounding or full:
            return Leading(found.left, found.singular_values, found.error, found.turned(rows))
        # Residuals in the span shrink what is outside of it by the ratio of the values there and
        # here: one more sweep, of those vectors that need it, and not multiplied.
        open_ = found.error > tol
        shrunk = np.minimum(UNSEEN * found.rest / found.values[:k], 1.0) ** 2
        then = np.where(open_, found.error * shrunk, found.error)
        if then.max() <= tol:
            last = _next_block(found.left, found.residual[:, open_])
            vectors = np.hstack([found.left, last])
            return Leading(vectors, found.singular_values, then, found.turned(rows))
        new = _next_block(found.basis, found.image[:, -width:])
        rows = _longer(rows, size + new.shape[1], keep)
        found, before = _Ritz.of(A, found.basis, found.image, new, k, rows), worst


class _Ritz(NamedTuple):
    """What a basis (p, m) and its image ``A Aᵀ basis`` say of the k leading eigenvectors."""

    basis: NDArray[np.float64]
    image: NDArray[np.float64]
    width: int
    """Columns of the last block of the basis."""
    values: NDArray[np.float64]
    """Ritz values (m,)."""
    left: NDArray[np.float64]
    """Ritz vectors (p, k)."""
    residual: NDArray[np.float64]
    """Their residuals (p, k)."""
    rest: float
    """The largest eigenvalue that the basis does not hold: no more than the last block found, or
    than the least of the first one, which came from a sketch of the whole."""
    error: NDArray[np.float64]
    """Estimated relative error of the singular values (k,)."""

    @property
    def singular_values(self) -> NDArray[np.float64]:
        """As far as they are known (k,)."""
        return np.sqrt(np.maximum(self.values[: self.left.shape[1]], 0.0))

    def turned(self, rows: NDArray[Any] | None) -> NDArray[Any] | None:
        """``left.T @ A`` from `rows`, ``basis.T @ A``, which are overwritten."""
        if rows is not None:
            multiply(self.left.T @ self.basis, rows)
            rows.resize((self.left.shape[1], rows.shape[1]), refcheck=False)
        return rows

    @classmethod
    def of(
        cls,
        A: Centred,
        basis: NDArray[np.float64],
        image: NDArray[np.float64],
        new: NDArray[np.float64],
        k: int,
        rows: NDArray[Any] | None,
    ) -> _Ritz:
        """With one more block of the basis, which is multiplied: one reading.

        The last of `rows` become those of the new block.
        """
        product = _normal_product(A, new, None if rows is None else rows[basis.shape[1] :])
        basis, image = np.hstack([basis, new]), np.hstack([image, product])
        T = basis.T @ image
        values, S = np.linalg.eigh((T + T.T) / 2)
        values, S = values[::-1], S[:, ::-1][:, :k]
        left, width = basis @ S, new.shape[1]
        residual = image @ S - left * values[:k]
        rest = values[-1]
        if basis.shape[1] > width:
            rest = np.linalg.eigvalsh(T[-width:, -width:])[-1]
        error = _relative_error(values[:k], residual, UNSEEN * rest)
        return cls(basis, image, width, values, left, residual, float(rest), error)


def _relative_error(
    values: NDArray[np.float64], residual: NDArray[np.float64], rest: float
) -> NDArray[np.float64]:
    """Estimated relative error of singular values ``sqrt(values)`` from residuals (p, k) of A Aᵀ.

    The error of an eigenvalue is at most the residual, and at most its square over the distance to
    the `rest` of the spectrum, which is an estimate.
    """
    floor = np.finfo(np.float64).eps * values[0]  # values below are rounding, and have converged
    kept = np.maximum(values, floor)
    size = np.maximum(np.linalg.norm(residual, axis=0) - floor, 0.0)
    gap = np.maximum(kept - min(rest, values[-1]), floor)
    relative: NDArray[np.float64] = SAFETY * np.minimum(size, size**2 / gap) / (2 * kept)
    return relative


def _next_block(basis: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns that extend `basis` (p, m) by the span of `image`."""
    room = basis.shape[0] - basis.shape[1]
    new = image[:, :room]
    for _ in range(2):  # once more: cancellation leaves the first result short of orthogonal
        new = np.linalg.qr(new - basis @ (basis.T @ new))[0]
    return new


def _sketched_range(A: Centred, k: int) -> NDArray[np.float64]:
    """Orthonormal columns (p, width) close to the leading left singular vectors; one reading.

    As many as it takes for the values to fall behind the `k`-th, all p where they do not. They are
    those of a sketch, in which every column of A takes part: sums of groups of them, with random
    signs (Clarkson and Woodruff 2017, Low-rank approximation and regression in input sparsity
    time, J. ACM 63).
    """
    p, q = A.shape
    width = max(MIN_BLOCK, int(np.ceil(BLOCK_PER_COMPONENT * k)))
    n_groups = min(SKETCH_PER_COLUMN * width, max(q // MIN_GROUP, MIN_GROUP * width), q)
    rng = np.random.default_rng(0)
    sketch = np.zeros((p, n_groups), A.dtype)
    for part, block in _blocks(A):
        signs = rng.choice(np.array([-1.0, 1.0], A.dtype), block.shape[1])
        in_threads(partial(_add_groups, block, signs, part.start, sketch), slices(p))
    sketch = sketch.astype(np.float64, copy=False)
    if A.mean_can_wait:
        sketch -= sketch.mean(axis=0)
    while 2 * width < min(p, n_groups):
        Q = sketch @ rng.standard_normal((n_groups, width))
        for _ in range(SKETCH_SWEEPS):
            Q = np.linalg.qr(sketch @ (sketch.T @ Q))[0]
        rows = Q.T @ sketch
        values, turn = np.linalg.eigh(rows @ rows.T)
        if CROWDED * values[0] < values[-k]:
            return Q @ turn  # large values apart from small ones, which then keep their digits
        width *= 2
    return np.eye(p)


def _add_groups(
    block: NDArray[Any], signs: NDArray[Any], start: int, sketch: NDArray[Any], some: slice
) -> None:
    """Add rows of a block, its columns from `start` on dealt out in turn, to those of `sketch`."""
    n_groups, stop = sketch.shape[1], start + block.shape[1]
    edges = {start, stop}
    if -(-start // n_groups) <= stop // n_groups:  # of the rounds that are whole
        edges |= {n_groups * -(-start // n_groups), n_groups * (stop // n_groups)}
    for a, b in pairwise(sorted(edges)):
        dealt = signs[a - start : b - start].reshape(-1, min(b - a, n_groups))
        groups = slice(a % n_groups, a % n_groups + dealt.shape[1])
        for first in range(some.start, some.stop, ROWS_AT_A_TIME):
            rows = slice(first, min(first + ROWS_AT_A_TIME, some.stop))
            rounds = block[rows, a - start : b - start].reshape(-1, *dealt.shape)
            sketch[rows, groups] += np.einsum("irg,rg->ig", rounds, dealt)


def _longer(rows: NDArray[Any] | None, n: int, keep: int) -> NDArray[Any] | None:
    """`rows` and more, `n` in all, in place; none where that is more than `keep`."""
    if rows is None or n > keep:
        return None
    rows.resize((n, rows.shape[1]), refcheck=False)  # old and new at once would be too much
    return rows


def _normal_product(
    A: Centred, Q: NDArray[np.float64], into: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """``A Aᵀ Q`` (p, b); ``Qᵀ A`` (b, q) comes on the way, and is put `into` an array."""
    rows = np.ascontiguousarray(_project(A, Q).T, dtype=A.dtype)
    product = np.zeros(rows.shape)
    for part, block in _blocks(A):
        thin = np.matmul(rows, block, out=None if into is None else into[:, part])
        # The same product in the order that is faster in this precision.
        product += thin @ block.T if A.dtype == np.float64 else (block @ thin.T).T
    return _project(A, product.T)


# With times first, A is P X, where P takes means over time out: of the thin factors of a product
# as well as of the snapshots, which saves a copy of each block.


def _blocks(A: Centred) -> Iterator[tuple[slice, NDArray[Any]]]:
    return A.raw_blocks(WIDE_BLOCK_BYTES) if A.mean_can_wait else A.blocks()


def _project(A: Centred, thin: NDArray[np.float64]) -> NDArray[np.float64]:
    return thin - thin.mean(axis=0) if A.mean_can_wait else thin
