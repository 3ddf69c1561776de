"""A truncated SVD of rows that come once, some at a time, with a bound on what was discarded.

Rows ``X`` (n_time, n_space) are held as ``X ≈ L R``: L has orthonormal columns, and the few rows
of R are orthogonal, their norms the singular values. New rows are stacked below R; the Gram matrix
of the stack gives the rotation that separates what is kept from what is discarded. Factors of two
sets of rows merge in the same way, so that sets can be read on different machines.

Brand (2006), Fast low-rank modifications of the thin singular value decomposition, Linear Algebra
Appl. 415. Iwen and Ong (2016), A distributed and incremental SVD algorithm for agglomerative data
analysis on large networks, SIAM J. Matrix Anal. Appl. 37.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from rom.compress.gram import multiply, row_gram

# Rows kept per mode asked for, if memory allows: what is dropped early cannot come back.
KEPT_PER_MODE = 1.4
# Of a wanted fraction of energy, how much of the rest truncations may drop; and of all of it.
DROPPED_SHARE = 0.05
NEGLIGIBLE = 1e-14
# Random combinations of the discarded rows that are kept, to estimate what each mode lost.
N_SKETCH = 8
# The estimate is of first order and from few combinations: this much larger it is seldom too small.
SAFETY = 16.0


class Keep(NamedTuple):
    """How many rows a truncation keeps."""

    most: int
    """At most so many."""
    tail: float = 0.0
    """Fraction of the energy of the new rows that may be dropped."""

    def number(self, squares: NDArray[np.float64], new_energy: float) -> int:
        """Rows to keep of those with squared norms `squares`, the largest first."""
        left = np.append(np.cumsum(squares[::-1])[::-1], 0.0)  # energy from each row on
        enough = int(np.argmax(left <= self.tail * new_energy))
        return max(1, min(self.most, enough))


def keep_for(n_components: int | float | None, full: int) -> Keep:
    """What truncations keep for the modes that :class:`rom.POD` is asked for, of `full` ones."""
    if isinstance(n_components, Integral):
        return Keep(min(full, int(KEPT_PER_MODE * n_components) + 10))
    return Keep(full, NEGLIGIBLE if n_components is None else DROPPED_SHARE * (1 - n_components))


class Rotated(NamedTuple):
    """Rows that a rotation made of a stack of others."""

    rotation: NDArray[np.float64]
    """(r, m)."""
    stack: list[Any]
    """What the m rows were: a block of data (its number of rows), `Rotated`, or `Moved`."""


class Moved(NamedTuple):
    """Rows that hold what the means of some phases moved when new rows came, one per phase."""

    phases: NDArray[np.intp]
    before: NDArray[np.float64]
    """Number of rows in each phase before …"""
    new: NDArray[np.float64]
    """… and of new ones."""
    first: int
    """Position in the stack of the first of the new rows."""


@dataclass
class Factor:
    """The truncated factor of some rows of data, about the means of their phases."""

    rows: NDArray[Any]
    """R (r, n_space), orthogonal by decreasing norm once truncated."""
    stack: list[Any]
    """What the rows are, as in `Rotated`: it rebuilds L."""
    counts: NDArray[np.float64]
    """Number of rows of data in each phase (n_phases,)."""
    means: NDArray[Any]
    """Their means (n_phases, n_space); no phases, and no means taken out, where that is empty."""
    spread: NDArray[np.float64]
    """Sum of squares about the means (n_space,), or (0,) where it is not wanted."""
    sketch: NDArray[Any]
    """(N_SKETCH, n_space): random combinations of all rows discarded."""
    seed: int
    """Seeds the next combination."""
    kept: float = 0.0
    """Sum of squares of the rows, as the last truncation left them."""
    discarded: float = 0.0
    """Sum of all squares discarded."""
    bound: float = 0.0
    """Sum over truncations of the largest square discarded: no squared singular value lost more."""

    def __sizeof__(self) -> int:
        # A cluster places tasks, and counts what it moves, by this.
        arrays = (self.rows, self.counts, self.means, self.spread, self.sketch)
        return sum(array.nbytes for array in arrays)


def empty(
    n_space: int, dtype: Any, n_phases: int, seed: int = 0, *, spread: bool = False
) -> Factor:
    """The factor of no rows; means are taken out of each of `n_phases` phases."""
    return Factor(
        rows=np.empty((0, n_space), dtype),
        stack=[],
        counts=np.zeros(n_phases),
        means=np.zeros((n_phases, n_space), dtype),
        spread=np.zeros(n_space if spread else 0),
        sketch=np.zeros((N_SKETCH, n_space), dtype),
        seed=seed,
    )


def factor_rows(
    factor: Factor,
    blocks: Iterable[tuple[NDArray[Any], NDArray[np.intp]]],
    write: Callable[[NDArray[Any], NDArray[Any]], None],
    keep: Keep,
    room: int,
) -> None:
    """Add rows that come in blocks, each read once, to a truncated factor.

    Parameters
    ----------
    factor : Factor
        Changed in place.
    blocks : iterable of (ndarray, shape (b, n_space); ndarray, shape (b,))
        Raw rows and their phases.
    write : callable
        ``write(raw, out)`` writes rows, scaled, to where they are worked on.
    keep : Keep
        Which rows survive a truncation.
    room : int
        New rows gathered before a truncation.
    """
    old = len(factor.rows)
    n_phases, n_space = factor.means.shape
    work = np.empty((max(old, keep.most) + room + min(room, n_phases), n_space), factor.rows.dtype)
    work[:old] = factor.rows
    phases: list[NDArray[np.intp]] = []
    fill = old
    for block, phase in blocks:
        for start in range(0, len(block), room):
            piece = block[start : start + room]
            if fill - old + len(piece) > room:
                absorb(factor, work, slice(old, fill), phases, keep)
                old = fill = len(factor.rows)
                phases = []
            write(piece, work[fill : fill + len(piece)])
            phases.append(phase[start : start + room])
            fill += len(piece)
    if phases:
        absorb(factor, work, slice(old, fill), phases, keep)


def absorb(
    factor: Factor,
    work: NDArray[Any],
    new: slice,
    phases: list[NDArray[np.intp]],
    keep: Keep,
) -> None:
    """Truncate the kept rows and the new ones below them in `work`, which has space for means."""
    first = len(factor.stack)
    factor.stack += [len(p) for p in phases]
    stop = new.stop
    if len(factor.counts):
        stop += _take_means_out(factor, work, new, np.concatenate(phases), first)
    if len(factor.spread):
        factor.spread += np.einsum("ij,ij->j", work[new.start : stop], work[new.start : stop])
    factor.rows = work[:stop]
    _truncate(factor, keep)


def _take_means_out(
    factor: Factor, work: NDArray[Any], new: slice, phase: NDArray[np.intp], first: int
) -> int:
    """Centre the new rows and write, below them, what the means moved; the number of those rows."""
    present, code, count = np.unique(phase, return_inverse=True, return_counts=True)
    one_hot = (np.arange(len(present))[:, None] == code).astype(work.dtype)
    means = (one_hot @ work[new]) / count[:, None].astype(work.dtype)
    for row, k in zip(work[new], code, strict=True):
        row -= means[k]
    return _move_means(factor, work[new.stop :], present, count.astype(float), means, first)


def _move_means(
    factor: Factor,
    out: NDArray[Any],
    present: NDArray[np.intp],
    count: NDArray[np.float64],
    means: NDArray[Any],
    first: int,
) -> int:
    """Bring counts and means up to date with new ones; write what the means moved to `out`."""
    before = factor.counts[present]
    means -= factor.means[present]  # the steps
    known = before > 0
    weight = np.sqrt(before * count / (before + count))[known, None]
    n_moved = int(known.sum())
    out[:n_moved] = weight.astype(out.dtype) * means[known]
    factor.stack.append(Moved(present[known], before[known], count[known], first))
    factor.means[present] += (count / (before + count))[:, None].astype(out.dtype) * means
    factor.counts[present] += count
    return n_moved


def merge(a: Factor, b: Factor, keep: Keep) -> Factor:
    """The factor of the rows of `a` followed by those of `b`."""
    present = np.flatnonzero(b.counts)
    size = len(a.rows) + len(b.rows)
    work = np.empty((size + len(present), a.rows.shape[1]), a.rows.dtype)
    work[: len(a.rows)], work[len(a.rows) : size] = a.rows, b.rows
    both = replace(
        a,
        stack=[*a.stack, *b.stack],
        counts=a.counts.copy(),
        means=a.means.copy(),
        sketch=a.sketch + b.sketch,
        seed=a.seed + b.seed,
        discarded=a.discarded + b.discarded,
        bound=a.bound + b.bound,
    )
    n_moved = 0
    if len(present):
        n_moved = _move_means(
            both, work[size:], present, b.counts[present], b.means[present], len(a.stack)
        )
    moved = work[size : size + n_moved]
    both.spread = a.spread + b.spread
    if len(both.spread):
        both.spread += np.einsum("ij,ij->j", moved, moved)
    both.rows = work[: size + n_moved]
    _truncate(both, keep)
    return both


def _truncate(factor: Factor, keep: Keep) -> None:
    """Rotate the rows so that they are orthogonal, and drop the weak ones. In place."""
    squares, vectors = linalg.eigh(row_gram(factor.rows), check_finite=False)
    squares, T = np.maximum(squares[::-1], 0.0), vectors[:, ::-1].T
    r = keep.number(squares, squares.sum() - factor.kept)
    kept, dropped = T[:r], T[r:]
    factor.seed += 1
    random = np.random.default_rng(factor.seed)
    mixed = random.standard_normal((min(N_SKETCH, len(dropped)), len(dropped))) @ dropped
    multiply(np.vstack([kept, mixed]), factor.rows)
    factor.sketch[: len(mixed)] += factor.rows[r : r + len(mixed)]
    factor.rows = factor.rows[:r]
    factor.stack = [Rotated(kept, factor.stack)]
    factor.kept = float(squares[:r].sum())
    factor.discarded += float(squares[r:].sum())
    factor.bound += float(squares[r]) if len(dropped) else 0.0


def left_vectors(factor: Factor, phase: NDArray[np.intp]) -> NDArray[np.float64]:
    """L (n_time, r), orthonormal columns, rebuilt from the rotations.

    Parameters
    ----------
    factor : Factor
    phase : ndarray of int, shape (n_time,)
        Of all rows of data, in the order they came.
    """
    r = len(factor.rows)
    L = np.empty((len(phase), r))
    todo = _split(factor.stack, np.eye(r), np.zeros((max(1, len(factor.counts)), r)))
    start = 0
    while todo:
        item, rows, offset = todo.pop()
        if isinstance(item, Rotated):
            todo += _split(item.stack, item.rotation.T @ rows, offset)
        elif not isinstance(item, Moved):
            here = slice(start, start + item)
            L[here] = rows + offset[phase[here]]
            start += item
    return L


def _split(
    stack: list[Any], rows: NDArray[np.float64], offset: NDArray[np.float64]
) -> list[tuple[Any, NDArray[np.float64], NDArray[np.float64]]]:
    """The items of a stack with their rows, and what is added to data rows of each phase.

    The last item comes first.
    """
    sizes = [len(i[0]) if isinstance(i, Rotated | Moved) else i for i in stack]
    parts = np.split(rows, np.cumsum(sizes)[:-1])
    before = after = offset
    first = len(stack)
    if isinstance(stack[-1], Moved):
        phases, n, m, first = stack[-1]
        before, after = offset.copy(), offset.copy()
        before[phases] -= np.sqrt(m / (n * (n + m)))[:, None] * parts[-1]
        after[phases] += np.sqrt(n / (m * (n + m)))[:, None] * parts[-1]
    return [
        (item, part, after if i >= first else before)
        for i, (item, part) in enumerate(zip(stack, parts, strict=True))
    ][::-1]


def lost(sketch: NDArray[Any], components: NDArray[Any]) -> NDArray[np.float64]:
    """Estimated square (k,) that the discarded rows had along each of the `components` (k, q).

    The expectation of a squared random combination of numbers is their sum of squares.
    """
    along = (sketch @ components.T).astype(np.float64)
    estimate: NDArray[np.float64] = SAFETY * np.mean(along**2, axis=0)
    return estimate
