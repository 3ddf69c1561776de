"""Block Krylov iteration for the leading singular vectors, stopped by a measured error.

Musco and Musco (2015), Randomized block Krylov methods for stronger and faster approximate
singular value decomposition, NeurIPS.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rom.compress.gram import WIDE_BLOCK_BYTES, Centred

# Columns in a block, per singular vector wanted. Fewer, longer sweeps suit a loose tolerance: the
# error falls so fast that a narrow block overshoots by a whole sweep.
BLOCK_PER_COMPONENT = 0.72
LOOSE, LOOSE_BLOCK = 1e-5, 0.88
SINGLE_PRECISION_BLOCK = 1.12  # narrow blocks waste twice as much of a processor twice as fast
MIN_BLOCK = 8
# A sweep that leaves this much of the error has come to rounding: each other takes most of it.
STALLED = 0.9


class Leading(NamedTuple):
    """The leading left singular vectors of a matrix."""

    left: NDArray[np.float64]
    """(p, k), orthonormal columns."""
    values: NDArray[np.float64]
    """Singular values (k,)."""
    error: NDArray[np.float64]
    """Estimated relative error of each (k,)."""


def leading_left(A: Centred, k: int, tol: float) -> Leading:
    """The `k` leading left singular vectors of A, as good as singular values to `tol` need.

    Each sweep reads A once and multiplies ``A Aᵀ`` with one more block. It ends when the estimate
    of all `k` errors is below `tol`, when it falls no more, or when the basis is the whole space.

    Parameters
    ----------
    A : Centred
        The matrix (p, q).
    k : int
        At most p.
    tol : float
        Relative error wanted of the singular values.
    """
    p = A.shape[0]
    share = LOOSE_BLOCK if tol > LOOSE else BLOCK_PER_COMPONENT
    if A.dtype != np.float64:
        share = SINGLE_PRECISION_BLOCK
    width = min(p, max(MIN_BLOCK, int(np.ceil(share * k))))
    new = np.linalg.qr(_random_range(A, width))[0]
    basis, image = np.empty((p, 0)), np.empty((p, 0))
    worst = np.inf
    while True:
        basis, image = np.hstack([basis, new]), np.hstack([image, _normal_product(A, new)])
        T = basis.T @ image
        values, S = np.linalg.eigh((T + T.T) / 2)
        values, S = values[::-1], S[:, ::-1][:, :k]
        left = basis @ S
        if basis.shape[1] >= k:
            last = np.linalg.eigvalsh(T[-new.shape[1] :, -new.shape[1] :])[-1]
            error = _relative_error(values, image @ S - left * values[:k], last)
            worst, before = error.max(), worst
            if basis.shape[1] == p or worst <= tol or worst > STALLED * before:
                return Leading(left, np.sqrt(np.maximum(values[:k], 0.0)), error)
        new = _next_block(basis, image[:, -new.shape[1] :])


def _relative_error(
    values: NDArray[np.float64], residual: NDArray[np.float64], last: float
) -> NDArray[np.float64]:
    """Estimated relative error of singular values ``sqrt(values)`` from residuals (p, k) of A Aᵀ.

    The error of an eigenvalue is at most the residual, and at most its square over the distance to
    the rest of the spectrum; that rest is judged by what the last block found.
    """
    k = residual.shape[1]
    floor = np.finfo(np.float64).eps * values[0]  # values below are rounding, and have converged
    kept = np.maximum(values[:k], floor)
    size = np.maximum(np.linalg.norm(residual, axis=0) - floor, 0.0)
    gap = np.maximum(kept - min(last, values[k - 1]), floor)
    relative: NDArray[np.float64] = np.minimum(size, size**2 / gap) / (2 * kept)
    return relative


def _next_block(basis: NDArray[np.float64], image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Orthonormal columns that extend `basis` (p, m) by the span of `image`."""
    room = basis.shape[0] - basis.shape[1]
    new = image[:, :room]
    for _ in range(2):  # once more: cancellation leaves the first result short of orthogonal
        new = np.linalg.qr(new - basis @ (basis.T @ new))[0]
    return new


def _random_range(A: Centred, width: int) -> NDArray[np.float64]:
    """``A Ω`` for a random Ω (q, width): a first guess of the range of A."""
    rng = np.random.default_rng(0)
    product = np.zeros((A.shape[0], width))
    for _, block in _blocks(A):
        product += block @ rng.standard_normal((block.shape[1], width), dtype=A.dtype.type)
    return _project(A, product)


def _normal_product(A: Centred, Q: NDArray[np.float64]) -> NDArray[np.float64]:
    """``A Aᵀ Q`` (p, b)."""
    rows = np.ascontiguousarray(_project(A, Q).T, dtype=A.dtype)
    product = np.zeros(Q.shape)
    for _, block in _blocks(A):
        product += block @ (rows @ block).T
    return _project(A, product)


# With times first, A is P X, where P takes means over time out: of the thin factors of a product
# as well as of the snapshots, which saves a copy of each block.


def _blocks(A: Centred) -> Iterator[tuple[slice, NDArray[Any]]]:
    return A.raw_blocks(WIDE_BLOCK_BYTES) if A.mean_can_wait else A.blocks()


def _project(A: Centred, thin: NDArray[np.float64]) -> NDArray[np.float64]:
    return thin - thin.mean(axis=0) if A.mean_can_wait else thin
