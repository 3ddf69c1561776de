"""Blocked linear algebra: snapshot matrices that are read a few columns or rows at a time.

The snapshots may be a NumPy or a dask array; either way one block of them is held at a time, in
float64, and nothing makes a second copy of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

BLOCK_BYTES = 64 * 2**20
# Fewer blocks than this are read without a progress bar.
FEW_BLOCKS = 8


def column_blocks(X: Any) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """All columns of `X` (n_time, n_space), some at a time: ``(columns, float64 block)``."""
    yield from _blocks(X, axis=1)


def row_blocks(X: Any) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """All rows of `X` (n_time, n_space), some at a time: ``(rows, float64 block)``."""
    yield from _blocks(X, axis=0)


def _blocks(X: Any, axis: int) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    width = max(1, BLOCK_BYTES // (8 * X.shape[1 - axis]))
    starts = range(0, X.shape[axis], width)
    few = True if len(starts) < FEW_BLOCKS else None  # None: quiet when not on a terminal
    for start in tqdm(starts, "reading snapshots", leave=False, disable=few):
        part = slice(start, min(start + width, X.shape[axis]))
        block = np.asarray(X[:, part] if axis == 1 else X[part], dtype=np.float64)
        if not np.isfinite(block).all():
            raise ValueError(
                f"X holds values that are not finite in {'columns' if axis else 'rows'} "
                f"{part.start} to {part.stop - 1}."
            )
        yield part, block


def column_means(X: Any) -> NDArray[np.float64]:
    """Mean of every column of `X` (n_time, n_space): (n_space,)."""
    mean = np.empty(X.shape[1])
    for columns, block in column_blocks(X):
        mean[columns] = block.mean(axis=0)
    return mean


def time_gram(X: Any, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(X - mean) (X - mean)ᵀ``, (n_time, n_time), in one pass over the columns."""
    K = np.zeros((X.shape[0], X.shape[0]))
    for columns, block in column_blocks(X):
        centred = block - mean[columns]
        K += centred @ centred.T
    return K


def space_gram(X: Any, mean: NDArray[np.float64]) -> NDArray[np.float64]:
    """``(X - mean)ᵀ (X - mean)``, (n_space, n_space), in one pass over the rows."""
    C = np.zeros((X.shape[1], X.shape[1]))
    for _, block in row_blocks(X):
        centred = block - mean
        C += centred.T @ centred
    return C


def descending_eigh(K: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Eigenvalues and eigenvectors (columns) of a symmetric `K`, the largest first."""
    values, vectors = np.linalg.eigh(K)
    return values[::-1], vectors[:, ::-1]


def fix_signs(components: NDArray) -> NDArray:
    """Signs (±1 per row) that make the entry of largest magnitude of each row positive.

    Of entries within a millionth of the largest the first one decides: in a symmetric mode
    rounding would otherwise choose between equals.
    """
    size = np.abs(components)
    first = np.argmax(size >= (1 - 1e-6) * size.max(axis=1, keepdims=True), axis=1)
    signs: NDArray = np.where(components[np.arange(len(components)), first] < 0, -1.0, 1.0)
    return signs
